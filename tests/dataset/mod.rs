//! Data sets on disk: written into fresh folders as a lab would, then opened; and the real series where they are at hand.

mod draft;
mod layouts;
mod numbers;
mod pictures;
pub mod real;
mod tiff;

use image::{GrayImage, Luma};
use std::path::Path;
use unet_engine::geometry::Rect;
use unet_engine::random::{Philox, Purpose};
use unet_engine::roi::{Roi, archive};

/// Side of a sub-image in the data sets written here.
const SIDE: u32 = 48;

/// A picture of `columns` x `rows` smooth textures without borders; no two textures of different seeds are alike.
fn composite(columns: u32, rows: u32, seed: u64) -> GrayImage {
    let mut picture = GrayImage::new(columns * SIDE, rows * SIDE);
    for cell in 0..columns * rows {
        let mut rng = Philox::new(seed, 0, cell, Purpose::Synth);
        let waves: Vec<[f32; 3]> = (0..4).map(|_| [rng.range(-0.3, 0.3), rng.range(-0.3, 0.3), rng.range(0.0, 6.0)]).collect();
        let mean = rng.range(70.0, 180.0);
        for y in 0..SIDE {
            for x in 0..SIDE {
                let sum: f32 = waves.iter().map(|w| 15.0 * (w[0] * x as f32 + w[1] * y as f32 + w[2]).sin()).sum();
                let value = (mean + sum + rng.range(-4.0, 4.0)).clamp(0.0, 255.0);
                picture.put_pixel(cell % columns * SIDE + x, cell / columns * SIDE + y, Luma([value as u8]));
            }
        }
    }
    picture
}

fn rectangle(name: &str, left: i32, top: i32, width: u32, height: u32) -> Roi {
    let mut roi = Roi::rectangle(Rect { left, top, width, height });
    roi.name = name.to_owned();
    roi
}

fn write_rois(path: &Path, rois: &[Roi]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    archive::write(path, rois).unwrap();
}

fn write_picture(path: &Path, picture: &GrayImage) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    picture.save(path).unwrap();
}
