//! `bench kernels`: every layer shape and pass on a GPU, beside cuDNN.

use crate::bench::case::{self, Case, Convolution, Network};
use crate::cli::{print_json, print_line};
use crate::error::{Error, Result};
use serde::Serialize;
use std::path::PathBuf;

/// What `bench kernels` takes besides.
#[derive(clap::Args)]
pub(super) struct KernelArgs {
    /// Of kernels: all three networks of base 64 and 32 at 512 and 256, f16 and f32, and every shape of the other operations.
    #[arg(long)]
    all: bool,
    /// Of kernels: only those whose name holds this text, such as "conv2d 3x3".
    #[arg(long)]
    only: Option<String>,
    /// Of kernels: name the cases, measure nothing. With --json for benches/torch_convolutions.py.
    #[arg(long)]
    list: bool,
    /// Of kernels: what benches/torch_convolutions.py wrote on this device.
    #[arg(long, value_name = "FILE")]
    torch: Option<PathBuf>,
    /// Of kernels: begin no case when so many seconds have passed.
    #[arg(long, value_name = "SECONDS")]
    limit: Option<u64>,
}

/// A case by its name, for other programs.
#[derive(Serialize)]
struct Listed {
    id: String,
    operation: &'static str,
    calls: usize,
    flops: u64,
    bytes: u64,
    convolution: Option<Convolution>,
}

pub(super) fn run(args: &super::Args) -> Result<()> {
    let cases = cases(args)?;
    if args.of_kernels.list {
        return list(&cases, args.json);
    }
    measure(args, &cases)
}

/// The cases that the command line asks for.
pub(super) fn cases(args: &super::Args) -> Result<Vec<Case>> {
    let given = Network { spec: super::network(args), size: args.size(), batch: args.batch(), precision: args.precision()? };
    let of = &args.of_kernels;
    let mut cases = match of.all {
        true => case::cases(&case::all_networks(), true)?,
        false => case::cases(&[given], false)?,
    };
    if let Some(text) = &of.only {
        cases.retain(|case| case.id().contains(text.as_str()));
        if cases.is_empty() {
            return Err(Error::usage(format!("--only {text}: no case holds this text")).remedy("see them with --list"));
        }
    }
    Ok(cases)
}

fn list(cases: &[Case], json: bool) -> Result<()> {
    let of = |case: &Case| Listed {
        id: case.id(),
        operation: case.instruction.name(),
        calls: case.calls,
        flops: case.flops(),
        bytes: case.bytes(),
        convolution: case.convolution(),
    };
    let listed: Vec<Listed> = cases.iter().map(of).collect();
    match json {
        true => print_json(&listed),
        false => listed.iter().try_for_each(|case| print_line(&case.id)),
    }
}

#[cfg(feature = "cuda")]
fn measure(args: &super::Args, cases: &[Case]) -> Result<()> {
    use crate::bench::{kernels, table};
    let mut head = (!args.json).then(table::head);
    let start = std::time::Instant::now();
    let mut each = |row: &table::Row| match args.json {
        // Progress, and what is known if something stops it.
        true => {
            crate::terminal::say(&format!("{:5.1} s  {}", start.elapsed().as_secs_f64(), row.line()));
            Ok(())
        }
        false => head.take().map_or(Ok(()), |head| print_line(&head)).and_then(|()| print_line(&row.line())),
    };
    let of = &args.of_kernels;
    let plan = kernels::Plan { cases, torch: of.torch.as_deref(), limit: of.limit.map(std::time::Duration::from_secs) };
    let report = kernels::run(args.device.parse()?, &plan, &mut each)?;
    if args.json {
        return print_json(&report);
    }
    if !report.left_out.is_empty() {
        print_line(&format!("\nno time was left for {} cases, from {} on", report.left_out.len(), report.left_out[0]))?;
    }
    let setup = &report.setup;
    let cudnn = match (&setup.cudnn, &setup.cudnn_error) {
        (Some(version), _) => version.clone(),
        (None, Some(error)) => format!("none: {error}"),
        (None, None) => "none".into(),
    };
    print_line(&format!("\n{}, kernels for {}; cuDNN {cudnn}", setup.device, setup.kernels))?;
    for clocks in setup.clocks.iter().flatten() {
        print_line(&format!("clocks (SM, memory), temperature, power: {clocks}"))?;
    }
    print_line(&format!(
        "medians of {} runs with cold caches; spread: distance of the quartiles; counts: cuDNN within 10 % of PyTorch",
        setup.repeats
    ))
}

#[cfg(not(feature = "cuda"))]
fn measure(_args: &super::Args, _cases: &[Case]) -> Result<()> {
    Err(Error::device("bench kernels measures the CUDA kernels, and this build does not look for CUDA (feature `cuda` is off)")
        .remedy("use `bench step --profile` for the CPU's kernels, or build it with `cargo build --release` (README, Building with CUDA kernels)"))
}
