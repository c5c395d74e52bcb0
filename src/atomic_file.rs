//! Files that are whole or absent: written to a temporary name in the same folder, synced, renamed.

use crate::error::{Error, ErrorKind, Result};
use std::fs::File;
use std::io::Write;
use std::path::Path;

/// Writes `bytes` to `path`, replacing what was there in one step. Creates no folders.
///
/// # Errors
/// If the file cannot be written; what was there before then stays, and the temporary file is removed.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().ok_or_else(|| Error::run("expected the name of a file").at(path))?);
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    let written = File::create(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&temporary, path));
    written.map_err(|e| {
        // The error that matters is the first one; the temporary file may not even exist.
        let _ = std::fs::remove_file(&temporary);
        Error::io(ErrorKind::Run, path, "write the file", e)
    })
}
