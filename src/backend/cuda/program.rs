//! A plan lowered to launches: made once, run many times.

use super::driver::{Access, Address, Graph, Launch, Operand};
use crate::plan::{ALIGNMENT, Region, Slot, Step};
use crate::tape::{DType, Shape};
use std::ops::Range;

/// The launches of a plan.
#[derive(Default)]
pub(super) struct Program {
    pub launches: Vec<Launch>,
    /// The launches of each step.
    pub steps: Vec<Range<usize>>,
    /// Whether a capture was tried: at the first run, as what is only timed needs none.
    pub is_captured: bool,
    pub graph: Option<Graph>,
}

/// Where the two memory regions lie.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Regions {
    /// Address and bytes, once allocated.
    pub persistent: Option<(Address, usize)>,
    pub transient: Option<(Address, usize)>,
}

impl Regions {
    pub fn addresses(self) -> impl IntoIterator<Item = Address> {
        [self.persistent, self.transient].into_iter().flatten().map(|(address, _)| address)
    }

    /// Where a slot lies.
    ///
    /// # Panics
    /// If the plan is broken: the slot does not lie in its region.
    pub fn address(&self, slot: Slot) -> Address {
        let region = match slot.region {
            Region::Persistent => self.persistent,
            Region::Transient => self.transient,
        };
        let (start, bytes) = region.expect("memory is allocated before it is used");
        let inside = slot.offset.checked_add(slot.bytes()).is_some_and(|end| end <= bytes);
        assert!(inside && slot.offset.is_multiple_of(ALIGNMENT), "{slot:?} does not lie in its region of {bytes} bytes");
        start + slot.offset as u64
    }
}

/// A value in the device's memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value {
    pub address: Address,
    pub shape: Shape,
    pub dtype: DType,
}

impl Value {
    pub fn bytes(&self) -> usize {
        self.shape.len() * self.dtype.size()
    }

    /// `len` elements of type `dtype` from byte `offset` of a workspace on.
    pub fn part(&self, offset: usize, len: usize, dtype: DType) -> Value {
        assert!(offset + len * dtype.size() <= self.bytes(), "{len} elements at {offset} of {self:?}");
        Value { address: self.address + offset as u64, shape: Shape::channels(len), dtype }
    }
}

/// What the launches are made for.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// Of the kernels: `sm_80`. Hopper alone has products by warpgroups.
    pub architecture: String,
    pub multiprocessors: usize,
}

/// The values of a step, and the launches that are made of it.
pub(super) struct Lowering<'a> {
    step: &'a Step,
    regions: Regions,
    target: &'a Target,
    launches: &'a mut Vec<Launch>,
}

impl<'a> Lowering<'a> {
    pub fn new(step: &'a Step, regions: Regions, target: &'a Target, launches: &'a mut Vec<Launch>) -> Self {
        Lowering { step, regions, target, launches }
    }

    /// Blocks that run at the same time, if each fills a multiprocessor.
    pub fn multiprocessors(&self) -> usize {
        self.target.multiprocessors
    }

    /// Whether the kernels for warpgroups can be used for images of these numbers: they copy eight channels at once.
    pub fn suits_warpgroups<'v>(&self, images: impl IntoIterator<Item = &'v Value>) -> bool {
        // `sm_90` is what the emulator calls itself.
        ["sm_90a", "sm_90"].contains(&self.target.architecture.as_str())
            && images.into_iter().all(|i| i.dtype == DType::F16 && i.shape.c().is_multiple_of(8))
    }

    pub fn input(&self, index: usize) -> Value {
        self.value(self.step.inputs[index])
    }

    pub fn n_inputs(&self) -> usize {
        self.step.inputs.len()
    }

    pub fn output(&self, index: usize) -> Value {
        self.value(self.step.outputs[index])
    }

    pub fn n_outputs(&self) -> usize {
        self.step.outputs.len()
    }

    /// The scratch memory that the operation asked for.
    pub fn workspace(&self) -> Value {
        self.value(self.step.workspace.expect("an operation that asked for a workspace"))
    }

    fn value(&self, slot: Slot) -> Value {
        Value { address: self.regions.address(slot), shape: slot.shape, dtype: slot.dtype }
    }

    /// Begins a launch of `kernel` in `kernels/<module>.cu`. Grid sizes are checked when it is pushed.
    pub fn call(&self, module: &'static str, kernel: impl Into<String>) -> Call {
        let shapes = |slots: &[Slot]| slots.iter().map(|s| format!("{:?}", s.shape)).collect::<Vec<_>>().join(", ");
        let step = self.step;
        let context = format!("{}: {} -> {}", step.instruction.name(), shapes(&step.inputs), shapes(&step.outputs));
        Call { module, kernel: kernel.into(), shared_bytes: 0, operands: Vec::new(), context }
    }

    /// Adds the launch of `call`.
    ///
    /// # Panics
    /// If the grid is beyond what CUDA can launch: the operation has to cut its work differently.
    pub fn push<P: bytemuck::NoUninit>(&mut self, call: Call, grid: [usize; 3], threads: u32, parameters: &P) {
        const MOST: [usize; 3] = [i32::MAX as usize, 65535, 65535];
        let fits = grid.iter().zip(MOST).all(|(&blocks, most)| (1..=most).contains(&blocks));
        assert!(fits, "{}: a grid of {grid:?} blocks for {}", call.kernel, call.context);
        self.launches.push(Launch {
            module: call.module,
            kernel: call.kernel,
            grid: grid.map(|blocks| blocks as u32),
            threads,
            shared_bytes: call.shared_bytes,
            parameters: bytemuck::bytes_of(parameters).to_vec(),
            operands: call.operands,
            context: call.context,
        });
    }
}

/// A launch that is being put together. Addresses come only with what the kernel will do there.
pub(super) struct Call {
    module: &'static str,
    kernel: String,
    shared_bytes: u32,
    operands: Vec<Operand>,
    context: String,
}

impl Call {
    /// The dynamic shared memory of each block.
    pub fn with_shared(mut self, bytes: u32) -> Call {
        self.shared_bytes = bytes;
        self
    }

    /// Memory that the kernel reads.
    pub fn read(&mut self, value: Value) -> Address {
        self.operand(value, Access::Read)
    }

    /// Memory of which it writes every byte.
    pub fn write(&mut self, value: Value) -> Address {
        self.operand(value, Access::Write)
    }

    /// Memory that it reads and writes in place.
    pub fn update(&mut self, value: Value) -> Address {
        self.operand(value, Access::Update)
    }

    fn operand(&mut self, value: Value, access: Access) -> Address {
        self.operands.push(Operand { address: value.address, bytes: value.bytes() as u64, access, padding: 0 });
        value.address
    }
}

/// The kernel `<name>_f32` or `<name>_f16`, by the type in which images are stored.
pub(super) fn kernel_for(name: &str, stored: DType) -> String {
    match stored {
        DType::F32 => format!("{name}_f32"),
        DType::F16 => format!("{name}_f16"),
        DType::Bf16 | DType::U8 => unreachable!("{name}: a plan with images of {stored:?} is refused"),
    }
}
