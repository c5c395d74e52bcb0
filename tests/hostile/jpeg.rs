//! JPEG pictures.

use super::mutate::Corpus;
use super::runner::Suite;
use super::{png, targets};
use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, GrayImage, Luma, Rgb, RgbImage};

fn corpus() -> Vec<Vec<u8>> {
    let grey = GrayImage::from_fn(37, 21, |x, y| Luma([(x * 6 + y * 3) as u8]));
    let colour = RgbImage::from_fn(24, 19, |x, y| Rgb([(x * 9) as u8, (y * 12) as u8, (x * y) as u8]));
    let pictures = [DynamicImage::from(grey), DynamicImage::from(colour)];
    let encode = |(picture, quality): (&DynamicImage, u8)| {
        let mut bytes = Vec::new();
        JpegEncoder::new_with_quality(&mut bytes, quality).encode_image(picture).expect("a JPEG");
        bytes
    };
    pictures.iter().flat_map(|picture| [90, 30].map(|quality| encode((picture, quality)))).collect()
}

fn bound(bytes: &[u8]) -> usize {
    png::bound_of("mutant.jpg", bytes)
}

#[test]
fn mutants() {
    let corpus = Corpus { files: corpus(), words: &[] };
    Suite { name: "jpeg", corpus, n_mutants: 8_000, run: targets::jpeg, bound, repair: None }.test();
}

#[test]
fn a_small_file_cannot_declare_a_huge_picture() {
    for mut bytes in corpus() {
        let frame = bytes.windows(2).position(|w| w == [0xff, 0xc0]).expect("a baseline frame");
        for side in [60_000u16, 20_000, u16::MAX] {
            bytes[frame + 5..frame + 7].copy_from_slice(&side.to_be_bytes());
            bytes[frame + 7..frame + 9].copy_from_slice(&side.to_be_bytes());
            let error = png::refused("huge.jpg", &bytes);
            assert!(error.contains(&format!("{side} x {side}")), "{error}");
        }
    }
}
