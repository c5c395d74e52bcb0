//! RoiSet archives: mutants, lies and bombs.

use super::allocator::peak_of;
use super::mutate::Corpus;
use super::runner::Suite;
use super::{roi, targets};
use std::io::{Cursor, Write};
use unet_engine::roi::archive;
use zip::CompressionMethod;
use zip::write::SimpleFileOptions;

/// An archive of these entries.
fn zip_of(method: CompressionMethod, entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        let options = SimpleFileOptions::default().compression_method(method).last_modified_time(zip::DateTime::default());
        zip.start_file(*name, options).expect("an entry");
        zip.write_all(bytes).expect("bytes");
    }
    zip.finish().expect("an archive").into_inner()
}

fn corpus() -> Vec<Vec<u8>> {
    let rois = roi::fixtures();
    let small: Vec<&[u8]> = rois.iter().map(Vec::as_slice).filter(|bytes| bytes.len() < 400).collect();
    let entries = [("a/one.roi", small[0]), ("two.roi", small[1]), ("\u{e9}.ROI", small[2]), ("notes.txt", b"text")];
    let mut files = vec![zip_of(CompressionMethod::Deflated, &entries), zip_of(CompressionMethod::Stored, &entries)];
    files.push(zip_of(CompressionMethod::Stored, &[("x.roi", small[3])]));
    files.push(zip_of(CompressionMethod::Deflated, &[]));
    files
}

/// Deflate packs 1,032 : 1 at best, and one entry may be 64 MiB, held twice while its buffer grows.
fn bound(bytes: &[u8]) -> usize {
    (64 << 20) + 4096 * bytes.len()
}

#[test]
fn mutants() {
    let corpus = Corpus { files: corpus(), words: &[] };
    Suite { name: "zip", corpus, n_mutants: 15_000, run: targets::zip, bound, repair: None }.test();
}

/// Reads an archive; the error or the first entry's error as text, and the bytes held.
fn read(name: &str, bytes: &[u8]) -> (Result<archive::Archive, String>, usize) {
    let path = targets::scratch(name);
    std::fs::write(&path, bytes).expect("a file");
    let (outcome, peak) = peak_of(|| archive::read(&path));
    (outcome.map_err(|e| e.to_string()), peak)
}

/// A ROI that is an image: as long as one likes, and as empty.
fn image_roi(n_bytes: usize) -> Vec<u8> {
    let mut bytes = vec![0; 64 + n_bytes + 64];
    bytes[..7].copy_from_slice(&[b'I', b'o', b'u', b't', 0, 228, 1]);
    bytes[8..16].copy_from_slice(&[0, 0, 0, 0, 0, 100, 0, 100]);
    bytes[48..50].copy_from_slice(&4u16.to_be_bytes());
    let header2 = 64 + n_bytes;
    bytes[60..64].copy_from_slice(&(header2 as i32).to_be_bytes());
    bytes[header2 + 32..header2 + 36].copy_from_slice(&(n_bytes as i32).to_be_bytes());
    bytes
}

/// A thousandfold bomb: each entry alone is a legal ROI, all together they are gigabytes.
#[test]
fn a_bomb_of_many_entries_is_refused() {
    let roi = image_roi(30 << 20);
    let names: Vec<String> = (0..40).map(|i| format!("{i}.roi")).collect();
    let entries: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), roi.as_slice())).collect();
    let bytes = zip_of(CompressionMethod::Deflated, &entries);
    assert!(bytes.len() < 2 << 20, "{} bytes", bytes.len());
    let (outcome, peak) = read("bomb.zip", &bytes);
    let error = outcome.expect_err("a bomb");
    assert!(error.contains("bomb.zip") && error.contains("unpacks to more than"), "{error}");
    assert!(peak < 512 << 20, "{peak} bytes held");
}

#[test]
fn nested_archives_are_not_opened() {
    let inner = zip_of(CompressionMethod::Deflated, &[("zeros.roi", &vec![0; 16 << 20])]);
    let (outcome, peak) = read("nested.zip", &zip_of(CompressionMethod::Deflated, &[("inner.zip", &inner)]));
    assert_eq!(outcome.expect("an archive").skipped, ["inner.zip"]);
    assert!(peak < 1 << 20, "{peak} bytes held");
}

/// The sizes stated in an archive, wherever they stand, changed to huge and to small ones.
#[test]
fn sizes_that_lie_are_not_believed() {
    let roi = &roi::fixtures()[0];
    let good = zip_of(CompressionMethod::Deflated, &[("x.roi", roi)]);
    let stated = (roi.len() as u32).to_le_bytes();
    let places: Vec<usize> = (0..good.len() - 4).filter(|&at| good[at..at + 4] == stated).collect();
    assert!(!places.is_empty(), "the size stands in the archive");
    for size in [0u32, 1, 0x7fff_ffff, 0xffff_fffe, 0xffff_ffff] {
        let mut lying = good.clone();
        places.iter().for_each(|&at| lying[at..at + 4].copy_from_slice(&size.to_le_bytes()));
        let (outcome, peak) = read("lying.zip", &lying);
        assert!(peak < 1 << 20, "{peak} bytes held for a stated size of {size}");
        if let Ok(archive) = outcome {
            let whole = unet_engine::roi::decode(roi).expect("a fixture").bounds;
            assert!(archive.rois.iter().all(|(_, roi)| roi.as_ref().map_or(true, |r| r.bounds == whole)));
        }
    }
    // The number of entries, at the archive's end.
    let end = good.len() - 22;
    for count in [0u16, 7, 0xfffe, 0xffff] {
        let mut lying = good.clone();
        lying[end + 8..end + 10].copy_from_slice(&count.to_le_bytes());
        lying[end + 10..end + 12].copy_from_slice(&count.to_le_bytes());
        let (_, peak) = read("lying.zip", &lying);
        assert!(peak < 16 << 20, "{peak} bytes held for {count} entries");
    }
}

/// Found by fuzzing: the error was about `/wo.roi`, and said nothing of the archive.
#[test]
fn an_entry_with_an_absolute_path_does_not_hide_its_archive() {
    let bytes = zip_of(CompressionMethod::Stored, &[("/wo.roi", b"Iout")]);
    let (outcome, _) = read("absolute.zip", &bytes);
    let rois = outcome.expect("an archive").rois;
    let error = rois[0].1.as_ref().expect_err("a broken ROI").to_string();
    assert!(error.contains("absolute.zip/wo.roi"), "{error}");
}

#[test]
fn many_thousands_of_entries_are_read() {
    let roi = &roi::fixtures()[0];
    let names: Vec<String> = (0..20_000).map(|i| format!("{i}.roi")).collect();
    let entries: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), roi.as_slice())).collect();
    let bytes = zip_of(CompressionMethod::Stored, &entries);
    let (outcome, peak) = read("many.zip", &bytes);
    let archive = outcome.expect("an archive");
    assert_eq!(archive.rois.iter().filter(|(_, roi)| roi.is_ok()).count(), 20_000);
    assert!(peak < 64 << 20, "{peak} bytes held for {}", bytes.len());
}
