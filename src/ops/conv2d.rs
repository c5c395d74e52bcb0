//! Convolution with 3x3 or 1x1 kernels, stride 1, "same" zero padding, over one image or over two whose channels are
//! concatenated without being copied.
//!
//! ```text
//! y[n, y, x, co]  = b[co] + sum over r, s, ci of  x[n, y + r - p, x + s - p, ci] w[r, s, ci, co],     p = (kernel - 1) / 2
//! dx[n, y, x, ci] = sum over r, s, co of  dy[n, y - r + p, x - s + p, co] w[r, s, ci, co]
//! dw[r, s, ci, co] = sum over n, y, x of  x[n, y + r - p, x + s - p, ci] dy[n, y, x, co]
//! db[co]          = sum over n, y, x of  dy[n, y, x, co]                                    (channel_sum)
//! ```
//!
//! With two inputs x is their concatenation over channels: ci counts through the first, then through the second. This is a
//! cross-correlation, as in PyTorch's `Conv2d`.

use super::channel_sum::ChannelSum;
use super::{Instruction, Op, Operand, shape_error};
use crate::error::Result;
use crate::tape::{DType, Node, Shape, Tape, ValueId};

/// Forward. Inputs: w [R, S, Ci, Co], x0 [N, H, W, C0], then x1 [N, H, W, C1] if `two_inputs` (Ci = C0 + C1), then b [1, 1, 1, Co]
/// if `bias`. Output: y [N, H, W, Co].
#[derive(Clone, Debug, PartialEq)]
pub struct Conv2d {
    pub two_inputs: bool,
    pub bias: bool,
}

/// Gradient of the data. Inputs: w [R, S, Ci, Co], dy [N, H, W, Co]. Outputs: dx0 `[N, H, W, channels[0]]` and, where `channels[1] > 0`,
/// dx1 `[N, H, W, channels[1]]`; `channels[0] + channels[1]` = Ci.
#[derive(Clone, Debug, PartialEq)]
pub struct Conv2dDataGrad {
    pub channels: [usize; 2],
}

/// Gradient of the weights. Inputs: dy [N, H, W, Co], x0, then x1 if there are two. Output: dw [kernel, kernel, Ci, Co].
#[derive(Clone, Debug, PartialEq)]
pub struct Conv2dWeightGrad {
    pub kernel: usize,
}

fn is_kernel(w: Shape) -> bool {
    w.0[0] == w.0[1] && matches!(w.0[0], 1 | 3)
}

impl Op for Conv2d {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<(Shape, DType)>> {
        let expected = "w [k, k, Ci, Co] with k 1 or 3, images of Ci channels in all, and a bias of Co where there is one";
        let fail = || shape_error("conv2d", inputs, expected);
        if inputs.len() != 2 + usize::from(self.two_inputs) + usize::from(self.bias) {
            return Err(fail());
        }
        let (w, x) = (inputs[0], inputs[1]);
        let images = &inputs[1..2 + usize::from(self.two_inputs)];
        let ci: usize = images.iter().map(Shape::c).sum();
        let same_size = images.iter().all(|i| i.with_channels(1) == x.with_channels(1));
        let bias_fits = !self.bias || inputs[inputs.len() - 1] == Shape::channels(w.c());
        if !same_size || !bias_fits || !is_kernel(w) || w.0[2] != ci {
            return Err(fail());
        }
        Ok(vec![(x.with_channels(w.c()), DType::F32)])
    }

    fn may_be_half(&self, operand: Operand, half: DType) -> bool {
        match operand {
            Operand::Input(0) => half == DType::F16,
            _ => operand != Operand::Input(2 + usize::from(self.two_inputs)),
        }
    }

    fn is_parameter(&self, input: usize) -> bool {
        !(1..2 + usize::from(self.two_inputs)).contains(&input)
    }

    fn adjoint(
        &self,
        tape: &mut Tape,
        node: &Node,
        upstream: &[Option<ValueId>],
        wants: &[bool],
    ) -> Result<Vec<Option<ValueId>>> {
        let Some(dy) = upstream[0] else { return Ok(vec![None; node.inputs.len()]) };
        let n_images = 1 + usize::from(self.two_inputs);
        let images = &node.inputs[1..1 + n_images];
        let mut gradients = vec![None; node.inputs.len()];
        if self.bias && wants[1 + n_images] {
            gradients[1 + n_images] = Some(tape.record_one(Instruction::ChannelSum(ChannelSum {}), &[dy])?);
        }
        if wants[0] {
            let kernel = tape.shape(node.inputs[0]).0[0];
            let inputs: Vec<ValueId> = [dy].into_iter().chain(images.iter().copied()).collect();
            gradients[0] = Some(tape.record_one(Instruction::Conv2dWeightGrad(Conv2dWeightGrad { kernel }), &inputs)?);
        }
        if wants[1..1 + n_images].contains(&true) {
            let mut channels = [0; 2];
            images.iter().zip(&mut channels).for_each(|(&image, c)| *c = tape.shape(image).c());
            let grad = Instruction::Conv2dDataGrad(Conv2dDataGrad { channels });
            let dx = tape.record(grad, &[node.inputs[0], dy])?;
            dx.into_iter().enumerate().filter(|(i, _)| wants[1 + i]).for_each(|(i, d)| gradients[1 + i] = Some(d));
        }
        Ok(gradients)
    }

    fn flops(&self, inputs: &[Shape], outputs: &[Shape]) -> u64 {
        2 * inputs[0].len() as u64 * outputs[0].pixels() as u64
    }
}

impl Op for Conv2dDataGrad {
    fn name(&self) -> &'static str {
        "conv2d_data_grad"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<(Shape, DType)>> {
        let [c0, c1] = self.channels;
        match inputs {
            [w, dy] if is_kernel(*w) && w.c() == dy.c() && c0 > 0 && w.0[2] == c0 + c1 => {
                let outputs = self.channels.iter().filter(|&&c| c > 0);
                Ok(outputs.map(|&c| (dy.with_channels(c), DType::F32)).collect())
            }
            _ => Err(shape_error(self.name(), inputs, &format!("w [k, k, sum of {:?}, Co], dy of Co channels", self.channels))),
        }
    }

    fn may_be_half(&self, operand: Operand, half: DType) -> bool {
        operand != Operand::Input(0) || half == DType::F16
    }

    fn flops(&self, inputs: &[Shape], _outputs: &[Shape]) -> u64 {
        2 * inputs[0].len() as u64 * inputs[1].pixels() as u64
    }
}

impl Op for Conv2dWeightGrad {
    fn name(&self) -> &'static str {
        "conv2d_weight_grad"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<(Shape, DType)>> {
        let one_size = inputs.windows(2).all(|p| p[0].with_channels(1) == p[1].with_channels(1));
        if !(2..=3).contains(&inputs.len()) || !one_size || !matches!(self.kernel, 1 | 3) {
            return Err(shape_error(self.name(), inputs, "dy and one or two images of its size, and a kernel of 1 or 3"));
        }
        let ci = inputs[1..].iter().map(Shape::c).sum();
        Ok(vec![(Shape([self.kernel, self.kernel, ci, inputs[0].c()]), DType::F32)])
    }

    fn may_be_half(&self, operand: Operand, _half: DType) -> bool {
        matches!(operand, Operand::Input(_))
    }

    fn flops(&self, inputs: &[Shape], outputs: &[Shape]) -> u64 {
        2 * outputs[0].len() as u64 * inputs[0].pixels() as u64
    }
}
