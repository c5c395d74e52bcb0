//! The border between the CUDA backend and what runs its kernels: an NVIDIA GPU, or the emulator in which they are tested.

mod context;
mod emulator;
mod gpu;

pub use emulator::{Emulator, Traffic};
pub use gpu::Gpu;

use crate::error::Result;

/// An address in the device's memory.
pub type Address = u64;

/// Runs kernels over memory of its own. Launches are done in the order in which they are given.
pub trait Driver: Send {
    /// What it is, in words, for the log.
    fn describe(&self) -> String;

    /// The device's name alone, as its vendor gives it.
    fn name(&self) -> String;

    /// The size of the last cache before memory; 0 where there is none.
    fn cache_bytes(&self) -> usize;

    /// The architecture whose kernels it runs: `sm_80`.
    fn architecture(&self) -> String;

    /// For how many blocks that go from one item of their work to the next there is room.
    fn multiprocessors(&self) -> usize;

    /// Memory of undefined contents, aligned to 256 bytes.
    ///
    /// # Errors
    /// If there is not so much.
    fn allocate(&mut self, bytes: usize) -> Result<Address>;

    /// Gives memory back that [`Driver::allocate`] gave.
    fn release(&mut self, address: Address);

    /// Fills memory with zeros, behind all launches so far.
    ///
    /// # Errors
    /// If the device fails.
    fn zero(&mut self, at: Address, bytes: usize) -> Result<()>;

    /// Copies from the host, behind all launches so far.
    ///
    /// # Errors
    /// If the device fails.
    fn write(&mut self, to: Address, bytes: &[u8]) -> Result<()>;

    /// Copies to the host, behind all launches so far.
    ///
    /// # Errors
    /// If the device fails.
    fn read(&self, from: Address, bytes: &mut [u8]) -> Result<()>;

    /// Runs a kernel.
    ///
    /// # Errors
    /// If the kernel is not there or fails; the message names it with its grid and shapes.
    fn launch(&mut self, launch: &Launch) -> Result<()>;

    /// Loads what launches need, so that none of them waits for it.
    ///
    /// # Errors
    /// If a kernel is not there.
    fn prepare(&mut self, launches: &[Launch]) -> Result<()>;

    /// Makes launches into one graph, where the device can: they then start without the host's part in each.
    ///
    /// # Errors
    /// As [`Driver::launch`].
    fn capture(&mut self, launches: &[Launch]) -> Result<Option<Graph>>;

    /// Frees all graphs: what they name is about to be released.
    fn forget_graphs(&mut self);

    /// Runs a graph that [`Driver::capture`] made.
    ///
    /// # Errors
    /// If the device fails.
    fn replay(&mut self, graph: Graph) -> Result<()>;

    /// Runs launches and says how many seconds the device took for them.
    ///
    /// # Errors
    /// As [`Driver::launch`].
    fn time(&mut self, launches: &[Launch]) -> Result<f64>;
}

/// A graph of a driver, by its number.
#[derive(Clone, Copy, Debug)]
pub struct Graph(pub usize);

/// What a launch does with a piece of memory. A GPU does not care; the emulator holds the kernel to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Access {
    Read = 0,
    /// Undefined before; the kernel writes every byte.
    Write = 1,
    /// Read and written in place.
    Update = 2,
    /// Undefined before, of no meaning after.
    Scratch = 3,
}

/// A piece of memory that a launch touches. The layout is the emulator's `Operand` in tools/emulator/machine.h.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Operand {
    pub address: Address,
    pub bytes: u64,
    pub access: Access,
    pub padding: u32,
}

const _: () = assert!(size_of::<Operand>() == 24);

/// A kernel with all that it needs.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The stem of the kernel's file below `kernels/`.
    pub module: &'static str,
    /// Its function.
    pub kernel: String,
    pub grid: [u32; 3],
    pub threads: u32,
    /// Dynamic shared memory of a block.
    pub shared_bytes: u32,
    /// The bytes of its struct of parameters.
    pub parameters: Vec<u8>,
    pub operands: Vec<Operand>,
    /// The operation and its shapes, for errors.
    pub context: String,
}

impl Launch {
    /// Where a message came from.
    fn place(&self) -> String {
        let [x, y, z] = self.grid;
        format!("kernel {} ({x} x {y} x {z} blocks of {} threads; {})", self.kernel, self.threads, self.context)
    }
}
