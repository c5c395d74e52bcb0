//! The sheet of augmented samples.

use super::{PLAIN, blobs, texture};
use std::path::Path;
use unet_engine::augment::{Address, AugmentConfig, Prepared, Sampler, View, preview};

const GAP: usize = 4;
const OUTLINE: [u8; 3] = [255, 140, 0];
const PADDING: [u8; 3] = [40, 45, 70];

fn view(size: usize, seed: u64) -> View {
    View { size, seed, normalization: PLAIN }
}

fn sheet(path: &Path) -> image::RgbImage {
    image::open(path).expect("a PNG").to_rgb8()
}

#[test]
fn a_sheet_shows_outlines_in_colour() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("sheet.png");
    let mut empty = texture(40, 40);
    empty.instances.clear();
    preview(&[blobs(80, 60), empty, blobs(64, 64)], &AugmentConfig::default(), view(160, 0), &path).expect("a sheet");
    let sheet = sheet(&path);
    assert_eq!(sheet.dimensions(), (7 * 164 + 4, 2 * 164 + 4), "two samples show the organ");
    let n_outline = sheet.pixels().filter(|p| p.0 == [255, 140, 0]).count();
    assert!(n_outline > 14 * 100, "{n_outline} pixels of outlines");
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1, "no temporary file stays");
}

#[test]
fn no_samples_are_an_error() {
    let path = Path::new("nowhere/sheet.png");
    assert!(preview(&[], &AugmentConfig::default(), view(32, 0), path).is_err());
    let error = preview(&[blobs(64, 64)], &AugmentConfig::default(), view(32, 0), path).expect_err("no such folder");
    assert!(error.to_string().contains("sheet.png"), "{error}");
}

/// Every pixel of the sheet shows the pixel of the network's input that the training would draw there: its size, its seed, its epochs.
#[test]
fn it_shows_what_the_network_sees() {
    let folder = tempfile::tempdir().expect("a folder");
    let samples = [blobs(80, 60), blobs(64, 64)];
    let config = AugmentConfig::default();
    // An input that is enlarged by whole pixels, one that is reduced.
    for (size, side) in [(48, 192), (600, 512)] {
        let path = folder.path().join(format!("{size}.png"));
        preview(&samples, &config, view(size, 7), &path).expect("a sheet");
        let sheet = sheet(&path);
        assert_eq!(sheet.dimensions().0 as usize, 7 * (side + GAP) + GAP);
        let mut arrays = [(); 3].map(|()| vec![0.0; size * size]);
        let (mut n_grey, mut n_padding) = (0, 0);
        for (row, sample) in samples.iter().enumerate() {
            for column in 1..7 {
                let [image, target, weight] = &mut arrays;
                let address = Address { seed: 7, epoch: column as u32 - 1, image: row as u32 };
                let prepared = Prepared::new(sample, [size; 2], PLAIN, 1);
                Sampler::new([size; 2], Some(config.clone()), PLAIN).fill(&prepared, address, image, target, weight);
                for (x, y) in (0..side * side).map(|i| (i % side, i / side)) {
                    let at = |v: usize, cell: usize| (GAP + cell * (side + GAP) + v) as u32;
                    let shown = sheet.get_pixel(at(x, column), at(y, row)).0;
                    let i = y * size / side * size + x * size / side;
                    let grey = (image[i] * 255.0).clamp(0.0, 255.0) as u8;
                    match shown {
                        OUTLINE => assert!(target[i] > 0.0, "outlines lie inside"),
                        PADDING => assert!(weight[i] == 0.0, "({x}, {y}) is in the picture"),
                        _ => assert_eq!((shown, weight[i]), ([grey; 3], 1.0), "({x}, {y}) at input {size}"),
                    }
                    n_grey += usize::from(shown == [grey; 3]);
                    n_padding += usize::from(shown == PADDING);
                }
            }
        }
        assert!(n_grey > side * side && n_padding > side, "{n_grey} grey pixels, {n_padding} of padding");
    }
}

#[test]
fn another_seed_is_another_sheet() {
    let folder = tempfile::tempdir().expect("a folder");
    let sheets = [1, 2].map(|seed| {
        let path = folder.path().join(format!("{seed}.png"));
        preview(&[blobs(64, 64)], &AugmentConfig::default(), view(32, seed), &path).expect("a sheet");
        std::fs::read(path).expect("the file")
    });
    assert_ne!(sheets[0], sheets[1]);
}
