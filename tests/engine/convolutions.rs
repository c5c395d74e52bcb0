//! Convolutions by Winograd's F(4x4, 3x3) and on bf16 beside those by definition: errors against f64 at the layers of a U-Net, and
//! trainings.

use unet_engine::backend::Session;
use unet_engine::backend::cpu::{self, Convolutions, Level};
use unet_engine::model::{Arch, NetworkSpec, Target, initialise};
use unet_engine::ops::Instruction;
use unet_engine::ops::conv2d::{Conv2d, Conv2dDataGrad, Conv2dWeightGrad};
use unet_engine::ops::dice_bce::LossParameters;
use unet_engine::plan::{PlanOptions, Precision};
use unet_engine::random::{Philox, Purpose};
use unet_engine::tape::{DType, Shape, Tape};

/// Width and height of the images, and samples of each output.
const SIZE: usize = 24;
const SAMPLES: usize = 256;

type Tensor = (Shape, Vec<f32>);

#[derive(Clone, Copy)]
struct Way {
    convolutions: Convolutions,
    precision: Precision,
}

const DIRECT: Way = Way { convolutions: Convolutions::Direct, precision: Precision::F32 };
const WINOGRAD: Way = Way { convolutions: Convolutions::Winograd, precision: Precision::F32 };
const BF16: Way = Way { convolutions: Convolutions::Winograd, precision: Precision::Bf16 };

fn session(way: Way, tape: &Tape) -> Session {
    let backend = cpu::open_with(Level::choose().unwrap(), way.convolutions, 2).unwrap();
    Session::new(backend, &[tape], PlanOptions { fuse: true, precision: way.precision }).unwrap()
}

fn random(shape: Shape, deviation: f32, stream: u32) -> Tensor {
    let mut rng = Philox::new(3, 0, stream, Purpose::Bench);
    (shape, (0..shape.len()).map(|_| deviation * rng.normal()).collect())
}

fn output(way: Way, instruction: &Instruction, inputs: &[&Tensor]) -> Vec<f32> {
    let mut tape = Tape::new();
    let ids: Vec<_> = inputs.iter().enumerate().map(|(i, t)| tape.input(&format!("i{i}"), t.0, DType::F32)).collect();
    let outputs = tape.record(instruction.clone(), &ids).unwrap();
    tape.output("o", outputs[0]);
    let mut session = session(way, &tape);
    inputs.iter().enumerate().for_each(|(i, t)| session.write_input(0, &format!("i{i}"), &t.1).unwrap());
    session.run(0).unwrap();
    let mut data = vec![0.0; tape.shape(outputs[0]).len()];
    session.read_output(0, "o", &mut data).unwrap();
    data
}

fn at(t: &Tensor, y: usize, x: usize, c: usize) -> f64 {
    f64::from(t.1[(y * SIZE + x) * t.0.c() + c])
}

/// The pixel under tap (r, s) of (y, x).
fn under(y: usize, x: usize, r: usize, s: usize) -> Option<(usize, usize)> {
    let inside = |v: usize| (1..=SIZE).contains(&v).then(|| v - 1);
    Some((inside(y + r)?, inside(x + s)?))
}

/// The root mean square of the errors of sampled outputs over that of the outputs.
fn relative_error(found: &[f32], stream: u32, exact: impl Fn(usize) -> f64) -> f64 {
    let mut rng = Philox::new(4, 0, stream, Purpose::Bench);
    let (mut errors, mut values) = (0.0, 0.0);
    for _ in 0..SAMPLES {
        let i = ((rng.uniform() * found.len() as f32) as usize).min(found.len() - 1);
        let value = exact(i);
        errors += (f64::from(found[i]) - value).powi(2);
        values += value * value;
    }
    (errors / values).sqrt()
}

/// Errors of forward, data gradient and weight gradient of a convolution from `ci` to `co` channels.
fn errors(way: Way, ci: usize, co: usize) -> [f64; 3] {
    let image = Shape::image(1, SIZE, SIZE, ci);
    // As after a ReLU, and weights as they are initialised.
    let mut x = random(image, 1.0, 0);
    x.1.iter_mut().for_each(|v| *v = v.max(0.0));
    let w = random(Shape([3, 3, ci, co]), (2.0 / (9.0 * ci as f32)).sqrt(), 1);
    let dy = random(image.with_channels(co), 1.0, 2);
    let weight = |r: usize, s: usize, i: usize, o: usize| f64::from(w.1[((r * 3 + s) * ci + i) * co + o]);
    let taps = || (0..9).map(|t| (t / 3, t % 3));

    let y = output(way, &Instruction::Conv2d(Conv2d { two_inputs: false, bias: false }), &[&w, &x]);
    let forward = relative_error(&y, 0, |i| {
        let (py, px, o) = (i / co / SIZE, i / co % SIZE, i % co);
        let products = taps().filter_map(|(r, s)| {
            let (yy, xx) = under(py, px, r, s)?;
            Some((0..ci).map(|c| at(&x, yy, xx, c) * weight(r, s, c, o)).sum::<f64>())
        });
        products.sum()
    });
    let dx = output(way, &Instruction::Conv2dDataGrad(Conv2dDataGrad { channels: [ci, 0] }), &[&w, &dy]);
    let data_grad = relative_error(&dx, 1, |i| {
        let (py, px, c) = (i / ci / SIZE, i / ci % SIZE, i % ci);
        let products = taps().filter_map(|(r, s)| {
            let (yy, xx) = under(py, px, 2 - r, 2 - s)?;
            Some((0..co).map(|o| at(&dy, yy, xx, o) * weight(r, s, c, o)).sum::<f64>())
        });
        products.sum()
    });
    let dw = output(way, &Instruction::Conv2dWeightGrad(Conv2dWeightGrad { kernel: 3 }), &[&dy, &x]);
    let weight_grad = relative_error(&dw, 2, |i| {
        let (tap, c, o) = (i / co / ci, i / co % ci, i % co);
        let pixels = (0..SIZE * SIZE).map(|p| (p / SIZE, p % SIZE));
        let products = pixels.filter_map(|(py, px)| {
            let (yy, xx) = under(py, px, tap / 3, tap % 3)?;
            Some(at(&x, yy, xx, c) * at(&dy, py, px, o))
        });
        products.sum()
    });
    [forward, data_grad, weight_grad]
}

/// `cargo test convolutions -- --nocapture` prints the table of docs/performance.md.
#[test]
fn errors_stay_near_those_of_the_definition() {
    for (ci, co) in [(32, 32), (64, 32), (64, 64), (128, 128), (256, 256), (512, 256)] {
        let [direct, winograd, bf16] = [DIRECT, WINOGRAD, BF16].map(|way| errors(way, ci, co));
        let show = |errors: [f64; 3]| errors.map(|e| format!("{e:.1e}")).join(", ");
        println!("{ci} -> {co}: direct {}; winograd {}; bf16 {}", show(direct), show(winograd), show(bf16));
        assert!(direct.iter().all(|e| *e < 1e-6), "by definition: {}", show(direct));
        assert!(winograd.iter().all(|e| *e < 3e-6), "by Winograd: {}", show(winograd));
        // Rounding to eight bits errs by 2^-8 of half the value at most; operands and the result of a convolution are rounded, dw is
        // f32.
        assert!(bf16.iter().all(|e| (1e-3..4e-3).contains(e)), "on bf16: {}", show(bf16));
        assert!(winograd != direct, "both ways gave the same bits: was Winograd's taken?");
    }
}

/// The losses of some Adam steps on one batch.
fn losses(way: Way) -> Vec<f32> {
    let spec = NetworkSpec { arch: Arch::Standard, base: 16, levels: 2, channels_in: 1, channels_out: 1 };
    let (batch, size, n_steps) = (2, 32, 25);
    let loss = LossParameters { alpha: 0.5, smooth: 1.0, class_weight: 1.0, focal_gamma: 0.0 };
    let tape = spec.record_training(batch, [size; 2], loss, Target::Given).unwrap();
    let mut session = session(way, &tape);
    for (index, parameter) in spec.parameters().iter().enumerate() {
        session.write_persistent(&parameter.name, &initialise(parameter, index, 7)).unwrap();
    }
    let (shape, image) = random(Shape::image(batch, size, size, 1), 1.0, 5);
    let target: Vec<f32> = image.iter().map(|v| if *v > 1.0 { 1.0 } else { 0.0 }).collect();
    session.write_input(0, "image", &image).unwrap();
    session.write_input(0, "target", &target).unwrap();
    session.write_input(0, "weight", &vec![1.0; shape.len()]).unwrap();
    session.write_persistent("loss_scale", &[1.0]).unwrap();
    let mut losses = Vec::new();
    for step in 1..=n_steps {
        let correction = |beta: f32| 1.0 / (1.0 - beta.powi(step));
        session.write_persistent("schedule", &[1e-3, correction(0.9), correction(0.999), 1.0]).unwrap();
        session.run(0).unwrap();
        let mut loss = [0.0];
        session.read_output(0, "loss", &mut loss).unwrap();
        losses.push(loss[0]);
    }
    losses
}

#[test]
fn trainings_follow_those_by_definition() {
    let [direct, winograd, bf16] = [DIRECT, WINOGRAD, BF16].map(losses);
    assert!(direct[direct.len() - 1] < 0.8 * direct[0], "it learns: {direct:?}");
    for (name, losses, most) in [("Winograd", winograd, 2e-3), ("bf16", bf16, 2e-2)] {
        let distance = direct.iter().zip(&losses).map(|(a, b)| (a / b - 1.0).abs()).fold(0.0, f32::max);
        println!("{name}: losses part by {distance:.1e}");
        assert!(distance < most, "{name}: the losses part by {distance:e}: {direct:?} and {losses:?}");
        assert!(distance > 0.0, "{name} gave the same bits");
    }
}
