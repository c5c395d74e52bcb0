//! The dataset.toml that `inspect --write` gives to start from.

use super::{composite, rectangle, write_picture, write_rois};
use std::path::Path;
use std::process::Command;
use unet_engine::dataset::Dataset;
use unet_engine::dataset::findings::Findings;

fn findings(path: &Path) -> serde_json::Value {
    let mut findings = serde_json::to_value(Findings::of(&Dataset::open(path).unwrap())).unwrap();
    for series in findings["series"].as_array_mut().unwrap() {
        // These say how it was found out, which is another matter now.
        series["source_reason"].take();
        series["coordinates_reason"].take();
    }
    findings
}

#[test]
fn the_same_is_found_with_the_draft_as_without_it() {
    let root = tempfile::tempdir().unwrap();
    for (name, columns, seed) in [("Wurf \"7\"", 7, 1), ("b", 5, 2)] {
        write_picture(&root.path().join(name).join("composite.png"), &composite(columns, 35 / columns, seed));
        write_rois(&root.path().join(name).join("hearts/sub_02.zip"), &[rectangle("x", 1, 1, 4, 4)]);
    }
    let before = findings(root.path());
    let elsewhere = tempfile::tempdir().unwrap();
    for folder in [elsewhere.path(), root.path()] {
        let file = folder.join("dataset.toml");
        let inspect = || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_unet-engine"));
            command.arg("inspect").arg(root.path()).arg("--write").arg(&file).output().unwrap()
        };
        let output = inspect();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains("layout = \"series\"") && text.contains("rows = 5, columns = 7"), "{text}");
        assert_eq!(findings(&file)["series"], before["series"], "{text}");
        assert_eq!(inspect().status.code(), Some(2), "an existing file is not replaced");
    }
    assert_eq!(findings(root.path()), before);
}
