//! Augmentation: one gather that makes the network's input, the target and the weight from prepared pictures.
//!
//! The host has drawn all parameters (`Draw`, one an image) and the elastic control points; the noise of each pixel is drawn here. Per
//! image, with pixel (x, y) of the output, P = (x + 1/2, y + 1/2), the affine map M with its linear part A, the picture `content` of
//! Cw x Ch pixels (the source, or a coarser copy of it), and `labels` of the source's Sw x Sh pixels:
//!
//! ```text
//! D(P)  = sum over i, j in 0 .. 4 of b_i(P.y / spacing) b_j(P.x / spacing) control[row + i, column + j]     (uniform cubic B-spline)
//! S     = M P - A D(P)                                                                             (a point of the source)
//! w     = [0 <= S < (Sw, Sh)]
//! v     = w bilinear(content, S (Cw / Sw, Ch / Sh) - 1/2), clamped to its outermost pixel centres
//! v'    = w ((v gain + offset) (1 + speckle n1) + noise n2 - mean) factor
//! image = v' where the intensities change, else v
//! label = w labels[floor S],    surplus = [label = 255]
//! target = label (1 - surplus),    weight = w (1 - surplus)
//! ```
//!
//! with b(t) = ((1 - t)^3, 3 t^3 - 6 t^2 + 4, 3 (1 - t)^3 - 6 (1 - t)^2 + 4, t^3) / 6 of the fraction t, as in Ronneberger et al. 2015,
//! "U-Net", section 3.1. n1 and n2 are standard normal numbers: the quantiles number `word mod 4096` and `word / 2^20` of the word at
//! (seed, epoch, image, `Purpose::Noise`, y ceil(W / 4) + x / 4) of Philox 4x32-10, one word a pixel.
//!
//! **The same bits everywhere.** Every operation is rounded by itself, in the order of `src/augment/render.rs`, none contracted to a fused
//! one: M P in f64, the rest in f32. So a draw gives the same picture in the loader's threads, on the CPU backend and on every GPU.

use super::{Instruction, Op, shape_error};
use crate::error::{Error, Result};
use crate::tape::{DType, Shape, Tape, ValueId};
use bytemuck::{Pod, Zeroable};

/// The label of instances that are too many for the channels: the network sees them, the loss does not.
pub const SURPLUS: u8 = u8::MAX;
/// Quantiles of the standard normal distribution at (i + 1/2) / 4096 for i from 2048 on; the lower half is their mirror image.
pub const UPPER_QUANTILES: usize = 2048;
/// The persistent value in which a plan that augments keeps these quantiles: the host writes them once.
pub const QUANTILES: &str = "normal_quantiles";
/// The least distance of control points, in pixels: what a block of the kernel holds of them is bounded by it.
pub const MIN_SPACING: f32 = 4.0;

/// What was drawn for one image.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Draw {
    /// M: a point (x, y) of the input comes from (m0 x + m1 y + m2, m3 x + m4 y + m5) of the source.
    pub map: [f64; 6],
    /// Width and height of the source, 0 for padding of the batch.
    pub source: [u32; 2],
    /// Width and height of the content.
    pub content: [u32; 2],
    /// Low and high word of the noise's seed.
    pub seed: [u32; 2],
    pub epoch: u32,
    pub image: u32,
    pub gain: f32,
    pub offset: f32,
    pub mean: f32,
    pub factor: f32,
    pub noise: f32,
    pub speckle: f32,
    /// 1 if there is an elastic displacement, else 0.
    pub is_elastic: u32,
    /// 1 if the intensities change, else 0.
    pub changes_intensity: u32,
}

const _: () = assert!(size_of::<Draw>() == 112, "as kernels/augment.cu says");

impl Draw {
    /// An image of padding: 0 everywhere, with a weight of 0.
    pub fn nothing() -> Draw {
        Draw::zeroed()
    }

    /// Whether its pixels get random numbers.
    pub fn has_noise(&self) -> bool {
        self.changes_intensity != 0 && (self.noise != 0.0 || self.speckle != 0.0)
    }
}

/// Inputs: content [N, 1, 1, C], each picture row by row at the beginning of its row; labels [N, 1, 1, L] (bytes: 0, the number of the
/// instance, or [`SURPLUS`]), likewise; draws [N, 1, 1, 112] (bytes of [`Draw`]); control points [N, 2, rows, columns]
/// ([`Augment::control`]), deviations in x, then in y, in pixels; quantiles [1, 1, 1, 2048] ([`UPPER_QUANTILES`]). Outputs: image, target,
/// weight [N, H, W, 1].
///
/// A draw's picture has to fit into its rows: the host that writes draws sees to it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Augment {
    pub height: usize,
    pub width: usize,
    /// Distance of the control points in pixels, at least [`MIN_SPACING`].
    pub spacing: f32,
}

impl Augment {
    /// Rows and columns of control points: one before the first pixel, and enough behind the last.
    pub fn control(&self) -> [usize; 2] {
        [self.height, self.width].map(|size| (size as f32 / self.spacing) as usize + 4)
    }
}

impl Op for Augment {
    fn name(&self) -> &'static str {
        "augment"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<(Shape, DType)>> {
        // NaN is no spacing either.
        if !(self.spacing >= MIN_SPACING && self.spacing.is_finite()) {
            return Err(Error::usage(format!(
                "augment: control points every {} pixels, not {MIN_SPACING} or more",
                self.spacing
            )));
        }
        let n = inputs.first().map_or(0, Shape::n);
        let [rows, columns] = self.control();
        let is_flat = |shape: &Shape| shape.0 == [n, 1, 1, shape.c()];
        match inputs {
            [content, labels, draws, control, quantiles]
                if is_flat(content)
                    && is_flat(labels)
                    && draws.0 == [n, 1, 1, size_of::<Draw>()]
                    && control.0 == [n, 2, rows, columns]
                    && *quantiles == Shape::channels(UPPER_QUANTILES) =>
            {
                Ok(vec![(Shape::image(n, self.height, self.width, 1), DType::F32); 3])
            }
            _ => {
                let expected = format!(
                    "content [n, 1, 1, c], labels [n, 1, 1, l], draws [n, 1, 1, {}], control points [n, 2, {rows}, {columns}], \
                     quantiles [1, 1, 1, {UPPER_QUANTILES}]",
                    size_of::<Draw>()
                );
                Err(shape_error(self.name(), inputs, &expected))
            }
        }
    }

    fn input_type(&self, index: usize) -> DType {
        if matches!(index, 1 | 2) { DType::U8 } else { DType::F32 }
    }

    fn is_constant(&self) -> bool {
        true
    }

    /// With everything switched on: 4 for the map, 22 for the displacement, 15 for the interpolation, 10 for the intensities.
    fn flops(&self, _inputs: &[Shape], outputs: &[Shape]) -> u64 {
        51 * outputs[0].len() as u64
    }
}

/// Pictures to be augmented: the operation, and how large its operands are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pictures {
    pub augment: Augment,
    /// Pixels of the largest content and of the largest source.
    pub content: usize,
    pub labels: usize,
}

impl Pictures {
    /// Names, shapes and types of what the host writes for each batch of `n` images: the operation's inputs but for the quantiles.
    pub fn inputs(&self, n: usize) -> [(&'static str, Shape, DType); 4] {
        let [rows, columns] = self.augment.control();
        [
            ("content", Shape([n, 1, 1, self.content]), DType::F32),
            ("labels", Shape([n, 1, 1, self.labels]), DType::U8),
            ("draws", Shape([n, 1, 1, size_of::<Draw>()]), DType::U8),
            ("control", Shape([n, 2, rows, columns]), DType::F32),
        ]
    }

    /// Records the operation for batches of `n` images, with inputs of these names: image, target and weight [N, H, W, 1].
    ///
    /// # Errors
    /// If the spacing of the control points is not possible.
    pub fn record(&self, n: usize, tape: &mut Tape) -> Result<[ValueId; 3]> {
        let mut inputs = self.inputs(n).map(|(name, shape, dtype)| tape.input(name, shape, dtype)).to_vec();
        inputs.push(tape.persistent(QUANTILES, Shape::channels(UPPER_QUANTILES)));
        let outputs = tape.record(Instruction::Augment(self.augment), &inputs)?;
        Ok([outputs[0], outputs[1], outputs[2]])
    }
}
