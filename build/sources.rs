//! The kernels' sources: `kernels/*.cu`, and the headers that they include.

use crate::Result;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Relative to the package, where build scripts run, so that compiled kernels do not depend on where the project lies.
pub const FOLDER: &str = "kernels";

/// A `.cu` file with everything that its compilation reads from the project.
pub struct Source {
    /// The file's stem, by which the program knows it: `conv2d`.
    pub module: String,
    pub path: PathBuf,
    /// The file itself and its headers, directly or indirectly included, with their contents.
    pub contents: BTreeMap<PathBuf, Vec<u8>>,
}

/// All sources, sorted by name.
pub fn find() -> Result<Vec<Source>> {
    let entries = std::fs::read_dir(FOLDER).map_err(|error| format!("cannot list the folder {FOLDER}: {error}"))?;
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| format!("cannot list the folder {FOLDER}: {error}"))?.path();
        if path.extension().is_some_and(|extension| extension == "cu") {
            paths.push(path);
        }
    }
    paths.sort();
    paths.into_iter().map(read).collect()
}

fn read(path: PathBuf) -> Result<Source> {
    let module = path.file_stem().and_then(|stem| stem.to_str()).map(str::to_string);
    let module = module.ok_or_else(|| format!("{}: the file's name is not UTF-8; rename it", path.display()))?;
    let mut contents = BTreeMap::new();
    read_with_headers(&path, &mut contents)?;
    Ok(Source { module, path, contents })
}

fn read_with_headers(path: &Path, contents: &mut BTreeMap<PathBuf, Vec<u8>>) -> Result<()> {
    if contents.contains_key(path) {
        return Ok(());
    }
    let bytes = std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let headers = included(&String::from_utf8_lossy(&bytes));
    contents.insert(path.to_path_buf(), bytes);
    for name in headers {
        // As nvcc looks for them: beside the file, then in the folder. What is in neither place is nvcc's own, or nvcc will say so.
        let beside = path.parent().unwrap_or(Path::new("")).join(&name);
        if let Some(header) = [beside, Path::new(FOLDER).join(&name)].into_iter().find(|path| path.is_file()) {
            read_with_headers(&header, contents)?;
        }
    }
    Ok(())
}

/// The names that a text includes, in either kind of brackets. Conditions are ignored: one header too many does no harm.
fn included(text: &str) -> Vec<String> {
    let name = |line: &str| {
        let rest = line.trim_start().strip_prefix('#')?.trim_start().strip_prefix("include")?.trim_start();
        let close = match rest.chars().next()? {
            '"' => '"',
            '<' => '>',
            _ => return None,
        };
        Some(rest[1..].split_once(close)?.0.to_string())
    };
    text.lines().filter_map(name).collect()
}
