//! The choice of a device: `--device auto|cpu|cuda|cuda:N`.

use super::{Backend, cpu};
use crate::error::{Error, Result};

/// A user's wish for a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// A usable GPU, else the CPU.
    Auto,
    Cpu,
    /// The GPU of this number.
    Cuda(usize),
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
    fn an_explicit_gpu_never_falls_back() {
        let error = open("cuda:99", 1).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Device);
    }
}
