//! The numbers that kernels are measured on: random, and a function of their place, so that a reference needs no copy of them.

use super::case::Case;
use crate::ops::Instruction;
use crate::ops::augment::{Augment, Draw};
use crate::random::{Philox, Purpose};
use crate::tape::{DType, Shape};
use half::{bf16, f16};
use rayon::prelude::*;

/// Which numbers an operand holds.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fill {
    Uniform {
        from: f32,
        to: f32,
    },
    /// Whole numbers below this.
    Below(u32),
    /// The same four again and again.
    Given([f32; 4]),
    /// The bytes of the same draw for every image.
    Draw(Draw),
}

/// The numbers of one operand, in order of memory.
#[derive(Clone, Copy, Debug)]
pub struct Numbers {
    /// Addresses its random numbers.
    operand: u32,
    fill: Fill,
    pub shape: Shape,
    pub dtype: DType,
}

impl Numbers {
    /// Of input `index` of a case.
    pub fn of_input(case: &Case, index: usize) -> Numbers {
        let (shape, dtype) = case.inputs[index];
        Numbers { operand: index as u32, fill: fill_of_input(case, index), shape, dtype }
    }

    /// What output `index` holds before it is updated in place.
    pub fn of_updated(case: &Case, index: usize) -> Numbers {
        let (shape, dtype) = case.outputs[index];
        // Moments and variances have no sign.
        Numbers { operand: 1000 + index as u32, fill: Fill::Uniform { from: 0.0, to: 1.0 }, shape, dtype }
    }

    /// The number at `index`, as it is stored.
    pub fn at(&self, index: usize) -> f32 {
        stored(self.block(index / 4)[index % 4], self.dtype)
    }

    /// The number at a place of four coordinates.
    pub fn at_place(&self, [a, b, c, d]: [usize; 4]) -> f32 {
        let [_, e1, e2, e3] = self.shape.0;
        self.at(((a * e1 + b) * e2 + c) * e3 + d)
    }

    /// All of them as they lie in memory.
    pub fn bytes(&self) -> Vec<u8> {
        const BLOCKS: usize = 1 << 14;
        let size = self.dtype.size();
        let mut bytes = vec![0; self.shape.len() * size];
        bytes.par_chunks_mut(4 * BLOCKS * size).enumerate().for_each(|(chunk, bytes)| {
            for (i, bytes) in bytes.chunks_mut(4 * size).enumerate() {
                let block = self.block(chunk * BLOCKS + i);
                for (bytes, x) in bytes.chunks_mut(size).zip(block) {
                    match self.dtype {
                        DType::F32 => bytes.copy_from_slice(&x.to_le_bytes()),
                        DType::F16 => bytes.copy_from_slice(&f16::from_f32(x).to_le_bytes()),
                        DType::Bf16 => bytes.copy_from_slice(&bf16::from_f32(x).to_le_bytes()),
                        DType::U8 => bytes[0] = x as u8,
                    }
                }
            }
        });
        bytes
    }

    /// Four numbers from 4 `block` on.
    fn block(&self, block: usize) -> [f32; 4] {
        let mut random = Philox::new(0, self.operand, block as u32, Purpose::Bench);
        match self.fill {
            Fill::Uniform { from, to } => [(); 4].map(|()| random.range(from, to)),
            Fill::Below(n) => [(); 4].map(|()| random.below(n as usize) as f32),
            Fill::Given(numbers) => numbers,
            Fill::Draw(draw) => {
                let bytes: &[u8] = bytemuck::bytes_of(&draw);
                core::array::from_fn(|i| f32::from(bytes[(4 * block + i) % bytes.len()]))
            }
        }
    }
}

fn stored(x: f32, dtype: DType) -> f32 {
    match dtype {
        DType::F16 => f16::from_f32(x).to_f32(),
        DType::Bf16 => bf16::from_f32(x).to_f32(),
        DType::F32 | DType::U8 => x,
    }
}

/// The numbers of bytes as they are read from a device.
pub fn decode(bytes: &[u8], dtype: DType, index: usize) -> f32 {
    let at = index * dtype.size();
    match dtype {
        DType::F32 => f32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]),
        DType::F16 => f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32(),
        DType::Bf16 => bf16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32(),
        DType::U8 => f32::from(bytes[at]),
    }
}

/// Images, weights and gradients are in [-1, 1); the rest is what its operation takes.
fn fill_of_input(case: &Case, index: usize) -> Fill {
    use Instruction as I;
    let (shape, dtype) = case.inputs[index];
    let variance = Fill::Uniform { from: 0.5, to: 1.5 };
    match (&case.instruction, index) {
        (I::Augment(op), 2) => Fill::Draw(everything_on(op)),
        // An index of a maximum among four pixels.
        _ if dtype == DType::U8 => Fill::Below(4),
        (I::Adam(_), 1) => Fill::Given([1e-4, 1.0, 1.0, 1.0]),
        // No overflow: the work is done.
        (I::Adam(_) | I::BatchNormUpdate(_), 2) if shape == Shape::scalar() => Fill::Given([0.0; 4]),
        (I::BatchNormApply(_), 2) | (I::BatchNormGradReduce(_) | I::BatchNormGradApply(_), 3) | (I::BatchNormUpdate(_), 1) => {
            variance
        }
        (I::DiceBce(_), 1) | (I::DiceBceGrad(_), 2) => Fill::Below(2),
        (I::DiceBce(_), 2) | (I::DiceBceGrad(_), 3) => Fill::Given([1.0; 4]),
        (I::DiceBceGrad(_), 4) => variance,
        _ => Fill::Uniform { from: -1.0, to: 1.0 },
    }
}

/// A draw that makes the kernel do all of its work: turned by an angle whose sine is 0.28, displaced, noisy; of a source as large as the
/// output.
fn everything_on(op: &Augment) -> Draw {
    let (w, h) = (op.width as f64, op.height as f64);
    let (sin, cos) = (0.28, 0.96);
    let map = [cos, sin, (w - cos * w - sin * h) / 2.0, -sin, cos, (h + sin * w - cos * h) / 2.0];
    let size = [op.width as u32, op.height as u32];
    let (gain, offset, mean, factor) = (0.25, 0.5, 0.45, 4.0);
    let (is_elastic, changes_intensity) = (1, 1);
    let (noise, speckle) = (0.03, 0.05);
    let [source, content] = [size; 2];
    Draw { map, source, content, gain, offset, mean, factor, noise, speckle, is_elastic, changes_intensity, ..Draw::nothing() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is uploaded is what the reference sees, in every type, over the borders of chunks too.
    #[test]
    fn bytes_and_places_agree() {
        for dtype in [DType::F32, DType::F16, DType::U8] {
            let shape = Shape([3, 1, 30_001, 1]);
            let fill = if dtype == DType::U8 { Fill::Below(4) } else { Fill::Uniform { from: -1.0, to: 1.0 } };
            let numbers = Numbers { operand: 3, fill, shape, dtype };
            let bytes = numbers.bytes();
            assert_eq!(bytes.len(), shape.len() * dtype.size());
            for index in [0, 1, 2, 5, 65_535, 65_536, 65_537, 90_002] {
                assert_eq!(decode(&bytes, dtype, index), numbers.at(index), "{dtype:?} {index}");
            }
            assert_eq!(numbers.at_place([2, 0, 17, 0]), numbers.at(2 * 30_001 + 17));
        }
    }

    #[test]
    fn numbers_are_random() {
        let numbers =
            Numbers { operand: 0, fill: Fill::Uniform { from: -1.0, to: 1.0 }, shape: Shape::channels(4000), dtype: DType::F32 };
        let all: Vec<f32> = (0..4000).map(|i| numbers.at(i)).collect();
        let mean = all.iter().sum::<f32>() / 4000.0;
        let different: std::collections::BTreeSet<u32> = all.iter().map(|x| x.to_bits()).collect();
        assert!(mean.abs() < 0.05 && different.len() > 3990, "{mean} {}", different.len());
        let other = Numbers { operand: 1, ..numbers };
        assert!((0..4000).filter(|&i| numbers.at(i) == other.at(i)).count() < 5, "operands differ");
    }
}
