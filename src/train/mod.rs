//! Training: from annotated series to a run directory.
//!
//! The configuration is resolved ([`config`]), the data split and its loaders started (`setup`), the network trained (`fit`, on the
//! device side [`Engine`]), the operating point chosen and the report written (`finish`). A run directory can be stopped at any step and
//! goes on bit for bit: `state` says where it stands, `store` writes it.

pub mod config;
mod engine;
mod environment;
mod feed;
mod finish;
mod fit;
mod order;
mod progress;
mod resume;
mod setup;
mod state;
mod store;

pub use engine::{Engine, EngineOptions, Inputs, Step};
pub use state::{Phase, Totals};
pub use store::EpochLine;

use crate::backend;
use crate::checkpoint::RunFiles;
use crate::dataset::{Dataset, Sample};
use crate::error::{Error, Result};
use crate::terminal::{say, say_warnings};
use config::Options;
use std::path::{Path, PathBuf};

/// What a user wants trained.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Command line over configuration file.
    pub options: Options,
    /// The run directory; by default one named after organ, network and time.
    pub out: Option<PathBuf>,
    /// Go on with the run in `out`.
    pub resume: bool,
    /// Write a sheet of augmented samples first.
    pub preview: Option<PathBuf>,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// The run directory.
    pub run: PathBuf,
    /// Pictures or annotations that could not be read and were left out.
    pub left_out: Vec<Error>,
}

/// Trains, or goes on with a training. `interrupt` is asked after every batch whether to save and stop.
///
/// # Errors
/// If the configuration, the data or the device is not as it should be; if the training diverges; if it is interrupted.
pub fn run(request: &Request, interrupt: &dyn Fn() -> bool) -> Result<Outcome> {
    let resumed = resumed_run(request)?;
    let options = &request.options;
    let (data, organ, device, precision) = match &resumed {
        Some(run) => {
            let files = RunFiles::new(run);
            let config = resume::resumed_config(options, &files)?;
            if resume::is_finished(&files)? {
                say(&format!("{}: this training is finished; there is nothing to do", run.display()));
                return Ok(Outcome { run: run.clone(), left_out: Vec::new() });
            }
            (config.data, config.organ, config.device, config.precision)
        }
        None => {
            let (data, organ) = config::required(options)?;
            let device = options.device.clone().unwrap_or_else(|| "auto".into());
            let precision = config::precision(&device, options.precision)?;
            (data, organ, device, precision)
        }
    };
    backend::check(&device)?;
    backend::check_precision(&device, precision)?;
    let loaded = Dataset::open(&data)?.samples(&organ)?;
    for error in &loaded.broken {
        say(&format!("warning: left out: {error}"));
    }
    say_warnings(&loaded.warnings);
    let run = run_on(request, loaded.samples, interrupt)?;
    Ok(Outcome { run, left_out: loaded.broken })
}

/// As [`run`], with samples in memory. Returns the run directory.
///
/// # Errors
/// As [`run`].
pub fn run_on(request: &Request, samples: Vec<Sample>, interrupt: &dyn Fn() -> bool) -> Result<PathBuf> {
    match resumed_run(request)? {
        Some(run) if resume::has_begun(&run) => resume::go_on(request, &run, samples, interrupt).map(|()| run),
        Some(run) => resume::begin_again(request, &run, samples, interrupt),
        None => setup::begin(request, samples, interrupt),
    }
}

fn resumed_run(request: &Request) -> Result<Option<PathBuf>> {
    if request.resume && request.preview.is_some() {
        return Err(Error::usage("--preview shows what a training will see before it begins, and --resume goes on with one")
            .remedy("leave --preview out, or give it where a training begins, with another --out"));
    }
    match (request.resume, &request.out) {
        (false, _) => Ok(None),
        (true, Some(run)) => Ok(Some(Path::to_path_buf(run))),
        (true, None) => Err(Error::usage("--resume needs the run directory").remedy("name it with --out RUN")),
    }
}
