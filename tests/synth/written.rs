//! What is written: the composites' pixels and the masks that ImageJ would fill are what was drawn.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use unet_engine::dataset::synth::render::{ORGANS, Picture, picture};
use unet_engine::dataset::synth::scene::{Litter, N_ANGLES};
use unet_engine::dataset::synth::{CompositeKind, LayoutKind, SynthOptions, write};
use unet_engine::error::ErrorKind;
use unet_engine::geometry::Mask;
use unet_engine::roi::{Roi, RoiKind, archive};

const SIZE: usize = 48;
const SEED: u64 = 9;

fn written(folder: &Path, layout: LayoutKind, composite: CompositeKind) {
    let out = folder.to_path_buf();
    write(&SynthOptions { out, n_series: 2, seed: SEED, layout, composite, size: SIZE }).expect("a data set");
}

fn drawn(series: u32) -> Vec<Picture> {
    let litter = Litter::draw(SEED, series);
    (0..N_ANGLES).map(|angle| picture(&litter, SEED, series, angle, SIZE)).collect()
}

/// All ROIs of a file, all of them polygons with the same name inside as outside.
fn rois(path: &Path) -> Vec<Roi> {
    let archive = archive::read(path).expect("ROIs");
    assert!(archive.skipped.is_empty());
    let good = |(_, roi): (String, _)| -> Roi { Result::expect(roi, "a ROI that can be read") };
    let rois: Vec<Roi> = archive.rois.into_iter().map(good).collect();
    assert!(rois.iter().all(|roi| matches!(roi.kind, RoiKind::Polygon | RoiKind::Traced | RoiKind::Freehand)));
    rois
}

/// The organ, sub-image (from 0) and number in a name such as `heart-s07-1`.
fn address(name: &str) -> (usize, usize) {
    let parts: Vec<&str> = name.split('-').collect();
    let organ = ORGANS.iter().position(|organ| *organ == parts[0]).expect("an organ");
    (organ, parts[1][1..].parse::<usize>().expect("a number") - 1)
}

/// Checks that the ROIs, in files' order, fill what was drawn; `shift` moves a sub-image's outlines into its own coordinates.
fn check(pictures: &[Picture], rois: &[Roi], shift: impl Fn(usize) -> (i32, i32)) {
    let mut filled: BTreeMap<(usize, usize), Vec<Mask>> = BTreeMap::new();
    for roi in rois {
        let (organ, i) = address(&roi.name);
        assert_eq!(usize::from(roi.group), organ + 1);
        let (dx, dy) = shift(i);
        filled.entry((organ, i)).or_default().push(roi.fill(SIZE, SIZE, dx, dy));
    }
    for (organ, name) in ORGANS.iter().enumerate() {
        for (i, picture) in pictures.iter().enumerate() {
            let masks = filled.remove(&(organ, i)).unwrap_or_default();
            assert!(masks == picture.organs[organ], "{name} of sub-image {}", i + 1);
        }
    }
}

fn back(i: usize) -> (i32, i32) {
    (-((i % 7 * SIZE) as i32), -((i / 7 * SIZE) as i32))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}

#[test]
fn series_of_grids_hold_what_was_drawn() {
    let folder = tempfile::tempdir().expect("a folder");
    written(folder.path(), LayoutKind::Series, CompositeKind::Grid);
    for (series, path) in files(folder.path()).iter().enumerate() {
        let pictures = drawn(series as u32);
        let grid = image::open(path.join("composite.tif")).expect("a TIFF").to_luma8();
        assert_eq!(grid.dimensions(), (7 * SIZE as u32, 5 * SIZE as u32));
        for (x, y, pixel) in grid.enumerate_pixels() {
            let (x, y) = (x as usize, y as usize);
            let sub_image = &pictures[y / SIZE * 7 + x / SIZE].image;
            assert_eq!(f32::from(pixel.0[0]), sub_image.pixels[y % SIZE * SIZE + x % SIZE]);
        }
        let folders = ["hearts", "livers", "placentas"].map(|organ| files(&path.join(organ)));
        let all: Vec<Roi> = folders.iter().flatten().flat_map(|file| rois(file)).collect();
        // The first series is outlined in composite coordinates, the second in those of the sub-images.
        check(&pictures, &all, |i| if series == 0 { back(i) } else { (0, 0) });
        assert_eq!(all.iter().any(|roi| roi.leaves(SIZE, SIZE)), series == 0);
    }
}

/// Where speckle meets speckle no single seam stands out; all of them together must, with room to spare. In sub-images of 64 pixels they need
/// not, but the name says that it is a composite.
#[test]
fn the_grid_of_every_litter_is_found() {
    for (size, seed) in [(64, 3), (96, 4), (112, 5)] {
        let folder = tempfile::tempdir().expect("a folder");
        let out = folder.path().to_path_buf();
        let options = SynthOptions { out, n_series: 3, seed, layout: LayoutKind::Series, composite: CompositeKind::Grid, size };
        write(&options).expect("a data set");
        for path in files(folder.path()) {
            let file = path.join("composite.tif");
            let (source, reason) = unet_engine::dataset::Source::of_picture(&file, None).expect("a picture");
            assert_eq!(source.numbers().len(), 35, "{reason}");
            let picture = unet_engine::image::read::read(&file).expect("a TIFF");
            let found = unet_engine::image::grid::detect(&picture);
            assert_eq!((found.grid.rows, found.grid.columns, found.grid.cell), (5, 7, [size; 2]), "{}", found.reason);
            assert!(size < 96 || found.confidence > 0.6, "{}: {}", path.display(), found.reason);
        }
    }
}

/// ImageJ, where it is installed, opens the stack with these pictures as its slices.
fn assert_imagej_sees(folder: &std::path::Path, file: &str, pictures: &[Picture]) {
    let Some(slices) = crate::roi::foreign::described("imagej-slices", folder, &[file]) else { return };
    assert_eq!(slices.len(), pictures.len(), "{slices:?}");
    for (i, (slice, picture)) in slices.iter().zip(pictures).enumerate() {
        let pixels: Vec<u8> = picture.image.pixels.iter().map(|&p| p as u8).collect();
        assert_eq!(slice["sha256"], unet_engine::checkpoint::checksum(&pixels), "slice {}", i + 1);
    }
}

#[test]
fn series_of_stacks_carry_positions() {
    let folder = tempfile::tempdir().expect("a folder");
    written(folder.path(), LayoutKind::Series, CompositeKind::Stack);
    for (series, path) in files(folder.path()).iter().enumerate() {
        let pictures = drawn(series as u32);
        let file = std::fs::File::open(path.join("composite.tif")).expect("a file");
        let mut stack = tiff::decoder::Decoder::new(std::io::BufReader::new(file)).expect("a TIFF");
        for (i, picture) in pictures.iter().enumerate() {
            let tiff::decoder::DecodingResult::U8(page) = stack.read_image().expect("a page") else { panic!("8 bits") };
            assert!(page.iter().map(|&p| f32::from(p)).eq(picture.image.pixels.iter().copied()), "page {}", i + 1);
            assert_eq!(stack.more_images(), i + 1 < N_ANGLES);
            if stack.more_images() {
                stack.next_image().expect("a page");
            }
        }
        assert_imagej_sees(path, "composite.tif", &pictures);
        let sets = ["hearts", "livers", "placentas"].map(|organ| rois(&path.join(organ).join("RoiSet.zip")));
        let all = sets.concat();
        assert!(all.iter().all(|roi| roi.position as usize == address(&roi.name).1 + 1));
        check(&pictures, &all, |_| (0, 0));
    }
}

#[test]
fn the_lab_layout_has_folders_and_zips_beside_the_images() {
    let folder = tempfile::tempdir().expect("a folder");
    written(folder.path(), LayoutKind::Lab, CompositeKind::Grid);
    let names: Vec<String> = files(folder.path()).iter().map(|f| f.file_name().unwrap().to_string_lossy().into_owned()).collect();
    assert_eq!(names, ["101.tif", "102.tif", "RoiSet101", "RoiSet102.zip"]);
    let loose: Vec<Roi> = files(&folder.path().join("RoiSet101")).iter().flat_map(|file| rois(file)).collect();
    check(&drawn(0), &loose, back);
    check(&drawn(1), &rois(&folder.path().join("RoiSet102.zip")), back);
}

#[test]
fn folders_in_use_and_absurd_sizes_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("notes.txt"), "mine").expect("a file");
    let options = |size| SynthOptions {
        out: folder.path().to_path_buf(),
        n_series: 1,
        seed: 1,
        layout: LayoutKind::Series,
        composite: CompositeKind::Grid,
        size,
    };
    for size in [SIZE, 8] {
        assert_eq!(write(&options(size)).expect_err("it must not be written to").kind(), ErrorKind::Usage);
    }
    assert_eq!(files(folder.path()).len(), 1);
}
