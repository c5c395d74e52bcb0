//! The choice of a device: `--device auto|cpu|cuda|cuda:N`.

use super::{Backend, cpu};
use crate::error::{Error, Result};
use crate::plan::Precision;
use std::path::{Path, PathBuf};

/// A user's wish for a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Device {
    /// A usable GPU, else the CPU.
    Auto,
    Cpu,
    /// The GPU of this number.
    Cuda(usize),
    /// The emulated GPU in the library at this path (`tools/emulator/build`): for tests of the kernels, and thousands of times slower.
    Emulator(PathBuf),
}

impl Device {
    /// What [`open`] opens: the device itself, or what `auto` stands for on this machine.
    ///
    /// # Errors
    /// If the environment wishes for a GPU's kernels that cannot be had (`UNET_ENGINE_CUDA_ARCH`). A missing GPU is none: `auto` is the
    /// CPU then.
    pub fn resolve(self) -> Result<Device> {
        match self {
            Device::Auto => Ok(if is_usable(0)? { Device::Cuda(0) } else { Device::Cpu }),
            device => Ok(device),
        }
    }
}

impl std::str::FromStr for Device {
    type Err = Error;

    fn from_str(text: &str) -> Result<Device> {
        match text {
            "auto" => Ok(Device::Auto),
            "cpu" => Ok(Device::Cpu),
            "cuda" => Ok(Device::Cuda(0)),
            _ if text.starts_with("emulator:") => Ok(Device::Emulator(text["emulator:".len()..].into())),
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
        Device::Auto => Device::Auto.resolve().map(drop),
        Device::Cpu => Ok(()),
        // Opening a GPU takes a fraction of a second, and says all that can be wrong.
        Device::Cuda(_) | Device::Emulator(_) => open(name, 1).map(drop),
    }
}

/// The precision in which the device called `name` trains where none is asked for: mixed on CUDA, bf16 on a CPU with AMX, f32 on others,
/// which gain nothing by 16 bits.
///
/// # Errors
/// If the name is that of no device, or as [`Device::resolve`].
pub fn default_precision(name: &str) -> Result<Precision> {
    let device = name.parse::<Device>()?.resolve()?;
    match device {
        Device::Cpu => Ok(cpu::Level::choose()?.precision()),
        _ => Ok(Precision::Mixed),
    }
}

/// Whether the device called `name` can train in this precision, before anything slow is begun.
///
/// # Errors
/// If it cannot, if the name is that of no device, or as [`Device::resolve`].
pub fn check_precision(name: &str, precision: Precision) -> Result<()> {
    let on_cpu = precision != Precision::F32 && name.parse::<Device>()?.resolve()? == Device::Cpu;
    match precision {
        Precision::Mixed if on_cpu => {
            Err(Error::device(format!("--precision mixed needs a CUDA device, and --device {name} is the CPU here"))
                .remedy("use --precision f32 or bf16, or --device cuda on a machine with an NVIDIA GPU"))
        }
        Precision::Bf16 if !on_cpu => {
            Err(Error::device(format!("--precision bf16 needs the CPU, and --device {name} is a CUDA device"))
                .remedy("use --precision mixed or f32, or --device cpu"))
        }
        _ => Ok(()),
    }
}

/// Opens the device called `name`; a CPU with `threads` threads (0: as many as cores).
///
/// # Errors
/// If there is no such device, or as [`Device::resolve`]. An explicit GPU never falls back to the CPU.
pub fn open(name: &str, threads: usize) -> Result<Box<dyn Backend>> {
    match name.parse::<Device>()?.resolve()? {
        Device::Auto | Device::Cpu => cpu::open(threads),
        Device::Cuda(number) => open_gpu(number),
        Device::Emulator(library) => open_emulator(&library),
    }
}

#[cfg(feature = "cuda")]
fn is_usable(number: usize) -> Result<bool> {
    super::cuda::is_usable(number)
}

#[cfg(feature = "cuda")]
fn open_gpu(number: usize) -> Result<Box<dyn Backend>> {
    super::cuda::open(number)
}

#[cfg(feature = "cuda")]
fn open_emulator(library: &Path) -> Result<Box<dyn Backend>> {
    Ok(Box::new(super::cuda::emulate(library, 0)?))
}

#[cfg(not(feature = "cuda"))]
fn is_usable(_number: usize) -> Result<bool> {
    Ok(false)
}

#[cfg(not(feature = "cuda"))]
fn open_gpu(number: usize) -> Result<Box<dyn Backend>> {
    Err(without_cuda(&format!("cuda:{number}")))
}

#[cfg(not(feature = "cuda"))]
fn open_emulator(library: &Path) -> Result<Box<dyn Backend>> {
    Err(without_cuda(&format!("emulator:{}", library.display())))
}

#[cfg(not(feature = "cuda"))]
fn without_cuda(name: &str) -> Error {
    Error::device(format!("no usable GPU for --device {name}: this build does not look for CUDA (feature `cuda` is off)"))
        .remedy("use --device cpu or auto, or build it with `cargo build --release` (README, Building with CUDA kernels)")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn names_of_devices() {
        assert_eq!("cuda:3".parse::<Device>().unwrap(), Device::Cuda(3));
        assert_eq!("cuda".parse::<Device>().unwrap(), Device::Cuda(0));
        assert_eq!("emulator:a/b.so".parse::<Device>().unwrap(), Device::Emulator("a/b.so".into()));
        for wrong in ["gpu", "cuda:", "cuda:x", "CPU", ""] {
            assert_eq!(wrong.parse::<Device>().unwrap_err().kind(), ErrorKind::Usage, "{wrong}");
        }
    }

    #[test]
    fn each_device_has_its_16_bits() {
        let defaults = ["cpu", "cuda", "cuda:1", "emulator:x"].map(|name| default_precision(name).unwrap());
        let of_cpu = cpu::Level::choose().unwrap().precision();
        assert_eq!(cpu::Level::ALL.map(cpu::Level::precision)[2..], [Precision::F32, Precision::Bf16]);
        assert_eq!(defaults, [of_cpu, Precision::Mixed, Precision::Mixed, Precision::Mixed]);
        assert!(default_precision("gpu").is_err());
        for precision in [Precision::F32, Precision::Bf16] {
            assert!(check_precision("cpu", precision).is_ok());
        }
        let error = check_precision("cuda:1", Precision::Bf16).unwrap_err();
        assert!(error.kind() == ErrorKind::Device && error.to_string().contains("--precision mixed"), "{error}");
        let error = check_precision("cpu", Precision::Mixed).unwrap_err();
        assert!(error.kind() == ErrorKind::Device && error.to_string().contains("CUDA"), "{error}");
        assert!(check_precision("cuda:1", Precision::Mixed).is_ok());
    }

    #[test]
    fn an_explicit_gpu_never_falls_back() {
        let error = open("cuda:99", 1).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Device);
        assert!(error.to_string().contains("cuda:99"), "{error}");
    }
}
