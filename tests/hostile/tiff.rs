//! TIFF pictures and stacks.

use super::allocator::peak_of;
use super::mutate::Corpus;
use super::runner::Suite;
use super::{png, targets};
use std::io::Cursor;
use tiff::encoder::colortype::{Gray8, Gray16, Gray32Float, RGB8};
use tiff::encoder::{Compression, DeflateLevel, TiffEncoder};
use unet_engine::image::read;

/// A stack of `n` pages.
fn stack(n: u8, compression: Compression) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::new(&mut bytes).expect("an encoder").with_compression(compression);
    for page in 0..n {
        let pixels: Vec<u8> = (0..12 * 7).map(|i| (i * 3) as u8 ^ page).collect();
        encoder.write_image::<Gray8>(12, 7, &pixels).expect("a page");
    }
    bytes.into_inner()
}

/// A page of each of these types, uncompressed.
fn typed() -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::new(&mut bytes).expect("an encoder");
    encoder.write_image::<Gray16>(5, 4, &[700; 20]).expect("16 bit");
    encoder.write_image::<RGB8>(4, 3, &[9; 36]).expect("RGB");
    encoder.write_image::<Gray32Float>(3, 3, &[0.25; 9]).expect("float");
    bytes.into_inner()
}

/// A little-endian TIFF of pages given as tags (number, type, count, value), with data at byte 8; the pages follow each other, and the
/// last one points to byte `last`.
fn tagged(data: &[u8], pages: &[&[(u16, u16, u32, u32)]], last: u32) -> Vec<u8> {
    let first = 8 + data.len() as u32;
    let mut bytes = b"II*\0".to_vec();
    bytes.extend(first.to_le_bytes());
    bytes.extend(data);
    for (i, tags) in pages.iter().enumerate() {
        bytes.extend((tags.len() as u16).to_le_bytes());
        for (tag, kind, count, value) in *tags {
            bytes.extend([tag.to_le_bytes(), kind.to_le_bytes()].concat());
            bytes.extend([count.to_le_bytes(), value.to_le_bytes()].concat());
        }
        let next = if i + 1 == pages.len() { last } else { bytes.len() as u32 + 4 };
        bytes.extend(next.to_le_bytes());
    }
    bytes
}

const SHORT: u16 = 3;
const LONG: u16 = 4;

/// The tags of a grey page of 8 bits, stored as one strip of `n_bytes` from byte `offset` in `compression`.
fn page(width: u32, height: u32, compression: u32, offset: u32, n_bytes: u32) -> [(u16, u16, u32, u32); 9] {
    [
        (256, LONG, 1, width),
        (257, LONG, 1, height),
        (258, SHORT, 1, 8),
        (259, SHORT, 1, compression),
        (262, SHORT, 1, 1),
        (273, LONG, 1, offset),
        (277, SHORT, 1, 1),
        (278, LONG, 1, height),
        (279, LONG, 1, n_bytes),
    ]
}

/// A page with a colour map of 256 entries.
fn palette() -> Vec<u8> {
    let map: Vec<u8> = (0..3 * 256u32).flat_map(|i| ((i * 85) as u16).to_le_bytes()).collect();
    let pixels: Vec<u8> = (0..48).collect();
    let mut tags = page(8, 6, 1, 8 + map.len() as u32, 48).to_vec();
    tags[4].3 = 3;
    tags.push((320, SHORT, 768, 8));
    tagged(&[map, pixels].concat(), &[&tags], 0)
}

/// A page in tiles, of which one holds it all.
fn tiles() -> Vec<u8> {
    let tile: Vec<u8> = (0..=255).collect();
    let mut tags = page(12, 9, 1, 8, 256).to_vec();
    tags.retain(|(tag, ..)| ![273, 278, 279].contains(tag));
    tags.extend([(322, SHORT, 1, 16), (323, SHORT, 1, 16), (324, LONG, 1, 8), (325, LONG, 1, 256)]);
    tagged(&tile, &[&tags], 0)
}

fn corpus() -> Vec<Vec<u8>> {
    let mut files = vec![
        typed(),
        stack(3, Compression::Uncompressed),
        stack(1, Compression::Lzw),
        stack(2, Compression::Packbits),
        stack(1, Compression::Deflate(DeflateLevel::Fast)),
    ];
    files.push(tiles());
    files
}

/// A stack may hold several pages, each as large as the reader lets pass.
fn bound(bytes: &[u8]) -> usize {
    /// As the reader: no format packs pixels tighter, and a pixel is a byte as decoded and four as f32, here twice.
    const MOST_PACKED: usize = 2048;
    png::bound_of("mutant.tif", bytes) + 2 * 4 * MOST_PACKED * bytes.len()
}

#[test]
fn mutants() {
    let mut files = corpus();
    for (i, file) in files.iter().enumerate() {
        assert!(targets::tiff(file), "file {i} of the corpus: {:?}", read::read(&targets::scratch("mutant.tif")));
    }
    // The decoder knows no palettes; what mutants of one become is another matter.
    files.push(palette());
    let corpus = Corpus { files, words: &[] };
    Suite { name: "tiff", corpus, n_mutants: 20_000, run: targets::tiff, bound, repair: None }.test();
}

#[test]
fn a_small_file_cannot_declare_a_huge_picture() {
    let data = [0u8; 500];
    for compression in [1, 5, 8, 32_773] {
        for [width, height] in [[60_000, 60_000], [20_000, 20_000], [30_000, 1_000]] {
            let bytes = tagged(&data, &[&page(width, height, compression, 8, 500)], 0);
            let error = png::refused("huge.tif", &bytes);
            assert!(error.contains(&format!("{width} x {height}")), "compression {compression}: {error}");
        }
    }
}

/// The same strip for a thousand pages: a bomb of pages instead of pixels.
#[test]
fn pages_cannot_share_their_pixels() {
    let data = vec![9u8; 100_000];
    let one = page(500, 200, 1, 8, 100_000);
    let pages: Vec<&[_]> = std::iter::repeat_n(&one[..], 2000).collect();
    let bytes = tagged(&data, &pages, 0);
    let path = targets::scratch("shared.tif");
    std::fs::write(&path, &bytes).expect("a file");
    let (pages, peak) = peak_of(|| read::read_pages(&path).expect("a first page"));
    assert!(pages[0].is_ok());
    let error = pages.last().expect("a page").as_ref().expect_err("a shared strip").to_string();
    assert!(error.contains("shared.tif"), "{error}");
    assert!(peak < 16 << 20, "{peak} bytes held for a file of {}", bytes.len());
}

#[test]
fn pages_in_a_circle_come_to_an_end() {
    let good = page(4, 4, 1, 8, 16);
    let length = 2 + 12 * good.len() as u32 + 4;
    // Back to the first page, to itself, into the data, beyond the file.
    for last in [24, 24 + length, 8, 1, u32::MAX] {
        let bytes = tagged(&[7; 16], &[&good, &good], last);
        let path = targets::scratch("circle.tif");
        std::fs::write(&path, &bytes).expect("a file");
        let pages = read::read_pages(&path).expect("a first page");
        assert!(pages.len() <= 4 && pages.last().expect("a page").is_err(), "{} pages", pages.len());
        assert!(read::page_count(&path).is_err());
    }
}

#[test]
fn tags_with_huge_counts_are_refused() {
    for tag in [258, 273, 279, 320, 270] {
        for count in [0xffff, 0x0fff_ffff, u32::MAX] {
            let mut tags = page(4, 4, 1, 8, 16).to_vec();
            tags.retain(|(t, ..)| *t != tag);
            tags.push((tag, if tag == 270 { 2 } else { LONG }, count, 8));
            tags.sort_unstable();
            let path = targets::scratch("counts.tif");
            std::fs::write(&path, tagged(&[7; 16], &[&tags], 0)).expect("a file");
            let (_, peak) = peak_of(|| (read::read_pages(&path), read::page_count(&path)));
            assert!(peak < 16 << 20, "tag {tag} with {count} values: {peak} bytes held");
        }
    }
}
