//! From a request to a training that can start: data, split, configuration, network, files.

use super::config::{Config, Facts, Options, SplitBy};
use super::engine::Engine;
use super::environment;
use super::fit::Trainer;
use super::order::Order;
use super::progress::{Progress, megabytes};
use super::state::{Phase, State};
use super::store::{self, Store};
use super::{Request, finish};
use crate::atomic_file;
use crate::augment::{self, Loader, LoaderOptions, Normalization};
use crate::backend;
use crate::checkpoint::{self, Description, RunFiles, pytorch};
use crate::dataset::Sample;
use crate::dataset::splits::{Part, SplitOptions, Splits};
use crate::error::{Error, ErrorKind, Result};
use crate::model::initialise;
use crate::terminal::say;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Fewer steps than this at the recipe's learning rate do not converge.
const STEPS_TO_CONVERGE: u64 = 2000;
const SLOW_LEARNING_RATE: f64 = 1e-4;

/// A checkpoint is collected, and then serialised.
const SAVING_COPIES: usize = 2;

/// Settings that may differ when a run goes on: they change no result.
const FREE_TO_CHANGE: [&str; 3] = ["data", "device", "threads"];

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
    check_unused(&run)?;
    say_what_is_split(&config, &splits, &parts);
    check_visible(&config, &parts)?;
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
    create_run(&trainer, &splits)?;
    let _lock = lock(&trainer.store.files)?;
    complete(trainer, &val)?;
    Ok(run)
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
    let splits = read_splits(&files)?;
    let parts = sort_into_parts(samples, &splits);
    check_same_data(&splits, &parts, &config)?;
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

/// Keeps a second process from training the same run. The lock ends with the process, however that ends.
fn lock(files: &RunFiles) -> Result<std::fs::File> {
    let path = files.root().join(".lock");
    let file = std::fs::File::create(&path).map_err(|e| Error::io(ErrorKind::Run, &path, "create the lock", e))?;
    match file.try_lock() {
        Err(std::fs::TryLockError::WouldBlock) => Err(Error::usage("another process is training this run")
            .at(files.root())
            .remedy("wait for it, stop it, or train into another --out")),
        // A file system without locks is no reason not to train.
        _ => Ok(file),
    }
}

/// Whether a run has everything that a training leaves behind.
pub(super) fn is_finished(files: &RunFiles) -> Result<bool> {
    let (_, state, _) = store::read_last(files)?;
    Ok(state.phase == Phase::Done && files.calibration().is_file() && files.report().is_file())
}

/// A run's configuration; what is given besides must say the same, but for what changes no result.
pub(super) fn resumed_config(options: &Options, files: &RunFiles) -> Result<Config> {
    let path = files.config();
    if !path.is_file() {
        return Err(Error::usage("there is no run to go on with: config.toml is missing")
            .at(files.root())
            .remedy("give the run's folder with --out, or leave --resume out to begin a training"));
    }
    let mut config = Config::read(&path)?;
    let kept = Options::default().over_file(&path)?.to_table()?;
    for (name, given) in options.to_table()? {
        if FREE_TO_CHANGE.contains(&name.as_str()) {
            continue;
        }
        // `auto` and other defaults were resolved when the run began.
        let is_default = given.as_str() == Some("auto");
        match kept.get(&name) {
            Some(kept) if *kept == given || is_default => {}
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
    Ok(config)
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

fn sort_into_parts(samples: Vec<Sample>, splits: &Splits) -> Parts {
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
    let is_empty = match std::fs::read_dir(run) {
        Ok(mut entries) => entries.next().is_none(),
        Err(e) => e.kind() == std::io::ErrorKind::NotFound,
    };
    if is_empty {
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

fn describe(config: &Config, normalization: Normalization) -> Description {
    let size = [config.size; 2];
    Description { network: config.network(), size, organ: config.organ.clone(), normalization }
}

/// Opens the device, plans the network, starts the loaders and prints the memory receipt. Hands back the validation samples; the
/// loader has what it needs of the training samples.
fn prepare<'a>(
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
    say(&format!("device: {}", backend.describe()));
    let mut engine = Engine::plan(backend, &config.network(), config.batch, [config.size; 2], config.loss())?;
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
    };
    let training = Loader::new(Arc::new(parts.train), options(config.augment.clone(), workers))?;
    let validation = Loader::new(val.clone(), options(None, 1))?;
    let order = Order { seed: config.seed, n: n_train, batch: config.batch };
    print_receipt(config, &engine, training.host_bytes() + validation.host_bytes());
    engine.allocate()?;
    let steps = order.batches((config.epochs + config.fine_tune_epochs) as u32).start;
    let progress = Progress::new(steps, state.step);
    let trainer = Trainer { config, engine, state, store, order, training, validation, n_val: val.len(), progress, interrupt };
    Ok((trainer, val))
}

fn print_receipt(config: &Config, engine: &Engine, host_bytes: usize) {
    let receipt = engine.receipt(host_bytes);
    let network = config.network();
    say(&format!(
        "network: {:?}, base {}, {} levels, input {s} x {s}, batch {}\nmemory: {} (parameters and moments {}, activations {}, pictures and batches {}); while saving {} more",
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
    let folder = files.checkpoints();
    std::fs::create_dir_all(&folder).map_err(|e| Error::io(ErrorKind::Run, &folder, "create the run directory", e))?;
    atomic_file::write(&files.config(), trainer.config.to_toml()?.as_bytes())?;
    atomic_file::write(&files.splits(), &environment::pretty_json(splits)?)?;
    environment::write(files, trainer.engine.session().backend())?;
    trainer.store.save_last(&trainer.engine, &trainer.state)
}

fn complete(mut trainer: Trainer<'_>, val: &[Sample]) -> Result<()> {
    trainer.fit()?;
    finish::finish(&mut trainer, val)
}

fn read_splits(files: &RunFiles) -> Result<Splits> {
    let path = files.splits();
    let text = std::fs::read_to_string(&path).map_err(|e| Error::io(ErrorKind::Data, &path, "read the split", e))?;
    serde_json::from_str(&text).map_err(|e| Error::data(&path, "not a split that `train` wrote").caused_by(e))
}

/// A run can only go on with the pictures that it began with.
fn check_same_data(splits: &Splits, parts: &Parts, config: &Config) -> Result<()> {
    let hex = |sample: &Sample| sample.digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut found: Vec<String> = parts.train.iter().chain(&parts.val).map(hex).collect();
    let mut expected = splits.seen.clone();
    found.sort_unstable();
    expected.sort_unstable();
    // The split lists a picture once, even where a series holds it twice.
    found.dedup();
    if found == expected {
        return Ok(());
    }
    Err(Error::data(&config.data, "the pictures are not those that the run began with")
        .remedy("restore the data, give its new place with --data, or begin another training"))
}
