//! Concatenation and split: they only move numbers.

use super::harness::{Case, Random, check};
use proptest::prelude::*;
use unet_engine::ops::Instruction;
use unet_engine::ops::concat::{Concat, Split};

fn check_both([n, h, w]: [usize; 3], channels: [usize; 2], seed: u32) {
    let random = &mut Random::new(seed);
    let name = format!("image {:?}, channels {channels:?}, seed {seed}", [n, h, w]);
    let parts = channels.map(|c| random.symmetric([n, h, w, c])).to_vec();
    check(&Case::exact(name.clone(), Instruction::Concat(Concat {}), parts));
    let whole = vec![random.symmetric([n, h, w, channels[0] + channels[1]])];
    check(&Case::exact(name, Instruction::Split(Split { channels }), whole));
}

#[test]
fn hostile_shapes() {
    let channels = [[1, 1], [1, 65], [65, 1], [3, 8], [17, 17], [16, 16]];
    for (seed, image) in [[1, 1, 1], [3, 1, 7], [1, 5, 3], [2, 8, 8]].into_iter().enumerate() {
        channels.into_iter().for_each(|c| check_both(image, c, seed as u32));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_shape(image in [1..4usize, 1..10, 1..10], channels in [1..70usize, 1..70], seed: u32) {
        check_both(image, channels, seed);
    }
}
