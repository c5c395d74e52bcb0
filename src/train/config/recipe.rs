//! The numbers of the two recipes: what applies where nothing is given, and what `--help` says about it.

use super::{BASE, Preset, QUICK_BASE, QUICK_SIZE_MAX, SIZE_MAX, Schedule};
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

/// The published one.
const REPORT: Recipe = Recipe {
    base: BASE,
    size_max: SIZE_MAX,
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

/// The one for trials and the demo.
const QUICK: Recipe = Recipe {
    base: QUICK_BASE,
    size_max: QUICK_SIZE_MAX,
    epochs: 12,
    fine_tune_epochs: 0,
    lr: 3e-3,
    schedule: Schedule::Cosine,
    ..REPORT
};

impl Recipe {
    pub fn of(preset: Preset) -> Recipe {
        match preset {
            Preset::Report => REPORT,
            Preset::Quick => QUICK,
        }
    }
}

/// Appends the recipes' defaults to the help of an option that has one.
pub fn say_default(option: clap::Arg) -> clap::Arg {
    let (Some(report), Some(quick)) = (default_of(&REPORT, option.get_id()), default_of(&QUICK, option.get_id())) else {
        return option;
    };
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
