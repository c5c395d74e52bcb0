//! The reference against the CPU backend, on every kind and pass, and planted errors that it has to find.

use super::*;
use crate::backend::{Session, cpu};
use crate::ops::conv_transpose2d::{ConvTranspose2d, ConvTranspose2dDataGrad, ConvTranspose2dWeightGrad};
use crate::ops::conv2d::{Conv2d, Conv2dDataGrad, Conv2dWeightGrad};
use crate::plan::PlanOptions;
use crate::tape::{Tape, ValueId};

fn case(instruction: Instruction, inputs: &[[usize; 4]]) -> Case {
    let inputs: Vec<(Shape, DType)> = inputs.iter().map(|&shape| (Shape(shape), DType::F32)).collect();
    let outputs = instruction.infer(&inputs).unwrap();
    Case { instruction, inputs, outputs, in_place: false, calls: 1 }
}

fn cases() -> Vec<Case> {
    let (x0, x1, y, b) = ([2, 9, 6, 3], [2, 9, 6, 2], [2, 9, 6, 4], [1, 1, 1, 4]);
    let (up_x, up_y, up_w) = ([2, 5, 3, 6], [2, 10, 6, 4], [2, 2, 6, 4]);
    let conv = |two_inputs, bias| Instruction::Conv2d(Conv2d { two_inputs, bias });
    let weights = |kernel| Instruction::Conv2dWeightGrad(Conv2dWeightGrad { kernel });
    vec![
        case(conv(false, true), &[[1, 1, 3, 4], x0, b]),
        case(conv(true, false), &[[3, 3, 5, 4], x0, x1]),
        case(Instruction::Conv2dDataGrad(Conv2dDataGrad { channels: [3, 2] }), &[[3, 3, 5, 4], y]),
        case(weights(3), &[y, x0, x1]),
        case(weights(1), &[y, x0]),
        case(Instruction::ConvTranspose2d(ConvTranspose2d {}), &[up_w, up_x, b]),
        case(Instruction::ConvTranspose2dDataGrad(ConvTranspose2dDataGrad {}), &[up_w, up_y]),
        case(Instruction::ConvTranspose2dWeightGrad(ConvTranspose2dWeightGrad {}), &[up_y, up_x]),
    ]
}

/// What the CPU backend computes for a case.
fn outputs(case: &Case) -> Vec<(Shape, DType, Vec<u8>)> {
    let mut tape = Tape::new();
    let inputs: Vec<ValueId> = (0..case.inputs.len()).map(|i| tape.input(&i.to_string(), case.inputs[i].0, DType::F32)).collect();
    let values = tape.record(case.instruction.clone(), &inputs).unwrap();
    values.iter().enumerate().for_each(|(i, &v)| tape.output(&i.to_string(), v));
    let options = PlanOptions { fuse: false, ..PlanOptions::default() };
    let mut session = Session::new(cpu::open(1).unwrap(), &[&tape], options).unwrap();
    for i in 0..case.inputs.len() {
        let numbers = Numbers::of_input(case, i);
        let data: Vec<f32> = (0..numbers.shape.len()).map(|at| numbers.at(at)).collect();
        session.write_input(0, &i.to_string(), &data).unwrap();
    }
    session.run(0).unwrap();
    let read = |(i, &(shape, dtype)): (usize, &(Shape, DType))| {
        let mut data = vec![0.0; shape.len()];
        session.read_output(0, &i.to_string(), &mut data).unwrap();
        (shape, dtype, bytemuck::cast_slice(&data).to_vec())
    };
    case.outputs.iter().enumerate().map(read).collect()
}

#[test]
fn the_reference_agrees_with_the_cpu_backend() {
    for case in cases() {
        let verdict = Reference::of(&case).unwrap().judge(&outputs(&case));
        assert!(verdict.within && verdict.error < 1e-5, "{}: {verdict:?}", case.id());
        assert_eq!(verdict.samples, case.outputs.iter().map(|(shape, _)| shape.len()).sum::<usize>());
    }
}

/// A number that is 1 % of the largest away, one that is none, and one that was never written: in the last place of the last output.
#[test]
fn planted_errors_are_found() {
    for case in cases() {
        let (right, reference) = (outputs(&case), Reference::of(&case).unwrap());
        for planted in [0.01f32, f32::NAN, f32::from_bits(u32::MAX)] {
            let mut wrong = right.clone();
            let (_, _, bytes) = wrong.last_mut().unwrap();
            let at = bytes.len() - 4;
            let number = decode(bytes, DType::F32, at / 4) + planted * 5.0;
            bytes[at..].copy_from_slice(&number.to_le_bytes());
            let verdict = reference.judge(&wrong);
            assert!(!verdict.within, "{}: {planted} gives {verdict:?}", case.id());
            assert!(verdict.error > 1e-4, "{}: {planted} gives {verdict:?}", case.id());
        }
    }
}

/// Two outputs exchanged, or a bias that was left out.
#[test]
fn numbers_at_wrong_places_are_found() {
    for case in cases() {
        let (mut wrong, reference) = (outputs(&case), Reference::of(&case).unwrap());
        let (_, _, bytes) = &mut wrong[0];
        bytes.rotate_left(4);
        assert!(!reference.judge(&wrong).within, "{}", case.id());
    }
    let with_bias = &cases()[0];
    let (right, reference) = (outputs(with_bias), Reference::of(with_bias).unwrap());
    let at = |[n, y, x, c]: [usize; 4]| (decode(&right[0].2, DType::F32, ((n * 9 + y) * 6 + x) * 4 + c), DType::F32);
    assert!(reference.judge_by(at, true).within && !reference.judge_by(at, false).within);
}

/// f16 has 11 bits: half a unit of the last place is allowed, a whole one is not.
#[test]
fn storage_in_f16_is_allowed_its_rounding() {
    let sum = Sum { value: 1.0, magnitude: 1.0, terms: 1 };
    assert!(allowed(&sum, 1.0, DType::F16) > 0.5 / 1024.0 && allowed(&sum, 1.0, DType::F16) < 0.6 / 1024.0);
    assert!(allowed(&sum, 1.0, DType::F32) < 1e-6);
}
