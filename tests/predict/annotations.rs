//! What `predict` writes is annotation again: corrected in Fiji or not, it goes into the next training set.

use super::{World, stderr, text, write_grid, write_stack};
use crate::train::discs;
use std::path::{Path, PathBuf};
use unet_engine::dataset::Dataset;
use unet_engine::geometry::Mask;

/// Predicts `input` and returns the folder of its series.
fn predict(world: &World, input: &Path, out: &str) -> PathBuf {
    let (run, out) = (world.path("run"), world.path(out));
    // Low, so that sub-images have several objects: their numbers are what names count.
    let point = ["--threshold", "0.1", "--min-area", "2"];
    let args = ["predict", "--model", text(&run), text(input), "--out", text(&out)];
    let output = world.run(&[&args[..], &point[..]].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    out.join(input.file_stem().unwrap())
}

fn mask_file(series: &Path, number: usize) -> Mask {
    let file = series.join(format!("masks/disc-s{number:02}.png"));
    let picture = image::open(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display())).into_luma8();
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    Mask::from_pixels(width, height, picture.into_raw().iter().map(|p| u8::from(*p != 0)).collect())
}

/// How many objects `summary.csv` lists of a sub-image.
fn n_objects(series: &Path, number: usize) -> usize {
    let summary = std::fs::read_to_string(series.parent().unwrap().join("summary.csv")).unwrap();
    let start = format!("{},{number},disc,", series.file_name().unwrap().to_str().unwrap());
    summary.lines().filter(|line| line.starts_with(&start)).count()
}

/// A data set of the one picture with the archive as its annotation, opened.
fn open(world: &World, name: &str, picture: &Path, archive: &Path) -> Dataset {
    let root = world.path(name);
    let series = root.join("litter");
    std::fs::create_dir_all(series.join("disc")).unwrap();
    let extension = picture.extension().unwrap().to_str().unwrap();
    std::fs::copy(picture, series.join(format!("composite.{extension}"))).unwrap();
    std::fs::copy(archive, series.join("disc/RoiSet.zip")).unwrap();
    Dataset::open(&root).unwrap()
}

fn assert_same(dataset: &Dataset, predicted: &Path, label: &str) {
    assert!(dataset.broken.is_empty(), "{label}: {:?}", dataset.broken);
    let loaded = dataset.samples("disc").unwrap_or_else(|e| panic!("{label}: {e}"));
    assert!(loaded.broken.is_empty() && loaded.warnings.is_empty(), "{label}: {:?} {:?}", loaded.broken, loaded.warnings);
    assert_eq!(loaded.samples.len(), discs().len(), "{label}");
    for sample in &loaded.samples {
        let number = sample.sub_image;
        let mut found = Mask::new(sample.image.width, sample.image.height);
        sample.instances.iter().for_each(|mask| found.union_with(mask));
        assert_eq!(found, mask_file(predicted, number), "{label}, sub-image {number}");
        assert_eq!(sample.instances.len(), n_objects(predicted, number), "{label}, sub-image {number}");
    }
}

#[test]
fn predictions_come_back_as_annotations() {
    let world = World::shared();
    let samples = discs();
    let (grid, stack) = (world.path("again.png"), world.path("again-stack.tif"));
    write_grid(&grid, &samples, 6, 3);
    write_stack(&stack, &samples);
    let (of_grid, of_stack) = (predict(world, &grid, "out-again"), predict(world, &stack, "out-again-stack"));
    let several = (1..=samples.len()).filter(|&number| n_objects(&of_grid, number) > 1).count();
    assert!(several > 0, "no sub-image has several objects");
    let cases = [
        ("composite in its own coordinates", &grid, &of_grid, "disc_composite_RoiSet.zip"),
        ("composite in sub-images' coordinates", &grid, &of_grid, "disc_RoiSet.zip"),
        ("stack", &stack, &of_stack, "disc_RoiSet.zip"),
    ];
    for (case, (label, picture, predicted, archive)) in cases.into_iter().enumerate() {
        let dataset = open(world, &format!("again-{case}"), picture, &predicted.join(archive));
        assert_same(&dataset, predicted, label);
    }
}
