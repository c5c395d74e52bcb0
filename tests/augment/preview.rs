//! The sheet of augmented samples.

use super::{PLAIN, blobs, texture};
use unet_engine::augment::{AugmentConfig, preview};

#[test]
fn a_sheet_shows_outlines_in_colour() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("sheet.png");
    let mut empty = texture(40, 40);
    empty.instances.clear();
    preview(&[blobs(80, 60), empty, blobs(64, 64)], &AugmentConfig::default(), PLAIN, &path).expect("a sheet");
    let sheet = image::open(&path).expect("a PNG").to_rgb8();
    assert_eq!(sheet.dimensions(), (7 * 164 + 4, 2 * 164 + 4), "two samples show the organ");
    let n_outline = sheet.pixels().filter(|p| p.0 == [255, 140, 0]).count();
    assert!(n_outline > 14 * 100, "{n_outline} pixels of outlines");
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1, "no temporary file stays");
}

#[test]
fn no_samples_are_an_error() {
    let path = std::path::Path::new("nowhere/sheet.png");
    assert!(preview(&[], &AugmentConfig::default(), PLAIN, path).is_err());
    let error = preview(&[blobs(64, 64)], &AugmentConfig::default(), PLAIN, path).expect_err("no such folder");
    assert!(error.to_string().contains("sheet.png"), "{error}");
}
