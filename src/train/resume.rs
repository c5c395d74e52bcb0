//! Going on with a run: what it was configured with, what it was trained on, and where it stands.

use super::config::{Config, Options, PrecisionChoice};
use super::setup::{Parts, begin, complete, describe, prepare, sort_into_parts};
use super::state::{Phase, State};
use super::store::{self, Store};
use super::{Request, environment};
use crate::atomic_file;
use crate::checkpoint::{self, Description, RESTORE, RunFiles};
use crate::dataset::Sample;
use crate::dataset::splits::{Splits, annotations_digest};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::Precision;
use crate::terminal::say;
use std::path::{Path, PathBuf};

/// Settings that may differ when a run goes on: on which data lies where, and on what and how it is computed, no result depends but for
/// rounding.
const FREE_TO_CHANGE: [&str; 4] = ["data", "device", "threads", "precision"];

/// Whether anything of a run can be gone on with: a checkpoint with its checksum. Where an epoch is finished, one that is missing or
/// has lost its checksum is damage, and no reason to begin again.
pub(super) fn has_begun(run: &Path) -> bool {
    let files = RunFiles::new(run);
    let is_whole = |name: &str| checkpoint::stored_checksum(&files.checkpoint(name)).is_ok();
    ["last", "previous"].into_iter().any(is_whole) || files.log().is_file() || files.checkpoint("best").is_file()
}

/// Begins a run again that was killed before its first checkpoint was written, with the configuration that it has.
pub(super) fn begin_again(request: &Request, run: &Path, samples: Vec<Sample>, interrupt: &dyn Fn() -> bool) -> Result<PathBuf> {
    let files = RunFiles::new(run);
    let Config { data, device, threads, precision, .. } = resumed_config(&request.options, &files)?;
    let options = Options::default().over_file(&files.config())?;
    let precision = Some(precision.into());
    let options = Options { data: Some(data), device: Some(device), threads: Some(threads), precision, ..options };
    say(&format!("{}: stopped before its first checkpoint; beginning again", run.display()));
    begin(&Request { options, ..request.clone() }, samples, interrupt)
}

/// Goes on with a run.
pub(super) fn go_on(request: &Request, run: &Path, samples: Vec<Sample>, interrupt: &dyn Fn() -> bool) -> Result<()> {
    let files = RunFiles::new(run);
    let config = resumed_config(&request.options, &files)?;
    let _lock = lock(&files)?;
    let (saved, state, damage) = store::read_last(&files)?;
    if let Some(damage) = damage {
        // The damaged file must not become `previous` with the next save.
        checkpoint::keep_as(&files.checkpoint("previous"), &files.checkpoint("last"))?;
        say(&format!("warning: {damage}\n  going on from the checkpoint before it, epoch {}", state.epoch + 1));
    }
    check_saved(&config, &saved.description, &state)
        .map_err(|what| Error::data(files.checkpoint("last"), what).remedy(RESTORE))?;
    let splits = read_splits(&files)?;
    let parts = sort_into_parts(samples, &splits);
    check_same_data(&splits, &parts, &config)?;
    if config.batch > parts.train.len() {
        let message = format!("a batch of {}, and {} training images", config.batch, parts.train.len());
        return Err(Error::data(files.config(), message).remedy(RESTORE));
    }
    let state = state.in_precision(config.precision);
    let store = Store { files: files.clone(), description: saved.description.clone() };
    let (mut trainer, val) = prepare(&config, store, state, parts, interrupt)?;
    store::restore(&mut trainer.engine, &saved, &files)?;
    drop(saved);
    environment::warn_of_another_machine(&files, trainer.engine.session().backend());
    trainer.store.cut_log(&trainer.state)?;
    if trainer.state.phase != Phase::Done {
        say(&format!("going on in epoch {}, after step {}", trainer.state.epoch + 1, trainer.state.step));
    }
    complete(trainer, &val)
}

/// A checkpoint that belongs to another configuration cannot be gone on with.
fn check_saved(config: &Config, saved: &Description, state: &State) -> Result<(), String> {
    let expected = describe(config, saved.normalization);
    match *saved == expected {
        true => state.check(config),
        false => Err("the checkpoint is of another network, input size or organ than config.toml says".to_string()),
    }
}

/// Keeps a second process from training the same run. The lock ends with the process, however that ends.
pub(super) fn lock(files: &RunFiles) -> Result<std::fs::File> {
    let path = files.lock();
    let file = std::fs::File::create(&path).map_err(|e| Error::io(ErrorKind::Run, &path, "create the lock", e))?;
    match file.try_lock() {
        Err(std::fs::TryLockError::WouldBlock) => Err(Error::usage("another process is training this run")
            .at(files.root())
            .remedy("wait for it, stop it, or train into another --out")),
        // A file system without locks is no reason not to train.
        _ => {
            atomic_file::remove_left_over(files.root());
            atomic_file::remove_left_over(&files.checkpoints());
            Ok(file)
        }
    }
}

/// Whether a run has everything that a training leaves behind.
pub(super) fn is_finished(files: &RunFiles) -> Result<bool> {
    if !has_begun(files.root()) {
        return Ok(false);
    }
    let (_, state, _) = store::read_last(files)?;
    Ok(state.phase == Phase::Done && files.calibration().is_file() && files.curves().is_file() && files.report().is_file())
}

/// A run's configuration; what is given besides must say the same, but for what changes no result.
pub(super) fn resumed_config(options: &Options, files: &RunFiles) -> Result<Config> {
    let path = files.config();
    if !path.is_file() {
        return Err(Error::usage("there is no run to go on with: config.toml is missing").at(files.root()).remedy(
            if has_runs(files.root()) {
                "there are runs below it: give --folds or --seeds as in the beginning, or one of them with --out"
            } else {
                "give the run's folder with --out, or leave --resume out to begin a training"
            },
        ));
    }
    let mut config = Config::read(&path)?;
    let kept = Options::default().over_file(&path)?.to_table()?;
    for (name, given) in options.to_table()? {
        if FREE_TO_CHANGE.contains(&name.as_str()) {
            continue;
        }
        // `auto` and other defaults were resolved when the run began.
        let is_default = given.as_str() == Some("auto");
        // Paths became absolute when the run began.
        let is_same_path = |kept: &toml::Value| {
            let absolute = |value: &toml::Value| value.as_str().and_then(|path| std::path::absolute(path).ok());
            name == "init" && absolute(kept) == absolute(&given)
        };
        match kept.get(&name) {
            Some(kept) if *kept == given || is_default || is_same_path(kept) => {}
            None if given.as_bool() == Some(false) => {}
            kept => {
                let kept = kept.map_or("not set".to_string(), ToString::to_string);
                return Err(Error::usage(format!("--{name} {given} differs from the run's configuration ({kept})"))
                    .at(path)
                    .remedy(format!("leave --{name} out to go on with the run, or begin another one in another --out")));
            }
        }
    }
    config.data = options.data.clone().unwrap_or(config.data);
    config.device = options.device.clone().unwrap_or(config.device);
    config.threads = options.threads.unwrap_or(config.threads);
    config.precision = match options.precision {
        None | Some(PrecisionChoice::Auto) => config.precision,
        Some(PrecisionChoice::F32) => Precision::F32,
        Some(PrecisionChoice::Mixed) => Precision::Mixed,
        Some(PrecisionChoice::Bf16) => Precision::Bf16,
    };
    Ok(config)
}

/// Whether there are runs in the folders of `folder`.
fn has_runs(folder: &Path) -> bool {
    let inside = std::fs::read_dir(folder).into_iter().flatten().flatten();
    inside.into_iter().any(|entry| RunFiles::new(&entry.path()).config().is_file())
}

fn read_splits(files: &RunFiles) -> Result<Splits> {
    let path = files.splits();
    let text =
        std::fs::read_to_string(&path).map_err(|e| Error::io(ErrorKind::Data, &path, "read the split", e).remedy(RESTORE))?;
    serde_json::from_str(&text).map_err(|e| Error::data(&path, "not a split that `train` wrote").caused_by(e).remedy(RESTORE))
}

/// A run can only go on with the pictures and annotations that it began with.
fn check_same_data(splits: &Splits, parts: &Parts, config: &Config) -> Result<()> {
    let hex = |sample: &Sample| sample.digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut found: Vec<String> = parts.train.iter().chain(&parts.val).filter(|s| !s.is_blank()).map(hex).collect();
    let mut expected = splits.seen.clone();
    found.sort_unstable();
    expected.sort_unstable();
    // The split lists a picture once, even where a series holds it twice.
    found.dedup();
    let annotations = annotations_digest(parts.train.iter().chain(&parts.val));
    // Runs of older versions do not say what was annotated.
    let has_same_annotations = splits.annotations.as_ref().is_none_or(|began| *began == annotations);
    let what = match (found == expected, has_same_annotations) {
        (true, true) => return Ok(()),
        (true, false) => "annotations",
        (false, _) => "pictures",
    };
    Err(Error::data(&config.data, format!("the {what} are not those that the run began with"))
        .remedy("restore the data, give its new place with --data, or begin another training"))
}
