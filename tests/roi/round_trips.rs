//! Mask -> ROI -> bytes -> ROI -> mask is the identity, and files of every kind survive being written again.

use super::expected::fixtures;
use proptest::prelude::*;
use unet_engine::geometry::Mask;
use unet_engine::roi::{self, RoiKind};

/// Random masks from salt and pepper to solid: holes, diagonal contacts, several parts, borders.
pub(super) fn masks() -> impl Strategy<Value = Mask> {
    (1_usize..24, 1_usize..24, 0_u8..=8).prop_flat_map(|(width, height, density)| {
        proptest::collection::vec(0_u8..8, width * height)
            .prop_map(move |noise| Mask::from_pixels(width, height, noise.into_iter().map(|n| u8::from(n < density)).collect()))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_mask_survives_as_a_roi_file(mask in masks()) {
        let Some(roi) = roi::from_mask(&mask) else {
            prop_assert_eq!(mask.area(), 0);
            return Ok(());
        };
        let read = roi::decode(&roi::encode(&roi)).expect("a file that we wrote");
        prop_assert_eq!(&read, &roi);
        prop_assert_eq!(read.mask_area_px(), mask.area() as u64);
        prop_assert_eq!(Some(read.bounds), mask.bounds());
        prop_assert_eq!(read.fill(mask.width(), mask.height(), 0, 0), mask);
    }

    #[test]
    fn a_shift_and_a_translation_are_the_same(mask in masks(), dx in -30_i32..30, dy in -30_i32..30) {
        if let Some(roi) = roi::from_mask(&mask) {
            let moved = roi.translated(dx, dy).expect("a small move");
            prop_assert_eq!(moved.fill(40, 40, 0, 0), roi.fill(40, 40, dx, dy));
            prop_assert_eq!(moved.fill(mask.width(), mask.height(), -dx, -dy), mask);
        }
    }
}

#[test]
fn one_part_without_holes_is_a_polygon_and_the_rest_composites() {
    let kind = |width, pixels: &[u8]| {
        roi::from_mask(&Mask::from_pixels(width, pixels.len() / width, pixels.to_vec())).map(|roi| roi.kind)
    };
    assert_eq!(kind(2, &[0, 0]), None);
    assert_eq!(kind(2, &[1, 1, 1, 0]), Some(RoiKind::Polygon));
    assert_eq!(kind(2, &[1, 0, 0, 1]), Some(RoiKind::Composite), "two pixels that touch at a corner");
    assert_eq!(kind(3, &[1, 1, 1, 1, 0, 1, 1, 1, 1]), Some(RoiKind::Composite), "a hole");
}

#[test]
fn files_of_every_kind_survive_being_written_again() {
    let mut n = 0;
    for entry in std::fs::read_dir(fixtures()).expect("the fixtures") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|e| e == "roi") {
            let roi = roi::decode(&std::fs::read(&path).expect("a fixture")).expect("a ROI");
            assert_eq!(roi::decode(&roi::encode(&roi)).expect("our own bytes"), roi, "{}", path.display());
            n += 1;
        }
    }
    assert!(n > 30);
}

#[test]
fn far_and_negative_polygons_keep_their_coordinates() {
    for [x, y] in [[-4990, -7], [-6000, 3], [32760, 40000], [60600, 65530], [200_000, 1]] {
        let polygon = roi::Roi::polygon(vec![[x, y], [x + 7, y], [x + 7, y + 5], [x, y + 5]]).expect("a polygon");
        let read = roi::decode(&roi::encode(&polygon)).expect("our own bytes");
        // Left of -5000 sub-pixels are needed, and ImageJ's box of those then reaches the image.
        assert!(read.bounds == polygon.bounds || x < -5000);
        assert_eq!(read.fill(9, 9, -x, -y).area(), 35, "at {x}, {y}");
    }
}

#[test]
fn an_outline_of_more_points_than_a_polygon_holds_is_kept() {
    // A comb: every other column of a wide mask hangs from its first row.
    let (width, height) = (40_001, 2);
    let mut mask = Mask::new(width, height);
    mask.set_span(0, 0, width as i64);
    (0..width).step_by(2).for_each(|x| mask.set(x, 1, true));
    let roi = roi::from_mask(&mask).expect("pixels");
    let read = roi::decode(&roi::encode(&roi)).expect("our own bytes");
    assert_eq!(read.fill(width, height, 0, 0), mask);
}
