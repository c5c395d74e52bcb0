//! The files of a training in progress: its checkpoints and its log.
//!
//! `best` is written before the `last` that names it; a line of the log before the `last` that counts it. Whatever a crash leaves
//! behind, going on from `last` writes the same files again. On a machine with another instruction set they may differ, and the epoch
//! that had improved may not improve: so the `best` that `last` (or, should that be damaged, `previous`) names is kept as `former-best`.

use super::engine::Engine;
use super::state::{Phase, State};
use crate::atomic_file;
use crate::checkpoint::{self, Checkpoint, Description, RunFiles, Tensor};
use crate::error::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// The `best` before the present one.
const FORMER_BEST: &str = "former-best";

/// A line of `train.jsonl`: one epoch. With several channels the metrics of pixels are summed over the channels, each against the
/// instances that are assigned to it: a pixel in the wrong channel is wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochLine {
    /// From 1, counted over all phases.
    pub epoch: u32,
    pub phase: Phase,
    pub lr: f64,
    pub train_loss: f64,
    pub val_loss: f64,
    pub train_dice: Option<f64>,
    pub val_dice: Option<f64>,
    pub val_precision: Option<f64>,
    pub val_recall: Option<f64>,
    pub images_per_s: f64,
    pub seconds: f64,
    /// Steps that overflowed and changed nothing; in mixed precision only, like the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped_steps: Option<u64>,
    /// The loss scale after the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_scale: Option<f32>,
}

/// Reads and writes a training's files.
pub(crate) struct Store {
    pub files: RunFiles,
    pub description: Description,
}

impl Store {
    /// Saves everything as `last`; the one before becomes `previous`.
    pub fn save_last(&self, engine: &Engine, state: &State) -> Result<()> {
        let mut tensors = BTreeMap::new();
        for (name, slot) in engine.kept() {
            tensors.insert(name.to_string(), Tensor { shape: slot.shape, data: engine.session().read_persistent(name)? });
        }
        let state = serde_json::to_value(state).map_err(|e| Error::run("cannot write the state").caused_by(e))?;
        let checkpoint = Checkpoint { description: self.description.clone(), state, tensors };
        checkpoint::keep_as(&self.files.checkpoint("last"), &self.files.checkpoint("previous"))?;
        checkpoint::write(&self.files.checkpoint("last"), &checkpoint)?;
        Ok(())
    }

    /// Saves parameters and running statistics as `best` and returns the file's checksum. `state` is the one before it.
    pub fn save_best(&self, engine: &Engine, state: &State, val_loss: f64) -> Result<String> {
        if self.is_named(&self.files.checkpoint("best"), state) {
            checkpoint::keep_as(&self.files.checkpoint("best"), &self.files.checkpoint(FORMER_BEST))?;
        }
        let mut tensors = BTreeMap::new();
        for parameter in self.description.network.parameters() {
            let data = engine.session().read_persistent(&parameter.name)?;
            tensors.insert(parameter.name, Tensor { shape: parameter.shape, data });
        }
        let state = serde_json::json!({"epoch": state.epoch + 1, "step": state.step, "val_loss": val_loss});
        let checkpoint = Checkpoint { description: self.description.clone(), state, tensors };
        checkpoint::write(&self.files.checkpoint("best"), &checkpoint)
    }

    /// Loads the weights of `best`, which must be the file that `state` names.
    pub fn load_best(&self, engine: &mut Engine, state: &State) -> Result<()> {
        let (path, former) = (self.files.checkpoint("best"), self.files.checkpoint(FORMER_BEST));
        if !self.is_named(&path, state) && self.is_named(&former, state) {
            checkpoint::keep_as(&former, &path)?;
        }
        if !self.is_named(&path, state) {
            let found =
                if path.is_file() { "this is not it: the file was replaced, restored or damaged" } else { "it is missing" };
            return Err(Error::data(&path, format!("expected the best checkpoint that `last` names; {found}"))
                .remedy("restore the file and its .sha256 from a copy, or train again"));
        }
        let checkpoint = checkpoint::read(&path)?;
        for (name, data) in checkpoint::weights_of(&self.description.network, checkpoint.tensors, &path)? {
            engine.write(&name, &data)?;
        }
        Ok(())
    }

    /// Whether a checkpoint is the best one that `state` names, and whole: after a crash between a file and its checksum it is not.
    fn is_named(&self, path: &Path, state: &State) -> bool {
        let named = state.best.as_ref().map(|best| best.checksum.as_str());
        checkpoint::verified_checksum(path).is_ok_and(|found| named == Some(found.as_str()))
    }

    /// Appends a line to the log.
    pub fn append(&self, line: &EpochLine) -> Result<()> {
        let mut text = serde_json::to_string(line).map_err(|e| Error::run("cannot write JSON").caused_by(e))?;
        text.push('\n');
        atomic_file::append(&self.files.log(), text.as_bytes())
    }

    /// Cuts the log back to the lines that belong to `state`.
    pub fn cut_log(&self, state: &State) -> Result<()> {
        let path = self.files.log();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(e) => return Err(Error::io(ErrorKind::Data, &path, "read the log", e)),
        };
        let kept: String = text.split_inclusive('\n').take(state.log_lines).collect();
        if kept.lines().count() < state.log_lines {
            return Err(Error::data(&path, format!("expected {} lines, found fewer", state.log_lines))
                .remedy("restore the file from a copy, or train again"));
        }
        if kept == text { Ok(()) } else { atomic_file::write(&path, kept.as_bytes()) }
    }
}

/// Reads `last`, or `previous` where `last` is damaged; what was wrong then comes beside it.
pub(crate) fn read_last(files: &RunFiles) -> Result<(Checkpoint, State, Option<Error>)> {
    match read_state(files, "last") {
        Ok((checkpoint, state)) => Ok((checkpoint, state, None)),
        Err(last) => match read_state(files, "previous") {
            Ok((checkpoint, state)) => Ok((checkpoint, state, Some(last))),
            Err(_) => Err(last),
        },
    }
}

fn read_state(files: &RunFiles, name: &str) -> Result<(Checkpoint, State)> {
    let path = files.checkpoint(name);
    let checkpoint = checkpoint::read(&path)?;
    let state =
        State::deserialize(&checkpoint.state).map_err(|e| Error::data(&path, "not a state that `train` wrote").caused_by(e))?;
    Ok((checkpoint, state))
}

/// Gives the engine a checkpoint's tensors.
pub(crate) fn restore(engine: &mut Engine, checkpoint: &Checkpoint, files: &RunFiles) -> Result<()> {
    let names: Vec<String> = engine.restored().map(String::from).collect();
    for name in names {
        let tensor = checkpoint.tensors.get(&name);
        let tensor = tensor.ok_or_else(|| Error::data(files.checkpoints(), format!("{name} is missing from the checkpoint")))?;
        engine.write(&name, &tensor.data)?;
    }
    Ok(())
}
