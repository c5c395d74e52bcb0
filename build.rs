//! Records what the binary was built for, and compiles the CUDA kernels (`kernels/*.cu`) into it.
//!
//! Nothing of CUDA is touched without the cargo feature `cuda`. With it, `UNET_ENGINE_CUDA` decides:
//!
//! - `auto` (or unset): compile the kernels where there is an nvcc; without one say so and build for the CPU only;
//! - `require`: no nvcc is an error;
//! - `off`: compile no kernels.
//!
//! No GPU is asked for: the list of targets is fixed (`build/targets.rs`), so that a binary runs on other machines than the one
//! that built it.

#[path = "build/cache.rs"]
mod cache;
#[path = "build/compile.rs"]
mod compile;
#[path = "build/generate.rs"]
mod generate;
#[path = "build/nvcc.rs"]
mod nvcc;
#[path = "build/sources.rs"]
mod sources;
#[path = "build/targets.rs"]
mod targets;

use generate::Kernels;
use std::path::PathBuf;

/// What went wrong, in words that name what was expected, what was found and the remedy.
type Result<T> = std::result::Result<T, String>;

const GET_NVCC: &str = "run tools/install-nvcc, which brings one into .local/cuda without root, or set UNET_ENGINE_NVCC to the nvcc \
                        of a CUDA toolkit (12.x; 13 drops sm_70)";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-env=UNET_ENGINE_TARGET={}", variable("TARGET"));
    if std::env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return;
    }
    if let Err(message) = cuda() {
        // On stderr and with a plain exit code: cargo shows it whole, without a panic's noise.
        eprintln!("{message}");
        std::process::exit(1);
    }
}

fn cuda() -> Result<()> {
    watch_variables();
    let kernels = match variable("UNET_ENGINE_CUDA").as_str() {
        "" | "auto" => compile_where_possible()?,
        "require" => match nvcc::find()? {
            Some(nvcc) => compile_all(nvcc)?,
            None => return Err(format!("UNET_ENGINE_CUDA=require, but {}.\n  what to do: {GET_NVCC}", nvcc::not_found())),
        },
        "off" => Kernels::none("this build was made with UNET_ENGINE_CUDA=off"),
        other => return Err(format!("UNET_ENGINE_CUDA={other}: expected auto, off or require.\n  what to do: set one of these")),
    };
    generate::write(&kernels, &out_dir())
}

fn watch_variables() {
    for name in ["UNET_ENGINE_CUDA", "UNET_ENGINE_NVCC", "CUDA_HOME", "CUDA_PATH"].iter().chain(nvcc::FLAG_VARIABLES) {
        println!("cargo::rerun-if-env-changed={name}");
    }
    // The folder, so that a new file is noticed too.
    println!("cargo::rerun-if-changed={}", sources::FOLDER);
}

fn compile_where_possible() -> Result<Kernels> {
    if let Some(nvcc) = nvcc::find()? {
        return compile_all(nvcc);
    }
    let reason = nvcc::not_found();
    warn(&format!("{reason}: this build gets no CUDA kernels and computes on the CPU. To get them, {GET_NVCC}"));
    Ok(Kernels::none(&format!("when this was built, {reason}")))
}

fn compile_all(nvcc: nvcc::Nvcc) -> Result<Kernels> {
    let sources = sources::find()?;
    if sources.is_empty() {
        return Ok(Kernels::none("there are no kernels in the source"));
    }
    let targets = nvcc.supported(targets::ALL)?;
    let cache = cache::Cache::open(&out_dir())?;
    let images = compile::all(&nvcc, &cache, &sources, &targets)?;
    compile::warnings(&images).iter().for_each(|warning| warn(warning));
    Ok(Kernels { images, compiler: Ok(nvcc) })
}

/// A variable's value; unset and empty are the same.
fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

fn out_dir() -> PathBuf {
    variable("OUT_DIR").into()
}

fn warn(message: &str) {
    println!("cargo::warning={}", message.replace('\n', " "));
}
