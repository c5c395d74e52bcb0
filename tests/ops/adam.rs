//! Adam.

use super::harness::{Case, Random, check, run_case};
use crate::reference::Array;
use proptest::prelude::*;
use unet_engine::backend::cpu;
use unet_engine::ops::Instruction;
use unet_engine::ops::adam::Adam;

const ADAM: Adam = Adam { beta1: 0.9, beta2: 0.999, eps: 1e-8 };

/// Step `t` with a loss scale; moments as they are after some steps, or zero at the first.
fn case(shape: [usize; 4], t: i32, loss_scale: f32, seed: u32) -> Case {
    let random = &mut Random::new(seed);
    let g = random.symmetric(shape).map(|g| f64::from(g as f32 * loss_scale));
    let rate = 1e-3;
    let [c1, c2] = [ADAM.beta1, ADAM.beta2].map(|beta| 1.0 / (1.0 - beta.powi(t)));
    let schedule = Array::vector([rate, c1, c2, 1.0 / loss_scale].map(f64::from).to_vec());
    let is_first = if t == 1 { 0.0 } else { 1.0 };
    let parameter = random.symmetric(shape);
    let m = random.symmetric(shape).map(|m| m * is_first);
    let v = random.array(shape, 1e-6, 1.0).map(|v| v * is_first);
    let magnitudes = magnitudes(&g, &schedule, [&parameter, &m, &v]);
    let name = format!("shape {shape:?}, t {t}, loss scale {loss_scale}, seed {seed}");
    Case::in_place(name, Instruction::Adam(ADAM), vec![g, schedule], vec![parameter, m, v], magnitudes, 1)
}

fn magnitudes(g: &Array, schedule: &Array, [parameter, m, v]: [&Array; 3]) -> Vec<Array> {
    let s = &schedule.data;
    let g = g.map(|g| g * s[3]);
    let [beta1, beta2] = [ADAM.beta1, ADAM.beta2].map(f64::from);
    let m = m.zip(&g, |m, g| 2.0 * (beta1 * m.abs() + (1.0 - beta1) * g.abs()));
    let v = v.zip(&g, |v, g| 2.0 * (beta2 * v + (1.0 - beta2) * g * g));
    let step = m.zip(&v, |m, v| 4.0 * s[0] * m * s[1] / ((0.5 * v * s[2]).sqrt() + f64::from(ADAM.eps)));
    vec![parameter.zip(&step, |p, s| p.abs() + s), m, v]
}

#[test]
fn hostile_shapes() {
    for (seed, shape) in [[1, 1, 1, 1], [1, 1, 1, 65], [3, 3, 1, 17], [3, 3, 8, 8], [2, 2, 3, 5]].into_iter().enumerate() {
        for t in [1, 2, 1000] {
            check(&case(shape, t, 1.0, seed as u32));
            check(&case(shape, t, 1024.0, seed as u32));
        }
    }
}

/// A parameter that gets no gradient from the first step on stays where it is.
#[test]
fn zero_gradients_move_nothing() {
    let mut case = case([1, 1, 1, 9], 1, 1.0, 3);
    case.inputs[0] = case.inputs[0].map(|_| 0.0);
    case.expected = vec![case.before[0].clone(), Array::zeros([1, 1, 1, 9]), Array::zeros([1, 1, 1, 9])];
    case.allowed = case.allowed.iter().map(|a| a.map(|_| 0.0)).collect();
    check(&case);
}

/// Where `overflow` is raised nothing changes, whatever the gradient holds; where it is not, the step is the usual one, bit for bit.
#[test]
fn an_overflow_moves_nothing() {
    for shape in [[1, 1, 1, 1], [3, 3, 8, 17]] {
        let plain = case(shape, 3, 8.0, 5);
        let flagged = |raised: f64| {
            let mut case = plain.clone();
            case.inputs.push(Array::vector(vec![raised]));
            case
        };
        check(&flagged(0.0));
        let mut raised = flagged(1.0);
        raised.expected = raised.before.clone();
        raised.allowed = raised.allowed.iter().map(|a| a.map(|_| 0.0)).collect();
        check(&raised);
        raised.inputs[0] = raised.inputs[0].map(|_| f64::NAN);
        check(&raised);
        let [with, without] = [flagged(0.0), plain].map(|case| {
            let mut backend = cpu::open(1).expect("a CPU backend");
            run_case(&case, &mut *backend).expect("a step")
        });
        assert_eq!(with, without);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_shape(shape in [1..4usize, 1..4, 1..20, 1..40], t in 1..200i32, seed: u32) {
        check(&case(shape, t, 1.0, seed));
    }
}
