//! `bench`: measure this machine's throughput.

mod augment;
mod kernels;
mod profile;
mod roofline;

use super::{print_json, print_line};
use crate::backend::cpu::Machine;
use crate::backend::{self, Session};
use crate::error::{Error, Result};
use crate::model::{Arch, NetworkSpec, Target, initialise};
use crate::ops::dice_bce::LossParameters;
use crate::optim::LossScaler;
use crate::plan::{OVERFLOW, PlanOptions, Precision};
use crate::random::{Philox, Purpose};
use crate::tape::Shape;
use serde::Serialize;
use std::time::Instant;

const AFTER_HELP: &str = "\
Examples:
  unet-engine bench step --json
  unet-engine bench step --arch deep --base 64 --size 512 --batch 8 --profile
  unet-engine bench infer --size 256 --batch 1 --steps 50
  unet-engine bench augment --threads 2
  unet-engine bench kernels --device cuda
  unet-engine bench kernels --all --torch torch.json --json
  unet-engine bench roofline --gpu v100

Images are random, so nothing needs to be at hand. `augment` measures the data pipeline alone; of the network's options it uses none.";

/// Measure this machine's throughput.
#[derive(clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Args {
    /// What to measure.
    #[arg(value_enum)]
    what: What,
    /// Which network.
    #[arg(long, value_enum, default_value = "standard")]
    arch: Arch,
    /// Channels of the first level [default: 32, for kernels and roofline 64].
    #[arg(long)]
    base: Option<usize>,
    /// Poolings [default: 4, of the deep network 5].
    #[arg(long)]
    levels: Option<usize>,
    /// Width and height of the network's input [default: 256, for kernels and roofline 512].
    #[arg(long)]
    size: Option<usize>,
    /// Images a step [default: 4, for kernels and roofline 8].
    #[arg(long)]
    batch: Option<usize>,
    /// Measured steps; two more go before them.
    #[arg(long, default_value_t = 10)]
    steps: usize,
    /// Threads of the CPU [default: as many as cores].
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// auto, cpu, cuda or cuda:N.
    #[arg(long, default_value = "auto")]
    device: String,
    /// In which numbers the network computes [default: mixed on a GPU, bf16 on a CPU with AMX, else f32].
    #[arg(long, value_enum, default_value = "auto")]
    precision: WishedPrecision,
    /// Address of the random numbers.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Also print a table of operations: time, GFLOP/s, GB/s, part of the roof of this machine's CPU, share.
    #[arg(long)]
    profile: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    of_kernels: kernels::KernelArgs,
    #[command(flatten)]
    of_roofline: roofline::RooflineArgs,
}

/// A wish for numbers.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum WishedPrecision {
    Auto,
    F32,
    Mixed,
    Bf16,
}

/// The measurements.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum What {
    /// Each kernel of the GPU against the roofline and cuDNN.
    Kernels,
    /// What the kernels can reach on a GPU, counted and not measured: needs none.
    Roofline,
    /// A training step.
    Step,
    /// Inference.
    Infer,
    /// The data pipeline.
    Augment,
}

impl Args {
    fn either(&self, given: Option<usize>, of_network: usize, of_kernels: usize) -> usize {
        given.unwrap_or(if matches!(self.what, What::Kernels | What::Roofline) { of_kernels } else { of_network })
    }

    fn base(&self) -> usize {
        self.either(self.base, 32, 64)
    }

    fn size(&self) -> usize {
        self.either(self.size, 256, 512)
    }

    fn batch(&self) -> usize {
        self.either(self.batch, 4, 8)
    }

    /// In which numbers the device computes; kernels are counted in f16 where no device is asked.
    fn precision(&self) -> Result<Precision> {
        match self.precision {
            WishedPrecision::F32 => Ok(Precision::F32),
            WishedPrecision::Mixed => Ok(Precision::Mixed),
            WishedPrecision::Bf16 => Ok(Precision::Bf16),
            WishedPrecision::Auto if matches!(self.what, What::Kernels | What::Roofline) => Ok(Precision::Mixed),
            WishedPrecision::Auto => backend::default_precision(&self.device),
        }
    }
}

/// What a measurement found.
#[derive(Serialize)]
struct Report {
    what: &'static str,
    images_per_s: f64,
    step_ms_median: f64,
    step_ms_min: f64,
    step_ms_max: f64,
    /// Persistent and transient memory of the plan, known before the first step.
    arena_bytes: usize,
    /// `None` where the operating system does not say.
    peak_rss_bytes: Option<u64>,
    gflop_per_step: f64,
    gflop_per_s: f64,
    arch: Arch,
    base: usize,
    levels: usize,
    size: usize,
    batch: usize,
    precision: Precision,
    steps: usize,
    device: String,
    /// The roof of this machine's CPU, where it was measured for the profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    peak_gflop_per_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peak_gb_per_s: Option<f64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    profile: Vec<profile::Row>,
}

pub(super) fn run(args: &Args) -> Result<()> {
    check(args)?;
    let report = match args.what {
        What::Kernels => return kernels::run(args),
        What::Roofline => return roofline::run(args),
        What::Augment => return augment::run(args),
        What::Step => measure_network(args, "step")?,
        What::Infer => measure_network(args, "infer")?,
    };
    if args.json {
        return print_json(&report);
    }
    print_report(&report)
}

/// The most measured steps, and the most threads.
const STEPS_MAX: usize = 100_000;
const THREADS_MAX: usize = 1024;

fn check(args: &Args) -> Result<()> {
    for (name, value, from, to) in [("--steps", args.steps, 1, STEPS_MAX), ("--threads", args.threads, 0, THREADS_MAX)] {
        if !(from..=to).contains(&value) {
            return Err(Error::usage(format!("{name} {value} is not possible")).remedy(format!("use {from} to {to}")));
        }
    }
    network(args).check_step(args.batch(), [args.size(); 2])?;
    match args.what {
        What::Step | What::Infer => backend::check_precision(&args.device, args.precision()?),
        What::Kernels | What::Roofline if args.precision == WishedPrecision::Bf16 => {
            Err(Error::usage("--precision bf16 is the CPU's, and CUDA kernels are measured here").remedy("use mixed or f32"))
        }
        What::Kernels | What::Roofline | What::Augment => args.device.parse::<backend::Device>().map(drop),
    }
}

fn network(args: &Args) -> NetworkSpec {
    let levels = args.levels.unwrap_or_else(|| NetworkSpec::default_levels(args.arch));
    NetworkSpec { arch: args.arch, base: args.base(), levels, channels_in: 1, channels_out: 1 }
}

fn measure_network(args: &Args, what: &'static str) -> Result<Report> {
    let spec = network(args);
    let (size, batch, precision) = ([args.size(); 2], args.batch(), args.precision()?);
    let loss = LossParameters { alpha: 0.5, smooth: 1.0, class_weight: 1.0, focal_gamma: 0.0 };
    let tape = match what {
        "step" => spec.record_training(batch, size, loss, Target::Given)?,
        _ => spec.record_inference(batch, size)?,
    };
    let backend = backend::open(&args.device, args.threads)?;
    let mut session = Session::new(backend, &[&tape], PlanOptions { fuse: true, precision })?;
    fill(&mut session, &spec, args, what == "step", precision)?;
    for _ in 0..2 {
        run_and_wait(&mut session)?;
    }
    let mut seconds = Vec::with_capacity(args.steps);
    for _ in 0..args.steps {
        let start = Instant::now();
        run_and_wait(&mut session)?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    // Before the machine is measured, which takes memory of its own.
    let peak_rss_bytes = peak_rss_bytes();
    let on_cpu = session.backend().describe().starts_with("cpu");
    let machine = if args.profile && on_cpu { Some(Machine::measure(args.threads)?) } else { None };
    let profile = if args.profile { profile::measure(&mut session, args.steps, machine)? } else { Vec::new() };
    let plan = &session.plans()[0];
    let flops: u64 = (0..plan.steps().len()).map(|i| profile::flops(plan, i)).sum();
    let median = median(&seconds);
    Ok(Report {
        what,
        images_per_s: batch as f64 / median,
        step_ms_median: median * 1e3,
        step_ms_min: seconds[0] * 1e3,
        step_ms_max: seconds[seconds.len() - 1] * 1e3,
        arena_bytes: session.layout().bytes() + plan.transient_bytes(),
        peak_rss_bytes,
        gflop_per_step: flops as f64 / 1e9,
        gflop_per_s: flops as f64 / 1e9 / median,
        arch: args.arch,
        base: args.base(),
        levels: spec.levels,
        size: args.size(),
        batch,
        precision,
        steps: args.steps,
        device: session.backend().describe(),
        peak_gflop_per_s: machine.map(|m| m.gflop_per_s),
        peak_gb_per_s: machine.map(|m| m.gb_per_s),
        profile,
    })
}

/// One step. A GPU runs behind the host: a number that is read afterwards makes the host wait for it.
fn run_and_wait(session: &mut Session) -> Result<()> {
    session.run(0)?;
    session.read_persistent("head.bias").map(drop)
}

/// Parameters as training would start with, and a random batch: a tenth of the target is 1.
fn fill(session: &mut Session, spec: &NetworkSpec, args: &Args, training: bool, precision: Precision) -> Result<()> {
    for (index, parameter) in spec.parameters().iter().enumerate() {
        session.write_persistent(&parameter.name, &initialise(parameter, index, args.seed))?;
    }
    let shape = Shape::image(args.batch(), args.size(), args.size(), 1);
    let mut rng = Philox::new(args.seed, 0, 0, Purpose::Bench);
    let image: Vec<f32> = (0..shape.len()).map(|_| rng.normal()).collect();
    session.write_input(0, "image", &image)?;
    if training {
        let target: Vec<f32> = (0..shape.len()).map(|_| f32::from(u8::from(rng.uniform() > 0.9))).collect();
        session.write_input(0, "target", &target)?;
        session.write_input(0, "weight", &vec![1.0; shape.len()])?;
        let loss_scale = if precision.can_overflow() { LossScaler::default().scale() } else { 1.0 };
        session.write_persistent("schedule", &[1e-4, 1.0, 1.0, 1.0 / loss_scale])?;
        session.write_persistent("loss_scale", &[loss_scale])?;
        if precision.can_overflow() {
            // Once: a step that overflowed goes on doing all of its work but the updates.
            session.write_persistent(OVERFLOW, &[0.0])?;
        }
    }
    Ok(())
}

/// The median of sorted numbers.
fn median(sorted: &[f64]) -> f64 {
    let n = sorted.len();
    if n % 2 == 1 { sorted[n / 2] } else { (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0 }
}

/// The most memory that the process ever held, as Linux counts it; `None` on other systems.
fn peak_rss_bytes() -> Option<u64> {
    in_proc("/proc/self/status", "VmHWM:")
}

/// Memory that can be had without swapping, as Linux counts it; `None` on other systems.
fn available_bytes() -> Option<u64> {
    in_proc("/proc/meminfo", "MemAvailable:")
}

/// The value of a line like `VmHWM:   1234 kB`, in bytes.
fn in_proc(file: &str, key: &str) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    let kib = text.lines().find_map(|line| line.strip_prefix(key)?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.map(|kib| kib * 1024)
}

fn print_profile(report: &Report) -> Result<()> {
    if let (Some(gflop), Some(gb)) = (report.peak_gflop_per_s, report.peak_gb_per_s) {
        print_line(&format!(
            "  roof of this machine: {gflop:.0} GFLOP/s in registers, {gb:.1} GB/s copying from memory to memory"
        ))?;
    }
    print_line(&format!(
        "\n{:<46} {:>5} {:>9} {:>9} {:>7} {:>8} {:>7}",
        "operation", "calls", "ms", "GFLOP/s", "GB/s", "of roof", "share"
    ))?;
    for row in &report.profile {
        let profile::Row { operation, calls, ms, gflop_per_s, gb_per_s, .. } = row;
        let roof = row.of_roofline.map_or("-".into(), |r| format!("{:.0}%", r * 100.0));
        let share = row.share * 100.0;
        print_line(&format!("{operation:<46} {calls:>5} {ms:>9.2} {gflop_per_s:>9.1} {gb_per_s:>7.1} {roof:>8} {share:>6.1}%"))?;
    }
    if report.peak_gflop_per_s.is_some() {
        print_line(
            "\nGFLOP are those of the definition, bytes those of inputs and outputs: convolutions by Winograd, which multiply a quarter,",
        )?;
        print_line("and images that stay in the caches pass 100 %.")?;
    }
    Ok(())
}

fn print_report(report: &Report) -> Result<()> {
    let Report { what, images_per_s, step_ms_median, .. } = report;
    print_line(&format!("{what} on {}: {images_per_s:.2} images/s", report.device))?;
    print_line(&format!(
        "  {:?}, base {}, {} levels, {}x{}, batch {}, {}",
        report.arch,
        report.base,
        report.levels,
        report.size,
        report.size,
        report.batch,
        report.precision.name()
    ))?;
    print_line(&format!(
        "  {step_ms_median:.1} ms a step (median of {}; {:.1} to {:.1})",
        report.steps, report.step_ms_min, report.step_ms_max
    ))?;
    print_line(&format!("  {:.1} GFLOP a step, {:.1} GFLOP/s", report.gflop_per_step, report.gflop_per_s))?;
    let peak = report.peak_rss_bytes.map_or("unknown".into(), |bytes| format!("{} MiB", bytes >> 20));
    print_line(&format!("  arena {} MiB, peak memory {peak}", report.arena_bytes >> 20))?;
    if report.profile.is_empty() { Ok(()) } else { print_profile(report) }
}
