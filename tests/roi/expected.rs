//! What ImageJ 1.53t reads from real files and from our fixtures, and the pixels it fills.

use serde_json::Value;
use std::path::{Path, PathBuf};
use unet_engine::roi::{Roi, RoiKind, archive};

/// The folder of real files, which is no part of the project.
pub(super) fn shared_data() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let folder = std::env::var_os("UNET_ENGINE_SHARED_DATA").map_or(beside, PathBuf::from);
    folder.is_dir().then_some(folder)
}

/// The project's own fixtures, written by `tools/imagej/fixtures`.
pub(super) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/roi")
}

pub(super) fn lines(folder: &Path) -> Vec<Value> {
    let file = folder.join("expected_imagej.jsonl");
    let text = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    text.lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect()
}

fn load(folder: &Path, expected: &Value) -> Roi {
    let file = folder.join(expected["file"].as_str().expect("a file"));
    let entry = expected["entry"].as_str().unwrap_or_default();
    let rois = archive::read(&file).unwrap_or_else(|e| panic!("{e}")).rois;
    let (_, roi) = rois.into_iter().find(|(name, _)| entry.is_empty() || name == entry).expect("the entry");
    roi.unwrap_or_else(|e| panic!("{e}"))
}

fn compare(folder: &Path, expected: &Value) -> Vec<String> {
    let roi = load(folder, expected);
    let b = roi.bounds;
    let area = if roi.is_area() { roi.mask_area_px() } else { 0 };
    let color = roi.stroke_color.map(|[r, g, b, a]| format!("{a:02x}{r:02x}{g:02x}{b:02x}"));
    // ImageJ repeats the position as z, and gives members of a group the group's colour.
    let z = if roi.position > 0 { roi.position } else { roi.z };
    let mut found = vec![
        ("name", Value::from(roi.name.clone())),
        ("type", Value::from(roi.kind.name())),
        ("bounds", serde_json::json!([b.left, b.top, b.width, b.height])),
        ("n", Value::from(roi.n_points())),
        ("isArea", Value::from(roi.is_area())),
        ("maskPixels", Value::from(area)),
        ("position", Value::from(roi.position)),
        ("c", Value::from(roi.channel)),
        ("z", Value::from(z)),
        ("t", Value::from(roi.t)),
        ("group", Value::from(roi.group)),
    ];
    if roi.group == 0 && roi.kind.name() != "Image" {
        found.push(("strokeColor", color.map_or(Value::Null, Value::from)));
    }
    let label = format!("{} {}", expected["file"], expected["entry"]);
    // ImageJ measures a text again with the fonts of the machine, so its box differs from one machine to the next.
    if roi.kind == RoiKind::Text {
        found.retain(|(key, _)| !["bounds", "maskPixels"].contains(key));
    }
    let differs = |(key, value): &(&str, Value)| {
        (expected[*key] != *value).then(|| format!("{label}: {key} is {value}, ImageJ reads {}", expected[*key]))
    };
    let mut problems: Vec<String> = found.iter().filter_map(differs).collect();
    if let (Some(runs), true) = (expected["runs"].as_array(), roi.is_annotation()) {
        let ours = runs_of(&roi);
        let theirs: Vec<u64> = runs.iter().filter_map(Value::as_u64).collect();
        if ours != theirs {
            problems.push(format!("{label}: the filled pixels differ"));
        }
    }
    problems
}

/// Lengths of runs outside and inside in turn, row by row through the box, beginning outside.
pub(super) fn runs_of(roi: &Roi) -> Vec<u64> {
    let b = roi.bounds;
    let mask = roi.fill(b.width as usize, b.height as usize, -b.left, -b.top);
    let (mut runs, mut current, mut length) = (Vec::new(), 0, 0);
    for &pixel in mask.pixels() {
        if pixel != current {
            runs.push(length);
            (current, length) = (pixel, 0);
        }
        length += 1;
    }
    runs.push(length);
    runs
}

fn assert_all_match(folder: &Path, at_least: usize) {
    let expected = lines(folder);
    assert!(expected.len() >= at_least, "only {} ROIs expected in {}", expected.len(), folder.display());
    let problems: Vec<String> = expected.iter().flat_map(|line| compare(folder, line)).collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn real_files_read_as_imagej_reads_them() {
    let Some(shared) = shared_data() else {
        eprintln!("not run: no shared data");
        return;
    };
    assert_all_match(&shared.join("rois"), 30);
}

#[test]
fn fixtures_read_as_imagej_reads_them_pixel_by_pixel() {
    assert_all_match(&fixtures(), 20);
}
