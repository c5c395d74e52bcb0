//! The networks: parameters, their initialisation, the blocks, and the three U-Nets, recorded on a tape as mathematics.
//!
//! Names of parameters are PyTorch's for the reference network (`down.0.c1.weight`, `mid.b2.running_var`, `up.0.bias`,
//! `dec.3.proj.0.weight`, `head.weight`); layouts here are [R, S, Ci, Co] and are converted only by `export` and `train --init`.

mod init;
mod unet;

pub use init::initialise;

use crate::error::{Error, Result};
use crate::ops::assign::Assignment;
use crate::ops::augment::Pictures;
use crate::ops::dice_bce::LossParameters;
use crate::tape::{Shape, Tape};
use serde::{Deserialize, Serialize};

/// The three networks. Levels = poolings; a bottleneck lies below the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Arch {
    /// Four levels, two 3x3 convolutions a level.
    Standard,
    /// Five levels.
    Deep,
    /// Four levels of residual blocks; a 1x1 projection where channels change.
    Residual,
}

/// Which network: enough to record it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkSpec {
    pub arch: Arch,
    /// Channels of the first level.
    pub base: usize,
    /// Number of poolings.
    pub levels: usize,
    /// Channels of the image.
    pub channels_in: usize,
    /// Output channels K, each a potential instance.
    pub channels_out: usize,
}

/// The deepest network that can be asked for; 2^10 pixels are one at its bottleneck.
pub const MAX_LEVELS: usize = 10;

/// The most channels at a bottleneck: weights of 9 x 16384 x 16384 are far beyond any use, and products of extents stay within 64 bits.
pub const MAX_CHANNELS: usize = 16384;

/// The widest and highest input. With [`MAX_BATCH`] and [`MAX_CHANNELS`] it keeps the bytes of every value countable.
pub const MAX_SIZE: usize = 16384;

/// The most images a step.
pub const MAX_BATCH: usize = 4096;

/// What a parameter or buffer is for; decides its initial value and whether Adam touches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterKind {
    /// Weight of a convolution, with fan-in R S Ci (for a transposed convolution Ci, since each output has one source pixel).
    Weight {
        fan_in: usize,
    },
    Bias,
    /// Batch normalisation's gamma.
    Gamma,
    /// Batch normalisation's beta.
    Beta,
    RunningMean,
    RunningVar,
}

impl ParameterKind {
    /// Whether it is trained by gradient (running statistics are not).
    pub fn is_trained(self) -> bool {
        !matches!(self, ParameterKind::RunningMean | ParameterKind::RunningVar)
    }
}

/// Where the loss takes its target from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// From the host's input `target` [N, H, W, K].
    Given,
    /// From the host's input `instances` [N, H, W, 1] (0, or the number of the instance, 1 to K), assigned to the channels by the plan.
    Assigned(Assignment),
}

/// A parameter or buffer of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    pub name: String,
    pub shape: Shape,
    pub kind: ParameterKind,
}

impl NetworkSpec {
    /// The network's usual depth: Standard 4, Deep 5, Residual 4.
    pub fn default_levels(arch: Arch) -> usize {
        match arch {
            Arch::Standard | Arch::Residual => 4,
            Arch::Deep => 5,
        }
    }

    /// Input sizes must be multiples of this: 2^levels.
    pub fn size_multiple(&self) -> usize {
        1 << self.levels
    }

    /// Channels of level `level`, which is twice as many as above it; the bottleneck is level `levels`.
    pub fn channels_at(&self, level: usize) -> usize {
        self.base << level
    }

    /// Checks that the numbers describe a network: at least one channel everywhere, 1 to [`MAX_LEVELS`] levels, channels at the
    /// bottleneck within [`MAX_CHANNELS`]. The other functions rely on it; recording checks by itself.
    ///
    /// # Errors
    /// If they do not, with the number that is wrong.
    pub fn check(&self) -> Result<()> {
        let wrong = |what: &str, found: usize, remedy: String| Err(Error::usage(format!("{what} {found}")).remedy(remedy));
        if !(1..=MAX_LEVELS).contains(&self.levels) {
            return wrong("a network cannot have this number of levels:", self.levels, format!("use 1 to {MAX_LEVELS} levels"));
        }
        let base_max = MAX_CHANNELS >> self.levels;
        let counts = [("base", self.base, base_max), ("input", self.channels_in, 1024), ("output", self.channels_out, 1024)];
        for (what, channels, max) in counts {
            if !(1..=max).contains(&channels) {
                let message = format!("a network of {} levels cannot have this number of {what} channels:", self.levels);
                return wrong(&message, channels, format!("use 1 to {max}"));
            }
        }
        Ok(())
    }

    /// Checks the network, and that a step of `batch` images of height and width `size` can be counted in bytes.
    ///
    /// # Errors
    /// If a number is wrong, with that number.
    pub fn check_step(&self, batch: usize, size: [usize; 2]) -> Result<()> {
        self.check()?;
        for (what, found, max) in
            [("batch", batch, MAX_BATCH), ("input height", size[0], MAX_SIZE), ("input width", size[1], MAX_SIZE)]
        {
            if !(1..=max).contains(&found) {
                return Err(Error::usage(format!("{what} {found} is not possible")).remedy(format!("use 1 to {max}")));
            }
        }
        Ok(())
    }

    /// All parameters and buffers, in the order of PyTorch's `state_dict`.
    pub fn parameters(&self) -> Vec<Parameter> {
        unet::parameters(self)
    }

    /// Records the training step for inputs `image` [N, H, W, Cin], `target` or `instances` (see [`Target`]), `weight` [N, H, W, 1]:
    /// forward, loss, backward, running statistics, Adam. Outputs `loss` and `sums` (see [`crate::ops::dice_bce`]). Persistent besides
    /// the parameters: `schedule` [lr, c1, c2, 1 / loss scale], `loss_scale`, and `<name>.m`, `<name>.v` of every trained parameter.
    ///
    /// # Errors
    /// If the shapes do not fit (size no multiple of 2^levels, one value per channel at the bottleneck).
    pub fn record_training(&self, batch: usize, size: [usize; 2], loss: LossParameters, target: Target) -> Result<Tape> {
        unet::record_training(self, batch, size, loss, target)
    }

    /// As [`NetworkSpec::record_training`], from pictures that the plan augments: its inputs are those of [`Pictures::inputs`], and
    /// [`crate::ops::augment::QUANTILES`] is persistent.
    ///
    /// # Errors
    /// If the shapes do not fit, or the network's input has more channels than one.
    pub fn record_augmented_training(
        &self,
        batch: usize,
        pictures: &Pictures,
        loss: LossParameters,
        target: Target,
    ) -> Result<Tape> {
        unet::record_augmented_training(self, batch, pictures, loss, target)
    }

    /// Records a validation step: the network with running statistics, and the loss. Inputs and outputs as in training, besides
    /// the output `probability` [N, H, W, K].
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn record_validation(&self, batch: usize, size: [usize; 2], loss: LossParameters, target: Target) -> Result<Tape> {
        unet::record_validation(self, batch, size, loss, target)
    }

    /// Records inference: input `image`, output `probability` [N, H, W, K].
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn record_inference(&self, batch: usize, size: [usize; 2]) -> Result<Tape> {
        unet::record_inference(self, batch, size)
    }
}
