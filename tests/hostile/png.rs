//! PNG pictures and mask pictures.

use super::allocator::peak_of;
use super::mutate::Corpus;
use super::runner::Suite;
use super::targets;
use png::{BitDepth, ColorType};
use unet_engine::image::read;

/// A picture of `width` x 13 pixels; grey levels, colours or indices from a ramp.
fn picture(width: u32, color: ColorType, depth: BitDepth) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, 13);
    encoder.set_color(color);
    encoder.set_depth(depth);
    if color == ColorType::Indexed {
        encoder.set_palette((0..48).collect::<Vec<u8>>());
    }
    let row = (width as usize * color.samples() * depth as usize).div_ceil(8);
    let most = if color == ColorType::Indexed { 15 } else { 255 };
    let data: Vec<u8> = (0..13 * row).map(|i| (i * 7 % (most + 1)) as u8).collect();
    encoder.write_header().expect("a header").write_image_data(&data).expect("pixels");
    bytes
}

fn corpus() -> Vec<Vec<u8>> {
    let kinds = [
        (19, ColorType::Grayscale, BitDepth::Eight),
        (8, ColorType::Grayscale, BitDepth::Sixteen),
        (9, ColorType::Grayscale, BitDepth::One),
        (10, ColorType::Rgb, BitDepth::Eight),
        (6, ColorType::Rgba, BitDepth::Sixteen),
        (7, ColorType::GrayscaleAlpha, BitDepth::Eight),
        (11, ColorType::Indexed, BitDepth::Four),
        (11, ColorType::Indexed, BitDepth::Eight),
    ];
    kinds.map(|(width, color, depth)| picture(width, color, depth)).to_vec()
}

/// Writes the right checksum behind every chunk.
fn repair(bytes: &mut [u8]) {
    let mut at = 8;
    while let Some(length) = bytes.get(at..at + 4) {
        let length = u32::from_be_bytes([length[0], length[1], length[2], length[3]]) as usize;
        let Some(chunk) = bytes.get(at + 4..at.saturating_add(8).saturating_add(length)) else { return };
        let checksum = crc32(chunk).to_be_bytes();
        let end = at + 8 + length;
        let Some(place) = bytes.get_mut(end..end + 4) else { return };
        place.copy_from_slice(&checksum);
        at = end + 4;
    }
}

/// CRC-32 of ISO 3309, as PNG uses it.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { 0xedb8_8320 ^ (crc >> 1) } else { crc >> 1 })
    })
}

/// The pixels that the header declares and the reader lets pass, with room for the codec's tables.
pub fn bound_of(name: &str, bytes: &[u8]) -> usize {
    /// As the reader: no format packs pixels tighter, and the least that is allowed.
    const MOST_PACKED: usize = 2048;
    const ALWAYS_ALLOWED: usize = 1 << 20;
    /// A byte for the pixel as decoded and as f32, twice while pages are put together; 8 pixels to a byte in 1-bit pictures.
    const BYTES_A_PIXEL: usize = 32;
    let declared = read::size(&targets::scratch(name)).map_or(0, |[width, height]| width.saturating_mul(height));
    let possible = 8 * (ALWAYS_ALLOWED + MOST_PACKED * bytes.len());
    (16 << 20) + BYTES_A_PIXEL * declared.min(possible)
}

fn bound(bytes: &[u8]) -> usize {
    bound_of("mutant.png", bytes)
}

#[test]
fn mutants() {
    let corpus = Corpus { files: corpus(), words: &[] };
    Suite { name: "png", corpus, n_mutants: 12_000, run: targets::png, bound, repair: Some(repair) }.test();
}

/// Reads a file that must be refused: the error, and that hardly anything was held.
pub fn refused(name: &str, bytes: &[u8]) -> String {
    let path = targets::scratch(name);
    std::fs::write(&path, bytes).expect("a file");
    let first = |pages: Vec<_>| pages.into_iter().next().expect("a page");
    let (outcome, peak) = peak_of(|| [read::read(&path), read::read_labels(&path).and_then(first)]);
    assert!(peak < 4 << 20, "{name}: {peak} bytes held for a file of {}", bytes.len());
    let [error, labels] = outcome.map(|o| o.expect_err("a hostile picture").to_string());
    assert!(error.contains(name) && labels.contains(name), "{error}\n{labels}");
    error
}

#[test]
fn a_small_file_cannot_declare_a_huge_picture() {
    for (color, depth) in [(ColorType::Grayscale, BitDepth::Eight), (ColorType::Indexed, BitDepth::Eight)] {
        for [width, height] in [[60_000u32, 60_000], [20_000, 20_000], [1 << 20, 4], [0x7fff_ffff, 0x7fff_ffff]] {
            let mut bytes = picture(11, color, depth);
            bytes[16..20].copy_from_slice(&width.to_be_bytes());
            bytes[20..24].copy_from_slice(&height.to_be_bytes());
            repair(&mut bytes);
            let error = refused("huge.png", &bytes);
            assert!(error.contains(&width.to_string()) || error.contains("PNG"), "{error}");
        }
    }
}

/// Found by fuzzing: a palette with a third of a colour at its end.
#[test]
fn a_palette_of_broken_colours_is_refused() {
    let mut bytes = picture(11, ColorType::Indexed, BitDepth::Eight);
    let palette = bytes.windows(4).position(|w| w == b"PLTE").expect("a palette");
    for length in 49..51 {
        bytes.insert(palette + 4 + 48, 7);
        bytes[palette - 4..palette].copy_from_slice(&u32::to_be_bytes(length));
        repair(&mut bytes);
        let path = targets::scratch("palette.png");
        std::fs::write(&path, &bytes).expect("a file");
        let error = read::read(&path).expect_err("a hostile picture").to_string();
        assert!(error.contains("palette.png") && error.contains(&format!("palette of {length} bytes")), "{error}");
        targets::png(&bytes);
    }
}

/// An honest picture of one intensity packs well and must still be read.
#[test]
fn a_large_empty_picture_is_no_bomb() {
    let path = targets::scratch("empty.png");
    for color in [image::DynamicImage::new_luma8(3000, 3000), image::DynamicImage::new_rgb8(1500, 1500)] {
        color.save(&path).expect("a picture");
        assert!(read::read(&path).expect("an honest picture").pixels.iter().all(|&v| v == 0.0));
    }
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 4096, 4096);
    encoder.set_color(ColorType::Grayscale);
    encoder.set_depth(BitDepth::One);
    encoder.set_compression(png::Compression::High);
    encoder.write_header().expect("a header").write_image_data(&vec![0; 512 * 4096]).expect("pixels");
    std::fs::write(&path, &bytes).expect("a file");
    assert_eq!(read::read(&path).expect("an honest mask").pixels.len(), 1 << 24);
}
