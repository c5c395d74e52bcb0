//! RoiSet archives: what other programs put into them, and what we write.

use std::io::Write;
use std::path::Path;
use unet_engine::geometry::Rect;
use unet_engine::roi::{self, Roi, archive};
use zip::write::SimpleFileOptions;

fn square(name: &str) -> Roi {
    let mut roi = Roi::rectangle(Rect { left: 1, top: 2, width: 3, height: 4 });
    roi.name = name.to_owned();
    roi
}

fn zip_of(path: &Path, entries: &[(&str, &[u8])]) {
    let mut zip = zip::ZipWriter::new(std::fs::File::create(path).expect("a file"));
    for (name, bytes) in entries {
        zip.start_file(*name, SimpleFileOptions::default()).expect("an entry");
        zip.write_all(bytes).expect("bytes");
    }
    zip.finish().expect("an archive");
}

#[test]
fn foreign_entries_are_skipped_and_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("RoiSet.zip");
    let unnamed = roi::encode(&square(""));
    zip_of(
        &path,
        &[
            ("a folder/心臓 1.roi", &unnamed),
            ("__MACOSX/._x.roi", b"shadow"),
            ("notes.txt", b"text"),
            ("UPPER.ROI", &unnamed),
            ("broken.roi", b"Iout"),
            ("\u{e9}", b"a name shorter than an extension"),
        ],
    );
    let archive = archive::read(&path).expect("an archive");
    let names: Vec<_> =
        archive.rois.iter().map(|(entry, roi)| (entry.as_str(), roi.as_ref().ok().map(|r| r.name.as_str()))).collect();
    assert_eq!(names, [("a folder/心臓 1.roi", Some("a folder/心臓 1")), ("UPPER.ROI", Some("UPPER")), ("broken.roi", None)]);
    assert_eq!(archive.skipped, ["__MACOSX/._x.roi", "notes.txt", "\u{e9}"]);
    let error = archive.rois[2].1.as_ref().expect_err("a broken entry").to_string();
    assert!(error.contains("RoiSet.zip") && error.contains("broken.roi"), "{error}");
}

#[test]
fn written_archives_read_back_with_unique_entries() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("heart_RoiSet.zip");
    let mut rois = vec![square("heart-s07-1"), square("heart-s07-1"), square("Heart-S07-1"), square("a/b"), square("")];
    rois[0].position = 7;
    rois[0].group = 1;
    rois[0].stroke_color = Some([255, 0, 0, 255]);
    rois[0].set_property("score", "0.93");
    rois[0].set_property("score", "0.94");
    archive::write(&path, &rois).expect("a written archive");
    let read = archive::read(&path).expect("an archive");
    let entries: Vec<_> = read.rois.iter().map(|(entry, _)| entry.as_str()).collect();
    assert_eq!(
        entries,
        ["heart-s07-1.roi", "heart-s07-1-2.roi", "Heart-S07-1-2-2.roi", "a_b.roi", "roi.roi"]
            .map(|e| e.replace("Heart-S07-1-2-2", "Heart-S07-1-3"))
    );
    let first = read.rois[0].1.as_ref().expect("a ROI");
    assert_eq!(first, &rois[0]);
    assert_eq!(first.property("score"), Some("0.94"));
    let left_over = std::fs::read_dir(folder.path()).expect("the folder").count();
    assert_eq!(left_over, 1, "no temporary file stays");
}

#[test]
fn a_broken_archive_and_a_missing_file_name_themselves() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("cut.zip");
    std::fs::write(&path, b"PK\x03\x04 cut short").expect("a file");
    for path in [path, folder.path().join("missing.roi")] {
        let error = archive::read(&path).expect_err("no archive");
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
        assert_eq!(error.kind().exit_code(), 3);
    }
}

/// Two entries of one name: only one of them can be had, so the other must be heard of.
#[test]
fn an_entry_whose_name_is_taken_is_an_error_not_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("twins.zip");
    let square = roi::encode(&square("x"));
    zip_of(&path, &[("one-a.roi", &square), ("one-b.roi", &square)]);
    let text = std::fs::read(&path).expect("the archive");
    let mut bytes = text.clone();
    for at in (0..text.len() - 9).filter(|&at| &text[at..at + 9] == b"one-b.roi") {
        bytes[at + 4] = b'a';
    }
    std::fs::write(&path, bytes).expect("the archive");
    let archive = archive::read(&path).expect("an archive");
    let error = archive.rois.iter().find_map(|(_, roi)| roi.as_ref().err()).expect("the lost entry").to_string();
    assert!(error.contains("twins.zip") && error.contains("1 entries"), "{error}");
}

#[test]
fn an_entry_that_unpacks_to_too_much_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("bomb.zip");
    let zeros = vec![0; (64 << 20) + 1];
    zip_of(&path, &[("bomb.roi", &zeros)]);
    let archive = archive::read(&path).expect("an archive");
    let error = archive.rois[0].1.as_ref().expect_err("a bomb").to_string();
    assert!(error.contains("64 MiB"), "{error}");
}
