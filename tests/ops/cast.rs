//! Casts between f32 and f16 or bf16: exact to the last bit.

use super::harness::{Case, Random, check, check_on_cpu, run_case};
use crate::engine::interpreter::stored;
use crate::reference::Array;
use crate::reference::cast::{to_bf16, to_f16};
use half::{bf16, f16};
use proptest::prelude::*;
use unet_engine::backend::{Session, cpu};
use unet_engine::error::ErrorKind;
use unet_engine::ops::Instruction;
use unet_engine::ops::add::Add;
use unet_engine::ops::cast::Cast;
use unet_engine::plan::PlanOptions;
use unet_engine::tape::{DType, Shape, Tape};

fn case(x: Array, half: Option<DType>, to: DType) -> Case {
    let name = format!("shape {:?}, from {half:?}", x.shape);
    Case { half, ..Case::exact(name, Instruction::Cast(Cast { to }), vec![x]) }
}

/// All casts of f32 numbers. bf16 is of the CPU.
fn check_all(x: &Array) {
    for to in [DType::F32, DType::F16] {
        check(&case(x.clone(), None, to));
        check(&case(stored(x.clone(), DType::F16), Some(DType::F16), to));
    }
    check_on_cpu(&case(x.clone(), None, DType::Bf16));
    for to in [DType::F32, DType::Bf16] {
        check_on_cpu(&case(stored(x.clone(), DType::Bf16), Some(DType::Bf16), to));
    }
}

/// The reference's own rounding, by another program.
#[test]
fn the_reference_rounds_as_ieee_754_says() {
    // Every f16 number, and the middle between it and its neighbour, where ties go to the even one.
    for bits in 0..=u16::MAX {
        let x = f16::from_bits(bits);
        if !x.is_finite() {
            continue;
        }
        assert_eq!(to_f16(x.to_f64()), x.to_f64());
        let next = f16::from_bits(bits + 1).to_f64();
        for between in [0.25, 0.5, 0.75].map(|share| x.to_f64() + share * (next - x.to_f64())) {
            assert_eq!(to_f16(between), f16::from_f64(between).to_f64(), "{between:e}");
        }
    }
    for bits in (0..=u16::MAX).filter(|bits| bf16::from_bits(*bits).is_finite()) {
        let [x, next] = [bits, bits + 1].map(|bits| bf16::from_bits(bits).to_f64());
        assert_eq!(to_bf16(x), x);
        for between in [0.25, 0.5, 0.75].map(|share| x + share * (next - x)).into_iter().filter(|x| x.is_finite()) {
            assert_eq!(to_bf16(between), bf16::from_f64(between).to_f64(), "{between:e}");
        }
    }
    assert_eq!(
        [65504.0, 65519.9, 65520.0, -65520.0, 1e300].map(to_f16),
        [65504.0, 65504.0, f64::INFINITY, f64::NEG_INFINITY, f64::INFINITY]
    );
    assert!(to_f16(f64::NAN).is_nan() && to_bf16(-0.0).is_sign_negative());
}

#[test]
fn hostile_shapes_and_numbers() {
    for (seed, shape) in [[1, 1, 1, 1], [3, 1, 1, 65], [1, 5, 7, 17], [3, 3, 8, 8], [1, 257, 129, 1]].into_iter().enumerate() {
        check_all(&Random::new(seed as u32).array(shape, -70.0, 70.0));
    }
    let numbers = [0.0, -0.0, 65504.0, 65519.0, 65520.0, 1e30, -1e30, f32::MAX, 6e-8, 2.9e-8, 3.1e-8, -6.1e-5, 1e-40];
    let specials = [f32::INFINITY, f32::NEG_INFINITY, f32::NAN];
    check_all(&Array::vector(numbers.into_iter().chain(specials).map(f64::from).collect()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_numbers(bits in prop::collection::vec(any::<u32>(), 1..200)) {
        check_all(&Array::vector(bits.into_iter().map(|bits| f64::from(f32::from_bits(bits))).collect()));
    }
}

/// The CPU computes in f32 and bf16: it says so, when planned as when run.
#[test]
fn the_cpu_refuses_other_steps_on_f16() {
    let x = Random::new(1).symmetric([1, 2, 2, 3]).map(to_f16);
    let case = Case { half: Some(DType::F16), ..Case::exact("f16".into(), Instruction::Add(Add {}), vec![x.clone(), x]) };
    let message = run_case(&case, &mut *cpu::open(1).unwrap()).unwrap_err();
    assert!(message.contains("add on f16") && message.contains("CUDA"), "{message}");
    let mut tape = Tape::new();
    let x = tape.input("x", Shape::image(1, 2, 2, 3), DType::F16);
    let y = tape.record_one(Instruction::Add(Add {}), &[x, x]).unwrap();
    tape.output("y", y);
    let error = Session::plan(cpu::open(1).unwrap(), &[&tape], PlanOptions::default()).err().unwrap();
    assert!(error.kind() == ErrorKind::Device && error.to_string().contains("--precision f32"), "{error}");
}

/// What the host reads and writes by name is f32.
#[test]
fn a_value_on_f16_is_not_read_as_f32() {
    let mut tape = Tape::new();
    let x = tape.input("x", Shape::channels(4), DType::F16);
    let y = tape.record_one(Instruction::Cast(Cast { to: DType::F32 }), &[x]).unwrap();
    tape.output("y", y);
    let mut session = Session::new(cpu::open(1).unwrap(), &[&tape], PlanOptions::default()).unwrap();
    assert!(session.write_input(0, "x", &[1.0; 4]).unwrap_err().to_string().contains("F16"));
}

/// All operands that may be f16 are, or none is; a bias never is.
#[test]
fn types_that_no_kernel_takes_cannot_be_recorded() {
    let mut tape = Tape::new();
    let [half, full] = [DType::F16, DType::F32].map(|t| tape.input(&format!("{t:?}"), Shape::image(1, 2, 2, 3), t));
    let message = tape.record(Instruction::Add(Add {}), &[full, half]).unwrap_err().to_string();
    assert!(message.contains("add: input 0 should be F16"), "{message}");
    let w = tape.input("w", Shape([1, 1, 3, 3]), DType::F16);
    let [half_bias, bias] = [DType::F16, DType::F32].map(|t| tape.input(&format!("b {t:?}"), Shape::channels(3), t));
    let conv = Instruction::Conv2d(unet_engine::ops::conv2d::Conv2d { two_inputs: false, bias: true });
    let message = tape.record(conv.clone(), &[w, half, half_bias]).unwrap_err().to_string();
    assert!(message.contains("input 2 should be F32"), "{message}");
    let y = tape.record_one(conv, &[w, half, bias]).unwrap();
    assert_eq!(tape.dtype(y), DType::F16);
    let bytes = tape.input("bytes", Shape::channels(3), DType::U8);
    assert!(tape.record(Instruction::Cast(Cast { to: DType::F32 }), &[bytes]).is_err());
    assert!(tape.record(Instruction::Cast(Cast { to: DType::U8 }), &[full]).is_err());
}
