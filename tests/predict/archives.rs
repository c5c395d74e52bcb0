//! ROI archives hold exactly the masks, in both coordinate systems, with names, groups and positions.

use super::{World, stderr, text, write_grid, write_stack};
use crate::train::discs;
use std::collections::BTreeMap;
use std::path::Path;
use unet_engine::geometry::Mask;
use unet_engine::roi::{Roi, archive};

const CELL: [usize; 2] = [30, 26];
const COLUMNS: usize = 6;
const BORDER: usize = 3;

fn rois(path: &Path) -> Vec<(String, Roi)> {
    let archive = archive::read(path).unwrap();
    assert!(archive.skipped.is_empty());
    archive.rois.into_iter().map(|(entry, roi)| (entry, roi.unwrap())).collect()
}

/// The sub-image's number in a name like `disc-s07-1`.
fn number(name: &str) -> usize {
    name.split("-s").nth(1).and_then(|rest| rest.split('-').next()).and_then(|n| n.parse().ok()).expect("a name of ours")
}

fn mask_file(series: &Path, number: usize) -> Mask {
    let picture = image::open(series.join(format!("masks/disc-s{number:02}.png"))).unwrap().into_luma8();
    assert!(picture.pixels().all(|p| p[0] == 0 || p[0] == 255));
    Mask::from_pixels(picture.width() as usize, picture.height() as usize, picture.into_raw())
}

/// The union of the ROIs of each sub-image, moved by (dx, dy) of its number.
fn filled(rois: &[(String, Roi)], offset: impl Fn(usize) -> (i32, i32)) -> BTreeMap<usize, Mask> {
    let mut masks = BTreeMap::new();
    for (_, roi) in rois {
        let number = number(&roi.name);
        let (dx, dy) = offset(number);
        let mask = roi.fill(CELL[0], CELL[1], dx, dy);
        assert_eq!(mask.area() as u64, roi.mask_area_px(), "{} leaves its sub-image", roi.name);
        masks.entry(number).or_insert_with(|| Mask::new(CELL[0], CELL[1])).union_with(&mask);
    }
    masks
}

#[test]
fn archives_decode_to_the_masks_in_both_coordinate_systems() {
    let world = World::shared();
    let samples = discs();
    write_grid(&world.path("grid.png"), &samples, COLUMNS, BORDER);
    write_stack(&world.path("pages.tif"), &samples[..12]);
    let (run, grid, stack, out) = (world.path("run"), world.path("grid.png"), world.path("pages.tif"), world.path("out"));
    let output = world.run(&["predict", "--model", text(&run), text(&grid), text(&stack), "--out", text(&out)]);
    assert!(output.status.success(), "{}", stderr(&output));

    let series = out.join("grid");
    let in_cells = rois(&series.join("disc_RoiSet.zip"));
    let in_composite = rois(&series.join("disc_composite_RoiSet.zip"));
    assert!(in_cells.len() >= 10 && in_cells.len() == in_composite.len(), "{} objects", in_cells.len());
    let cells = filled(&in_cells, |_| (0, 0));
    let origin = |n: usize| [(n - 1) % COLUMNS * (CELL[0] + BORDER), (n - 1) / COLUMNS * (CELL[1] + BORDER)].map(|v| -(v as i32));
    let composite = filled(&in_composite, |n| (origin(n)[0], origin(n)[1]));
    assert_eq!(cells, composite);
    for number in 1..=samples.len() {
        let empty = Mask::new(CELL[0], CELL[1]);
        assert_eq!(&mask_file(&series, number), cells.get(&number).unwrap_or(&empty), "sub-image {number}");
        assert!(series.join(format!("overlays/disc-s{number:02}.png")).is_file());
    }
    for (entry, roi) in in_cells.iter().chain(&in_composite) {
        assert_eq!(*entry, format!("{}.roi", roi.name));
        assert_eq!((roi.group, roi.property("model")), (4, Some("run")));
        assert!(roi.stroke_color.is_some() && roi.property("score").is_some() && roi.property("threshold").is_some());
        assert!(roi.property("expected_precision").is_some_and(|p| p.parse::<f64>().is_ok_and(|p| (0.0..=1.0).contains(&p))));
    }
    assert!(in_composite.iter().all(|(_, roi)| roi.position == 0));
    check_review(&series, &cells);
    for page in [out.join("report.html"), series.join("report.html")] {
        let text = std::fs::read_to_string(&page).unwrap();
        assert!(text.contains("disc") && !text.contains("http"), "{}", page.display());
    }
    let page = std::fs::read_to_string(series.join("report.html")).unwrap();
    assert_eq!(page.matches("<figure>").count(), samples.len());

    let series = out.join("pages");
    assert!(!series.join("disc_composite_RoiSet.zip").exists(), "a stack has no composite");
    let in_stack = rois(&series.join("disc_RoiSet.zip"));
    assert!(in_stack.iter().all(|(_, roi)| roi.position as usize == number(&roi.name)));
    assert!(filled(&in_stack, |_| (0, 0)).iter().all(|(number, mask)| mask_file(&series, *number) == *mask));

    let summary = std::fs::read_to_string(out.join("summary.csv")).unwrap();
    let mut lines = summary.lines();
    assert_eq!(lines.next(), Some("series,sub_image,organ,object,area_px,centroid_x,centroid_y,score"));
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len(), in_cells.len() + in_stack.len());
    for (row, (_, roi)) in rows.iter().zip(in_cells.iter().chain(&in_stack)) {
        let name = format!("{}-s{:0>2}-{}", row[2], row[1], row[3]);
        assert_eq!((name, row[4].parse()), (roi.name.clone(), Ok(roi.mask_area_px())));
    }
}

/// Objects for review share no pixel with accepted ones, and say that they are for review.
fn check_review(series: &Path, accepted: &BTreeMap<usize, Mask>) {
    let review = rois(&series.join("disc_review.zip"));
    assert_eq!(review.len(), rois(&series.join("disc_composite_review.zip")).len());
    for (_, roi) in &review {
        assert_eq!((roi.group, roi.property("model")), (9, Some("run")));
        let mask = roi.fill(CELL[0], CELL[1], 0, 0);
        let shared = accepted
            .get(&number(&roi.name))
            .map_or(0, |other| other.pixels().iter().zip(mask.pixels()).map(|(a, b)| usize::from(a & b)).sum::<usize>());
        assert_eq!(shared, 0, "{}", roi.name);
    }
}

/// With a high threshold of their own, objects that the chosen threshold accepts are for review.
#[test]
fn what_misses_the_threshold_is_for_review() {
    let world = World::shared();
    let (run, stack, out) = (world.path("run-review"), world.path("review.tif"), world.path("out-review"));
    std::fs::create_dir_all(run.join("checkpoints")).unwrap();
    for file in ["checkpoints/best.safetensors", "checkpoints/best.safetensors.sha256", "splits.json"] {
        std::fs::copy(world.path("run").join(file), run.join(file)).unwrap();
    }
    // The tiny model misses nothing on its validation series, so that it has nothing for review.
    let mut calibration: serde_json::Value =
        serde_json::from_slice(&std::fs::read(world.path("run/calibration.json")).unwrap()).unwrap();
    calibration["review"] = serde_json::json!({"threshold": 0.4, "object_precision": 0.5});
    std::fs::write(run.join("calibration.json"), calibration.to_string()).unwrap();
    write_stack(&stack, &discs()[..12]);
    let args = ["predict", "--json", "--model", text(&run), text(&stack), "--out", text(&out), "--threshold", "0.999"];
    let output = world.run(&args);
    assert!(output.status.success(), "{}", stderr(&output));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let review = rois(&out.join("review/disc_review.zip"));
    assert!(!review.is_empty() && report["review"]["disc"].as_u64() == Some(review.len() as u64), "{report}");
    for (_, roi) in &review {
        assert_eq!((roi.position as usize, roi.group), (number(&roi.name), 9));
        assert_eq!(roi.property("expected_precision"), None, "nothing is known at a threshold that the user chose");
    }
}

#[test]
fn a_later_prediction_into_the_same_folder_keeps_the_rows_of_the_one_before() {
    let world = World::shared();
    let (run, out) = (world.path("run"), world.path("out-twice"));
    let rows = |file: &str, first: usize| {
        let picture = world.path(file);
        write_stack(&picture, &discs()[first..first + 6]);
        let output = world.run(&["predict", "--model", text(&run), text(&picture), "--out", text(&out)]);
        assert!(output.status.success(), "{}", stderr(&output));
        std::fs::read_to_string(out.join("summary.csv")).unwrap().lines().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    let first = rows("one.tif", 0);
    let both = rows("two.tif", 6);
    assert!(!first.is_empty() && both.len() > first.len() && first.iter().all(|row| both.contains(row)));
    assert_eq!(rows("two.tif", 6).len(), both.len(), "the same again adds nothing");
}

#[test]
fn a_broken_picture_is_named_and_the_rest_goes_on() {
    let world = World::shared();
    let folder = world.path("mixed");
    std::fs::create_dir_all(&folder).unwrap();
    let (good, bad, out) = (folder.join("good.tif"), folder.join("bad.png"), world.path("out-mixed"));
    write_stack(&good, &discs()[..2]);
    std::fs::write(&bad, b"no picture").unwrap();
    let run = world.path("run");
    let args = ["predict", "--model", text(&run), text(&bad), text(&good), "--out", text(&out)];
    let output = world.run(&args);
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("bad.png"), "{}", stderr(&output));
    assert!(out.join("good/disc_RoiSet.zip").is_file() && out.join("summary.csv").is_file());
    let again = world.run(&[&args[..], &["--keep-going"]].concat());
    assert_eq!(again.status.code(), Some(0));
    assert!(stderr(&again).contains("bad.png"), "{}", stderr(&again));
    let only_bad = world.run(&["predict", "--model", text(&run), text(&bad), "--out", text(&out)]);
    assert_eq!(only_bad.status.code(), Some(3));
}

/// Whether the folder holds composites, single sub-images, or a folder per series, and wherever the broken one stands.
#[test]
fn a_broken_picture_in_a_folder_is_left_out() {
    let world = World::shared();
    let samples = discs();
    let run = world.path("run");
    for (case, kind) in ["composites", "singles", "folders"].into_iter().enumerate() {
        for broken in [0, 1] {
            let folder = world.path(&format!("{kind}-{broken}"));
            let file = |i: usize| match kind {
                "folders" => folder.join(format!("series-{i}")).join("composite.tif"),
                _ => folder.join(format!("picture-{i}.tif")),
            };
            for i in 0..3 {
                std::fs::create_dir_all(file(i).parent().unwrap()).unwrap();
                let n_pages = if kind == "singles" { 1 } else { 2 };
                write_stack(&file(i), &samples[2 * i..2 * i + n_pages]);
            }
            std::fs::write(file(broken), b"no picture").unwrap();
            let out = world.path(&format!("out-{kind}-{broken}"));
            let output = world.run(&["predict", "--json", "--model", text(&run), text(&folder), "--out", text(&out)]);
            assert_eq!(output.status.code(), Some(3), "{kind}: {}", stderr(&output));
            assert!(stderr(&output).contains(text(&file(broken))), "{kind}: {}", stderr(&output));
            let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            let expected = [(2, 4), (1, 2), (2, 4)][case];
            assert_eq!(
                (report["series"].as_u64(), report["sub_images"].as_u64()),
                (Some(expected.0), Some(expected.1)),
                "{kind}"
            );
        }
    }
}

#[test]
fn what_is_no_model_is_said_to_be_none() {
    let world = World::shared();
    let (data, out) = (world.path("data"), world.path("out-none"));
    let output = world.run(&["predict", "--model", text(&data), text(&data), "--out", text(&out)]);
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("run directory"), "{}", stderr(&output));
    let run = world.path("run");
    let gpu = world.run(&["predict", "--model", text(&run), text(&data), "--out", text(&out), "--device", "cuda:99"]);
    assert_eq!(gpu.status.code(), Some(4), "{}", stderr(&gpu));
    assert!(!out.exists());
}
