//! The loss: alpha * Dice + (1 - alpha) * binary cross-entropy, of logits, with class weight and focal option.
//!
//! Per channel k, over batch and pixels i, with pixel weight u (0 on padding), target t in {0, 1}, p = sigmoid(z):
//!
//! ```text
//! I_k = sum of u p t,   P_k = sum of u p,   T_k = sum of u t
//! dice  = 1 - mean over k of (2 I_k + smooth) / (P_k + T_k + smooth)                       (Milletari et al. 2016, soft Dice)
//! bce_i = class_weight t softplus(-z) + (1 - t) softplus(z)                                 (BCEWithLogits with pos_weight)
//! focal: each term is multiplied by (1 - p_t)^gamma, p_t = p where t = 1, else 1 - p        (Lin et al. 2017, equation 4)
//! bce   = sum of u bce_i / (K sum of u)
//! loss  = alpha dice + (1 - alpha) bce
//!
//! dloss/dz = alpha u p (1 - p) dDice_k/dp + (1 - alpha) u bce'(z) / (K sum of u)
//! dDice_k/dp = -1/K (2 t D_k - N_k) / D_k^2,   N_k = 2 I_k + smooth,  D_k = P_k + T_k + smooth
//! ```
//!
//! With u = 0 everywhere the loss's cross-entropy part is 0, not NaN.

use super::{Instruction, Op, shape_error};
use crate::error::{Error, Result};
use crate::tape::{DType, Node, Shape, Tape, ValueId};

/// What is kept of one image and channel: the sums that give the loss, and hard counts at p >= 0.5.
pub const N_SUMS: usize = 8;

/// Indices into the sums of an image and channel. All are weighted by u.
pub mod sums {
    /// sum of u p t
    pub const INTERSECTION: usize = 0;
    /// sum of u p
    pub const PREDICTED: usize = 1;
    /// sum of u t
    pub const TARGET: usize = 2;
    /// sum of u bce_i
    pub const CROSS_ENTROPY: usize = 3;
    /// sum of u
    pub const WEIGHT: usize = 4;
    /// sum of u [p >= 0.5] t
    pub const TRUE_POSITIVE: usize = 5;
    /// sum of u [p >= 0.5] (1 - t)
    pub const FALSE_POSITIVE: usize = 6;
    /// sum of u [p < 0.5] t
    pub const FALSE_NEGATIVE: usize = 7;
}

/// The numbers of the loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LossParameters {
    /// Weight of Dice against cross-entropy, 0 to 1.
    pub alpha: f32,
    /// Added to numerator and denominator of Dice.
    pub smooth: f32,
    /// Weight of the positive class in the cross-entropy; 1 is neutral.
    pub class_weight: f32,
    /// Focal exponent gamma; 0 is the plain cross-entropy.
    pub focal_gamma: f32,
}

/// Inputs: logits z [N, H, W, K], target t [N, H, W, K] (0 or 1, f32), weight u [N, H, W, 1] (f32). Outputs: loss [1, 1, 1, 1], sums
/// [N, 1, K, 8] (see [`sums`]).
#[derive(Clone, Debug, PartialEq)]
pub struct DiceBce {
    pub parameters: LossParameters,
}

/// Inputs: dloss [1, 1, 1, 1], z, t, u, sums as of [`DiceBce`]. Output: dz [N, H, W, K].
#[derive(Clone, Debug, PartialEq)]
pub struct DiceBceGrad {
    pub parameters: LossParameters,
}

impl Op for DiceBce {
    fn name(&self) -> &'static str {
        "dice_bce"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<(Shape, DType)>> {
        match inputs {
            [z, t, u] if z == t && *u == z.with_channels(1) => {
                Ok(vec![(Shape::scalar(), DType::F32), (Shape([z.n(), 1, z.c(), N_SUMS]), DType::F32)])
            }
            _ => Err(shape_error(self.name(), inputs, "logits and target of one shape, a weight of one channel")),
        }
    }

    fn adjoint(
        &self,
        tape: &mut Tape,
        node: &Node,
        upstream: &[Option<ValueId>],
        wants: &[bool],
    ) -> Result<Vec<Option<ValueId>>> {
        if upstream[1].is_some() || wants[1] || wants[2] {
            return Err(Error::usage("dice_bce: only the loss has an adjoint, and only for the logits"));
        }
        let (Some(dloss), true) = (upstream[0], wants[0]) else { return Ok(vec![None; 3]) };
        let [z, t, u] = node.inputs[..] else { unreachable!("checked when recorded") };
        let grad = Instruction::DiceBceGrad(DiceBceGrad { parameters: self.parameters });
        let dz = tape.record_one(grad, &[dloss, z, t, u, node.outputs[1]])?;
        Ok(vec![Some(dz), None, None])
    }

    fn flops(&self, inputs: &[Shape], _outputs: &[Shape]) -> u64 {
        20 * inputs[0].len() as u64
    }
}

impl Op for DiceBceGrad {
    fn name(&self) -> &'static str {
        "dice_bce_grad"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<(Shape, DType)>> {
        match inputs {
            [dloss, z, t, u, sums]
                if *dloss == Shape::scalar()
                    && z == t
                    && *u == z.with_channels(1)
                    && *sums == Shape([z.n(), 1, z.c(), N_SUMS]) =>
            {
                Ok(vec![(*z, DType::F32)])
            }
            _ => Err(shape_error(self.name(), inputs, "dloss, logits, target, weight and the sums of the forward pass")),
        }
    }

    fn flops(&self, inputs: &[Shape], _outputs: &[Shape]) -> u64 {
        20 * inputs[1].len() as u64
    }
}
