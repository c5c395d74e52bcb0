//! Files that are whole or absent.

use crate::error::{Error, ErrorKind, Result};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Writes `bytes` to `path` through a temporary file in the same folder, synced and then renamed: a reader sees the old file or the new
/// one, never a part. Creates no folders.
///
/// # Errors
/// If the operating system refuses; what stood at `path` before is then untouched.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let temporary = temporary_name(path);
    crash_point();
    let outcome = write_and_sync(&temporary, bytes).and_then(|()| std::fs::rename(&temporary, path));
    if let Err(error) = outcome {
        // The temporary file may not exist; the error that matters is the one above.
        let _ = std::fs::remove_file(&temporary);
        return Err(Error::io(ErrorKind::Run, path, "write the file", error)
            .remedy("check that the folder exists, may be written to, and that the disk is not full"));
    }
    crash_point();
    sync_folder(path);
    Ok(())
}

/// Makes the file `from` known as `to` in the same folder too, in one step: as a hard link, or as a copy where the file system has none.
///
/// # Errors
/// If the operating system refuses; both names then stand for what they did before.
pub fn keep_as(from: &Path, to: &Path) -> Result<()> {
    let temporary = temporary_name(to);
    crash_point();
    let linked = std::fs::hard_link(from, &temporary).or_else(|_| copy_and_sync(from, &temporary));
    crash_point();
    let outcome = linked.and_then(|()| std::fs::rename(&temporary, to));
    // It failed, or both names were links to one file already: then a rename does nothing, and leaves the temporary name.
    let _ = std::fs::remove_file(&temporary);
    outcome.map_err(|e| Error::io(ErrorKind::Run, to, "keep a file under another name", e))?;
    crash_point();
    sync_folder(to);
    Ok(())
}

fn copy_and_sync(from: &Path, to: &Path) -> std::io::Result<()> {
    let mut copy = OpenOptions::new().write(true).create_new(true).open(to)?;
    std::io::copy(&mut File::open(from)?, &mut copy)?;
    copy.sync_all()
}

/// Appends `bytes` to the file at `path`, made if need be, and syncs it. Not in one step: a crash can leave a part of them.
///
/// # Errors
/// If the operating system refuses.
pub fn append(path: &Path, bytes: &[u8]) -> Result<()> {
    let cannot = |e: std::io::Error| Error::io(ErrorKind::Run, path, "write the file", e);
    crash_point();
    let mut file = OpenOptions::new().create(true).append(true).open(path).map_err(cannot)?;
    let (first, second) = bytes.split_at(bytes.len() / 2);
    file.write_all(first).map_err(cannot)?;
    crash_point();
    file.write_all(second).and_then(|()| file.sync_data()).map_err(cannot)?;
    crash_point();
    Ok(())
}

fn write_and_sync(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    // In two parts, so that a test can stop between them.
    let (first, second) = bytes.split_at(bytes.len() / 2);
    file.write_all(first)?;
    crash_point();
    file.write_all(second)?;
    file.sync_all()?;
    crash_point();
    Ok(())
}

/// Removes what writes into `folder` left behind when the process was killed. Nobody else may be writing there.
pub fn remove_left_over(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()).filter(|path| is_temporary(path)) {
        // It only takes up room.
        let _ = std::fs::remove_file(path);
    }
}

/// Whether a file is one that [`write()`] writes before it renames it.
pub fn is_temporary(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with('.') && name.ends_with(".tmp")
}

/// Ends the process as a crash would, at the point that `UNET_ENGINE_TEST_ABORT_AT` names; points are counted from 1 over all writes.
#[cfg(debug_assertions)]
fn crash_point() {
    static PASSED: AtomicU64 = AtomicU64::new(0);
    static ABORT_AT: std::sync::OnceLock<Option<u64>> = std::sync::OnceLock::new();
    let read = || std::env::var("UNET_ENGINE_TEST_ABORT_AT").ok().and_then(|text| text.parse().ok());
    if let Some(point) = ABORT_AT.get_or_init(read)
        && PASSED.fetch_add(1, Ordering::Relaxed) + 1 == *point
    {
        std::process::abort();
    }
}

#[cfg(not(debug_assertions))]
fn crash_point() {}

/// A name that no other writer of this process or another one uses.
fn temporary_name(path: &Path) -> PathBuf {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    path.with_file_name(format!(".{name}.{}-{number}.tmp", std::process::id()))
}

/// Makes the rename itself survive a power cut. Not every file system lets a folder be synced, and the file is whole either way.
fn sync_folder(path: &Path) {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_a_file_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.bin");
        write(&path, b"one").unwrap();
        write(&path, b"two, which is longer").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two, which is longer");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn only_what_a_killed_write_left_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let kept = ["state.bin", ".hidden", "x.tmp"].map(|name| folder.path().join(name));
        kept.iter().for_each(|path| std::fs::write(path, b"x").unwrap());
        std::fs::write(temporary_name(&kept[0]), b"half").unwrap();
        remove_left_over(folder.path());
        assert!(kept.iter().all(|path| path.is_file()));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), kept.len());
    }

    #[test]
    fn a_failing_write_leaves_the_old_state_and_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing/state.bin");
        let error = write(&missing, b"x").unwrap_err();
        assert_eq!(error.path(), Some(missing.as_path()));
        // A folder of that name stands in the way of the rename, and no temporary file may stay behind.
        let blocked = folder.path().join("blocked");
        std::fs::create_dir_all(blocked.join("inside")).unwrap();
        write(&blocked, b"x").unwrap_err();
        assert!(blocked.join("inside").is_dir());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
