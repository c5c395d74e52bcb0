//! The networks: parameters, their initialisation, the blocks, and the three U-Nets, recorded on a tape as mathematics.
//!
//! Names of parameters are PyTorch's for the reference network (`down.0.c1.weight`, `mid.b2.running_var`, `up.0.bias`,
//! `dec.3.proj.0.weight`, `head.weight`); layouts here are [R, S, Ci, Co] and are converted only by `export` and `train --init`.

mod init;
mod unet;

pub use init::initialise;

use crate::error::Result;
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

    /// All parameters and buffers, in the order of PyTorch's `state_dict`.
    pub fn parameters(&self) -> Vec<Parameter> {
        unet::parameters(self)
    }

    /// Records the training step for inputs `image` [N, H, W, Cin], `target` [N, H, W, K], `weight` [N, H, W, 1]: forward, loss,
    /// backward, running statistics, Adam. Outputs `loss` and `sums` (see [`crate::ops::dice_bce`]). Persistent besides the
    /// parameters: `schedule` [lr, c1, c2, 1 / loss scale], `loss_scale`, and `<name>.m`, `<name>.v` of every trained parameter.
    ///
    /// # Errors
    /// If the shapes do not fit (size no multiple of 2^levels, one value per channel at the bottleneck).
    pub fn record_training(&self, batch: usize, size: [usize; 2], loss: LossParameters) -> Result<Tape> {
        unet::record_training(self, batch, size, loss)
    }

    /// Records a validation step: the network with running statistics, and the loss. Inputs and outputs as in training, besides
    /// the output `probability` [N, H, W, K].
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn record_validation(&self, batch: usize, size: [usize; 2], loss: LossParameters) -> Result<Tape> {
        unet::record_validation(self, batch, size, loss)
    }

    /// Records inference: input `image`, output `probability` [N, H, W, K].
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn record_inference(&self, batch: usize, size: [usize; 2]) -> Result<Tape> {
        unet::record_inference(self, batch, size)
    }
}
