//! From a request to a training that can start: data, split, configuration, network, files.

use super::config::{Config, Facts, Options, SplitBy};
use super::engine::{Engine, EngineOptions};
use super::environment;
use super::feed::Feed;
use super::fit::Trainer;
use super::order::Order;
use super::progress::{Progress, megabytes};
use super::resume::{has_begun, lock};
use super::state::State;
use super::store::Store;
use super::{Request, finish};
use crate::atomic_file;
use crate::augment::{self, Loader, LoaderOptions, Normalization};
use crate::backend;
use crate::checkpoint::{Description, RunFiles, pytorch};
use crate::dataset::Sample;
use crate::dataset::splits::{Part, SplitOptions, Splits};
use crate::error::{Error, ErrorKind, Result};
use crate::model::initialise;
use crate::ops::assign::Assignment;
use crate::ops::augment::Pictures;
use crate::plan::Precision;
use crate::terminal::say;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Fewer steps than this at the recipe's learning rate do not converge.
const STEPS_TO_CONVERGE: u64 = 2000;
const SLOW_LEARNING_RATE: f64 = 1e-4;

/// A checkpoint is collected, and then serialised.
const SAVING_COPIES: usize = 2;

/// The samples of a run by their part.
pub(super) struct Parts {
    pub train: Vec<Sample>,
    pub val: Vec<Sample>,
}

/// Trains on `samples` from the beginning; returns the run directory.
pub(super) fn begin(request: &Request, samples: Vec<Sample>, interrupt: &dyn Fn() -> bool) -> Result<PathBuf> {
    let options = &request.options;
    let splits = Splits::make(&samples, &split_options(options))?;
    let median_side = median_side(&samples);
    let parts = sort_into_parts(samples, &splits);
    let config = Config::resolve(options, Facts { median_side, n_train: parts.train.len() })?;
    let run = request.out.clone().unwrap_or_else(|| environment::default_run_dir(&config));
    if !request.resume {
        check_unused(&run)?;
    }
    say_what_is_split(&config, &splits, &parts);
    check_visible(&config, &parts)?;
    say_what_is_surplus(&config, &parts);
    let normalization = Normalization::of(&parts.train);
    if let Some(path) = &request.preview {
        let augment = config.augment.clone().unwrap_or_else(augment::AugmentConfig::none);
        let view = augment::View { size: config.size, seed: config.seed, normalization };
        augment::preview(&parts.train, &augment, view, path)?;
        say(&format!("preview of the augmented samples: {}", path.display()));
    }
    let description = describe(&config, normalization);
    let store = Store { files: RunFiles::new(&run), description };
    let state = State::new(&config);
    let (mut trainer, val) = prepare(&config, store, state, parts, interrupt)?;
    initialise_weights(&config, &mut trainer.engine)?;
    warn_of_few_steps(&config, &trainer.order);
    let folder = trainer.store.files.checkpoints();
    std::fs::create_dir_all(&folder).map_err(|e| Error::io(ErrorKind::Run, &folder, "create the run directory", e))?;
    let _lock = lock(&trainer.store.files)?;
    // Another process may have begun it since.
    match request.resume {
        false => check_unused(&run)?,
        true if has_begun(&run) => {
            return Err(Error::usage("another process has begun this run meanwhile")
                .at(&run)
                .remedy("give the same command again"));
        }
        true => {}
    }
    create_run(&trainer, &splits)?;
    complete(trainer, &val)?;
    Ok(run)
}

fn split_options(options: &Options) -> SplitOptions {
    SplitOptions {
        seed: options.seed.unwrap_or(0),
        test_series: options.test_series.clone().unwrap_or_default(),
        val_series: options.val_series.clone().unwrap_or_default(),
        by_image: options.split_by == Some(SplitBy::Image),
    }
}

fn median_side(samples: &[Sample]) -> usize {
    let mut sides: Vec<usize> = samples.iter().map(|s| s.image.width.max(s.image.height)).collect();
    sides.sort_unstable();
    sides.get(sides.len() / 2).copied().unwrap_or(1)
}

pub(super) fn sort_into_parts(samples: Vec<Sample>, splits: &Splits) -> Parts {
    let mut parts = Parts { train: Vec::new(), val: Vec::new() };
    for sample in samples {
        match splits.part_of(&sample) {
            Some(Part::Train) => parts.train.push(sample),
            Some(Part::Val) => parts.val.push(sample),
            Some(Part::Test) | None => {}
        }
    }
    parts
}

fn check_unused(run: &Path) -> Result<()> {
    // A training that was killed before it had written anything leaves a lock, an empty folder of checkpoints and a part of a file.
    let is_nothing = |path: PathBuf| {
        let is_empty = |folder: &Path| std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none());
        let files = RunFiles::new(run);
        atomic_file::is_temporary(&path) || path == files.lock() || path == files.checkpoints() && is_empty(&path)
    };
    let is_unused = match std::fs::read_dir(run) {
        Ok(mut entries) => entries.all(|entry| entry.is_ok_and(|entry| is_nothing(entry.path()))),
        // Where there is nothing, creating the folder says what is in the way.
        Err(_) => run.symlink_metadata().is_err(),
    };
    if is_unused {
        return Ok(());
    }
    Err(Error::usage("--out exists already").at(run).remedy("use --resume to go on with the run, or another --out"))
}

fn say_what_is_split(config: &Config, splits: &Splits, parts: &Parts) {
    let unit = if splits.by_image { "images" } else { "series" };
    let visible = |samples: &[Sample]| samples.iter().filter(|s| !s.instances.is_empty()).count();
    say(&format!(
        "{}: {} {unit} to train ({} images, {} with the organ), {} to validate ({} images, {} with the organ), {} to test",
        config.organ,
        splits.train.len(),
        parts.train.len(),
        visible(&parts.train),
        splits.val.len(),
        parts.val.len(),
        visible(&parts.val),
        splits.test.len(),
    ));
}

/// An organ that is nowhere to be seen cannot be learnt; one that is not in the validation series cannot be judged.
fn check_visible(config: &Config, parts: &Parts) -> Result<()> {
    let is_visible = |samples: &[Sample]| samples.iter().any(|s| !s.instances.is_empty());
    if !is_visible(&parts.train) {
        return Err(Error::data(&config.data, format!("no training image holds a {}", config.organ))
            .remedy("`inspect` shows where it is visible; --test-series and --val-series choose other series to keep back"));
    }
    if !is_visible(&parts.val) {
        say(&format!(
            "warning: no validation image holds a {}: neither the best epoch nor the threshold can be chosen well\n  \
             what to do: choose other series with --val-series",
            config.organ
        ));
    }
    Ok(())
}

/// Says how many instances are too many for the channels.
fn say_what_is_surplus(config: &Config, parts: &Parts) {
    let surplus = |sample: &Sample| sample.instances.len().saturating_sub(config.instances);
    let surplus: Vec<usize> = parts.train.iter().chain(&parts.val).map(surplus).filter(|&n| n > 0).collect();
    if config.instances > 1 && !surplus.is_empty() {
        say(&format!(
            "{} of the images to train and validate hold more than {} instances: the {} smallest ones have no weight in loss and metrics",
            surplus.len(),
            config.instances,
            surplus.iter().sum::<usize>(),
        ));
    }
}

pub(super) fn describe(config: &Config, normalization: Normalization) -> Description {
    let size = [config.size; 2];
    Description { network: config.network(), size, organ: config.organ.clone(), normalization }
}

/// Opens the device, plans the network, starts the loaders and prints the memory receipt. Hands back the validation samples; the
/// loader has what it needs of the training samples.
pub(super) fn prepare<'a>(
    config: &'a Config,
    store: Store,
    state: State,
    parts: Parts,
    interrupt: &'a dyn Fn() -> bool,
) -> Result<(Trainer<'a>, Arc<Vec<Sample>>)> {
    if parts.train.is_empty() || parts.val.is_empty() {
        return Err(Error::data(&config.data, "the training or the validation set is empty")
            .remedy("check --test-series and --val-series, and `inspect` the data"));
    }
    let backend = backend::open(&config.device, config.threads)?;
    say(&format!("device: {}, in {}", backend.describe(), config.precision.name()));
    if config.precision == Precision::Bf16 && backend.inference_precision(Precision::Bf16) != Precision::Bf16 {
        say("warning: on a CPU without AMX bf16 is several times slower than f32; stop (Ctrl-C) and use --precision f32");
    }
    let pictures = backend.augments().then(|| Pictures::of(&parts.train, [config.size; 2], config.augment.as_ref()));
    let mut engine = Engine::plan(backend, &engine_options(config, pictures))?;
    let (n_train, val) = (parts.train.len(), Arc::new(parts.val));
    let workers = match config.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    let normalization = store.description.normalization;
    let options = |augment, workers| LoaderOptions {
        batch: config.batch,
        size: [config.size; 2],
        seed: config.seed,
        workers,
        augment,
        normalization,
        channels: config.instances,
    };
    let training = Feed::new(Arc::new(parts.train), options(config.augment.clone(), workers), pictures.as_ref())?;
    let validation = Loader::new(val.clone(), options(None, 1))?;
    let order = Order { seed: config.seed, n: n_train, batch: config.batch };
    print_receipt(config, &engine, training.host_bytes() + validation.host_bytes());
    engine.allocate()?;
    let steps = order.batches((config.epochs + config.fine_tune_epochs) as u32).start;
    let progress = Progress::new(steps, state.step);
    let trainer = Trainer { config, engine, state, store, order, training, validation, n_val: val.len(), progress, interrupt };
    Ok((trainer, val))
}

fn engine_options(config: &Config, pictures: Option<Pictures>) -> EngineOptions {
    EngineOptions {
        network: config.network(),
        batch: config.batch,
        size: [config.size; 2],
        loss: config.loss(),
        assignment: config.assignment,
        precision: config.precision,
        pictures,
    }
}

fn print_receipt(config: &Config, engine: &Engine, host_bytes: usize) {
    let receipt = engine.receipt(host_bytes);
    let network = config.network();
    let channels = match (config.instances, config.assignment) {
        (1, _) => String::new(),
        (n, Assignment::LeastCost) => format!(", {n} channels for instances (at least cost)"),
        (n, Assignment::Spatial) => format!(", {n} channels for instances (by place)"),
    };
    say(&format!(
        "network: {:?}, base {}, {} levels, input {s} x {s}, batch {}{channels}\nmemory: {} (parameters and moments {}, activations {}, pictures and batches {}); while saving {} more",
        network.arch,
        network.base,
        network.levels,
        config.batch,
        megabytes(receipt.total_bytes()),
        megabytes(receipt.persistent_bytes),
        megabytes(receipt.transient_bytes),
        megabytes(receipt.host_bytes),
        megabytes(SAVING_COPIES * receipt.persistent_bytes),
        s = config.size,
    ));
}

fn initialise_weights(config: &Config, engine: &mut Engine) -> Result<()> {
    let network = config.network();
    if let Some(path) = &config.init {
        for (name, data) in pytorch::import(path, &network)? {
            engine.write(&name, &data)?;
        }
        say(&format!("starting from the weights in {}", path.display()));
        return Ok(());
    }
    for (index, parameter) in network.parameters().iter().enumerate() {
        engine.write(&parameter.name, &initialise(parameter, index, config.seed))?;
    }
    Ok(())
}

fn warn_of_few_steps(config: &Config, order: &Order) {
    let steps = order.batches(config.epochs as u32).start;
    if config.lr <= SLOW_LEARNING_RATE && steps < STEPS_TO_CONVERGE {
        let epochs = STEPS_TO_CONVERGE.div_ceil((order.n / order.batch).max(1) as u64);
        say(&format!(
            "warning: {} epochs are {steps} steps; at a learning rate of {} fewer than {STEPS_TO_CONVERGE} do not converge\n  \
             what to do: use --epochs {epochs}, a higher learning rate (--lr 1e-3), or --preset quick for a trial",
            config.epochs, config.lr
        ));
    }
}

/// Writes the run directory up to the checkpoint before the first step.
fn create_run(trainer: &Trainer<'_>, splits: &Splits) -> Result<()> {
    let files = &trainer.store.files;
    atomic_file::write(&files.config(), trainer.config.to_toml()?.as_bytes())?;
    atomic_file::write(&files.splits(), &environment::pretty_json(splits)?)?;
    environment::write(files, trainer.engine.session().backend())?;
    trainer.store.save_last(&trainer.engine, &trainer.state)
}

pub(super) fn complete(mut trainer: Trainer<'_>, val: &[Sample]) -> Result<()> {
    trainer.fit()?;
    finish::finish(&mut trainer, val)
}
