//! TIFF pages as other programs write them: colour maps, white as zero, packed bits, planes.

use std::path::{Path, PathBuf};
use unet_engine::image::Gray;
use unet_engine::image::read;

/// Tags of a page and its strips, as a file of little-endian TIFF. `tags` may hold SHORTs only.
fn write_page(path: &Path, [width, height]: [u16; 2], tags: &[(u16, Vec<u16>)], strips: &[Vec<u8>]) {
    const SHORT: u16 = 3;
    const LONG: u16 = 4;
    let mut file = b"II\x2a\0\0\0\0\0".to_vec();
    let mut entries: Vec<(u16, u16, Vec<u8>)> = Vec::new();
    let (mut offsets, mut counts) = (Vec::new(), Vec::new());
    for strip in strips {
        offsets.extend((file.len() as u32).to_le_bytes());
        counts.extend((strip.len() as u32).to_le_bytes());
        file.extend(strip);
    }
    let shorts = |values: &[u16]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    for (tag, values) in [(256, vec![width]), (257, vec![height]), (259, vec![1]), (278, vec![height])].iter().chain(tags) {
        entries.push((*tag, SHORT, shorts(values)));
    }
    entries.push((273, LONG, offsets));
    entries.push((279, LONG, counts));
    entries.sort_by_key(|entry| entry.0);
    let mut directory = (entries.len() as u16).to_le_bytes().to_vec();
    for (tag, kind, values) in entries {
        directory.extend([tag, kind].iter().flat_map(|v| v.to_le_bytes()));
        directory.extend((values.len() as u32 / if kind == SHORT { 2 } else { 4 }).to_le_bytes());
        if values.len() <= 4 {
            directory.extend(values.iter().copied().chain([0; 4]).take(4));
        } else {
            directory.extend((file.len() as u32).to_le_bytes());
            file.extend(&values);
        }
    }
    directory.extend([0; 4]);
    let at = file.len() as u32;
    file[4..8].copy_from_slice(&at.to_le_bytes());
    file.extend(directory);
    std::fs::write(path, file).unwrap();
}

const BITS: u16 = 258;
const PHOTOMETRIC: u16 = 262;
const SAMPLES: u16 = 277;
const PLANAR: u16 = 284;
const COLOR_MAP: u16 = 320;

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mask.tif");
    (folder, path)
}

fn labels(path: &Path) -> Vec<f32> {
    read::read_labels(path).unwrap().remove(0).unwrap().pixels
}

#[test]
fn labels_of_a_palette_are_its_indices() {
    let (_folder, path) = folder();
    // Reds, then greens, then blues: 1 is red, 2 is white.
    let map = |n: usize| {
        let channel = |bright: &[usize]| (0..n).map(|i| if bright.contains(&i) { 0xffff } else { 0 }).collect::<Vec<u16>>();
        [channel(&[1, 2]), channel(&[2]), channel(&[2])].concat()
    };
    let tags = |bits: u16, n: usize| vec![(BITS, vec![bits]), (PHOTOMETRIC, vec![3]), (COLOR_MAP, map(n))];
    write_page(&path, [3, 2], &tags(8, 256), &[vec![0, 1, 2, 2, 1, 0]]);
    assert_eq!(labels(&path), [0.0, 1.0, 2.0, 2.0, 1.0, 0.0]);
    let shown = read::read(&path).unwrap().pixels;
    assert_eq!((shown[0], shown[1].round(), shown[2]), (0.0, 76.0, 255.0), "a picture is read as it is shown");
    // Rows of packed indices end with a byte.
    write_page(&path, [3, 2], &tags(4, 16), &[vec![0x01, 0x20, 0x2f, 0x10]]);
    assert_eq!(labels(&path), [0.0, 1.0, 2.0, 2.0, 15.0, 1.0]);
}

#[test]
fn labels_are_as_stored_where_zero_is_white() {
    let (_folder, path) = folder();
    let tags = |bits: u16| vec![(BITS, vec![bits]), (PHOTOMETRIC, vec![0])];
    write_page(&path, [3, 1], &tags(8), &[vec![0, 255, 7]]);
    assert_eq!(labels(&path), [0.0, 255.0, 7.0]);
    assert_eq!(read::read(&path).unwrap().pixels, [255.0, 0.0, 248.0], "a picture is read as it is shown");
    write_page(&path, [2, 1], &tags(16), &[vec![1, 0, 0x2c, 0x01]]);
    assert_eq!(labels(&path), [1.0, 300.0]);
    write_page(&path, [10, 2], &tags(1), &[vec![0b1010_0000, 0b0100_0000, 0, 0b1100_0000]]);
    let expected = [1., 0., 1., 0., 0., 0., 0., 0., 0., 1., 0., 0., 0., 0., 0., 0., 0., 0., 1., 1.];
    assert_eq!(labels(&path), expected);
}

#[test]
fn packed_grey_is_read() {
    let (_folder, path) = folder();
    write_page(&path, [1, 3], &[(BITS, vec![1]), (PHOTOMETRIC, vec![1])], &[vec![0x80, 0, 0x80]]);
    assert_eq!(read::read(&path).unwrap(), Gray::new(1, 3, vec![1.0, 0.0, 1.0]));
    write_page(&path, [3, 2], &[(BITS, vec![4]), (PHOTOMETRIC, vec![1])], &[vec![0xa1, 0x20, 0x3f, 0x40]]);
    assert_eq!(read::read(&path).unwrap().pixels, [10.0, 1.0, 2.0, 3.0, 15.0, 4.0]);
}

/// Each colour a plane of its own.
#[test]
fn planes_of_colour_give_luminance() {
    let (_folder, path) = folder();
    let tags =
        |bits: u16, n: u16| vec![(BITS, vec![bits; n as usize]), (PHOTOMETRIC, vec![2]), (SAMPLES, vec![n]), (PLANAR, vec![2])];
    write_page(&path, [2, 1], &tags(8, 3), &[vec![10, 77], vec![200, 77], vec![50, 77]]);
    let pixels = read::read(&path).unwrap().pixels;
    assert!((pixels[0] - 126.09).abs() < 1e-3, "0.299 * 10 + 0.587 * 200 + 0.114 * 50, found {}", pixels[0]);
    assert_eq!(pixels[1], 77.0);
    let plane = |v: u16| [v.to_le_bytes(), 1000u16.to_le_bytes()].concat();
    write_page(&path, [1, 2], &tags(16, 3), &[plane(10_000), plane(0), plane(0)]);
    assert_eq!(read::read(&path).unwrap().pixels, [2990.0, 1000.0]);
}

/// A mask with an inverting look-up table, of which 200 pixels are inside, saved by ImageJ 1.53t (`tools/imagej/fixtures`).
#[test]
fn a_mask_of_imagej_is_read() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tiff/inverting-lut.tif");
    let labels = labels(&path);
    assert_eq!(labels.iter().filter(|&&v| v == 255.0).count(), 200);
    assert_eq!(labels.iter().filter(|&&v| v == 0.0).count(), 2200);
    let shown = read::read(&path).unwrap();
    assert_eq!((shown.width, shown.height), (60, 40));
    assert_eq!((shown.pixels[0], shown.pixels[15 * 60 + 15]), (255.0, 0.0), "inside is shown black");
}

/// Every byte of the file in turn is set to 0xff, and the file is cut there: an error or a picture, never a panic.
#[test]
fn broken_planes_and_palettes_are_errors() {
    let (_folder, path) = folder();
    let planes = vec![(BITS, vec![8; 3]), (PHOTOMETRIC, vec![2]), (SAMPLES, vec![3]), (PLANAR, vec![2])];
    let palette = vec![(BITS, vec![2]), (PHOTOMETRIC, vec![3]), (COLOR_MAP, vec![9; 12])];
    let mut n_errors = 0;
    for (tags, strips) in [(planes, vec![vec![1; 20]; 3]), (palette, vec![vec![0x1b; 10]])] {
        write_page(&path, [4, 5], &tags, &strips);
        let good = std::fs::read(&path).unwrap();
        for at in 0..good.len() {
            for value in [0, 0xff] {
                let mut bad = good.clone();
                bad[at] = value;
                std::fs::write(&path, &bad).unwrap();
                n_errors += usize::from(read::read_pages(&path).is_err()) + usize::from(read::read_labels(&path).is_err());
            }
            std::fs::write(&path, &good[..at]).unwrap();
            assert!(read::read(&path).is_err(), "cut at {at}");
        }
    }
    assert!(n_errors > 0);
}
