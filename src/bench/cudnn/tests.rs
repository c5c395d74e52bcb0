//! What cuDNN is given, computed by hand as cuDNN's documentation defines it, has to be what our reference expects: so the operands, their
//! layouts and the operation are right, without any cuDNN.

use super::*;
use crate::ops::Instruction;
use crate::ops::conv_transpose2d::{ConvTranspose2d, ConvTranspose2dDataGrad, ConvTranspose2dWeightGrad};
use crate::ops::conv2d::{Conv2d, Conv2dDataGrad, Conv2dWeightGrad};

fn case(instruction: Instruction, inputs: &[[usize; 4]]) -> Case {
    let inputs: Vec<(Shape, DType)> = inputs.iter().map(|&shape| (Shape(shape), DType::F32)).collect();
    let outputs = instruction.infer(&inputs).unwrap();
    Case { instruction, inputs, outputs, in_place: false, calls: 1 }
}

fn cases() -> Vec<Case> {
    let (x0, x1, y) = ([2, 5, 6, 3], [2, 5, 6, 2], [2, 5, 6, 4]);
    let (up_x, up_y, up_w, b) = ([2, 3, 2, 5], [2, 6, 4, 4], [2, 2, 5, 4], [1, 1, 1, 4]);
    let forward = |two_inputs, bias| Instruction::Conv2d(Conv2d { two_inputs, bias });
    let weights = |kernel| Instruction::Conv2dWeightGrad(Conv2dWeightGrad { kernel });
    vec![
        case(forward(false, true), &[[1, 1, 3, 4], x0, b]),
        case(forward(true, false), &[[3, 3, 5, 4], x0, x1]),
        case(Instruction::Conv2dDataGrad(Conv2dDataGrad { channels: [3, 2] }), &[[3, 3, 5, 4], y]),
        case(weights(3), &[y, x0, x1]),
        case(Instruction::ConvTranspose2d(ConvTranspose2d {}), &[up_w, up_x, b]),
        case(Instruction::ConvTranspose2dDataGrad(ConvTranspose2dDataGrad {}), &[up_w, up_y]),
        case(Instruction::ConvTranspose2dWeightGrad(ConvTranspose2dWeightGrad {}), &[up_y, up_x]),
    ]
}

/// The problem as cuDNN defines it: y[n, k, p, q] = sum over c, r, s of x[n, c, p stride + r - padding, q stride + s - padding] w[k, c, r, s],
/// and its two gradients. Operands as they lie in memory, by the strides that the descriptors get.
fn execute(problem: &Problem, operands: &[Option<Vec<u8>>; 3]) -> Vec<f64> {
    let dimensions = [problem.x, problem.w, problem.y];
    let strides = dimensions.map(|[_, c, h, w]| [h * w * c, 1, w * c, c]);
    let place = |tensor: usize, at: [usize; 4]| (0..4).map(|axis| at[axis] * strides[tensor][axis]).sum::<usize>();
    let number = |tensor: usize, at| {
        operands[tensor].as_ref().map_or(0.0, |bytes| f64::from(decode(bytes, DType::F32, place(tensor, at))))
    };
    let output = [Operation::BackwardData, Operation::BackwardFilter, Operation::Forward]
        .iter()
        .position(|&operation| operation == problem.operation)
        .unwrap();
    let mut result = vec![0.0; dimensions[output].iter().product()];
    let ([n_n, n_k, n_p, n_q], [_, n_c, n_r, n_s]) = (problem.y, problem.w);
    for index in 0..n_n * n_k * n_p * n_q * n_c * n_r * n_s {
        let mut rest = index;
        let [n, k, p, q, c, r, s] = [n_n, n_k, n_p, n_q, n_c, n_r, n_s].map(|extent| {
            let i = rest % extent;
            rest /= extent;
            i
        });
        let row = (p * problem.stride + r).checked_sub(problem.padding).filter(|&row| row < problem.x[2]);
        let column = (q * problem.stride + s).checked_sub(problem.padding).filter(|&column| column < problem.x[3]);
        let (Some(row), Some(column)) = (row, column) else { continue };
        let places = [[n, c, row, column], [k, c, r, s], [n, k, p, q]];
        let product: f64 = (0..3).filter(|&tensor| tensor != output).map(|tensor| number(tensor, places[tensor])).product();
        result[place(output, places[output])] += product;
    }
    result
}

#[test]
fn cudnn_is_asked_for_what_ours_computes() {
    for case in cases() {
        let reference = Reference::of(&case).unwrap();
        let c = reference.convolution();
        let (problem, operands) = (problem(c), operands(&case, c));
        for (bytes, shape) in operands.iter().zip(shapes(c)) {
            assert!(bytes.as_ref().is_none_or(|bytes| bytes.len() == 4 * Shape(shape).len()), "{}", case.id());
        }
        assert_eq!(operands.iter().filter(|bytes| bytes.is_none()).count(), 1);
        let result = execute(&problem, &operands);
        let verdict = reference.judge_by(|place| (result[index_in_output(c, place)] as f32, DType::F32), false);
        assert!(verdict.within && verdict.error < 1e-6, "{}: {verdict:?}", case.id());
        // The test can fail: the wrong place, or another operation.
        let shifted =
            reference.judge_by(|place| (result[(index_in_output(c, place) + 1) % result.len()] as f32, DType::F32), false);
        assert!(!shifted.within, "{}", case.id());
    }
}

/// A U-Net's layers in cuDNN's terms.
#[test]
fn problems_by_hand() {
    let c = Convolution {
        kind: Kind::Conv2d,
        pass: Pass::DataGrad,
        kernel: 3,
        n: 8,
        height: 256,
        width: 128,
        channels_in: [128, 64],
        channels_out: 32,
        half: true,
    };
    let expected = Problem {
        operation: Operation::BackwardData,
        x: [8, 192, 256, 128],
        w: [32, 192, 3, 3],
        y: [8, 32, 256, 128],
        stride: 1,
        padding: 1,
        half: true,
    };
    assert_eq!(problem(&c), expected);
    let up = Convolution { kind: Kind::ConvTranspose2d, pass: Pass::Forward, kernel: 2, channels_in: [192, 0], ..c };
    let expected = Problem { x: [8, 32, 512, 256], w: [192, 32, 2, 2], y: [8, 192, 256, 128], stride: 2, padding: 0, ..expected };
    assert_eq!(problem(&up), expected);
    assert_eq!(problem(&Convolution { pass: Pass::DataGrad, ..up }).operation, Operation::Forward);
    assert_eq!(problem(&Convolution { pass: Pass::WeightGrad, ..up }).operation, Operation::BackwardFilter);
}
