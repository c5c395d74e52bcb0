//! The check of a gradient: 1 where it holds a NaN or an infinity, else as it was.

use super::harness::{Case, Random, check};
use crate::reference::Array;
use proptest::prelude::*;
use unet_engine::ops::Instruction;
use unet_engine::ops::check_finite::CheckFinite;

/// Checks that `g` makes `overflow` what it should be, whatever it was.
fn check_both(g: &Array) {
    for before in [0.0, 1.0] {
        let name = format!("shape {:?}, overflow {before}", g.shape);
        let (inputs, before) = (vec![g.clone()], vec![Array::vector(vec![before])]);
        let magnitudes = vec![Array::zeros([1; 4])];
        let mut case = Case::in_place(name, Instruction::CheckFinite(CheckFinite {}), inputs, before, magnitudes, 1);
        case.allowed = vec![Array::zeros([1; 4])];
        check(&case);
    }
}

/// The largest and the smallest numbers are finite.
#[test]
fn what_is_finite_stays_unflagged() {
    let extremes = [f32::MAX, f32::MIN, f32::MIN_POSITIVE, 1e-45, -0.0].map(f64::from);
    check_both(&Array::vector(extremes.to_vec()));
    for (seed, shape) in [[1, 1, 1, 1], [3, 3, 8, 17], [1, 1, 1, 65], [3, 3, 96, 96]].into_iter().enumerate() {
        check_both(&Random::new(seed as u32).symmetric(shape));
    }
}

/// At the first and the last place, and on both sides of where the work is cut.
#[test]
fn one_number_is_enough_wherever_it_stands() {
    let g = Random::new(1).symmetric([1, 1, 1, 70_001]);
    for at in [0, 1, 32_767, 32_768, 65_536, 70_000] {
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let mut g = g.clone();
            g.data[at] = number;
            check_both(&g);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_bits(bits in prop::collection::vec(any::<u32>(), 1..300)) {
        check_both(&Array::vector(bits.into_iter().map(|bits| f64::from(f32::from_bits(bits))).collect()));
    }
}
