//! `.roi` files.

use super::allocator::peak_of;
use super::mutate::Corpus;
use super::runner::Suite;
use super::targets;
use std::path::{Path, PathBuf};
use unet_engine::roi;

/// The project's own fixtures, all types of ROI.
pub fn fixtures() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/roi");
    let entries = std::fs::read_dir(&folder).expect("the fixtures").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<PathBuf> = entries.filter(|file| file.extension().is_some_and(|e| e == "roi")).collect();
    files.sort();
    assert!(files.len() > 20, "{} fixtures", files.len());
    files.iter().map(|file| std::fs::read(file).expect("a ROI file")).collect()
}

/// A curve of 28 bytes becomes up to 1,024 points, and a spline up to 2^20 whatever its number of corners.
fn bound(bytes: &[u8]) -> usize {
    (128 << 20) + 4096 * bytes.len()
}

#[test]
fn mutants() {
    let corpus = Corpus { files: fixtures(), words: &[] };
    Suite { name: "roi", corpus, n_mutants: 50_000, run: targets::roi, bound, repair: None }.test();
}

/// A header of 64 bytes and what follows.
fn file(kind: u8, options: u16, n: u16, size: i32, rest: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 64];
    bytes[..7].copy_from_slice(&[b'I', b'o', b'u', b't', 0, 228, kind]);
    bytes[8..16].copy_from_slice(&[0, 0, 0, 0, 0, 100, 0, 100]);
    bytes[16..18].copy_from_slice(&n.to_be_bytes());
    bytes[18..22].copy_from_slice(&size.to_be_bytes());
    bytes[50..52].copy_from_slice(&options.to_be_bytes());
    bytes.extend_from_slice(rest);
    bytes
}

fn refused(bytes: &[u8], expected: &str) {
    let (outcome, peak) = peak_of(|| roi::decode(bytes));
    let error = outcome.expect_err("a hostile ROI").to_string();
    assert!(error.contains(expected), "{error}");
    assert!(peak < 64 << 20, "{peak} bytes held");
}

#[test]
fn counts_that_the_file_cannot_hold_are_refused_before_anything_is_allocated() {
    for size in [1000, i32::MAX] {
        refused(&file(0, 0, 0, size, &[0; 40]), "coordinates are stated");
    }
    refused(&file(0, 0, u16::MAX, 0, &[0; 40]), "coordinates are stated");
    refused(&file(0, 0, 0, -1, &[0; 40]), "a size of -1");
    let mut composite = file(1, 0, 0, 0, &[0; 40]);
    composite[36..40].copy_from_slice(&i32::MAX.to_be_bytes());
    refused(&composite, "coordinates are stated");
}

/// Segments of a composite: their type and coordinates.
fn composite(segments: &[&[f32]]) -> Vec<u8> {
    let numbers: Vec<u8> = segments.iter().copied().flatten().flat_map(|v| v.to_be_bytes()).collect();
    let mut bytes = file(1, 0, 0, 0, &numbers);
    bytes[36..40].copy_from_slice(&(numbers.len() as i32 / 4).to_be_bytes());
    bytes
}

#[test]
fn coordinates_that_are_no_numbers_or_huge_are_refused() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30, -3e38] {
        for segments in [[&[0.0, bad, 1.0][..], &[1.0, 2.0, 3.0]], [&[0.0, 1.0, 1.0], &[3.0, 1.0, 2.0, bad, 4.0, 5.0, 6.0]]] {
            refused(&composite(&segments), "no number that a picture could have");
        }
    }
    let mut line = file(3, 128, 0, 0, &[]);
    line[18..22].copy_from_slice(&f32::NAN.to_be_bytes());
    refused(&line, "no number that a picture could have");
}

/// Curves between far points become a thousand points each: many of them are no outline of anything.
#[test]
fn curves_without_end_are_refused() {
    let far = 16_000_000.0;
    let wild = [3.0, far, -far, -far, far, far, far];
    let mut segments: Vec<&[f32]> = vec![&[0.0, 0.0, 0.0]];
    segments.extend(std::iter::repeat_n(&wild[..], 20_000));
    let (outcome, peak) = peak_of(|| roi::decode(&composite(&segments)));
    outcome.expect_err("millions of points over millions of rows");
    assert!(peak < 256 << 20, "{peak} bytes held");
}

/// Three corners far apart: a spline of two points a pixel would be gigabytes.
#[test]
fn splines_without_end_are_refused() {
    let corners = [0.0f32, 1.6e7, 0.0, 0.0, 0.0, 1.6e7];
    let mut rest = vec![0; 12];
    rest.extend(corners.iter().flat_map(|v| v.to_be_bytes()));
    refused(&file(0, 128 | 1, 3, 0, &rest), "too many");
}
