//! Compiles every source for every target, as many at once as cargo was told to run jobs.

use crate::cache::{Cache, Entry};
use crate::nvcc::{self, Nvcc};
use crate::sources::Source;
use crate::targets::Target;
use crate::{Result, variable};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// A compiled source.
pub struct Image {
    pub module: String,
    pub target: Target,
    /// The image, in the cache.
    pub path: PathBuf,
    /// What the compiler said, in the cache.
    pub log: PathBuf,
}

/// The compiler's warnings, and ptxas' notes that `wgmma` had to be serialised; also those of images that were in the cache.
pub fn warnings(images: &[Image]) -> Vec<String> {
    let mut warnings: Vec<String> = Vec::new();
    for image in images {
        let log = std::fs::read_to_string(&image.log).unwrap_or_default();
        let tells = |line: &str| line.to_lowercase().contains("warning") || line.contains("Performance Loss");
        let is_warning = |line: &&str| tells(line) && !line.starts_with("Remark:");
        let lines = log.lines().filter(is_warning);
        for warning in lines.map(|line| format!("{}: {line}", image.module)) {
            // Most are the same for every target.
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
        }
    }
    warnings
}

struct Failure<'a> {
    source: &'a Source,
    target: Target,
    message: String,
}

/// All images, by source and target in the order given.
pub fn all(nvcc: &Nvcc, cache: &Cache, sources: &[Source], targets: &[Target]) -> Result<Vec<Image>> {
    let work = sources.iter().flat_map(|source| targets.iter().map(move |target| (source, *target))).collect::<Vec<_>>();
    let failures = Mutex::new(Vec::new());
    let next = AtomicUsize::new(0);
    // Each takes the next piece of work as it gets free; after a failure nothing new is begun.
    let worker = || {
        while let Some(&(source, target)) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(message) = one(nvcc, cache, source, &target) {
                next.store(work.len(), Ordering::Relaxed);
                failures.lock().unwrap_or_else(PoisonError::into_inner).push(Failure { source, target, message });
            }
        }
    };
    std::thread::scope(|scope| (0..jobs().min(work.len())).for_each(|_| drop(scope.spawn(worker))));
    let failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    if !failures.is_empty() {
        return Err(describe(nvcc, &failures));
    }
    let image = |(source, target): (&Source, Target)| {
        let Entry { image, log } = cache.entry(nvcc, source, &target);
        Image { module: source.module.clone(), target, path: image, log }
    };
    Ok(work.into_iter().map(image).collect())
}

/// Cargo's `-j`, which is the number of cores if nobody said otherwise.
fn jobs() -> usize {
    variable("NUM_JOBS").parse().unwrap_or(1).max(1)
}

fn one(nvcc: &Nvcc, cache: &Cache, source: &Source, target: &Target) -> Result<()> {
    let entry = cache.entry(nvcc, source, target);
    if entry.is_there() {
        return Ok(());
    }
    let unfinished = entry.unfinished();
    let output = nvcc::run(nvcc.command(target).arg("-o").arg(&unfinished).arg(&source.path))?;
    let said = [output.stdout, output.stderr].concat();
    if output.status.success() {
        return entry.keep(&said);
    }
    // What nvcc left is of no use, and often it left nothing.
    let _ = std::fs::remove_file(&unfinished);
    Err(String::from_utf8_lossy(&said).into_owned())
}

/// A file's mistake shows on every target, in the same words: these are given once.
fn describe(nvcc: &Nvcc, failures: &[Failure]) -> String {
    let mut text = String::new();
    let mut told: Vec<&str> = Vec::new();
    for failure in failures {
        let (path, code) = (failure.source.path.display(), failure.target.code);
        text += &format!("{}: {path} does not compile for {code}", nvcc.name());
        if told.contains(&failure.message.as_str()) {
            text += " (as above)\n";
        } else {
            text += &format!(":\n{}\n", failure.message.trim_end());
            told.push(&failure.message);
        }
    }
    text
}
