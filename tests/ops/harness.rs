//! Runs one instruction through a backend and judges what it wrote.

use crate::engine::interpreter::{execute, stored};
use crate::reference::{Array, indices};
use half::{bf16, f16};
use unet_engine::backend::{Backend, cpu};
use unet_engine::ops::{Instruction, Operand};
use unet_engine::plan::{ALIGNMENT, PersistentLayout, Plan, PlanOptions, Region, Request, Slot};
use unet_engine::random::{Philox, Purpose};
use unet_engine::tape::{DType, Shape, Tape, ValueId};

/// The distance between f32 numbers around 1.
pub const EPS: f64 = f32::EPSILON as f64;

/// One instruction with data, and what must come out. All numbers of `inputs` and `before` are f32 numbers.
#[derive(Clone, Debug)]
pub struct Case {
    /// Shapes and seed, enough to make the case again.
    pub name: String,
    pub instruction: Instruction,
    pub inputs: Vec<Array>,
    /// What in-place outputs hold before; empty for instructions that update nothing.
    pub before: Vec<Array>,
    pub expected: Vec<Array>,
    /// The error allowed for each element of each output.
    pub allowed: Vec<Array>,
    /// What all operands are stored as that may have 16 bits, if it is not f32; their numbers then have to be numbers of that type.
    pub half: Option<DType>,
}

impl Case {
    /// A case with the reference's outputs. `magnitudes` bounds, for each output element, the sum of the absolute values of what is
    /// added up for it, and `length` says how many those are: rounding errors of a sum of `length` terms grow with its square root
    /// when they are independent, and with `length` at worst; four square roots lie between.
    pub fn new(name: String, instruction: Instruction, inputs: Vec<Array>, magnitudes: Vec<Array>, length: usize) -> Self {
        Self::in_place(name, instruction, inputs, Vec::new(), magnitudes, length)
    }

    /// As [`Case::new`], for instructions that update `before` in place.
    pub fn in_place(
        name: String,
        instruction: Instruction,
        inputs: Vec<Array>,
        before: Vec<Array>,
        magnitudes: Vec<Array>,
        length: usize,
    ) -> Self {
        let expected = execute(&instruction, &inputs, &before);
        assert_eq!(expected.len(), magnitudes.len());
        let factor = 4.0 * EPS * (length as f64).sqrt();
        let allowed = magnitudes.iter().map(|m| m.map(|m| m * factor + f64::from(f32::MIN_POSITIVE))).collect();
        Case { name, instruction, inputs, before, expected, allowed, half: None }
    }

    /// A case of an instruction that is linear in all of its inputs together: the reference on absolute values is the magnitude.
    pub fn linear(name: String, instruction: Instruction, inputs: Vec<Array>, length: usize) -> Self {
        let absolute: Vec<Array> = inputs.iter().map(|a| a.map(f64::abs)).collect();
        let magnitudes = execute(&instruction, &absolute, &[]);
        Self::new(name, instruction, inputs, magnitudes, length)
    }

    /// A case of an instruction that only moves or picks numbers: nothing may differ.
    pub fn exact(name: String, instruction: Instruction, inputs: Vec<Array>) -> Self {
        let expected = execute(&instruction, &inputs, &[]);
        let allowed = expected.iter().map(|e| Array::zeros(e.shape)).collect();
        Case { name, instruction, inputs, before: Vec::new(), expected, allowed, half: None }
    }

    /// The same case with output `index` judged by finite differences, which are exact to `1e-6` of the output's scale.
    pub fn judged_by(mut self, index: usize, differences: Array) -> Self {
        let scale = differences.data.iter().fold(1e-3, |most: f64, x| most.max(x.abs()));
        self.allowed[index] = self.allowed[index].map(|a| a + 1e-6 * scale);
        self.expected[index] = differences;
        self.name = format!("{} against finite differences", self.name);
        self
    }

    /// The case with a type of 16 bits where the operation may store one, or `None` if nowhere. The arithmetic stays f32, so the error
    /// allowed grows by half a unit in the last place of such an output.
    pub fn stored_as(&self, dtype: DType) -> Option<Case> {
        let op = self.instruction.op();
        let may_be_half = |operand| op.may_be_half(operand, dtype);
        // A cast is a case of its own for each pair of types.
        if self.half.is_some()
            || matches!(self.instruction, Instruction::Cast(_))
            || !(0..self.inputs.len()).any(|i| may_be_half(Operand::Input(i)))
        {
            return None;
        }
        let mut half = Case { half: Some(dtype), name: format!("{} in {dtype:?}", self.name), ..self.clone() };
        // Weights beside bf16 are given as f32, and rounded by the kernels.
        let is_rounded = |i| may_be_half(Operand::Input(i)) || op.may_be_half(Operand::Input(i), DType::F16);
        let mut rounded = half.inputs.clone();
        for (i, input) in rounded.iter_mut().enumerate().filter(|(i, _)| is_rounded(*i)) {
            *input = stored(input.clone(), dtype);
            if may_be_half(Operand::Input(i)) {
                half.inputs[i] = input.clone();
            }
        }
        half.expected = execute(&half.instruction, &rounded, &half.before);
        // Half a unit, of a number with a significand of 11 or 8 bits; half the smallest number.
        let (unit, smallest) = if dtype == DType::F16 { (0.5 / 1024.0, 0.5f64.powi(25)) } else { (0.5 / 128.0, 1e-38) };
        for (i, (allowed, expected)) in half.allowed.iter_mut().zip(&half.expected).enumerate() {
            let rounding = |e: f64| if may_be_half(Operand::Output(i)) { e.abs() * unit + smallest } else { 0.0 };
            // Rounded inputs are a little larger at most; numbers that are only moved stay exact.
            let grown = |a: f64, e: f64| if a == 0.0 { 0.0 } else { 1.01 * (a + rounding(e)) };
            allowed.data.iter_mut().zip(&expected.data).for_each(|(a, &e)| *a = grown(*a, e));
        }
        Some(half)
    }

    /// Compares outputs; the message tells the worst element.
    pub fn judge(&self, outputs: &[Array]) -> Result<(), String> {
        assert_eq!(outputs.len(), self.expected.len());
        for (i, ((found, expected), allowed)) in outputs.iter().zip(&self.expected).zip(&self.allowed).enumerate() {
            assert_eq!(found.shape, expected.shape, "{}", self.name);
            let excess = |index| {
                let (found, expected) = (found.at(index), expected.at(index));
                if found == expected || (found.is_nan() && expected.is_nan()) {
                    return 0.0;
                }
                let error = (found - expected).abs();
                // A NaN or an infinity where none belongs is worse than any error.
                if error.is_finite() { error - allowed.at(index) } else { f64::INFINITY }
            };
            let worst = indices(found.shape).max_by(|&a, &b| excess(a).total_cmp(&excess(b)));
            if let Some(worst) = worst.filter(|&worst| excess(worst) > 0.0) {
                let values = format!("found {:e}, expected {:e}", found.at(worst), expected.at(worst));
                let (name, case) = (self.instruction.name(), &self.name);
                let error = (found.at(worst) - expected.at(worst)).abs();
                let allowed = allowed.at(worst);
                return Err(format!("{name} ({case}), output {i} at {worst:?}: {values}, error {error:e}, allowed {allowed:e}"));
            }
        }
        Ok(())
    }
}

/// Runs `case` on the CPU backend at every level that this CPU has and on the emulated GPUs, and fails with its message. With
/// `UNET_ENGINE_TEST_DEVICE=cuda` it runs on the real GPU instead (tools/gpu-check).
pub fn check(case: &Case) {
    #[cfg(feature = "cuda")]
    if super::emulator::check_on_gpu(case) {
        return;
    }
    check_on_cpu(case);
    #[cfg(feature = "cuda")]
    super::emulator::check(case);
}

pub fn check_on(device: &str, case: &Case, backend: &mut dyn Backend) {
    if let Err(message) = run_case(case, backend).and_then(|outputs| case.judge(&outputs)) {
        panic!("{device}: {message}\n  attributes: {:?}", case.instruction);
    }
}

/// At every level: in f32 both ways and, where the operation may store bf16, in that.
pub fn check_on_cpu(case: &Case) {
    let half = case.stored_as(DType::Bf16);
    for level in cpu::Level::ALL.into_iter().filter(|level| level.is_available()) {
        for way in [cpu::Convolutions::Direct, cpu::Convolutions::Winograd] {
            let mut backend = cpu::open_with(level, way, 2).expect("a CPU backend");
            check_on(&format!("{level:?}, {way:?}"), case, &mut *backend);
        }
        if let Some(half) = &half {
            let mut backend = cpu::open_with(level, cpu::Convolutions::Winograd, 2).expect("a CPU backend");
            check_on(&format!("{level:?}"), half, &mut *backend);
        }
    }
}

/// What the backend writes for `case`, or the message that it wrote where it must not. Where it makes something of parameters, once as in a
/// training, where nothing of that lasts, and twice as in an inference: all three give the same bits.
pub fn run_case(case: &Case, backend: &mut dyn Backend) -> Result<Vec<Array>, String> {
    let outputs = run_bench(&mut Bench::new(case, backend, false), case, backend)?;
    let op = case.instruction.op();
    if (0..case.inputs.len()).any(|i| op.is_parameter(i)) {
        let mut bench = Bench::new(case, backend, true);
        if bench.plan.steps()[0].prepared.is_some() {
            let first = run_bench(&mut bench, case, backend)?;
            check_same_bits(case, &outputs, &first)?;
            check_same_bits(case, &outputs, &bench.run_again(case, backend)?)?;
        }
    }
    Ok(outputs)
}

fn check_same_bits(case: &Case, expected: &[Array], found: &[Array]) -> Result<(), String> {
    let bits = |arrays: &[Array]| arrays.iter().flat_map(|a| &a.data).map(|x| x.to_bits()).collect::<Vec<_>>();
    match bits(expected) == bits(found) {
        true => Ok(()),
        false => Err(format!("{} ({}) gives other bits where something lasts", case.instruction.name(), case.name)),
    }
}

fn run_bench(bench: &mut Bench, case: &Case, backend: &mut dyn Backend) -> Result<Vec<Array>, String> {
    bench.poison(backend);
    for (&slot, array) in bench.step_inputs().iter().zip(&case.inputs) {
        write(backend, slot, array);
    }
    for (&slot, array) in bench.step_outputs().iter().zip(&case.before) {
        write(backend, slot, array);
    }
    backend.run(&bench.plan).map_err(|e| e.to_string())?;
    bench.check_sentinels(case, backend)?;
    for (i, (&slot, array)) in bench.step_inputs().iter().zip(&case.inputs).enumerate() {
        let unchanged = read(backend, slot).data.iter().zip(&array.data).all(|(a, b)| a == b || (a.is_nan() && b.is_nan()));
        if !unchanged {
            return Err(format!("{} ({}) changed its input {i}", case.instruction.name(), case.name));
        }
    }
    Ok(bench.step_outputs().iter().map(|&slot| read(backend, slot)).collect())
}

/// Bytes of sentinel behind each slot, besides what alignment leaves.
const GUARD: usize = 2 * ALIGNMENT;

/// A quiet NaN as f32 and 0xFF as byte: whoever reads it spoils the result, whoever overwrites it is found.
const SENTINEL: u8 = 0xFF;

/// A plan of one step whose slots lie far apart.
struct Bench {
    plan: Plan,
    /// Size of the persistent and of the transient region.
    sizes: [usize; 2],
}

impl Bench {
    /// `keeps`: whether what the backend makes of parameters lasts.
    fn new(case: &Case, backend: &mut dyn Backend, keeps: bool) -> Self {
        let tape = record(case);
        let layout = PersistentLayout::new(&[&tape]);
        let scratch = |request: &Request<'_>| backend.scratch(&Request { lasts: keeps && request.lasts, ..*request });
        let mut plan = Plan::new(&tape, &layout, PlanOptions { fuse: false, ..PlanOptions::default() }, &scratch)
            .expect("a plan of one step");
        let mut sizes = [GUARD; 2];
        plan.relocate(|slot| {
            let size = &mut sizes[usize::from(slot.region == Region::Transient)];
            let offset = size.next_multiple_of(ALIGNMENT);
            *size = offset + slot.bytes() + GUARD;
            offset
        });
        backend.allocate(sizes[0], sizes[1]).expect("memory for one step");
        Bench { plan, sizes }
    }

    fn step_inputs(&self) -> &[Slot] {
        &self.plan.steps()[0].inputs
    }

    fn step_outputs(&self) -> &[Slot] {
        &self.plan.steps()[0].outputs
    }

    fn regions(&self) -> [Slot; 2] {
        let whole = |region, bytes| Slot { region, offset: 0, shape: Shape::channels(bytes), dtype: DType::U8 };
        [whole(Region::Persistent, self.sizes[0]), whole(Region::Transient, self.sizes[1])]
    }

    fn poison(&mut self, backend: &mut dyn Backend) {
        for region in self.regions() {
            backend.write(region, &vec![SENTINEL; region.bytes()]).expect("a region takes bytes");
        }
    }

    /// Runs the step once more, on what the first run has prepared.
    fn run_again(&self, case: &Case, backend: &mut dyn Backend) -> Result<Vec<Array>, String> {
        for &slot in self.step_outputs() {
            backend.write(slot, &vec![SENTINEL; slot.bytes()]).expect("a slot takes bytes");
        }
        backend.run(&self.plan).map_err(|e| e.to_string())?;
        self.check_sentinels(case, backend)?;
        Ok(self.step_outputs().iter().map(|&slot| read(backend, slot)).collect())
    }

    /// Whether all bytes outside of the step's slots are as they were.
    fn check_sentinels(&self, case: &Case, backend: &dyn Backend) -> Result<(), String> {
        let step = &self.plan.steps()[0];
        for region in self.regions() {
            let mut bytes = vec![0; region.bytes()];
            backend.read(region, &mut bytes).expect("a region gives bytes");
            for slot in step
                .inputs
                .iter()
                .chain(&step.outputs)
                .chain(&step.workspace)
                .chain(&step.prepared)
                .filter(|s| s.region == region.region)
            {
                bytes[slot.offset..slot.offset + slot.bytes()].fill(SENTINEL);
            }
            if let Some(at) = bytes.iter().position(|&b| b != SENTINEL) {
                let place = format!("byte {at} of the {:?} region, outside of {step:?}", region.region);
                return Err(format!("{} ({}) wrote {place}", case.instruction.name(), case.name));
            }
        }
        Ok(())
    }
}

/// A tape of the case's instruction alone.
fn record(case: &Case) -> Tape {
    let mut tape = Tape::new();
    let inputs: Vec<ValueId> = (case.inputs.iter().enumerate())
        .map(|(i, array)| match case.instruction.op().is_parameter(i) && input_type(case, i) == DType::F32 {
            // As in a network, so that what a backend makes of it lasts.
            true => tape.persistent(&format!("input {i}"), Shape(array.shape)),
            false => tape.input(&format!("input {i}"), Shape(array.shape), input_type(case, i)),
        })
        .collect();
    if case.before.is_empty() {
        let outputs = tape.record(case.instruction.clone(), &inputs).expect("shapes fit");
        outputs.iter().enumerate().for_each(|(i, &v)| tape.output(&format!("output {i}"), v));
    } else {
        let updated: Vec<ValueId> =
            case.before.iter().enumerate().map(|(i, a)| tape.persistent(&format!("updated {i}"), Shape(a.shape))).collect();
        tape.record_update(case.instruction.clone(), &inputs, &updated).expect("shapes fit");
    }
    tape
}

fn input_type(case: &Case, input: usize) -> DType {
    let op = case.instruction.op();
    case.half.filter(|half| op.may_be_half(Operand::Input(input), *half)).unwrap_or_else(|| op.input_type(input))
}

fn write(backend: &mut dyn Backend, slot: Slot, array: &Array) {
    let bytes: Vec<u8> = match slot.dtype {
        DType::F32 => array.data.iter().flat_map(|&x| (x as f32).to_le_bytes()).collect(),
        DType::F16 => array.data.iter().flat_map(|&x| f16::from_f64(x).to_le_bytes()).collect(),
        DType::Bf16 => array.data.iter().flat_map(|&x| bf16::from_f64(x).to_le_bytes()).collect(),
        DType::U8 => array.data.iter().map(|&x| x as u8).collect(),
    };
    backend.write(slot, &bytes).expect("a slot takes its bytes");
}

fn read(backend: &dyn Backend, slot: Slot) -> Array {
    let mut bytes = vec![0; slot.bytes()];
    backend.read(slot, &mut bytes).expect("a slot gives its bytes");
    let data = match slot.dtype {
        DType::F32 => bytemuck::pod_collect_to_vec::<u8, f32>(&bytes).into_iter().map(f64::from).collect(),
        DType::F16 => bytemuck::pod_collect_to_vec::<u8, f16>(&bytes).into_iter().map(f64::from).collect(),
        DType::Bf16 => bytemuck::pod_collect_to_vec::<u8, bf16>(&bytes).into_iter().map(f64::from).collect(),
        DType::U8 => bytes.into_iter().map(f64::from).collect(),
    };
    Array::new(slot.shape.0, data)
}

/// Random data, addressed by the seed of a case and an index within it.
pub struct Random(Philox);

impl Random {
    pub fn new(seed: u32) -> Self {
        Random(Philox::new(u64::from(seed), 0, 0, Purpose::Bench))
    }

    /// f32 numbers in [from, to).
    pub fn array(&mut self, shape: [usize; 4], from: f32, to: f32) -> Array {
        Array::from_fn(shape, |_| f64::from(self.0.range(from, to)))
    }

    /// f32 numbers in [-1, 1).
    pub fn symmetric(&mut self, shape: [usize; 4]) -> Array {
        self.array(shape, -1.0, 1.0)
    }

    /// 1 with probability `p`, else 0.
    pub fn coins(&mut self, shape: [usize; 4], p: f32) -> Array {
        Array::from_fn(shape, |_| if self.0.uniform() < p { 1.0 } else { 0.0 })
    }

    /// f32 numbers in [-1, 1) that keep `distance` away from 0.
    pub fn away_from_zero(&mut self, shape: [usize; 4], distance: f32) -> Array {
        let signed = |random: &mut Philox| if random.uniform() < 0.5 { -1.0 } else { 1.0 };
        Array::from_fn(shape, |_| signed(&mut self.0) * f64::from(self.0.range(distance, 1.0)))
    }
}
