//! ROI files and RoiSet archives on disk.
//!
//! A `.zip` may hold folders, blanks and UTF-8 in its names, Finder's `__MACOSX` shadows and other files: what is no ROI is skipped
//! and named. Sizes stated in an archive are not believed.

use super::{Roi, decode, encode};
use crate::atomic_file;
use crate::error::{Error, ErrorKind, Result};
use std::collections::HashSet;
use std::io::{Cursor, Read, Write};
use std::path::{Path, PathBuf};

/// A ROI file larger than this is refused; ImageJ's largest are a few megabytes.
const MAX_ROI_BYTES: u64 = 64 << 20;
/// An archive whose ROIs are larger than this together is refused.
const MAX_TOTAL_BYTES: u64 = 1 << 30;
/// So is one whose ROIs are this many times as large as it is, unless they are still few: real ones are two or three times as large,
/// Deflate can reach a thousand.
const MOST_PACKED: u64 = 100;
const ALWAYS_ALLOWED_BYTES: u64 = 2 * MAX_ROI_BYTES;

/// What a `.roi` or `.zip` file holds.
#[derive(Debug, Default)]
pub struct Archive {
    /// The entry's name (the file's name for a `.roi`) and its ROI, in the order of the archive.
    pub rois: Vec<(String, Result<Roi>)>,
    /// Names of entries that are no ROIs.
    pub skipped: Vec<String>,
}

/// Reads a `.roi` file or an archive of them; which one it is, its first bytes decide. ROIs without a name of their own get the
/// file's or entry's name without `.roi`.
///
/// # Errors
/// If the file cannot be read, or is a broken archive or an archive of absurd size. A broken ROI is an error in its place in the
/// list.
pub fn read(path: &Path) -> Result<Archive> {
    let file = std::fs::File::open(path).map_err(|e| Error::io(ErrorKind::Data, path, "open the file", e))?;
    let mut bytes = Vec::new();
    let n_read = file.take(MAX_TOTAL_BYTES + 1).read_to_end(&mut bytes);
    n_read.map_err(|e| Error::io(ErrorKind::Data, path, "read the file", e))?;
    if bytes.len() as u64 > MAX_TOTAL_BYTES {
        return Err(Error::data(path, "expected ROIs, found a file of more than 1 GiB"));
    }
    if bytes.starts_with(b"PK") {
        return read_zip(path, bytes);
    }
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let roi = named(&name, decode(&bytes)).map_err(|e| e.at(path));
    Ok(Archive { rois: vec![(name, roi)], skipped: Vec::new() })
}

fn read_zip(path: &Path, bytes: Vec<u8>) -> Result<Archive> {
    let broken = |e: zip::result::ZipError| {
        Error::data(path, "expected a ZIP archive of ROIs, found a broken one")
            .caused_by(e)
            .remedy("save it again in ImageJ's ROI Manager")
    };
    let n_listed = n_listed_entries(&bytes);
    let most = (bytes.len() as u64 * MOST_PACKED).clamp(ALWAYS_ALLOWED_BYTES, MAX_TOTAL_BYTES);
    let mut zip = zip::ZipArchive::new(Cursor::new(bytes)).map_err(broken)?;
    let mut archive = Archive::default();
    if let Some(n_lost) = n_listed.and_then(|n| n.checked_sub(zip.len())).filter(|n| *n > 0) {
        // The reader keeps one entry a name; the others must not vanish without a word.
        let message = format!("{n_lost} entries have the name of another one and cannot be read");
        let error = Error::data(path, message).remedy("give every ROI a name of its own and save the archive again");
        archive.rois.push(("entries of one name".to_owned(), Err(error)));
    }
    let mut total = 0;
    for i in 0..zip.len() {
        let entry_name = entry_name(&mut zip, i);
        if !is_roi_name(&entry_name) {
            archive.skipped.push(entry_name);
            continue;
        }
        let roi = match zip.by_index(i) {
            Err(e) => Err(broken(e)),
            Ok(entry) => read_entry(entry, &mut total),
        };
        if total > most {
            let message = format!("expected an archive of ROIs, found one that unpacks to more than {} MiB", most >> 20);
            return Err(Error::data(path, message).remedy("save the ROIs again in ImageJ's ROI Manager"));
        }
        let roi = named(&entry_name, roi).map_err(|e| e.at(inside(path, &entry_name)));
        archive.rois.push((entry_name, roi));
    }
    Ok(archive)
}

/// The path of an entry for messages. Joined as a path, an entry `/x.roi` would take the archive's place.
fn inside(path: &Path, entry: &str) -> PathBuf {
    let mut inside = path.as_os_str().to_os_string();
    inside.push("/");
    inside.push(entry.trim_start_matches(['/', '\\']));
    inside.into()
}

/// How many entries the archive's end says that it has (APPNOTE 4.3.16, "total number of entries"); `None` where it does not say.
fn n_listed_entries(bytes: &[u8]) -> Option<usize> {
    const LENGTH: usize = 22;
    // A comment of at most 65,535 bytes may follow.
    let from = bytes.len().saturating_sub(LENGTH + usize::from(u16::MAX));
    let at = from + bytes[from..].windows(4).rposition(|w| w == b"PK\x05\x06")?;
    let count = bytes.get(at + 10..at + 12)?;
    let count = u16::from_le_bytes([count[0], count[1]]);
    (count != u16::MAX).then_some(usize::from(count))
}

/// The entry's name: UTF-8 where it is valid (macOS does not set the flag for it), else what the archive's code page says.
fn entry_name(zip: &mut zip::ZipArchive<Cursor<Vec<u8>>>, i: usize) -> String {
    let Ok(entry) = zip.by_index_raw(i) else { return format!("entry {}", i + 1) };
    match (std::str::from_utf8(entry.name_raw()), entry.name()) {
        (Ok(name), _) => name.to_owned(),
        (Err(_), Ok(name)) => name.into_owned(),
        (Err(_), Err(_)) => String::from_utf8_lossy(entry.name_raw()).into_owned(),
    }
}

fn read_entry(entry: impl Read, total: &mut u64) -> Result<Roi> {
    let mut bytes = Vec::new();
    let n_read = entry.take(MAX_ROI_BYTES + 1).read_to_end(&mut bytes);
    *total += bytes.len() as u64;
    n_read.map_err(|e| Error::new(ErrorKind::Data, "cannot unpack the ROI").caused_by(e))?;
    if bytes.len() as u64 > MAX_ROI_BYTES {
        return Err(Error::new(ErrorKind::Data, "expected a ROI, found more than 64 MiB"));
    }
    decode(&bytes)
}

/// Folders, shadows of Finder (`._x.roi`) and other files are no ROIs.
fn is_roi_name(entry: &str) -> bool {
    let file = entry.rsplit(['/', '\\']).next().unwrap_or_default();
    let extension_at = file.len().saturating_sub(4);
    file.is_char_boundary(extension_at) && file[extension_at..].eq_ignore_ascii_case(".roi") && !file.starts_with("._")
}

fn named(entry: &str, roi: Result<Roi>) -> Result<Roi> {
    roi.map(|mut roi| {
        if roi.name.is_empty() {
            roi.name = if is_roi_name(entry) { entry[..entry.len() - 4].to_owned() } else { entry.to_owned() };
        }
        roi
    })
}

/// Writes an archive in one step: there is the whole new one or the old one. Each entry is called after its ROI, with a number
/// behind the name where two would be called the same.
///
/// # Errors
/// If the file cannot be written.
pub fn write(path: &Path, rois: &[Roi]) -> Result<()> {
    let pack = || -> zip::result::ZipResult<Vec<u8>> {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        let mut taken = HashSet::new();
        // A fixed time: the same ROIs give the same bytes.
        let options = zip::write::SimpleFileOptions::default().last_modified_time(zip::DateTime::default());
        for roi in rois {
            zip.start_file(unique_entry(&roi.name, &mut taken), options)?;
            zip.write_all(&encode(roi))?;
        }
        Ok(zip.finish()?.into_inner())
    };
    let bytes = pack().map_err(|e| Error::run("cannot pack the ROIs").at(path).caused_by(e))?;
    atomic_file::write(path, &bytes)
}

/// `name.roi`, or `name-2.roi` and so on. Separators of folders would hide the name from the ROI Manager; names that differ only in
/// case would collide when unpacked.
fn unique_entry(name: &str, taken: &mut HashSet<String>) -> String {
    let clean: String = name.chars().map(|c| if matches!(c, '/' | '\\' | '\0') { '_' } else { c }).collect();
    let stem = if clean.is_empty() { "roi" } else { &clean };
    let mut entry = format!("{stem}.roi");
    let mut number = 2;
    while !taken.insert(entry.to_lowercase()) {
        entry = format!("{stem}-{number}.roi");
        number += 1;
    }
    entry
}
