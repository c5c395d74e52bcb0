//! The emulator on which the kernels are tested, tested itself: kernels with planted faults (`tools/emulator/faults`), each of which has to
//! be found, and their mended twins, in which nothing may be.

mod faults;
mod matrices;
mod traffic;
mod warpgroup;

use crate::ops::emulator::build;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use unet_engine::backend::cuda::driver::{Access, Address, Driver, Emulator, Launch, Operand};

/// Threads of a block in most of the kernels.
const THREADS: u32 = 64;

/// The library of the kernels with faults for an architecture; `None` where there is no C++ compiler.
fn library(architecture: &str) -> Option<PathBuf> {
    let folder = |name| Path::new(env!("CARGO_MANIFEST_DIR")).join(name).into_os_string().into_string().expect("a path in UTF-8");
    let [kernels, out] = ["tools/emulator/faults", ".local/emulator-faults"].map(folder);
    build(&["--kernels".into(), kernels, "--out".into(), out, architecture.into()])?.into_iter().next()
}

/// The kernels with faults on an emulated device; `None` where there is no C++ compiler.
fn open(seed: u64) -> Option<Emulator> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    let library = BUILT.get_or_init(|| library("80")).as_ref()?;
    Some(Emulator::open(library, seed).expect("the emulator opens"))
}

/// Memory of the device with these bytes.
fn upload(emulator: &mut Emulator, bytes: &[u8]) -> Address {
    let address = emulator.allocate(bytes.len()).expect("memory");
    emulator.write(address, bytes).expect("memory takes bytes");
    address
}

fn operand(address: Address, bytes: usize, access: Access) -> Operand {
    Operand { address, bytes: bytes as u64, access, padding: 0 }
}

/// A launch of a kernel that takes `in`, `out` and how many elements each has.
#[derive(Clone, Copy, Debug)]
struct Trial {
    blocks: u32,
    threads: u32,
    count: usize,
    /// What the kernel may do with `out`.
    access: Access,
}

impl Default for Trial {
    fn default() -> Self {
        Trial { blocks: 2, threads: THREADS, count: 2 * THREADS as usize, access: Access::Write }
    }
}

impl Trial {
    /// Runs `kernel` on `in` = 0, 1, 2 and so on. Gives what `out` then holds, and the message of what went wrong if anything did.
    fn run(self, emulator: &mut Emulator, kernel: &str) -> (Vec<f32>, Option<String>) {
        let numbers: Vec<f32> = (0..self.count).map(|i| i as f32).collect();
        let (from, to) = (upload(emulator, bytemuck::cast_slice(&numbers)), upload(emulator, bytemuck::cast_slice(&numbers)));
        let launch = self.launch(kernel, from, to);
        let wrong = emulator.launch(&launch).err().map(|e| e.to_string());
        let mut out = vec![0f32; self.count];
        emulator.read(to, bytemuck::cast_slice_mut(&mut out)).expect("memory gives bytes");
        (out, wrong)
    }

    fn launch(self, kernel: &str, from: Address, to: Address) -> Launch {
        let bytes = 4 * self.count;
        Launch {
            module: "faults",
            kernel: kernel.into(),
            grid: [self.blocks, 1, 1],
            threads: self.threads,
            shared_bytes: 0,
            parameters: bytemuck::cast_slice(&[from, to, self.count as u64]).to_vec(),
            operands: vec![operand(from, bytes, Access::Read), operand(to, bytes, self.access)],
            context: "a trial".into(),
        }
    }
}
