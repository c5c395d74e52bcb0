//! The two memory regions of a run, and the slices that kernels get from them.

use super::simd::Stored;
use crate::error::{Error, Result};
use crate::plan::{ALIGNMENT, Region, Slot, Step};
use crate::tape::{DType, Shape};
use half::f16;
use std::alloc::Layout;
use std::ptr::NonNull;

/// The most inputs of any instruction (`batch_norm_grad_apply`).
const MAX_INPUTS: usize = 8;
/// The most outputs of any instruction (`adam`).
const MAX_OUTPUTS: usize = 3;

/// Zeroed bytes, aligned for the widest vector load.
struct Bytes {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the memory is owned, like a `Box<[u8]>`.
unsafe impl Send for Bytes {}
// SAFETY: as above; shared access only reads.
unsafe impl Sync for Bytes {}

/// Size of a huge page on x86-64 and of most on aarch64.
const HUGE_PAGE: usize = 2 << 20;

impl Bytes {
    fn layout(len: usize) -> Option<Layout> {
        match len {
            // Whole pages, so that the last one is a huge one too.
            HUGE_PAGE.. => Layout::from_size_align(len.checked_next_multiple_of(HUGE_PAGE)?, HUGE_PAGE).ok(),
            _ => Layout::from_size_align(len.max(ALIGNMENT), ALIGNMENT).ok(),
        }
    }

    fn zeroed(len: usize) -> Result<Bytes> {
        // SAFETY: the layout's size is not zero.
        let start = Bytes::layout(len).and_then(|layout| NonNull::new(unsafe { std::alloc::alloc(layout) }));
        let start = start.ok_or_else(|| {
            Error::device(format!("cannot allocate {} MiB of memory", len >> 20))
                .remedy("use a smaller --batch, --size or --base")
        })?;
        // Before the first touch, which decides the size of a page.
        ask_for_huge_pages(start, len);
        // SAFETY: `len` bytes were allocated.
        unsafe { start.write_bytes(0, len) };
        Ok(Bytes { start, len })
    }
}

/// Kernels write to dozens of places at once, more than the processor keeps addresses of small pages at hand. Only a wish: without
/// huge pages everything is the same, but slower.
#[cfg(target_os = "linux")]
fn ask_for_huge_pages(start: NonNull<u8>, len: usize) {
    if len >= HUGE_PAGE {
        // SAFETY: whole pages that were allocated; the advice changes no contents.
        unsafe { libc::madvise(start.as_ptr().cast(), len.next_multiple_of(HUGE_PAGE), libc::MADV_HUGEPAGE) };
    }
}

#[cfg(not(target_os = "linux"))]
fn ask_for_huge_pages(_start: NonNull<u8>, _len: usize) {}

impl Drop for Bytes {
    fn drop(&mut self) {
        let layout = Bytes::layout(self.len).expect("it was allocated with this layout");
        // SAFETY: allocated in `zeroed` with this layout, and dropped once.
        unsafe { std::alloc::dealloc(self.start.as_ptr(), layout) }
    }
}

/// Both regions of a run.
pub(super) struct Arena {
    persistent: Bytes,
    transient: Bytes,
}

impl Arena {
    /// Allocates both regions.
    ///
    /// # Errors
    /// If the memory is not there.
    pub fn new(persistent_bytes: usize, transient_bytes: usize) -> Result<Arena> {
        Ok(Arena { persistent: Bytes::zeroed(persistent_bytes)?, transient: Bytes::zeroed(transient_bytes)? })
    }

    /// A slot's bytes.
    pub fn bytes(&self, slot: Slot) -> &[u8] {
        // SAFETY: `start` checks the bounds; the memory is initialised, and shared borrows of the arena only read.
        unsafe { std::slice::from_raw_parts(self.start(slot), slot.bytes()) }
    }

    /// A slot's bytes, to be written.
    pub fn bytes_mut(&mut self, slot: Slot) -> &mut [u8] {
        // SAFETY: as above; the arena is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start(slot), slot.bytes()) }
    }

    /// The values of a step, after a check that nothing that it writes overlaps anything else of it. `is_ready`: whether what the step
    /// prepares is there.
    ///
    /// # Panics
    /// If the plan is broken: slots out of bounds, misaligned, or overlapping what is written.
    pub fn operands<'a>(&'a mut self, step: &'a Step, is_ready: bool) -> Operands<'a> {
        assert!(
            step.inputs.len() <= MAX_INPUTS && step.outputs.len() <= MAX_OUTPUTS,
            "{} has too many values",
            step.instruction.name()
        );
        let written = || step.outputs.iter().chain(&step.workspace).chain(&step.prepared);
        for (i, written_here) in written().enumerate() {
            let others = written().skip(i + 1).chain(&step.inputs);
            for other in others {
                assert!(!overlap(*written_here, *other), "{}: {written_here:?} overlaps {other:?}", step.instruction.name());
            }
        }
        // SAFETY: `start` checks bounds; what is written was just shown to overlap neither one another nor an input, so the
        // exclusive slices are unique; the arena stays borrowed exclusively for 'a.
        unsafe {
            let shared = |slot: &Slot| std::slice::from_raw_parts(self.start(*slot), slot.bytes());
            let exclusive = |slot: &Slot| std::slice::from_raw_parts_mut(self.start(*slot), slot.bytes());
            Operands {
                step,
                inputs: std::array::from_fn(|i| step.inputs.get(i).map_or(&[][..], shared)),
                outputs: std::array::from_fn(|i| step.outputs.get(i).map(exclusive)),
                workspace: step.workspace.as_ref().map(exclusive),
                prepared: step.prepared.as_ref().map(exclusive),
                is_ready,
            }
        }
    }

    fn start(&self, slot: Slot) -> *mut u8 {
        let region = match slot.region {
            Region::Persistent => &self.persistent,
            Region::Transient => &self.transient,
        };
        let inside = slot.offset.checked_add(slot.bytes()).is_some_and(|end| end <= region.len);
        assert!(inside && slot.offset.is_multiple_of(ALIGNMENT), "{slot:?} does not lie in its region of {} bytes", region.len);
        // SAFETY: the offset lies within the allocation.
        unsafe { region.start.as_ptr().add(slot.offset) }
    }
}

pub(super) fn overlap(a: Slot, b: Slot) -> bool {
    a.region == b.region && a.offset < b.offset + b.bytes() && b.offset < a.offset + a.bytes()
}

/// What a step makes of its parameters alone, in numbers of type `T`.
pub(super) struct Prepared<'a, T> {
    pub numbers: &'a mut [T],
    /// Whether an earlier run has made it.
    pub is_ready: bool,
}

/// The values of one step. An output, the workspace and what is prepared can be taken once.
pub(super) struct Operands<'a> {
    step: &'a Step,
    inputs: [&'a [u8]; MAX_INPUTS],
    outputs: [Option<&'a mut [u8]>; MAX_OUTPUTS],
    workspace: Option<&'a mut [u8]>,
    prepared: Option<&'a mut [u8]>,
    is_ready: bool,
}

impl<'a> Operands<'a> {
    /// As many numbers as the input's shape says: kernels rely on it.
    pub fn input(&self, index: usize) -> &'a [f32] {
        self.input_as(index)
    }

    /// As [`Operands::input`], of an image that is stored as `T`.
    pub fn input_as<T: Stored>(&self, index: usize) -> &'a [T] {
        self.expect_type(self.step.inputs[index], T::TYPE);
        bytemuck::cast_slice(self.inputs[index])
    }

    pub fn input_f16(&self, index: usize) -> &'a [f16] {
        self.expect_type(self.step.inputs[index], DType::F16);
        bytemuck::cast_slice(self.inputs[index])
    }

    pub fn input_bytes(&self, index: usize) -> &'a [u8] {
        self.expect_type(self.step.inputs[index], DType::U8);
        self.inputs[index]
    }

    pub fn input_type(&self, index: usize) -> DType {
        self.step.inputs[index].dtype
    }

    pub fn input_shape(&self, index: usize) -> Shape {
        self.step.inputs[index].shape
    }

    pub fn n_inputs(&self) -> usize {
        self.step.inputs.len()
    }

    pub fn output(&mut self, index: usize) -> &'a mut [f32] {
        self.output_as(index)
    }

    /// As [`Operands::output`], of an image that is stored as `T`.
    pub fn output_as<T: Stored>(&mut self, index: usize) -> &'a mut [T] {
        self.expect_type(self.step.outputs[index], T::TYPE);
        bytemuck::cast_slice_mut(self.take_output(index))
    }

    pub fn output_f16(&mut self, index: usize) -> &'a mut [f16] {
        self.expect_type(self.step.outputs[index], DType::F16);
        bytemuck::cast_slice_mut(self.take_output(index))
    }

    pub fn output_bytes(&mut self, index: usize) -> &'a mut [u8] {
        self.expect_type(self.step.outputs[index], DType::U8);
        self.take_output(index)
    }

    fn take_output(&mut self, index: usize) -> &'a mut [u8] {
        self.outputs[index].take().expect("each output is taken once")
    }

    fn expect_type(&self, slot: Slot, dtype: DType) {
        assert_eq!(slot.dtype, dtype, "{}: {slot:?}", self.step.instruction.name());
    }

    pub fn output_type(&self, index: usize) -> DType {
        self.step.outputs[index].dtype
    }

    pub fn output_shape(&self, index: usize) -> Shape {
        self.step.outputs[index].shape
    }

    pub fn n_outputs(&self) -> usize {
        self.step.outputs.len()
    }

    /// The workspace as numbers of type `T`; empty if the step has none.
    pub fn workspace<T: bytemuck::Pod>(&mut self) -> &'a mut [T] {
        let bytes = self.workspace.take().unwrap_or_default();
        let whole = bytes.len() / size_of::<T>() * size_of::<T>();
        bytemuck::cast_slice_mut(&mut bytes[..whole])
    }

    /// Where lasts what the step makes of its parameters; nothing if it does not last.
    pub fn prepared<T: bytemuck::Pod>(&mut self) -> Option<Prepared<'a, T>> {
        let bytes = self.prepared.take()?;
        Some(Prepared { numbers: bytemuck::cast_slice_mut(bytes), is_ready: self.is_ready })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Instruction;
    use crate::ops::add::Add;

    fn step(offsets: [usize; 3]) -> Step {
        let slot =
            |i: usize| Slot { region: Region::Transient, offset: offsets[i], shape: Shape::channels(20), dtype: DType::F32 };
        let instruction = Instruction::Add(Add {});
        Step { instruction, inputs: vec![slot(0), slot(1)], outputs: vec![slot(2)], workspace: None, prepared: None }
    }

    #[test]
    fn regions_are_aligned_and_zeroed() {
        let mut arena = Arena::new(0, 512).unwrap();
        let plan = step([0, 0, 128]);
        let mut operands = arena.operands(&plan, false);
        assert!(operands.input(0).as_ptr().addr().is_multiple_of(ALIGNMENT));
        assert!(operands.output(0).iter().all(|&x| x == 0.0));
    }

    #[test]
    fn large_regions_lie_on_huge_pages() {
        for len in [HUGE_PAGE - 64, HUGE_PAGE, 2 * HUGE_PAGE + 64] {
            let bytes = Bytes::zeroed(len).unwrap();
            assert!(len < HUGE_PAGE || bytes.start.addr().get().is_multiple_of(HUGE_PAGE));
            // SAFETY: `len` bytes are there.
            assert!(unsafe { std::slice::from_raw_parts(bytes.start.as_ptr(), bytes.len) }.iter().all(|b| *b == 0));
        }
        assert!(Bytes::zeroed(usize::MAX).is_err());
    }

    #[test]
    #[should_panic(expected = "overlaps")]
    fn an_output_on_an_input_is_noticed() {
        Arena::new(0, 512).unwrap().operands(&step([0, 128, 64]), false);
    }

    #[test]
    #[should_panic(expected = "U8")]
    fn bytes_are_not_read_as_floats() {
        let mut plan = step([0, 128, 256]);
        plan.inputs[1].dtype = DType::U8;
        Arena::new(0, 512).unwrap().operands(&plan, false).input(1);
    }

    #[test]
    #[should_panic(expected = "does not lie in its region")]
    fn a_slot_past_the_end_is_noticed() {
        Arena::new(0, 512).unwrap().operands(&step([0, 128, 448]), false);
    }
}
