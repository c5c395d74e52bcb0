//! `tools/check-demo`: what it lets pass, and what it does not.

use serde_json::json;
use std::path::Path;
use std::process::Command;

/// A demo's folder with the same metrics for all organs, and no ROI archive.
fn write_demo(root: &Path, dice: f64, mean_dice: f64, precision: Option<f64>) {
    for organ in ["heart", "liver", "placenta"] {
        std::fs::create_dir_all(root.join("runs").join(organ)).unwrap();
        std::fs::write(root.join("runs").join(organ).join("report.html"), "").unwrap();
    }
    std::fs::create_dir_all(root.join("data")).unwrap();
    std::fs::create_dir_all(root.join("predictions")).unwrap();
    std::fs::write(root.join("predictions/summary.csv"), "").unwrap();
    let organ = json!({ "pixel": { "dice": dice, "precision": precision }, "mean_dice": mean_dice });
    let metrics = json!({ "heart": organ, "liver": organ, "placenta": organ });
    std::fs::write(root.join("metrics.json"), metrics.to_string()).unwrap();
}

/// The exit code and what is said, by a Python without any installed package; `None` where there is no Python and none is required.
fn check(root: &Path, options: &[&str]) -> Option<(i32, String)> {
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/check-demo");
    match Command::new("python3").args(["-I", "-S"]).arg(tool).args(options).arg(root).output() {
        Ok(output) => Some((output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stdout).into_owned())),
        Err(e) => {
            assert!(std::env::var_os("UNET_ENGINE_REQUIRE_TOOLS").is_none_or(|v| v != "1"), "python3: {e}");
            eprintln!("not run: no python3");
            None
        }
    }
}

#[test]
fn the_demo_is_judged_by_both_dice_and_by_precision() {
    let cases = [
        (0.81, 0.81, Some(0.86), &[][..]),
        (0.80, 0.81, Some(0.86), &["heart: pixel Dice 0.800 is not above 0.8", "liver: pixel Dice"]),
        (0.81, 0.80, Some(0.86), &["heart: mean Dice 0.800 is not above 0.8", "liver: mean Dice 0.800 is not above 0.8"]),
        (0.81, 0.81, Some(0.85), &["heart: pixel precision 0.850 is not above 0.85", "liver: pixel precision"]),
        (0.65, 0.81, Some(0.86), &["heart", "liver", "placenta: pixel Dice 0.650 is not above 0.65"]),
        (0.81, 0.55, Some(0.86), &["heart", "liver", "placenta: mean Dice 0.550 is not above 0.55"]),
        (0.81, 0.81, None, &["heart", "liver", "placenta: pixel precision 0.000 is not above 0.75"]),
    ];
    for (dice, mean_dice, precision, expected) in cases {
        let folder = tempfile::tempdir().unwrap();
        write_demo(folder.path(), dice, mean_dice, precision);
        let Some((code, said)) = check(folder.path(), &["--partial"]) else { return };
        assert_eq!((code, said.matches("FAILED").count()), (i32::from(!expected.is_empty()), expected.len()), "{said}");
        assert!(expected.iter().all(|what| said.contains(&format!("FAILED: {what}"))), "{said}");
    }
}

#[test]
fn archives_that_were_not_opened_are_a_failure_unless_told_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    write_demo(folder.path(), 0.9, 0.9, Some(0.9));
    let Some((code, said)) = check(folder.path(), &[]) else { return };
    assert!(code == 1 && said.contains("FAILED: roifile is not installed"), "{code}\n{said}");
    let Some((code, said)) = check(folder.path(), &["--partial"]) else { return };
    assert!(code == 0 && said.contains("roifile is not installed"), "{code}\n{said}");
    std::fs::remove_dir_all(folder.path().join("runs/liver")).unwrap();
    let Some((code, said)) = check(folder.path(), &["--partial"]) else { return };
    assert!(code == 1 && said.contains("liver"), "{code}\n{said}");
}
