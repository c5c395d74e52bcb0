//! The gradients of a convolution whose result is normalised by the batch's statistics, from the gradient of what comes of that, in one pass: the
//! gradient of the convolution's result is never an image in memory. A rewrite makes it ([`crate::plan::merge_gradients`]) where a device
//! has it.
//!
//! ```text
//! dz = batch_norm_grad_apply(dy, z, ..),   dw = conv2d_weight_grad(dz, x),   dx = conv2d_data_grad(w, dz)
//! ```

use super::batch_norm::{BatchNormGradApply, Gate};
use super::conv2d::{Conv2dDataGrad, Conv2dWeightGrad};
use super::{Op, Operand, shape_error};
use crate::error::Result;
use crate::tape::{DType, Shape};

/// Inputs: those of [`BatchNormGradApply`], w [R, S, Ci, Co], then the convolution's one or two images. Outputs: dw [R, S, Ci, Co], then the
/// gradient of each image.
#[derive(Clone, Debug, PartialEq)]
pub struct Conv2dNormalisedGrad {
    /// Without a residual.
    pub normalisation: BatchNormGradApply,
    /// Channels of the images, the second 0 where there is one.
    pub channels: [usize; 2],
}

impl Conv2dNormalisedGrad {
    /// Inputs of the normalisation's gradient: w is the next.
    pub fn n_normalised(&self) -> usize {
        7 + usize::from(self.normalisation.gate != Gate::Open)
    }

    /// The gradient of the images alone.
    pub fn data_grad(&self) -> Conv2dDataGrad {
        Conv2dDataGrad { channels: self.channels }
    }
}

impl Op for Conv2dNormalisedGrad {
    fn name(&self) -> &'static str {
        "conv2d_normalised_grad"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<(Shape, DType)>> {
        let n = self.n_normalised();
        let n_images = self.channels.iter().filter(|&&c| c > 0).count();
        let expected = "inputs of batch_norm_grad_apply without residual, weights, and the images of a convolution";
        if inputs.len() != n + 1 + n_images || self.normalisation.residual {
            return Err(shape_error(self.name(), inputs, expected));
        }
        let dz = self.normalisation.infer(&inputs[..n])?[0].0;
        let (w, images) = (inputs[n], &inputs[n + 1..]);
        let mut outputs = Conv2dWeightGrad { kernel: w.0[0] }.infer(&[&[dz], images].concat())?;
        let dx = self.data_grad().infer(&[w, dz])?;
        if outputs[0].0 != w || dx.iter().map(|(shape, _)| shape).ne(images) {
            return Err(shape_error(self.name(), inputs, expected));
        }
        outputs.extend(dx);
        Ok(outputs)
    }

    fn may_be_half(&self, operand: Operand, half: DType) -> bool {
        let n = self.n_normalised();
        match operand {
            Operand::Input(i) if i < n => self.normalisation.may_be_half(operand, half),
            Operand::Input(i) => i > n || half == DType::F16,
            Operand::Output(i) => i > 0,
        }
    }

    fn flops(&self, inputs: &[Shape], outputs: &[Shape]) -> u64 {
        let n = self.n_normalised();
        let of_convolution = self.data_grad().flops(&[inputs[n], inputs[0]], &outputs[1..]);
        self.normalisation.flops(&inputs[..n], &[]) + 2 * of_convolution
    }
}
