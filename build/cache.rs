//! Compiled kernels, kept by what they were made from, so that only what changed is compiled, and debug and release builds share them.
//!
//! An entry is two files below `<target folder>/kernel-cache/`: `<module>.<target>.<key>.cubin` (or `.ptx`), and beside it, in
//! `.log`, what the compiler said. `cargo clean` removes them.

use crate::nvcc::{FLAG_VARIABLES, FLAGS, Nvcc};
use crate::sources::Source;
use crate::targets::Target;
use crate::{Result, variable};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

pub struct Cache {
    folder: PathBuf,
}

/// The files of an entry, there or not.
pub struct Entry {
    pub image: PathBuf,
    pub log: PathBuf,
}

impl Cache {
    pub fn open(out_dir: &Path) -> Result<Cache> {
        let folder = target_folder(out_dir).join("kernel-cache");
        std::fs::create_dir_all(&folder).map_err(|error| format!("cannot make the folder {}: {error}", folder.display()))?;
        Ok(Cache { folder })
    }

    pub fn entry(&self, nvcc: &Nvcc, source: &Source, target: &Target) -> Entry {
        let stem = format!("{}.{}.{:016x}", source.module, target.code, key(nvcc, source, target));
        let file = |extension| self.folder.join(format!("{stem}.{extension}"));
        Entry { image: file(target.extension()), log: file("log") }
    }
}

/// Everything that an image depends on. Another version of Rust may hash otherwise: then all is compiled once more.
fn key(nvcc: &Nvcc, source: &Source, target: &Target) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&nvcc.version_text, FLAGS, target.arguments(), &source.path, &source.contents).hash(&mut hasher);
    FLAG_VARIABLES.iter().for_each(|name| variable(name).hash(&mut hasher));
    hasher.finish()
}

/// The folder that cargo builds in: it marks it with CACHEDIR.TAG. OUT_DIR lies below, how deep depends on the target and on cargo.
fn target_folder(out_dir: &Path) -> &Path {
    let marked = out_dir.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file());
    marked.or(out_dir.ancestors().nth(4)).unwrap_or(out_dir)
}

impl Entry {
    /// The log is renamed first, so where the image is, the log is.
    pub fn is_there(&self) -> bool {
        self.image.is_file() && self.log.is_file()
    }

    /// Where to write the image before [`Entry::keep`].
    pub fn unfinished(&self) -> PathBuf {
        beside(&self.image)
    }

    /// Makes an entry of the unfinished image and the compiler's words. Whoever reads the cache sees whole entries only.
    pub fn keep(&self, log: &[u8]) -> Result<()> {
        let unfinished_log = beside(&self.log);
        let renamed = std::fs::write(&unfinished_log, log)
            .and_then(|()| std::fs::rename(&unfinished_log, &self.log))
            .and_then(|()| std::fs::rename(self.unfinished(), &self.image));
        renamed.map_err(|error| format!("cannot write {}: {error}", self.image.display()))
    }
}

/// A name for this process alone.
fn beside(path: &Path) -> PathBuf {
    path.with_added_extension(format!("{}.tmp", std::process::id()))
}
