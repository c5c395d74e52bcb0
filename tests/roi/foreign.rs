//! What ImageJ and roifile read from archives of ours, entry by entry, where they are installed (`tools/imagej/describe`).
//! With UNET_ENGINE_REQUIRE_TOOLS=1 their absence is a failure.

use super::expected::runs_of;
use super::round_trips::masks;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use unet_engine::roi::{self, Roi, archive};

const TOOL_MISSING: i32 = 77;

/// What other programs read from `files` in `folder`, ROI by ROI; `None` where the program is not installed and need not be.
pub fn described(reader: &str, folder: &Path, files: &[&str]) -> Option<Vec<Value>> {
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/imagej/describe");
    let output = Command::new(tool).arg(reader).arg(folder).args(files).output().expect("bash");
    let stderr = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(TOOL_MISSING) && std::env::var_os("UNET_ENGINE_REQUIRE_TOOLS").is_none_or(|v| v != "1") {
        eprintln!("not run: {stderr}");
        return None;
    }
    assert!(output.status.success(), "{reader}: {stderr}");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    Some(text.lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect())
}

/// The programs, by their names for [`described`].
pub const READERS: [&str; 2] = ["imagej", "roifile"];

/// Asserts that `line` is `roi`: name (also the entry's), position, group, colour, properties and pixels.
pub fn assert_read_as(line: &Value, roi: &Roi, reader: &str) {
    let label = format!("{reader} reads {} {}", line["file"], line["entry"]);
    let color = roi.stroke_color.map(|[r, g, b, a]| format!("{a:02x}{r:02x}{g:02x}{b:02x}"));
    let b = roi.bounds;
    assert_eq!(line["entry"], format!("{}.roi", roi.name), "{label}");
    assert_eq!(line["name"], roi.name, "{label}");
    assert_eq!((&line["position"], &line["group"]), (&roi.position.into(), &roi.group.into()), "{label}");
    assert_eq!(line["bounds"], serde_json::json!([b.left, b.top, b.width, b.height]), "{label}");
    // ImageJ draws members of a group in the group's own colour, whatever the file says.
    if reader != "imagej" || roi.group == 0 {
        assert_eq!(line["strokeColor"], color.map_or(Value::Null, Value::from), "{label}");
    }
    assert_eq!(sorted(line["props"].as_str().unwrap_or_default()), sorted(&roi.properties), "{label}");
    let runs: Vec<u64> =
        line["runs"].as_array().unwrap_or_else(|| panic!("{label}: pixels")).iter().filter_map(Value::as_u64).collect();
    assert_eq!(runs, runs_of(roi), "{label}: the pixels differ");
}

/// Lines without their order, which ImageJ does not keep.
fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn archives_keep_names_positions_groups_colours_and_properties() {
    let mut runner = TestRunner::deterministic();
    let mut rois = Vec::new();
    for i in 0..60_u32 {
        let mask = masks().new_tree(&mut runner).expect("a mask").current();
        let Some(mut roi) = roi::from_mask(&mask) else { continue };
        roi.name = format!("cœur-s{i:02}-心臓");
        roi.position = i % 7 * 300;
        roi.group = [0, 1, 3, 255][i as usize % 4];
        roi.stroke_color = [None, Some([255, 64, 0, 255]), Some([1, 2, 3, 200])][i as usize % 3];
        if i % 2 == 0 {
            roi.set_property("score", &format!("0.{i}"));
            // ImageJ spoils letters beyond ASCII in properties, those of its own files too (not in names).
            roi.set_property("model", "heart=standard, 2 of 3");
        }
        rois.push(roi);
    }
    assert!(rois.len() > 40, "{} masks hold something", rois.len());
    let folder = tempfile::tempdir().expect("a folder");
    archive::write(&folder.path().join("RoiSet.zip"), &rois).expect("an archive");
    for reader in READERS {
        let Some(lines) = described(reader, folder.path(), &["RoiSet.zip"]) else { continue };
        assert_eq!(lines.len(), rois.len(), "{reader}");
        lines.iter().zip(&rois).for_each(|(line, roi)| assert_read_as(line, roi, reader));
    }
}
