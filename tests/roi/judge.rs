//! ImageJ itself and Python's roifile judge files that we wrote, where they are installed (`tools/imagej/judge`).
//! With UNET_ENGINE_REQUIRE_TOOLS=1 their absence is a failure.

use super::round_trips::masks;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use std::path::Path;
use std::process::Command;
use unet_engine::geometry::Mask;
use unet_engine::roi::{self, Roi};

const N_MASKS: usize = 150;
const TOOL_MISSING: i32 = 77;

fn write_case(folder: &Path, name: &str, roi: &Roi, width: usize, height: usize) {
    std::fs::write(folder.join(format!("{name}.roi")), roi::encode(roi)).expect("a ROI file");
    let mut pgm = format!("P5\n{width} {height}\n255\n").into_bytes();
    pgm.extend(roi.fill(width, height, 0, 0).pixels().iter().map(|p| p * 255));
    std::fs::write(folder.join(format!("{name}.pgm")), pgm).expect("a mask");
}

/// Crossing edges, edges through centres, slopes of every kind, and what leaves the image on all sides.
fn hostile_polygons() -> impl Strategy<Value = Vec<[i32; 2]>> {
    proptest::collection::vec([-20_i32..60, -20_i32..60], 3..12)
}

#[test]
fn imagej_and_roifile_read_what_we_write() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut runner = TestRunner::deterministic();
    for i in 0..N_MASKS {
        let mask: Mask = masks().new_tree(&mut runner).expect("a mask").current();
        if let Some(roi) = roi::from_mask(&mask) {
            assert_eq!(roi.fill(mask.width(), mask.height(), 0, 0), mask);
            write_case(folder.path(), &format!("mask-{i}"), &roi, mask.width(), mask.height());
        }
        let corners = hostile_polygons().new_tree(&mut runner).expect("a polygon").current();
        write_case(folder.path(), &format!("polygon-{i}"), &Roi::polygon(corners).expect("corners"), 50, 50);
    }
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/imagej/judge");
    let output = Command::new(tool).arg(folder.path()).output().expect("bash");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(TOOL_MISSING) && std::env::var_os("UNET_ENGINE_REQUIRE_TOOLS").is_none_or(|v| v != "1") {
        eprintln!("not run: {said}");
        return;
    }
    assert!(output.status.success(), "{said}");
    eprintln!("{said}");
}
