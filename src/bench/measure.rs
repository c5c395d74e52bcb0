//! Times one case on a device: caches cold, operands rotated, numbers random.

use super::case::Case;
use super::data::Numbers;
use super::reference::{Reference, Verdict};
use super::statistics::Spread;
use crate::backend::Backend;
use crate::backend::cuda::Cuda;
use crate::backend::cuda::driver::Driver;
use crate::error::Result;
use crate::plan::{ALIGNMENT, PersistentLayout, Plan, PlanOptions, Region, Request, Slot};
use crate::tape::{DType, Shape, Tape, ValueId};

/// How often, and over how much memory.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Runs before the clock counts.
    pub warm_up: usize,
    pub repeats: usize,
    /// The device's last cache; operands are kept in copies that are larger together.
    pub cache_bytes: usize,
    /// Written before each run, so that nothing of the last one is in any cache. It also keeps the device busy while the launch is prepared.
    pub flush_bytes: usize,
}

impl Settings {
    /// For a device with a cache of this size.
    pub fn for_gpu(cache_bytes: usize) -> Settings {
        Settings { warm_up: 3, repeats: 21, cache_bytes, flush_bytes: (2 * cache_bytes).max(128 << 20) }
    }

    /// For the emulator, whose times say nothing.
    pub fn for_emulator() -> Settings {
        Settings { warm_up: 0, repeats: 3, cache_bytes: 0, flush_bytes: 4096 }
    }

    /// Copies of the operands.
    pub fn copies(&self, case: &Case) -> usize {
        const MOST: usize = 16;
        (2 * self.cache_bytes).div_ceil(case.bytes() as usize).clamp(2, MOST)
    }
}

/// What a case took.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    pub seconds: Spread,
    /// For convolutions.
    pub verdict: Option<Verdict>,
}

/// Times `case` and judges what it wrote.
///
/// # Errors
/// If the device fails or has too little memory.
pub fn measure<D: Driver>(
    cuda: &mut Cuda<D>,
    case: &Case,
    settings: &Settings,
    reference: Option<&Reference>,
) -> Result<Measured> {
    let placed = Placed::new(cuda, case, settings)?;
    placed.fill(cuda, case)?;
    let mut seconds = Vec::with_capacity(settings.repeats);
    for run in 0..settings.warm_up + settings.repeats {
        cuda.clear(placed.flush)?;
        let taken = cuda.time(&placed.plans[run % placed.plans.len()])?;
        if run >= settings.warm_up {
            seconds.push(taken);
        }
    }
    let verdict = reference.map(|reference| placed.judge(cuda, reference)).transpose()?;
    Ok(Measured { seconds: Spread::of(&seconds), verdict })
}

/// Copies of one case in a device's memory.
struct Placed {
    /// The same plan of one step, each time with other places.
    plans: Vec<Plan>,
    flush: Slot,
}

impl Placed {
    fn new<D: Driver>(cuda: &mut Cuda<D>, case: &Case, settings: &Settings) -> Result<Placed> {
        let tape = record(case)?;
        let layout = PersistentLayout::new(&[&tape]);
        let scratch = |request: &Request<'_>| cuda.scratch(request);
        let plan = Plan::new(&tape, &layout, PlanOptions { fuse: false, ..PlanOptions::default() }, &scratch)?;
        let mut sizes = [0usize; 2];
        let mut place = |slot: &Slot| {
            let size = &mut sizes[usize::from(slot.region == Region::Transient)];
            let offset = size.next_multiple_of(4 * ALIGNMENT);
            *size = offset + slot.bytes();
            offset
        };
        let mut plans = vec![plan; settings.copies(case)];
        plans.iter_mut().for_each(|plan| plan.relocate(&mut place));
        let mut flush =
            Slot { region: Region::Transient, offset: 0, shape: Shape::channels(settings.flush_bytes), dtype: DType::U8 };
        flush.offset = place(&flush);
        cuda.allocate(sizes[0], sizes[1])?;
        Ok(Placed { plans, flush })
    }

    /// Writes the operands of every copy. Outputs hold no numbers, so that what is never written is found.
    fn fill<D: Driver>(&self, cuda: &mut Cuda<D>, case: &Case) -> Result<()> {
        for i in 0..case.inputs.len() {
            let bytes = Numbers::of_input(case, i).bytes();
            self.plans.iter().try_for_each(|plan| cuda.write(plan.steps()[0].inputs[i], &bytes))?;
        }
        for i in 0..case.outputs.len() {
            let bytes = match case.in_place {
                true => Numbers::of_updated(case, i).bytes(),
                false => vec![0xFF; case.outputs[i].0.len() * case.outputs[i].1.size()],
            };
            self.plans.iter().try_for_each(|plan| cuda.write(plan.steps()[0].outputs[i], &bytes))?;
        }
        Ok(())
    }

    /// Judges the outputs of the last copy.
    fn judge<D: Driver>(&self, cuda: &Cuda<D>, reference: &Reference) -> Result<Verdict> {
        let plan = self.plans.last().expect("there are at least two copies");
        let read = |&slot: &Slot| {
            let mut bytes = vec![0; slot.bytes()];
            cuda.read(slot, &mut bytes).map(|()| (slot.shape, slot.dtype, bytes))
        };
        let outputs = plan.steps()[0].outputs.iter().map(read).collect::<Result<Vec<_>>>()?;
        Ok(reference.judge(&outputs))
    }
}

/// A tape of the case's instruction alone.
pub(super) fn record(case: &Case) -> Result<Tape> {
    let mut tape = Tape::new();
    let inputs: Vec<ValueId> =
        case.inputs.iter().enumerate().map(|(i, &(shape, dtype))| tape.input(&format!("input {i}"), shape, dtype)).collect();
    if case.in_place {
        let updated: Vec<ValueId> =
            case.outputs.iter().enumerate().map(|(i, &(shape, _))| tape.persistent(&format!("updated {i}"), shape)).collect();
        tape.record_update(case.instruction.clone(), &inputs, &updated)?;
    } else {
        let outputs = tape.record(case.instruction.clone(), &inputs)?;
        outputs.iter().enumerate().for_each(|(i, &value)| tape.output(&format!("output {i}"), value));
    }
    Ok(tape)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Instruction;
    use crate::ops::add::Add;

    /// Together the copies are twice the cache, there are always two, and never absurdly many.
    #[test]
    fn copies_outgrow_the_cache() {
        let case = |pixels: usize| {
            let image = (Shape::image(1, 1, pixels, 256), DType::F32);
            Case {
                instruction: Instruction::Add(Add {}),
                inputs: vec![image; 2],
                outputs: vec![image],
                in_place: false,
                calls: 1,
            }
        };
        let settings = Settings::for_gpu(50 << 20);
        for (pixels, copies) in [(1 << 20, 2), (10 << 10, 4), (1, 16)] {
            let case = case(pixels);
            assert_eq!(settings.copies(&case), copies, "{} MiB", case.bytes() >> 20);
        }
        assert!(settings.flush_bytes >= 100 << 20 && settings.repeats >= 20);
    }
}
