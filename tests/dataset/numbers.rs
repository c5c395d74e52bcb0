//! To which sub-image ROIs go, on disk: positions, names, counting from 0.

use super::{SIDE, composite, rectangle, write_picture, write_rois};
use std::path::Path;
use unet_engine::dataset::{Dataset, open_input};
use unet_engine::roi::Roi;

/// (sub-image, pixels) of an organ in the only series, where it is visible.
fn found(root: &Path, organ: &str) -> Vec<(usize, usize)> {
    let loaded = Dataset::open(root).unwrap().samples(organ).unwrap();
    assert!(loaded.broken.is_empty(), "{:?}", loaded.broken);
    let visible = loaded.samples.iter().filter(|s| !s.instances.is_empty());
    visible.map(|s| (s.sub_image, s.instances.iter().map(|m| m.area()).sum())).collect()
}

fn at(name: &str, position: u32, side: u32) -> Roi {
    let mut roi = rectangle(name, 3, 3, side, side);
    roi.position = position;
    roi
}

/// What a prediction writes, corrected and given back as an annotation.
#[test]
fn predictions_of_one_sub_image_come_back_to_it() {
    let root = tempfile::tempdir().unwrap();
    write_picture(&root.path().join("s/composite.png"), &composite(7, 5, 1));
    write_rois(&root.path().join("s/hearts/RoiSet.zip"), &[at("heart-s07-1", 7, 4), at("heart-s07-2", 7, 6)]);
    write_rois(&root.path().join("s/livers/RoiSet.zip"), &[at("liver", 9, 5)]);
    assert_eq!(found(root.path(), "heart"), [(7, 16 + 36)]);
    assert_eq!(found(root.path(), "liver"), [(9, 25)]);
}

/// A folder of pictures counted from 0, with ROI files that are named like them, none of them for the first.
#[test]
fn pictures_counted_from_zero_keep_their_rois() {
    let root = tempfile::tempdir().unwrap();
    for i in 0..6u32 {
        write_picture(&root.path().join(format!("s/images/img_{i:02}.png")), &composite(1, 1, u64::from(i)));
    }
    write_rois(&root.path().join("s/hearts/img_03_heart.zip"), &[at("a", 0, 4)]);
    write_rois(&root.path().join("s/hearts/img_05_heart.zip"), &[at("a", 0, 5)]);
    assert_eq!(found(root.path(), "heart"), [(4, 16), (6, 25)]);
}

#[test]
fn names_counted_from_zero_shift_neither_positions_nor_the_wrong_sub_image_out() {
    let root = tempfile::tempdir().unwrap();
    write_picture(&root.path().join("s/composite.png"), &composite(7, 5, 1));
    for number in [0, 3, 34] {
        write_rois(&root.path().join(format!("s/hearts/sub_{number:02}.zip")), &[at("a", 0, 4)]);
    }
    write_rois(&root.path().join("s/livers/RoiSet.zip"), &[at("a", 1, 4), at("b", 4, 4), at("c", 35, 4)]);
    let all = [(1, 16), (4, 16), (35, 16)];
    assert_eq!((found(root.path(), "heart"), found(root.path(), "liver")), (all.to_vec(), all.to_vec()));
    std::fs::write(root.path().join("s/hearts/sub_05.roi"), b"broken").unwrap();
    let loaded = Dataset::open(root.path()).unwrap().samples("heart").unwrap();
    let is_there = |number| loaded.samples.iter().any(|s| s.sub_image == number);
    assert!(!is_there(6) && is_there(5), "sub_05 is the sixth");
    assert!(Dataset::open(root.path()).unwrap().samples("liver").unwrap().broken.is_empty(), "the liver is whole");
}

#[test]
fn positions_in_a_folder_of_pictures_are_pages() {
    let root = tempfile::tempdir().unwrap();
    for i in [1u32, 2, 3, 5, 6] {
        write_picture(&root.path().join(format!("s/images/img_{i:02}.png")), &composite(1, 1, u64::from(i)));
    }
    write_rois(&root.path().join("s/hearts/RoiSet.zip"), &[at("a", 2, 4), at("b", 4, 5)]);
    assert_eq!(found(root.path(), "heart"), [(2, 16), (5, 25)]);
}

#[test]
fn the_only_number_counts_even_if_it_is_the_series() {
    let root = tempfile::tempdir().unwrap();
    write_picture(&root.path().join("litter_12/composite.png"), &composite(7, 5, 1));
    write_rois(&root.path().join("litter_12/hearts/sub_12.zip"), &[at("left", 0, 4), rectangle("right", 20, 20, 2, 2)]);
    assert_eq!(found(root.path(), "heart"), [(12, 20)]);
}

#[test]
fn a_folder_of_rois_for_each_sub_image() {
    let root = tempfile::tempdir().unwrap();
    write_picture(&root.path().join("s/composite.png"), &composite(7, 5, 1));
    write_rois(&root.path().join("s/livers/sub_03/l1.zip"), &[at("a", 0, 4)]);
    write_rois(&root.path().join("s/livers/sub_20/l1.zip"), &[at("a", 0, 5)]);
    assert_eq!(found(root.path(), "liver"), [(3, 16), (20, 25)]);
}

/// Numbers say that a picture in which no grid is found is a composite all the same.
#[test]
fn a_composite_without_a_grid_is_not_taken_for_one_sub_image() {
    let root = tempfile::tempdir().unwrap();
    write_picture(&root.path().join("s/composite.png"), &composite(1, 1, 1));
    for number in [3, 9, 20] {
        write_rois(&root.path().join(format!("s/hearts/sub_{number:02}.zip")), &[at("a", number, 4)]);
    }
    let error = Dataset::open(root.path()).unwrap().samples("heart").unwrap_err().to_string();
    assert!(error.contains("grid =") && error.contains("sub-image 20"), "{error}");
    // Names as predictions have them say what their number means, however many ROIs there are.
    let lab = tempfile::tempdir().unwrap();
    write_picture(&lab.path().join("101.tif"), &composite(1, 1, 1));
    let rois: Vec<Roi> = (0..30).map(|i| at(&format!("heart-s{:02}-{}", 1 + i % 3, 1 + i / 3), 0, 4 + i)).collect();
    write_rois(&lab.path().join("RoiSet101.zip"), &rois);
    let error = Dataset::open(lab.path()).unwrap().samples("heart").unwrap_err().to_string();
    assert!(error.contains("grid =") && error.contains("sub-image 3"), "{error}");
}

#[test]
fn folders_of_organs_are_no_roi_sets_of_the_lab() {
    let root = tempfile::tempdir().unwrap();
    write_picture(&root.path().join("litter_01/litter_01.png"), &composite(7, 5, 1));
    for organ in ["heart", "liver"] {
        let rois = [at(&format!("{organ}-0"), 2, 4), at(&format!("{organ}-1"), 5, 4)];
        write_rois(&root.path().join(format!("litter_01/{organ}s/RoiSet_01.zip")), &rois);
    }
    let both = vec![(2, 16), (5, 16)];
    assert_eq!((found(root.path(), "heart"), found(root.path(), "liver")), (both.clone(), both));
    std::fs::write(root.path().join("dataset.toml"), "layout = \"lab\"").unwrap();
    assert!(Dataset::open(root.path()).unwrap_err().to_string().contains("correct layout"));
}

#[test]
fn batches_of_the_lab_keep_to_themselves() {
    let root = tempfile::tempdir().unwrap();
    for (batch, seed) in [("2021", 1), ("2022", 2)] {
        write_picture(&root.path().join(batch).join("scan 1.png"), &composite(7, 5, seed));
    }
    write_rois(&root.path().join("2021/RoiSet1.zip"), &[rectangle("heart_1", SIDE as i32 + 2, 2, 6, 7)]);
    let dataset = Dataset::open(root.path()).unwrap();
    let names: Vec<&str> = dataset.series.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(dataset.organs(), ["heart", "liver", "placenta"]);
    assert_eq!(names.len(), 1, "a batch without annotations is none of the lab's: {names:?}");
    write_rois(&root.path().join("2022/RoiSet1.zip"), &[rectangle("heart_1", SIDE as i32 + 2, 2, 3, 3)]);
    let dataset = Dataset::open(root.path()).unwrap();
    let names: Vec<&str> = dataset.series.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["2021/scan 1.png", "2022/scan 1.png"]);
    assert_eq!(found(root.path(), "heart"), [(2, 42), (2, 9)]);
}

#[test]
fn folders_of_masks_are_no_series_and_no_mask_is_no_annotation() {
    let root = tempfile::tempdir().unwrap();
    for i in 1..=3u32 {
        for picture in 1..=2u32 {
            let seed = u64::from(10 * i + picture);
            write_picture(&root.path().join(format!("s{i}/img_{picture}.png")), &composite(1, 1, seed));
            if i < 3 {
                let mut mask = image::GrayImage::new(SIDE, SIDE);
                mask.put_pixel(i, picture, image::Luma([1]));
                write_picture(&root.path().join(format!("labels/s{i}/img_{picture}.png")), &mask);
            }
        }
    }
    std::fs::write(root.path().join("dataset.toml"), "[organ.nerve]\nmask = \"labels/{series}/{stem}.png\"\n").unwrap();
    let dataset = Dataset::open(root.path()).unwrap();
    let annotated: Vec<(&str, bool)> =
        dataset.series.iter().map(|s| (s.name.as_str(), s.annotations.contains_key("nerve"))).collect();
    assert_eq!(annotated, [("s1", true), ("s2", true), ("s3", false)]);
}

/// `predict` on the folder of a series takes the pictures that training takes.
#[test]
fn a_series_folder_is_read_alike_by_all() {
    let root = tempfile::tempdir().unwrap();
    let nine = root.path().join("litter_9");
    for i in 1..=3u32 {
        write_picture(&nine.join(format!("images/{i}.png")), &composite(1, 1, u64::from(i)));
        write_picture(&nine.join(format!("masks/{i}.png")), &composite(1, 1, u64::from(i) + 9));
    }
    write_rois(&nine.join("hearts/2.zip"), &[at("a", 0, 4)]);
    let eight = root.path().join("litter_8");
    write_picture(&eight.join("composite.png"), &composite(7, 5, 30));
    write_picture(&eight.join("thumbnail.png"), &composite(1, 1, 31));
    let of = |path: &Path| {
        let found = open_input(path, None).unwrap();
        found.into_iter().map(|s| (s.name.clone(), s.len())).collect::<Vec<_>>()
    };
    assert_eq!(of(&nine), [("litter_9".to_owned(), 3)]);
    assert_eq!(of(&eight), [("litter_8".to_owned(), 35)]);
}
