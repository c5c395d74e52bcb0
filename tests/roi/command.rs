//! `roi info` and `roi mask` as the user runs them.

use super::expected::fixtures;
use std::process::{Command, Output};

fn roi(arguments: &[&std::ffi::OsStr]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_unet-engine")).arg("roi").args(arguments).output().expect("the program runs")
}

#[test]
fn info_lists_rois_and_names_broken_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let broken = folder.path().join("broken.roi");
    std::fs::write(&broken, b"Iout").expect("a file");
    let group = fixtures().join("group.roi");
    let output = roi(&["info".as_ref(), group.as_ref(), broken.as_ref(), "--json".as_ref()]);
    assert_eq!(output.status.code(), Some(3));
    let list: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(list.as_array().map(Vec::len), Some(1));
    let row = &list[0];
    let expected =
        [("left", 1), ("top", 2), ("width", 3), ("height", 4), ("n_points", 4), ("area_px", 12), ("position", 12), ("group", 3)];
    for (key, value) in expected {
        assert_eq!(row[key], value, "{key}");
    }
    assert_eq!((row["name"].as_str(), row["type"].as_str()), (Some("group"), Some("Rectangle")));
    assert!(String::from_utf8_lossy(&output.stderr).contains("broken.roi"));
    let table = roi(&["info".as_ref(), group.as_ref()]);
    assert!(table.status.success() && String::from_utf8_lossy(&table.stdout).contains("Rectangle"));
}

#[test]
fn mask_writes_what_imagej_fills() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("mask.png");
    let file = fixtures().join("traced.roi");
    let output = roi(&["mask".as_ref(), file.as_ref(), "--size".as_ref(), "12x10".as_ref(), "--out".as_ref(), out.as_ref()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let picture = image::open(&out).expect("a PNG").into_luma8();
    assert_eq!(picture.dimensions(), (12, 10));
    assert_eq!(picture.pixels().filter(|p| p.0[0] == 255).count(), 4 * 2 + 7 * 5);
    assert!(picture.pixels().all(|p| p.0[0] == 0 || p.0[0] == 255));
    let wrong = roi(&["mask".as_ref(), file.as_ref(), "--size".as_ref(), "12".as_ref(), "--out".as_ref(), out.as_ref()]);
    assert_eq!(wrong.status.code(), Some(2));
}
