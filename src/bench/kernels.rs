//! The whole of `bench kernels`: every case timed, beside cuDNN and PyTorch where they are.

use super::case::Case;
use super::measure::{Settings, measure};
use super::peaks::Peaks;
use super::reference::Reference;
use super::table::{Others, Rival, Row};
use super::torch::TorchTimes;
use crate::backend::Device;
use crate::backend::cuda::cudnn::Cudnn;
use crate::backend::cuda::driver::{Driver, Gpu};
use crate::backend::cuda::{self, Cuda};
use crate::error::{Error, Result};
use serde::Serialize;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// What the measurements were made on.
#[derive(Debug, Serialize)]
pub struct Setup {
    pub device: String,
    /// The target of our kernels.
    pub kernels: String,
    pub cudnn: Option<String>,
    /// Why there is no cuDNN.
    pub cudnn_error: Option<String>,
    pub torch: Option<String>,
    /// `None` for a device that is not in the table of data sheets.
    pub peaks: Option<Peaks>,
    pub l2_bytes: usize,
    /// SM and memory clocks, temperature and power before and after, where the driver's tool tells them.
    pub clocks: [Option<String>; 2],
    pub repeats: usize,
    pub flush_bytes: usize,
}

/// What is to be measured.
#[derive(Debug)]
pub struct Plan<'a> {
    pub cases: &'a [Case],
    /// A file of `benches/torch_convolutions.py`.
    pub torch: Option<&'a Path>,
    /// No case is begun when so much time has passed.
    pub limit: Option<Duration>,
}

/// All rows.
#[derive(Debug, Serialize)]
pub struct Report {
    pub what: &'static str,
    pub setup: Setup,
    pub rows: Vec<Row>,
    /// The cases for which there was no time.
    pub left_out: Vec<String>,
}

/// Times the cases of `plan` on a GPU or the emulator. Calls `each` with every row when it is there.
///
/// # Errors
/// If the device is none that runs these kernels, or fails.
pub fn run(device: Device, plan: &Plan<'_>, each: &mut dyn FnMut(&Row) -> Result<()>) -> Result<Report> {
    match device.resolve()? {
        Device::Cuda(number) => {
            let mut cuda = cuda::open_gpu(number)?;
            let opened = Cudnn::open(cuda.driver());
            let mut setup = setup(&mut cuda, Settings::for_gpu);
            setup.0.clocks[0] = clocks(number);
            let mut report = match opened {
                Ok(cudnn) => {
                    setup.0.cudnn = Some(cudnn.version());
                    let mut rival = |gpu: &mut Gpu, case: &Case, reference: &Reference, settings: &Settings| {
                        super::cudnn::measure(&cudnn, gpu, case, reference, settings)
                    };
                    rows(&mut cuda, plan, setup, Some(&mut rival), each)?
                }
                Err(error) => {
                    setup.0.cudnn_error = Some(error.to_string());
                    rows(&mut cuda, plan, setup, None, each)?
                }
            };
            report.setup.clocks[1] = clocks(number);
            Ok(report)
        }
        Device::Emulator(library) => {
            let mut cuda = cuda::emulate(&library, 0)?;
            let setup = setup(&mut cuda, |_| Settings::for_emulator());
            rows(&mut cuda, plan, setup, None, each)
        }
        Device::Cpu | Device::Auto => Err(Error::device("bench kernels measures the CUDA kernels, and there is no usable GPU")
            .remedy("use --device cuda on a machine with an NVIDIA GPU, or `bench step --profile` for the CPU's kernels")),
    }
}

fn setup<D: Driver>(cuda: &mut Cuda<D>, settings: impl Fn(usize) -> Settings) -> (Setup, Settings) {
    let driver = cuda.driver();
    let (device, l2_bytes) = (driver.name(), driver.cache_bytes());
    let settings = settings(l2_bytes);
    let setup = Setup {
        kernels: driver.architecture(),
        cudnn: None,
        cudnn_error: None,
        torch: None,
        peaks: Peaks::of(&device),
        device,
        l2_bytes,
        clocks: [None, None],
        repeats: settings.repeats,
        flush_bytes: settings.flush_bytes,
    };
    (setup, settings)
}

/// Measures what the same convolution takes elsewhere on the same device.
type MeasureRival<'a, D> = &'a mut dyn FnMut(&mut D, &Case, &Reference, &Settings) -> Result<Rival>;

fn rows<D: Driver>(
    cuda: &mut Cuda<D>,
    plan: &Plan<'_>,
    (mut setup, settings): (Setup, Settings),
    mut rival: Option<MeasureRival<'_, D>>,
    each: &mut dyn FnMut(&Row) -> Result<()>,
) -> Result<Report> {
    let start = Instant::now();
    let torch = plan.torch.map(|path| TorchTimes::read(path, &setup.device)).transpose()?;
    setup.torch = torch.as_ref().map(|times| times.torch.clone());
    let (mut rows, mut left_out) = (Vec::with_capacity(plan.cases.len()), Vec::new());
    for case in plan.cases {
        if plan.limit.is_some_and(|limit| start.elapsed() >= limit) {
            left_out.push(case.id());
            continue;
        }
        let reference = Reference::of(case);
        let ours = measure(cuda, case, &settings, reference.as_ref())?;
        let mut others = Others { torch_ms: torch.as_ref().and_then(|times| times.ms(&case.id())), ..Others::default() };
        if let (Some(reference), Some(rival)) = (&reference, &mut rival) {
            cuda.forget()?;
            match rival(cuda.driver(), case, reference, &settings) {
                Ok(rival) => others.rival = Some(rival),
                Err(error) => others.rival_error = Some(error.to_string()),
            }
        }
        let row = Row::new(case, &ours, others, setup.peaks.as_ref());
        each(&row)?;
        rows.push(row);
    }
    Ok(Report { what: "kernels", setup, rows, left_out })
}

/// What the driver's tool says of the device now: clocks decide what a time means.
fn clocks(number: usize) -> Option<String> {
    let query = "--query-gpu=clocks.sm,clocks.mem,temperature.gpu,power.draw";
    let output = Command::new("nvidia-smi").args([query, "--format=csv,noheader", "-i", &number.to_string()]).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_string())
}
