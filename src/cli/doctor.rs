//! `doctor`: says what this build and machine can do.

use super::{print_json, print_line};
use crate::backend::{self, cpu};
use crate::error::Result;
use crate::plan::Precision;
use serde::Serialize;

/// Say what this build and machine can do, and what to do about what is missing.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  unet-engine doctor --json")]
pub(super) struct Args {
    /// Print JSON to stdout.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    version: &'static str,
    target: &'static str,
    cpu: Cpu,
    cuda: Cuda,
    advice: Vec<String>,
}

#[derive(Serialize)]
struct Cpu {
    cores: usize,
    /// Instruction set and way of convolutions that the CPU computes with.
    computes_with: String,
    /// The precision of trainings that ask for none.
    trains_in: Precision,
    features: Vec<&'static str>,
}

#[derive(Serialize)]
struct Cuda {
    /// Whether this build looks for a driver at all (the `cuda` feature).
    enabled: bool,
    driver: Option<String>,
    driver_error: Option<String>,
    /// Name, architecture and memory of each GPU.
    gpus: Vec<serde_json::Value>,
    /// Targets of the embedded kernels, as nvcc names them.
    kernels: Vec<&'static str>,
    /// Which nvcc compiled them; `null` without kernels.
    kernel_compiler: Option<&'static str>,
    /// Why there are none; `null` where there are.
    kernel_error: Option<&'static str>,
    /// Whether cuDNN was found; `null` where the build cannot ask.
    cudnn: Option<bool>,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let report = examine()?;
    if args.json { print_json(&report) } else { print_line(&as_text(&report)) }
}

fn examine() -> Result<Report> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let trains_in = backend::default_precision("cpu")?;
    let cpu = Cpu { cores, computes_with: cpu::chosen()?, trains_in, features: cpu_features() };
    let cuda = examine_cuda();
    let advice = advise(&cpu, &cuda);
    Ok(Report { version: env!("CARGO_PKG_VERSION"), target: env!("UNET_ENGINE_TARGET"), cpu, cuda, advice })
}

#[cfg(target_arch = "x86_64")]
fn cpu_features() -> Vec<&'static str> {
    let known = [
        ("avx2", is_x86_feature_detected!("avx2")),
        ("fma", is_x86_feature_detected!("fma")),
        ("f16c", is_x86_feature_detected!("f16c")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("avx512bf16", is_x86_feature_detected!("avx512bf16")),
        ("amx", cpu::Level::Amx.is_available()),
    ];
    known.into_iter().filter(|(_, there)| *there).map(|(name, _)| name).collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn cpu_features() -> Vec<&'static str> {
    Vec::new()
}

#[cfg(feature = "cuda")]
fn examine_cuda() -> Cuda {
    use crate::backend::cuda;
    let probe = cuda::probe();
    let gpus = probe.gpus.iter().filter_map(|gpu| serde_json::to_value(gpu).ok()).collect();
    let (driver, driver_error) = (probe.driver, probe.driver_error);
    let kernels = cuda::KERNEL_ARCHITECTURES.to_vec();
    let (kernel_compiler, kernel_error) = (cuda::KERNEL_COMPILER.ok(), cuda::KERNEL_COMPILER.err());
    Cuda {
        enabled: true,
        driver,
        driver_error,
        gpus,
        kernels,
        kernel_compiler,
        kernel_error,
        cudnn: Some(cuda::cudnn::version().is_some()),
    }
}

#[cfg(not(feature = "cuda"))]
fn examine_cuda() -> Cuda {
    let why = "this build does not look for CUDA (feature `cuda` is off)";
    Cuda {
        enabled: false,
        driver: None,
        driver_error: Some(why.into()),
        gpus: Vec::new(),
        kernels: Vec::new(),
        kernel_compiler: None,
        kernel_error: Some(why),
        cudnn: None,
    }
}

fn advise(cpu: &Cpu, cuda: &Cuda) -> Vec<String> {
    let mut advice = Vec::new();
    if !cpu.features.contains(&"fma") {
        advice.push("this CPU lacks AVX2 with FMA: training runs several times slower; use a newer machine if you can".into());
    }
    if cuda.kernels.is_empty() {
        advice.push("this build holds no CUDA kernels and computes on the CPU: a GPU or its driver changes nothing".into());
    } else if cuda.driver.is_none() {
        advice.push("training runs on the CPU; where there is an NVIDIA GPU, install its driver so that it can be found".into());
    }
    advice
}

fn as_text(report: &Report) -> String {
    let list = |names: &[&str]| if names.is_empty() { "none".to_string() } else { names.join(", ") };
    let mut lines = vec![
        format!("unet-engine  {} for {}", report.version, report.target),
        format!("CPU          {} cores; {}", report.cpu.cores, list(&report.cpu.features)),
        format!("computes     on the CPU with {}, trainings in {}", report.cpu.computes_with, report.cpu.trains_in.name()),
        match (&report.cuda.driver, &report.cuda.driver_error) {
            (Some(version), _) => format!("CUDA driver  serves CUDA {version}"),
            (None, why) => format!("CUDA driver  none: {}", why.as_deref().unwrap_or("unknown")),
        },
    ];
    for gpu in &report.cuda.gpus {
        lines.push(format!("GPU          {gpu}"));
    }
    lines.push(match report.cuda.kernel_error {
        None => {
            format!("kernels      {} ({})", list(&report.cuda.kernels), report.cuda.kernel_compiler.unwrap_or("unknown compiler"))
        }
        Some(why) => format!("kernels      none: {why}"),
    });
    lines.extend(report.advice.iter().map(|advice| format!("what to do   {advice}")));
    lines.join("\n")
}
