//! The choice of a device: `--device auto|cpu|cuda|cuda:N`.

use super::{Backend, cpu};
use crate::error::{Error, Result};
use crate::plan::Precision;

/// A user's wish for a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// A usable GPU, else the CPU.
    Auto,
    Cpu,
    /// The GPU of this number.
    Cuda(usize),
}

impl Device {
    /// Whether [`open`] gives the CPU; `auto` does while this build has no kernels for a GPU.
    fn is_cpu(self) -> bool {
        matches!(self, Device::Auto | Device::Cpu)
    }
}

impl std::str::FromStr for Device {
    type Err = Error;

    fn from_str(text: &str) -> Result<Device> {
        match text {
            "auto" => Ok(Device::Auto),
            "cpu" => Ok(Device::Cpu),
            "cuda" => Ok(Device::Cuda(0)),
            _ => {
                let number = text.strip_prefix("cuda:").and_then(|n| n.parse().ok()).map(Device::Cuda);
                number.ok_or_else(|| Error::usage(format!("--device {text}: expected auto, cpu, cuda or cuda:N")))
            }
        }
    }
}

/// Whether the device called `name` is there, before anything slow is begun.
///
/// # Errors
/// As [`open`].
pub fn check(name: &str) -> Result<()> {
    match name.parse()? {
        Device::Auto | Device::Cpu => Ok(()),
        Device::Cuda(number) => Err(no_gpu(number)),
    }
}

/// The precision in which the device called `name` trains where none is asked for: f32 on the CPU, which has no other.
///
/// # Errors
/// If the name is that of no device.
pub fn default_precision(name: &str) -> Result<Precision> {
    let is_cpu = name.parse::<Device>()?.is_cpu();
    Ok(if is_cpu { Precision::F32 } else { Precision::Mixed })
}

/// Whether the device called `name` can train in this precision, before anything slow is begun.
///
/// # Errors
/// If it cannot, or if the name is that of no device.
pub fn check_precision(name: &str, precision: Precision) -> Result<()> {
    if precision == Precision::Mixed && name.parse::<Device>()?.is_cpu() {
        return Err(Error::device(format!("--precision mixed needs a CUDA device, and --device {name} is the CPU here"))
            .remedy("use --precision f32, or --device cuda on a machine with an NVIDIA GPU"));
    }
    Ok(())
}

/// Opens the device called `name`; a CPU with `threads` threads (0: as many as cores).
///
/// # Errors
/// If there is no such device. An explicit GPU never falls back to the CPU.
pub fn open(name: &str, threads: usize) -> Result<Box<dyn Backend>> {
    match name.parse()? {
        Device::Auto | Device::Cpu => cpu::open(threads),
        Device::Cuda(number) => Err(no_gpu(number)),
    }
}

fn no_gpu(number: usize) -> Error {
    Error::device(format!("no usable GPU for --device cuda:{number}: {}", why_no_gpu()))
        .remedy("use --device cpu or auto; `unet-engine doctor` says what this build and machine can do")
}

#[cfg(feature = "cuda")]
fn why_no_gpu() -> String {
    let probe = super::cuda::probe();
    match probe.driver_error {
        Some(error) => error,
        None if probe.gpus.is_empty() => "the driver finds none".into(),
        None => "this build holds no CUDA kernels".into(),
    }
}

#[cfg(not(feature = "cuda"))]
fn why_no_gpu() -> String {
    "this build does not look for CUDA (feature `cuda` is off)".into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn names_of_devices() {
        assert_eq!("cuda:3".parse::<Device>().unwrap(), Device::Cuda(3));
        assert_eq!("cuda".parse::<Device>().unwrap(), Device::Cuda(0));
        for wrong in ["gpu", "cuda:", "cuda:x", "CPU", ""] {
            assert_eq!(wrong.parse::<Device>().unwrap_err().kind(), ErrorKind::Usage, "{wrong}");
        }
    }

    #[test]
    fn the_cpu_knows_f32_alone() {
        let defaults = ["auto", "cpu", "cuda", "cuda:1"].map(|name| default_precision(name).unwrap());
        assert_eq!(defaults, [Precision::F32, Precision::F32, Precision::Mixed, Precision::Mixed]);
        assert!(default_precision("gpu").is_err());
        for name in ["auto", "cpu"] {
            assert!(check_precision(name, Precision::F32).is_ok());
            let error = check_precision(name, Precision::Mixed).unwrap_err();
            assert!(error.kind() == ErrorKind::Device && error.to_string().contains("CUDA"), "{error}");
        }
        assert!(check_precision("cuda:1", Precision::Mixed).is_ok());
    }

    #[test]
    fn an_explicit_gpu_never_falls_back() {
        let error = open("cuda:99", 1).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Device);
    }
}
