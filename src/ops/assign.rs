//! The assignment of an image's instances to output channels: the target of a loss over several channels.
//!
//! Per image, with logits z, p = sigmoid(z), pixel weight u (0 on padding) and W = sum of u; the pixels of instance i are those whose
//! label is i. What channel k costs as the one of instance i, and what it costs as one that has to stay empty:
//!
//! ```text
//! bce(k, t)  = 1/W sum of u (t softplus(-z_k) + (1 - t) softplus(z_k))
//! dice(k, t) = 1 - (2 sum of u p_k t + 1) / (sum of u p_k + sum of u t + 1)
//! cost(k, i) = bce(k, [label = i]) + dice(k, [label = i]),     empty(k) = bce(k, 0) + dice(k, 0)
//! ```
//!
//! `LeastCost` gives every instance a channel of its own so that the sum of cost(k(i), i) over the instances plus the sum of empty(k)
//! over the channels left is least: which channels have to stay empty is part of the choice. The instances go first to last, each to
//! the lowest channel with which that sum can be reached, so ties go to the lowest channel. Subtracting the sum of empty(k) over all
//! channels, a constant, leaves (softplus(z) - softplus(-z) = z)
//!
//! ```text
//! gain(k, i) = cost(k, i) - empty(k)
//!            = -A_ki / W - (2 I_ki + 1) / (P_k + T_i + 1) + 1 / (P_k + 1)
//! A_ki = sum of u z_k over i,   I_ki = sum of u p_k over i,   P_k = sum of u p_k,   T_i = sum of u over i
//! least(S) = min over k not in S of gain(k, |S| + 1) + least(S + {k}),     least(S) = 0 where |S| = number of instances
//! ```
//!
//! the least sum over the sets S of channels that are already taken: K 2^K steps.
//!
//! `Spatial` sorts the instances by their centroids (mean over their pixels, unweighted): the topmost first, of equally high ones the
//! leftmost, of equal ones the lowest number; the first gets channel 0, the next channel 1, and so on.
//!
//! An instance of which no pixel has weight (all of it cropped away) gets no channel. Labels that are no number from 1 to K are
//! background. The output is a constant for the gradient: the loss is differentiated with the assignment held fixed.

use super::{Op, shape_error};
use crate::error::Result;
use crate::tape::{DType, Shape};
use serde::{Deserialize, Serialize};

/// The most channels: 2^K sets are searched for each image.
pub const MAX_CHANNELS: usize = 8;

/// How instances are assigned to channels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Assignment {
    /// Where they cost least, image by image, by the network's present answer.
    #[default]
    LeastCost,
    /// From top to bottom, then from left to right, by their centroids.
    Spatial,
}

/// Inputs: logits z [N, H, W, K], labels [N, H, W, 1] (f32: 0, or the number of the instance, 1 to K), weight u [N, H, W, 1]. Output:
/// target [N, H, W, K], 1 where the channel's instance is, else 0.
#[derive(Clone, Debug, PartialEq)]
pub struct Assign {
    pub assignment: Assignment,
}

impl Op for Assign {
    fn name(&self) -> &'static str {
        "assign"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<(Shape, DType)>> {
        match inputs {
            [z, labels, u] if *labels == z.with_channels(1) && labels == u && z.c() <= MAX_CHANNELS => Ok(vec![(*z, DType::F32)]),
            _ => Err(shape_error(self.name(), inputs, "logits of at most 8 channels, labels and a weight of one channel")),
        }
    }

    fn is_constant(&self) -> bool {
        true
    }

    fn flops(&self, inputs: &[Shape], _outputs: &[Shape]) -> u64 {
        10 * inputs[0].len() as u64
    }
}
