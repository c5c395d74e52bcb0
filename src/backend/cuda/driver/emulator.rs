//! The emulator: kernels compiled for the host (`tools/emulator/build`), in a library that is loaded at run time.

use super::{Address, Driver, Graph, Launch, Operand};
use crate::error::{Error, Result};
use libloading::Library;
use std::ffi::{CString, c_char, c_int, c_uint, c_void};
use std::path::Path;
use std::time::Instant;

/// What a launch's memory accesses cost, counted on its middle block. The layout is `Traffic` in tools/emulator/traffic.h.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Traffic {
    /// Requests of warps to global memory.
    pub requests: u64,
    /// Sectors of 32 bytes that they moved.
    pub sectors: u64,
    /// Sectors that the same bytes would fill side by side.
    pub least_sectors: u64,
    /// Requests of warps to shared memory.
    pub shared_requests: u64,
    /// Passes over the banks that they took.
    pub wavefronts: u64,
    /// Passes that they would take without conflicts.
    pub least_wavefronts: u64,
}

type Machine = *mut c_void;
type LaunchFn = unsafe extern "C" fn(
    Machine,
    *const c_char,
    *const c_uint,
    c_uint,
    c_uint,
    *const c_void,
    usize,
    *const Operand,
    usize,
    *mut c_char,
    usize,
) -> usize;

/// The library's functions; see tools/emulator/api.cpp.
struct Functions {
    free: unsafe extern "C" fn(Machine),
    allocate: unsafe extern "C" fn(Machine, usize) -> u64,
    release: unsafe extern "C" fn(Machine, u64),
    write: unsafe extern "C" fn(Machine, u64, *const c_void, usize),
    read: unsafe extern "C" fn(Machine, *mut c_void, u64, usize),
    trace: unsafe extern "C" fn(Machine, c_int),
    traffic: unsafe extern "C" fn(Machine, *mut Traffic),
    launch: LaunchFn,
}

/// An emulated device.
pub struct Emulator {
    machine: Machine,
    functions: Functions,
    architecture: u32,
    traces: bool,
    traffic: Vec<(String, Traffic)>,
    /// Keeps the functions loaded.
    _library: Library,
}

// SAFETY: the machine is owned, and the library keeps no state outside of it but for the thread that runs a launch.
unsafe impl Send for Emulator {}

impl Emulator {
    /// Loads the library at `path`. `seed` permutes the order in which the threads of a block run.
    ///
    /// # Errors
    /// If it cannot be loaded or is none of the emulator's.
    pub fn open(path: &Path, seed: u64) -> Result<Emulator> {
        let refuse = |error: libloading::Error| {
            Error::device("the emulator's library cannot be loaded")
                .at(path)
                .caused_by(error)
                .remedy("build it with tools/emulator/build, which prints the path of each library")
        };
        // SAFETY: the library's initialisers only enter kernels in a table, and the types are those of tools/emulator/api.cpp. A
        // library that merely has functions of these names would be the caller's mistake, like any wrong executable.
        unsafe {
            let library = Library::new(path).map_err(refuse)?;
            macro_rules! function {
                ($name:literal) => {
                    *library.get($name).map_err(refuse)?
                };
            }
            let functions = Functions {
                free: function!(b"emulator_free\0"),
                allocate: function!(b"emulator_allocate\0"),
                release: function!(b"emulator_release\0"),
                write: function!(b"emulator_write\0"),
                read: function!(b"emulator_read\0"),
                trace: function!(b"emulator_trace\0"),
                traffic: function!(b"emulator_traffic\0"),
                launch: function!(b"emulator_launch\0"),
            };
            let new: unsafe extern "C" fn(u64) -> Machine = function!(b"emulator_new\0");
            let architecture: unsafe extern "C" fn() -> c_uint = function!(b"emulator_architecture\0");
            let (machine, architecture) = (new(seed), architecture());
            Ok(Emulator { machine, functions, architecture, traces: false, traffic: Vec::new(), _library: library })
        }
    }

    /// Counts the traffic of every launch from now on.
    pub fn trace(&mut self) {
        self.traces = true;
        // SAFETY: the machine lives.
        unsafe { (self.functions.trace)(self.machine, 1) }
    }

    /// Hands over what was counted: kernels in the order of their launches.
    pub fn take_traffic(&mut self) -> Vec<(String, Traffic)> {
        std::mem::take(&mut self.traffic)
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // SAFETY: made by `emulator_new` and freed once.
        unsafe { (self.functions.free)(self.machine) }
    }
}

impl Driver for Emulator {
    fn describe(&self) -> String {
        format!("emulated GPU (sm_{})", self.architecture)
    }

    fn name(&self) -> String {
        self.describe()
    }

    fn cache_bytes(&self) -> usize {
        0
    }

    fn architecture(&self) -> String {
        format!("sm_{}", self.architecture)
    }

    /// Few, so that blocks that go from one item of their work to the next do so in small cases too.
    fn multiprocessors(&self) -> usize {
        3
    }

    fn allocate(&mut self, bytes: usize) -> Result<Address> {
        // SAFETY: the machine lives.
        Ok(unsafe { (self.functions.allocate)(self.machine, bytes) })
    }

    fn release(&mut self, address: Address) {
        // SAFETY: the machine lives.
        unsafe { (self.functions.release)(self.machine, address) }
    }

    fn zero(&mut self, at: Address, bytes: usize) -> Result<()> {
        self.write(at, &vec![0; bytes])
    }

    fn write(&mut self, to: Address, bytes: &[u8]) -> Result<()> {
        // SAFETY: the machine lives and checks that the place lies in memory that it gave out.
        unsafe { (self.functions.write)(self.machine, to, bytes.as_ptr().cast(), bytes.len()) }
        Ok(())
    }

    fn read(&self, from: Address, bytes: &mut [u8]) -> Result<()> {
        // SAFETY: as for `write`.
        unsafe { (self.functions.read)(self.machine, bytes.as_mut_ptr().cast(), from, bytes.len()) }
        Ok(())
    }

    fn launch(&mut self, launch: &Launch) -> Result<()> {
        let name = CString::new(launch.kernel.as_str()).map_err(|_| Error::device("a kernel's name holds a zero byte"))?;
        let mut message = vec![0u8; 2000];
        // SAFETY: the machine lives; all pointers are to live buffers of the lengths given; the kernel's accesses are checked.
        let length = unsafe {
            (self.functions.launch)(
                self.machine,
                name.as_ptr(),
                launch.grid.as_ptr(),
                launch.threads,
                launch.shared_bytes,
                launch.parameters.as_ptr().cast(),
                launch.parameters.len(),
                launch.operands.as_ptr(),
                launch.operands.len(),
                message.as_mut_ptr().cast(),
                message.len(),
            )
        };
        if length > 0 {
            let message = String::from_utf8_lossy(&message[..length]);
            return Err(Error::device(format!("{}: {message}", launch.place())));
        }
        if self.traces {
            let mut traffic = Traffic::default();
            // SAFETY: the machine lives, and `traffic` has the layout that it writes.
            unsafe { (self.functions.traffic)(self.machine, &mut traffic) }
            self.traffic.push((launch.kernel.clone(), traffic));
        }
        Ok(())
    }

    fn prepare(&mut self, _launches: &[Launch]) -> Result<()> {
        Ok(())
    }

    fn forget_graphs(&mut self) {}

    fn capture(&mut self, _launches: &[Launch]) -> Result<Option<Graph>> {
        Ok(None)
    }

    fn replay(&mut self, _graph: Graph) -> Result<()> {
        Err(Error::device("the emulator has no graphs"))
    }

    fn time(&mut self, launches: &[Launch]) -> Result<f64> {
        let start = Instant::now();
        launches.iter().try_for_each(|launch| self.launch(launch))?;
        Ok(start.elapsed().as_secs_f64())
    }
}
