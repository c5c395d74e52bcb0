//! Executes instructions and whole tapes with the f64 reference.

use crate::reference::{
    Array, adam, assign, augment, batch_norm, cast, concat, conv_transpose2d, conv2d, dice_bce, elementwise, indices, max_pool2d,
};
use std::collections::BTreeMap;
use unet_engine::ops::Instruction;
use unet_engine::ops::assign::Assignment;
use unet_engine::ops::augment::{Augment, Draw};
use unet_engine::ops::batch_norm::Gate;
use unet_engine::ops::dice_bce::LossParameters;
use unet_engine::tape::{DType, Residence, Tape, ValueId};

/// The outputs of one instruction. `before` holds what in-place outputs (persistent ones) were before.
pub fn execute(instruction: &Instruction, inputs: &[Array], before: &[Array]) -> Vec<Array> {
    match (instruction, inputs) {
        (Instruction::Conv2d(op), [w, rest @ ..]) => {
            let (images, b) = rest.split_at(1 + usize::from(op.two_inputs));
            vec![conv2d::forward(w, images, b.first())]
        }
        (Instruction::Conv2dNormalised(op), [w, rest @ .., mean, var, gamma, beta]) => {
            let z = conv2d::forward(w, rest, None);
            vec![batch_norm::apply(&z, [mean, var, gamma, beta], None, f64::from(op.eps), op.relu)]
        }
        (Instruction::Conv2dDataGrad(op), [w, dy]) => conv2d::data_grad(w, dy, op.channels),
        (Instruction::Conv2dWeightGrad(op), [dy, images @ ..]) => vec![conv2d::weight_grad(op.kernel, dy, images)],
        (Instruction::ConvTranspose2d(_), [w, x, b]) => vec![conv_transpose2d::forward(w, x, b)],
        (Instruction::ConvTranspose2dDataGrad(_), [w, dy]) => vec![conv_transpose2d::data_grad(w, dy)],
        (Instruction::ConvTranspose2dWeightGrad(_), [dy, x]) => vec![conv_transpose2d::weight_grad(dy, x)],
        (Instruction::ChannelSum(_), [x]) => vec![elementwise::channel_sum(x)],
        (Instruction::Relu(_), [x]) => vec![elementwise::relu(x)],
        (Instruction::ReluGrad(_), [dy, y]) => vec![elementwise::relu_grad(dy, y)],
        (Instruction::MaxPool2d(_), [x]) => max_pool2d::forward(x).into(),
        (Instruction::MaxPool2dGrad(op), [dy, argmax]) => vec![max_pool2d::grad(dy, argmax, op.size)],
        (Instruction::Add(_), [a, b]) => vec![elementwise::add(a, b)],
        (Instruction::Concat(_), images) => vec![concat::forward(images)],
        (Instruction::Split(op), [y]) => concat::split(y, op.channels),
        (Instruction::Sigmoid(_), [x]) => vec![elementwise::sigmoid(x)],
        (Instruction::Assign(op), [z, labels, u]) => vec![match op.assignment {
            Assignment::LeastCost => assign::at_least_cost(z, labels, u),
            Assignment::Spatial => assign::spatially(z.shape[3], labels, u),
        }],
        (Instruction::Augment(op), inputs) => execute_augment(op, inputs),
        (Instruction::DiceBce(op), [z, t, u]) => dice_bce::forward(z, t, u, loss_parameters(op.parameters)).into(),
        (Instruction::DiceBceGrad(op), [dloss, z, t, u, sums]) => {
            vec![dice_bce::grad(dloss.data[0], z, t, u, sums, loss_parameters(op.parameters))]
        }
        // Where overflow is raised, an update leaves all as it was.
        (Instruction::Adam(_), [_, _, overflow]) | (Instruction::BatchNormUpdate(_), [_, _, overflow])
            if overflow.data[0] != 0.0 =>
        {
            before.to_vec()
        }
        (Instruction::Cast(op), [x]) => vec![stored(x.clone(), op.to)],
        (Instruction::CheckFinite(_), [g]) => vec![cast::check_finite(g, &before[0])],
        (Instruction::Adam(op), [g, schedule, ..]) => {
            let constants = [op.beta1, op.beta2, op.eps].map(f64::from);
            adam::step(g, &schedule.data, [&before[0], &before[1], &before[2]], constants).into()
        }
        _ => execute_batch_norm(instruction, inputs, before),
    }
}

fn execute_batch_norm(instruction: &Instruction, inputs: &[Array], before: &[Array]) -> Vec<Array> {
    match (instruction, inputs) {
        (Instruction::BatchNormStatistics(_), [x]) => batch_norm::statistics(x).into(),
        (Instruction::BatchNormUpdate(op), [mean, var, ..]) => {
            batch_norm::update(mean, var, [&before[0], &before[1]], f64::from(op.momentum), op.count).into()
        }
        (Instruction::BatchNormApply(op), [x, mean, var, gamma, beta, residual @ ..]) => {
            vec![batch_norm::apply(x, [mean, var, gamma, beta], residual.first(), f64::from(op.eps), op.relu)]
        }
        (Instruction::BatchNormGradReduce(op), [dy, x, mean, var, behind @ ..]) => {
            let y = gate_of(op.gate, x, [mean, var], behind, f64::from(op.eps));
            batch_norm::grad_reduce(dy, x, mean, var, y.as_ref(), f64::from(op.eps)).into()
        }
        (Instruction::BatchNormGradApply(op), [dy, x, mean, var, gamma, dgamma, dbeta, behind @ ..]) => {
            let vectors = [mean, var, gamma, dgamma, dbeta];
            let behind: Vec<Array> =
                (op.gate == Gate::Normalised).then(|| gamma.clone()).into_iter().chain(behind.to_vec()).collect();
            let y = gate_of(op.gate, x, [mean, var], &behind, f64::from(op.eps));
            let [dx, dz] = batch_norm::grad_apply(dy, x, vectors, y.as_ref(), f64::from(op.eps));
            if op.residual { vec![dx, dz] } else { vec![dx] }
        }
        _ => panic!("no reference for {instruction:?} of {} inputs", inputs.len()),
    }
}

/// What dy is masked by: y, or what it was made from.
fn gate_of(gate: Gate, x: &Array, [mean, var]: [&Array; 2], behind: &[Array], eps: f64) -> Option<Array> {
    match (gate, behind) {
        (Gate::Open, []) => None,
        (Gate::Output, [y]) => Some(y.clone()),
        (Gate::Normalised, [gamma, beta]) => Some(batch_norm::apply(x, [mean, var, gamma, beta], None, eps, true)),
        _ => panic!("{gate:?} with {} inputs", behind.len()),
    }
}

fn execute_augment(op: &Augment, inputs: &[Array]) -> Vec<Array> {
    let pictures = pictures(op, inputs);
    let mut outputs = vec![Array::zeros([pictures.len(), op.height, op.width, 1]); 3];
    for [n, y, x, c] in indices(outputs[0].shape) {
        let pixel = pictures[n].pixel(y, x);
        outputs.iter_mut().zip(pixel).for_each(|(output, value)| *output.at_mut([n, y, x, c]) = value);
    }
    outputs
}

/// The images that an augmentation makes.
pub fn pictures<'a>(op: &Augment, inputs: &'a [Array]) -> Vec<augment::Picture<'a>> {
    let [content, labels, draws, control, quantiles] = inputs else { panic!("augment of {} inputs", inputs.len()) };
    let picture = |n: usize| {
        let bytes: Vec<u8> = (0..size_of::<Draw>()).map(|i| draws.at([n, 0, 0, i]) as u8).collect();
        let draw = augment_draw(&bytemuck::pod_read_unaligned(&bytes));
        let spacing = f64::from(op.spacing);
        augment::Picture { n, draw, content, labels, control, upper_quantiles: &quantiles.data, spacing, width: op.width }
    };
    (0..content.shape[0]).map(picture).collect()
}

fn augment_draw(draw: &Draw) -> augment::Draw {
    augment::Draw {
        map: draw.map,
        source: draw.source.map(|size| size as usize),
        content: draw.content.map(|size| size as usize),
        seed: u64::from(draw.seed[0]) | u64::from(draw.seed[1]) << 32,
        epoch: draw.epoch,
        image: draw.image,
        gain: draw.gain.into(),
        offset: draw.offset.into(),
        mean: draw.mean.into(),
        factor: draw.factor.into(),
        noise: draw.noise.into(),
        speckle: draw.speckle.into(),
        is_elastic: draw.is_elastic == 1,
        changes_intensity: draw.changes_intensity == 1,
    }
}

pub fn loss_parameters(p: LossParameters) -> dice_bce::Parameters {
    dice_bce::Parameters {
        alpha: f64::from(p.alpha),
        smooth: f64::from(p.smooth),
        class_weight: f64::from(p.class_weight),
        focal_gamma: f64::from(p.focal_gamma),
    }
}

/// What a tape's run left behind.
pub struct Run {
    values: Vec<Option<Array>>,
    names: BTreeMap<String, ValueId>,
    /// The smallest distance of a ReLU's input from 0, and of a pooling window's largest value above 0 from the next.
    pub tie_distance: f64,
}

impl Run {
    pub fn value(&self, v: ValueId) -> &Array {
        self.values[v.index()].as_ref().expect("every value of the tape is written")
    }

    /// An input, output or persistent value.
    pub fn named(&self, name: &str) -> &Array {
        self.value(self.names[name])
    }
}

/// Runs a tape. `given` holds its inputs and persistent values by name. What the tape stores as f16 is rounded to it.
pub fn run(tape: &Tape, given: &BTreeMap<String, Array>) -> Run {
    run_with(tape, given, stored)
}

/// As [`run`], with nothing rounded: what a list means, apart from the types in which it stores its values.
pub fn run_unrounded(tape: &Tape, given: &BTreeMap<String, Array>) -> Run {
    run_with(tape, given, |array, _| array)
}

fn run_with(tape: &Tape, given: &BTreeMap<String, Array>, store: impl Fn(Array, DType) -> Array) -> Run {
    let mut names: BTreeMap<String, ValueId> = tape.outputs().iter().cloned().collect();
    let mut values: Vec<Option<Array>> = vec![None; tape.values().len()];
    // The only way to a value's identity from outside is a node or an output that names it; that is all that a run needs.
    let ids = tape.nodes().iter().flat_map(|n| n.inputs.iter().chain(&n.outputs));
    for &v in ids {
        if let Residence::Input(name) | Residence::Persistent(name) = &tape.values()[v.index()].residence {
            let array = given.get(name).unwrap_or_else(|| panic!("{name} is not given"));
            assert_eq!(array.shape, tape.shape(v).0, "{name}");
            values[v.index()] = Some(array.clone());
            names.insert(name.clone(), v);
        }
    }
    let mut tie_distance = f64::INFINITY;
    for node in tape.nodes() {
        let inputs: Vec<Array> =
            node.inputs.iter().map(|v| values[v.index()].clone().expect("written before it is read")).collect();
        let before: Vec<Array> = node.outputs.iter().filter_map(|v| values[v.index()].clone()).collect();
        tie_distance = tie_distance.min(distance_from_ties(&node.instruction, &inputs));
        let outputs = match node.instruction {
            // It does nothing but store.
            Instruction::Cast(_) => inputs,
            _ => execute(&node.instruction, &inputs, &before),
        };
        for (v, output) in node.outputs.iter().zip(outputs) {
            values[v.index()] = Some(store(output, tape.dtype(*v)));
        }
    }
    Run { values, names, tie_distance }
}

/// An array as memory of this type holds it: f64 stands for f32, and what has 16 bits is rounded.
pub fn stored(array: Array, dtype: DType) -> Array {
    match dtype {
        DType::F16 => array.map(cast::to_f16),
        DType::Bf16 => array.map(cast::to_bf16),
        DType::F32 | DType::U8 => array,
    }
}

fn distance_from_ties(instruction: &Instruction, inputs: &[Array]) -> f64 {
    match instruction {
        Instruction::Relu(_) => inputs[0].data.iter().fold(f64::INFINITY, |least, x| least.min(x.abs())),
        Instruction::MaxPool2d(_) => {
            let [n, h, w, c] = inputs[0].shape;
            let gap = |index| {
                let mut values = max_pool2d::window(&inputs[0], index);
                values.sort_by(f64::total_cmp);
                // Equal zeros behind a ReLU stay equal zeros: no tie that a small change could break.
                if values[3] > 0.0 { values[3] - values[2] } else { f64::INFINITY }
            };
            indices([n, h / 2, w / 2, c]).map(gap).fold(f64::INFINITY, f64::min)
        }
        _ => f64::INFINITY,
    }
}
