//! Which device: `--device auto|cpu|cuda|cuda:N`.

use super::{Backend, cpu};
use crate::error::{Error, Result};

/// Opens the device that the user named. `auto` takes what can run the network: the CPU, as long as no kernels for GPUs are embedded.
/// `threads` 0 means as many as cores.
///
/// # Errors
/// If the device is unknown or cannot be used: an explicit `cuda` never falls back silently.
pub fn open(device: &str, threads: usize) -> Result<Box<dyn Backend>> {
    match device {
        "auto" | "cpu" => cpu::open(threads),
        cuda if cuda == "cuda" || cuda.strip_prefix("cuda:").is_some_and(|n| n.parse::<u32>().is_ok()) => {
            Err(Error::device(format!("--device {cuda}: this build has no kernels for GPUs"))
                .remedy("use --device cpu; `unet-engine doctor` says what this build and machine can do"))
        }
        other => Err(Error::usage(format!("--device {other}: expected auto, cpu, cuda or cuda:N"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuda_is_an_error_and_never_the_cpu() {
        assert!(open("cpu", 1).is_ok() && open("auto", 1).is_ok());
        for (device, code) in [("cuda", 4), ("cuda:1", 4), ("cuda:x", 2), ("gpu", 2)] {
            assert_eq!(open(device, 1).err().map(|e| e.kind().exit_code()), Some(code), "{device}");
        }
    }
}
