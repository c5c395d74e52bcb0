//! The emulated GPUs on which every case runs as well.

use super::harness::{Case, check_on};
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use unet_engine::backend::Backend;
use unet_engine::backend::cuda::{self, Cuda, driver::Emulator};
use unet_engine::ops::Instruction;
use unet_engine::tape::DType;

/// Architectures with different matrix instructions: Volta, Turing, Ampere and later, Hopper.
const ARCHITECTURES: [u32; 4] = [70, 75, 80, 90];

/// The emulator's libraries, built once a process.
fn libraries() -> Option<&'static [PathBuf]> {
    static BUILT: OnceLock<Option<Vec<PathBuf>>> = OnceLock::new();
    BUILT.get_or_init(|| build(&[])).as_deref()
}

/// Runs `tools/emulator/build`. `None` where there is no C++ compiler; with `UNET_ENGINE_REQUIRE_TOOLS` that is a failure.
pub fn build(arguments: &[String]) -> Option<Vec<PathBuf>> {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tools/emulator/build");
    let output = Command::new(script).args(arguments).output().expect("tools/emulator/build runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(77) && std::env::var_os("UNET_ENGINE_REQUIRE_TOOLS").is_none() {
        eprintln!("no kernel was checked on the emulator: {errors}");
        return None;
    }
    assert!(output.status.success(), "tools/emulator/build: {errors}");
    Some(String::from_utf8(output.stdout).expect("paths").lines().map(PathBuf::from).collect())
}

/// The library of an architecture.
pub fn library(architecture: u32) -> Option<&'static Path> {
    let name = format!("libkernels-sm_{architecture}.so");
    let library = libraries()?.iter().find(|path| path.ends_with(&name)).expect("a library for each architecture");
    Some(library)
}

/// An emulated GPU of an architecture; its threads run in an order that `seed` permutes.
pub fn open(architecture: u32, seed: u64) -> Option<Cuda<Emulator>> {
    Some(cuda::emulate(library(architecture)?, seed).expect("the emulator opens"))
}

/// The architectures whose kernels differ for this instruction.
pub fn architectures(instruction: &Instruction) -> &'static [u32] {
    let name = instruction.name();
    if name.starts_with("conv") { &ARCHITECTURES } else { &ARCHITECTURES[2..3] }
}

thread_local! {
    /// Kept from case to case: a GPU loads its kernels when it is opened.
    static GPU: RefCell<Option<Box<dyn Backend>>> = const { RefCell::new(None) };
}

/// Calls `work` with the GPU if `UNET_ENGINE_TEST_DEVICE=cuda` asks for it.
pub fn with_gpu<R>(work: impl FnOnce(&mut dyn Backend) -> R) -> Option<R> {
    match std::env::var("UNET_ENGINE_TEST_DEVICE").as_deref() {
        Err(_) => return None,
        Ok("cuda") => {}
        Ok(other) => panic!("UNET_ENGINE_TEST_DEVICE={other}: expected cuda"),
    }
    GPU.with_borrow_mut(|gpu| Some(work(&mut **gpu.get_or_insert_with(|| cuda::open(0).expect("a GPU")))))
}

/// Runs `case` on the GPU if that is asked for, and says whether it did.
pub fn check_on_gpu(case: &Case) -> bool {
    let check_both = |gpu: &mut dyn Backend| {
        [Some(case), case.stored_as(DType::F16).as_ref()].into_iter().flatten().for_each(|case| check_on("cuda", case, gpu));
    };
    with_gpu(check_both).is_some()
}

/// Runs `case` on the emulated GPUs whose kernels differ for it, in f32 and, where the operation may store f16, in that.
pub fn check(case: &Case) {
    let seed = case.inputs.iter().map(|array| array.data.len() as u64).sum();
    for case in [Some(case), case.stored_as(DType::F16).as_ref()].into_iter().flatten() {
        for &architecture in architectures(&case.instruction) {
            let Some(mut backend) = open(architecture, seed) else { return };
            check_on(&format!("emulated sm_{architecture}"), case, &mut backend);
        }
    }
}
