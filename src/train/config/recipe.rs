//! The defaults of a training: the numbers of the two recipes, what follows from the data, and what `--help` says about them.

use super::{Preset, Schedule};
use crate::backend::Device;
use crate::model::Arch;
use clap::ValueEnum;

/// A recipe's defaults.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recipe {
    pub base: usize,
    /// Largest side of the network's input that is chosen by itself, in pixels.
    pub size_max: usize,
    pub batch: usize,
    pub epochs: usize,
    pub fine_tune_epochs: usize,
    pub lr: f64,
    pub schedule: Schedule,
    pub fine_tune_lr: f64,
    pub plateau_patience: usize,
    pub stop_patience: usize,
    pub alpha: f32,
    pub class_weight: f32,
    pub focal_gamma: f32,
}

/// The published one, as large as a CPU trains it in reasonable time.
const REPORT: Recipe = Recipe {
    base: 32,
    size_max: 256,
    batch: 8,
    epochs: 100,
    fine_tune_epochs: 15,
    lr: 1e-4,
    schedule: Schedule::Plateau,
    fine_tune_lr: 1e-5,
    plateau_patience: 5,
    stop_patience: 10,
    alpha: 0.5,
    class_weight: 1.0,
    focal_gamma: 0.0,
};

/// The published one on a GPU, which has the time and the memory for more.
const REPORT_ON_CUDA: Recipe = Recipe { base: 64, size_max: 512, ..REPORT };

/// The one for trials and the demo: as small everywhere.
const QUICK: Recipe =
    Recipe { base: 12, size_max: 96, epochs: 12, fine_tune_epochs: 0, lr: 3e-3, schedule: Schedule::Cosine, ..REPORT };

impl Recipe {
    /// The recipe on `device`, which is what `auto` came to.
    pub fn of(preset: Preset, device: &Device) -> Recipe {
        match (preset, device) {
            (Preset::Report, Device::Cuda(_)) => REPORT_ON_CUDA,
            // The emulator is for tests, and the slowest of all.
            (Preset::Report, Device::Cpu | Device::Auto | Device::Emulator(_)) => REPORT,
            (Preset::Quick, _) => QUICK,
        }
    }
}

/// The network for an organ.
pub(super) fn default_arch(organ: &str) -> Arch {
    match organ {
        "liver" => Arch::Deep,
        "placenta" => Arch::Residual,
        _ => Arch::Standard,
    }
}

/// The smallest multiple of 2^levels that holds `side`, at most `max` (but one multiple at least); all in pixels.
pub(super) fn default_size(side: usize, levels: usize, max: usize) -> usize {
    let multiple = 1 << levels.min(16);
    let largest = (max / multiple).max(1);
    side.div_ceil(multiple).clamp(1, largest) * multiple
}

/// Appends the recipes' defaults to the help of an option that has one.
pub fn say_default(option: clap::Arg) -> clap::Arg {
    let of = |recipe| default_of(recipe, option.get_id());
    let (Some(on_cpu), Some(on_cuda), Some(quick)) = (of(&REPORT), of(&REPORT_ON_CUDA), of(&QUICK)) else {
        return option;
    };
    let report = if on_cuda == on_cpu { on_cpu } else { format!("{on_cpu} on the CPU, {on_cuda} on CUDA") };
    let text = option.get_help().map(ToString::to_string).unwrap_or_default();
    let quick = if quick == report { String::new() } else { format!("; quick {quick}") };
    option.help(format!("{text} [default: {report}{quick}]"))
}

/// The default of an option as one would write it.
fn default_of(recipe: &Recipe, option: &clap::Id) -> Option<String> {
    Some(match option.as_str() {
        "base" => recipe.base.to_string(),
        "size" => format!("at most {}", recipe.size_max),
        "batch" => recipe.batch.to_string(),
        "epochs" => recipe.epochs.to_string(),
        "fine_tune_epochs" => recipe.fine_tune_epochs.to_string(),
        "lr" => format!("{:e}", recipe.lr),
        "schedule" => recipe.schedule.to_possible_value()?.get_name().to_string(),
        "fine_tune_lr" => format!("{:e}", recipe.fine_tune_lr),
        "plateau_patience" => recipe.plateau_patience.to_string(),
        "stop_patience" => recipe.stop_patience.to_string(),
        "alpha" => recipe.alpha.to_string(),
        "class_weight" => recipe.class_weight.to_string(),
        "focal_gamma" => recipe.focal_gamma.to_string(),
        _ => return None,
    })
}
