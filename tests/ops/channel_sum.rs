//! The sum over all pixels. Small images are among the shapes in `elementwise`.

use super::harness::{Case, Random, check};
use unet_engine::ops::Instruction;
use unet_engine::ops::channel_sum::ChannelSum;

/// Images that a GPU cuts into many chunks of pixels and several groups of channels.
#[test]
fn many_chunks() {
    for (seed, shape) in [[2, 40, 48, 65], [1, 64, 33, 264], [1, 200, 201, 1], [4, 60, 60, 3]].into_iter().enumerate() {
        let x = Random::new(seed as u32).array(shape, -1.0, 2.0);
        let name = format!("shape {shape:?}, seed {seed}");
        check(&Case::linear(name, Instruction::ChannelSum(ChannelSum {}), vec![x], shape[..3].iter().product()));
    }
}
