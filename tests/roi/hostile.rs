//! Broken files: an error or a ROI, never a panic, an endless loop or a huge allocation.

use super::expected::{fixtures, shared_data};
use proptest::prelude::*;
use std::path::{Path, PathBuf};
use unet_engine::roi;

fn seeds() -> Vec<Vec<u8>> {
    let mut files: Vec<PathBuf> = roi_files(&fixtures());
    if let Some(shared) = shared_data() {
        files.extend(
            ["RImageJROI", "read-roi", "ijroi", "made-by-imagej"]
                .iter()
                .flat_map(|name| roi_files(&shared.join("rois").join(name))),
        );
    }
    files.iter().map(|file| std::fs::read(file).expect("a ROI file")).collect()
}

fn roi_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder of ROI files");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|file| file.extension().is_some_and(|e| e == "roi"));
    files.sort();
    files
}

/// Uses everything that a decoded ROI offers.
fn exercise(bytes: &[u8]) {
    if let Ok(roi) = roi::decode(bytes) {
        let area = roi.mask_area_px();
        let filled = roi.fill(64, 48, 3, -2).area() as u64;
        assert!(filled <= area, "{filled} pixels of {area}");
        let again = roi::decode(&roi::encode(&roi)).expect("what was read can be written and read");
        assert_eq!(again.mask_area_px(), area, "{roi:?}\nbecame\n{again:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn arbitrary_bytes(mut bytes in proptest::collection::vec(any::<u8>(), 0..400), kind in 0_u8..12) {
        exercise(&bytes);
        if bytes.len() > 8 {
            bytes[..8].copy_from_slice(&[b'I', b'o', b'u', b't', 0, 228, kind, 0]);
            exercise(&bytes);
        }
    }

    #[test]
    fn changed_files(seed in any::<prop::sample::Index>(), changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = seed.get(&seeds()).clone();
        for (at, value) in changes {
            // Most changes should meet the header, where the sizes are.
            let n = if value % 4 == 0 { bytes.len() } else { bytes.len().min(64) };
            bytes[at.index(n)] = value;
        }
        exercise(&bytes);
    }
}

#[test]
fn files_cut_short_anywhere() {
    for bytes in seeds() {
        (0..bytes.len()).for_each(|n| exercise(&bytes[..n]));
    }
}

#[test]
fn errors_say_what_is_wrong() {
    let message = |bytes: &[u8]| roi::decode(bytes).expect_err("a broken file").to_string();
    assert!(message(b"PK").contains("Iout"));
    assert!(message(b"Iout\0").contains("ends at byte 5"));
    let polygon = roi::encode(&roi::Roi::polygon(vec![[0, 0], [5, 0], [5, 5]]).expect("a polygon"));
    assert!(message(&polygon[..70]).contains("3 coordinates"));
    let mut empty_path = roi::encode(&roi::Roi::rectangle(unet_engine::geometry::Rect::default()));
    empty_path[39] = 1;
    empty_path[64..68].copy_from_slice(&4.0_f32.to_be_bytes());
    assert!(message(&empty_path).contains("path is empty"));
    let mut unknown = polygon.clone();
    unknown[6] = 77;
    assert!(message(&unknown).contains("type 77"));
}

#[test]
fn a_spline_through_whole_corners_survives_being_written() {
    // Failed once: the corners were written with sub-pixels, and ImageJ measures such a traced outline differently.
    let mut bytes = std::fs::read(fixtures().join("spline-traced.roi")).expect("a fixture");
    bytes[51] &= !128;
    exercise(&bytes);
}
