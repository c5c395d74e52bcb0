//! The convolutions and reductions against plain loops in f64, at every level that this CPU has and at several thread counts; the
//! convolutions in f32 and on bf16.

mod prepared;
mod reductions;

use super::simd::Level;
use super::{Convolutions, open_with};
use crate::backend::Session;
use crate::ops::conv_transpose2d::{ConvTranspose2d, ConvTranspose2dDataGrad, ConvTranspose2dWeightGrad};
use crate::ops::conv2d::{Conv2d, Conv2dDataGrad, Conv2dWeightGrad};
use crate::ops::{Instruction, Operand};
use crate::plan::{PlanOptions, Precision};
use crate::random::{Philox, Purpose};
use crate::tape::{DType, Shape, Tape};
use half::bf16;

type Tensor = (Shape, Vec<f32>);

fn random(shape: Shape, stream: u32) -> Tensor {
    let mut rng = Philox::new(11, 0, stream, Purpose::Bench);
    // Numbers that bf16 holds as well.
    (shape, (0..shape.len()).map(|_| bf16::from_f32(rng.range(-1.0, 1.0)).to_f32()).collect())
}

/// How the CPU computes.
#[derive(Clone, Copy, Debug)]
struct Way {
    level: Level,
    convolutions: Convolutions,
    precision: Precision,
}

/// Runs one instruction and returns its outputs.
fn run(way: Way, threads: usize, instruction: &Instruction, inputs: &[Tensor]) -> Vec<Vec<f32>> {
    let mut tape = Tape::new();
    let ids: Vec<_> = inputs.iter().enumerate().map(|(i, (s, _))| tape.input(&format!("i{i}"), *s, DType::F32)).collect();
    let outputs = tape.record(instruction.clone(), &ids).unwrap();
    outputs.iter().enumerate().for_each(|(i, &o)| tape.output(&format!("o{i}"), o));
    let backend = open_with(way.level, way.convolutions, threads).unwrap();
    let mut session = Session::new(backend, &[&tape], PlanOptions { fuse: false, precision: way.precision }).unwrap();
    inputs.iter().enumerate().for_each(|(i, (_, data))| session.write_input(0, &format!("i{i}"), data).unwrap());
    // Twice: what the first run left in the workspace must not matter.
    session.run(0).unwrap();
    session.run(0).unwrap();
    let mut read = Vec::new();
    for (i, &o) in outputs.iter().enumerate() {
        let mut data = vec![0.0; tape.shape(o).len()];
        session.read_output(0, &format!("o{i}"), &mut data).unwrap();
        read.push(data);
    }
    read
}

/// All levels of this CPU, with both ways of convolutions, and on bf16.
fn ways() -> impl Iterator<Item = Way> {
    let levels = Level::ALL.into_iter().filter(|l| l.is_available());
    let kinds = [
        (Convolutions::Direct, Precision::F32),
        (Convolutions::Winograd, Precision::F32),
        (Convolutions::Winograd, Precision::Bf16),
    ];
    levels.flat_map(move |level| kinds.map(|(convolutions, precision)| Way { level, convolutions, precision }))
}

/// Checks an instruction against `expected` (with the sum of absolute terms of each output) in all ways, and that 1, 2 and 4 threads
/// give the same bits.
fn check(name: &str, instruction: &Instruction, inputs: &[Tensor], expected: &[Vec<(f64, f64)>]) {
    // Other instructions stay in f32 by themselves.
    let is_new = |way: &Way| way.precision == Precision::F32 || instruction.multiplies_matrices();
    for way in ways().filter(is_new) {
        let one = run(way, 1, instruction, inputs);
        for threads in [2, 4] {
            let many = run(way, threads, instruction, inputs);
            let same = one.iter().flatten().zip(many.iter().flatten()).all(|(a, b)| a.to_bits() == b.to_bits());
            assert!(same, "{name} at {way:?}: {threads} threads give other bits than one");
        }
        assert_eq!(one.len(), expected.len());
        for (o, (found, expected)) in one.iter().zip(expected).enumerate() {
            assert_eq!(found.len(), expected.len(), "{name}: output {o}");
            for (i, (found, (value, magnitude))) in found.iter().zip(expected).enumerate() {
                // Terms are rounded at most once each and summed in an order with an error below 2^-24 sqrt(terms) of their size;
                // 2^-18 covers sums of some thousand terms.
                let is_rounded =
                    way.precision == Precision::Bf16 && instruction.op().may_be_half(Operand::Output(o), DType::Bf16);
                let rounding = if is_rounded { value.abs() / 256.0 } else { 0.0 };
                let bound = 4e-6 * magnitude + 1e-7 + rounding;
                let error = (f64::from(*found) - value).abs();
                assert!(error <= bound, "{name} at {way:?}: output {o}[{i}] is {found}, not {value} (allowed {bound:e})");
            }
        }
    }
}

fn at(s: Shape, n: usize, y: usize, x: usize, c: usize) -> usize {
    ((n * s.h() + y) * s.w() + x) * s.c() + c
}

/// Calls `f(output pixel, input pixel, tap)` for all taps inside the image.
fn each_tap(image: Shape, kernel: usize, mut f: impl FnMut([usize; 3], [usize; 3], [usize; 2])) {
    let pad = kernel / 2;
    for n in 0..image.n() {
        for y in 0..image.h() {
            for x in 0..image.w() {
                for r in 0..kernel {
                    for s in 0..kernel {
                        let (yy, xx) = (y + r, x + s);
                        if yy >= pad && xx >= pad && yy - pad < image.h() && xx - pad < image.w() {
                            f([n, y, x], [n, yy - pad, xx - pad], [r, s]);
                        }
                    }
                }
            }
        }
    }
}

fn term(sum: &mut (f64, f64), a: f32, b: f32) {
    let product = f64::from(a) * f64::from(b);
    sum.0 += product;
    sum.1 += product.abs();
}

/// Only what the level is quick in, and only where the threshold was chosen so.
#[test]
fn predictions_follow_the_choice_of_the_threshold() {
    for level in Level::ALL.into_iter().filter(|l| l.is_available()) {
        let backend = open_with(level, Convolutions::Winograd, 1).unwrap();
        let found = [Precision::F32, Precision::Mixed, Precision::Bf16].map(|p| backend.inference_precision(p));
        let of_bf16 = if level == Level::Amx { Precision::Bf16 } else { Precision::F32 };
        assert_eq!(found, [Precision::F32, Precision::F32, of_bf16], "{level:?}");
    }
}

#[test]
fn ways_are_known_by_their_names() {
    for way in [Convolutions::Direct, Convolutions::Winograd] {
        assert_eq!(Convolutions::parse(way.name()).unwrap(), way);
    }
    let error = Convolutions::parse("winogard").unwrap_err();
    assert!(error.to_string().contains("UNET_ENGINE_CONVOLUTIONS=winogard"), "{error}");
}

/// [n, h, w, c0, c1, co, kernel]
pub(super) const CONVOLUTIONS: [[usize; 7]; 39] = [
    [1, 1, 1, 1, 0, 1, 3],
    [1, 1, 1, 3, 0, 17, 1],
    [3, 5, 7, 1, 0, 8, 3],
    [1, 4, 3, 3, 0, 65, 3],
    [3, 3, 2, 8, 0, 3, 3],
    [1, 9, 13, 17, 0, 17, 3],
    [2, 6, 11, 5, 3, 33, 3],
    [1, 8, 8, 65, 0, 1, 1],
    [1, 5, 40, 8, 17, 16, 3],
    [3, 1, 9, 2, 1, 5, 3],
    [1, 3, 300, 6, 0, 4, 3],
    [1, 70, 70, 4, 4, 2, 3],
    // Winograd's way: blocks of tiles and parts of sums; channels that end within a vector and begin within a group; several blocks
    // of columns; and weights so large that threads share the lines, in one chunk and in several.
    [2, 34, 41, 16, 0, 16, 3],
    [3, 9, 10, 20, 13, 50, 3],
    [1, 4, 4, 16, 16, 64, 3],
    [1, 6, 9, 80, 33, 100, 3],
    [3, 13, 22, 65, 0, 130, 3],
    [1, 3, 7, 19, 0, 16, 3],
    [2, 2, 4, 16, 0, 18, 3],
    [1, 12, 12, 160, 0, 192, 3],
    // On bf16: several bands of several images, the last one shorter; taps side by side; a row longer than a band.
    [5, 37, 9, 32, 0, 32, 3],
    [7, 5, 6, 12, 10, 40, 3],
    [1, 3, 700, 34, 0, 33, 3],
    // On bf16 rows that are laid out straight from the image ([`super::bf16_products`] asserts how they are cut): several blocks, bands of
    // several rows and of several images, one side alone.
    [2, 7, 32, 32, 0, 64, 3],
    [1, 19, 96, 32, 64, 32, 3],
    [3, 2, 64, 64, 0, 96, 1],
    [1, 9, 64, 64, 0, 17, 3],
    [2, 6, 34, 20, 0, 64, 3],
    [2, 5, 33, 32, 0, 32, 3],
    [2, 23, 32, 32, 0, 32, 3],
    [5, 2, 32, 32, 0, 32, 3],
    [3, 5, 8, 1, 0, 32, 3],
    // More weights than pixels of several images, which share the packed columns.
    [2, 3, 5, 64, 0, 130, 3],
    // A single channel on one side, with tails of channels on the other, and several rows a chunk, fewer in the last one; and on both.
    [3, 70, 5, 1, 0, 37, 3],
    [3, 70, 5, 37, 0, 1, 3],
    [2, 9, 21, 37, 0, 1, 3],
    [5, 34, 4, 21, 0, 1, 1],
    [2, 5, 6, 1, 0, 21, 1],
    [2, 5, 6, 1, 0, 1, 3],
];

fn conv_inputs([n, h, w, c0, c1, co, k]: [usize; 7]) -> (Tensor, Tensor, Tensor, Tensor) {
    let weights = random(Shape([k, k, c0 + c1, co]), 1);
    let x0 = random(Shape::image(n, h, w, c0), 2);
    let x1 = random(Shape::image(n, h, w, c1), 3);
    (weights, x0, x1, random(Shape::image(n, h, w, co), 4))
}

/// The concatenation over channels.
fn concat(a: &Tensor, b: &Tensor) -> Tensor {
    let shape = a.0.with_channels(a.0.c() + b.0.c());
    let mut data = Vec::new();
    for p in 0..shape.pixels() {
        data.extend(&a.1[p * a.0.c()..(p + 1) * a.0.c()]);
        data.extend(&b.1[p * b.0.c()..(p + 1) * b.0.c()]);
    }
    (shape, data)
}

#[test]
fn conv2d_forward() {
    for case in CONVOLUTIONS {
        let (w, x0, x1, dy) = conv_inputs(case);
        let (x, co) = (concat(&x0, &x1), dy.0.c());
        let bias = random(Shape::channels(co), 5);
        let mut y: Vec<(f64, f64)> = (0..dy.0.len()).map(|i| (f64::from(bias.1[i % co]), 1.0)).collect();
        each_tap(dy.0, case[6], |[n, oy, ox], [_, iy, ix], [r, s]| {
            for c in 0..co {
                for ci in 0..x.0.c() {
                    term(&mut y[at(dy.0, n, oy, ox, c)], x.1[at(x.0, n, iy, ix, ci)], w.1[at(w.0, r, s, ci, c)]);
                }
            }
        });
        let two_inputs = case[4] > 0;
        let inputs: Vec<Tensor> = [w, x0].into_iter().chain(two_inputs.then_some(x1)).chain([bias]).collect();
        check(&format!("conv2d {case:?}"), &Instruction::Conv2d(Conv2d { two_inputs, bias: true }), &inputs, &[y]);
    }
}

#[test]
fn conv2d_gradients() {
    for case in CONVOLUTIONS {
        let (w, x0, x1, dy) = conv_inputs(case);
        let (x, co) = (concat(&x0, &x1), dy.0.c());
        let mut dw = vec![(0.0, 0.0); w.0.len()];
        let mut dx = [vec![(0.0, 0.0); x0.0.len()], vec![(0.0, 0.0); x1.0.len()]];
        each_tap(dy.0, case[6], |[n, oy, ox], [_, iy, ix], [r, s]| {
            for c in 0..co {
                let upstream = dy.1[at(dy.0, n, oy, ox, c)];
                for ci in 0..x.0.c() {
                    term(&mut dw[at(w.0, r, s, ci, c)], x.1[at(x.0, n, iy, ix, ci)], upstream);
                    let (image, shape, ci_in) = if ci < case[3] { (0, x0.0, ci) } else { (1, x1.0, ci - case[3]) };
                    term(&mut dx[image][at(shape, n, iy, ix, ci_in)], w.1[at(w.0, r, s, ci, c)], upstream);
                }
            }
        });
        let dx: Vec<_> = dx.into_iter().filter(|d| !d.is_empty()).collect();
        let op = Instruction::Conv2dDataGrad(Conv2dDataGrad { channels: [case[3], case[4]] });
        check(&format!("conv2d_data_grad {case:?}"), &op, &[w, dy.clone()], &dx);
        let inputs: Vec<Tensor> = [dy, x0].into_iter().chain((case[4] > 0).then_some(x1)).collect();
        let op = Instruction::Conv2dWeightGrad(Conv2dWeightGrad { kernel: case[6] });
        check(&format!("conv2d_weight_grad {case:?}"), &op, &inputs, &[dw]);
    }
}

#[test]
fn conv_transpose2d_all() {
    for [n, h, w, ci, co] in
        [[1, 1, 1, 1, 1], [3, 2, 5, 8, 3], [1, 7, 6, 17, 65], [1, 5, 3, 65, 17], [2, 33, 40, 3, 8], [2, 3, 32, 64, 32]]
    {
        let weights = random(Shape([2, 2, ci, co]), 1);
        let (x, bias) = (random(Shape::image(n, h, w, ci), 2), random(Shape::channels(co), 3));
        let dy = random(Shape::image(n, 2 * h, 2 * w, co), 4);
        let mut y: Vec<(f64, f64)> = (0..dy.0.len()).map(|i| (f64::from(bias.1[i % co]), 1.0)).collect();
        let mut dx = vec![(0.0, 0.0); x.0.len()];
        let mut dw = vec![(0.0, 0.0); weights.0.len()];
        each_tap(x.0, 1, |[n, py, px], _, _| {
            for (r, s) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                for c in 0..co {
                    let o = at(dy.0, n, 2 * py + r, 2 * px + s, c);
                    for i in 0..ci {
                        let (xi, wi) = (at(x.0, n, py, px, i), at(weights.0, r, s, i, c));
                        term(&mut y[o], x.1[xi], weights.1[wi]);
                        term(&mut dx[xi], weights.1[wi], dy.1[o]);
                        term(&mut dw[wi], x.1[xi], dy.1[o]);
                    }
                }
            }
        });
        let name = format!("conv_transpose2d {:?}", [n, h, w, ci, co]);
        check(&name, &Instruction::ConvTranspose2d(ConvTranspose2d {}), &[weights.clone(), x.clone(), bias], &[y]);
        let op = Instruction::ConvTranspose2dDataGrad(ConvTranspose2dDataGrad {});
        check(&name, &op, &[weights, dy.clone()], &[dx]);
        check(&name, &Instruction::ConvTranspose2dWeightGrad(ConvTranspose2dWeightGrad {}), &[dy, x], &[dw]);
    }
}
