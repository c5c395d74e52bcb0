//! What there is of CUDA here: the driver and its GPUs, and the kernels in this binary.

use super::images;
use cudarc::driver::result::device;
use cudarc::driver::sys::{self, CUdevice_attribute as Attribute};
use serde::Serialize;

/// What the CUDA driver says of this machine.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CudaProbe {
    /// The newest CUDA version that the driver serves, such as `13.0`; `None` without a usable driver.
    pub driver: Option<String>,
    /// Why there is no usable driver, in words.
    pub driver_error: Option<String>,
    pub gpus: Vec<Gpu>,
}

/// A GPU.
#[derive(Clone, Debug, Serialize)]
pub struct Gpu {
    pub name: String,
    /// The architecture as nvcc names it: `sm_90`.
    pub architecture: String,
    pub memory_bytes: usize,
}

/// Targets for which kernels are embedded in this build, as nvcc names them: `sm_90a`, `compute_80` for PTX. None without kernels.
pub const KERNEL_ARCHITECTURES: &[&str] = images::TARGETS;

/// The compiler of the embedded kernels (`nvcc 12.4.131`), or why there are none.
pub const KERNEL_COMPILER: Result<&str, &str> = images::COMPILER;

/// Asks the driver. Never panics where there is none.
pub fn probe() -> CudaProbe {
    // SAFETY: this only tries to open the driver library, whose initialisers are NVIDIA's own.
    if !unsafe { sys::is_culib_present() } {
        let error = "the NVIDIA driver library (libcuda) was not found".to_string();
        return CudaProbe { driver_error: Some(error), ..CudaProbe::default() };
    }
    match ask_driver() {
        Ok(probe) => probe,
        Err(error) => CudaProbe { driver_error: Some(format!("the NVIDIA driver failed: {error:?}")), ..CudaProbe::default() },
    }
}

fn ask_driver() -> Result<CudaProbe, cudarc::driver::DriverError> {
    cudarc::driver::result::init()?;
    let mut version = 0;
    // SAFETY: the pointer is to a live integer of the expected type.
    unsafe { sys::cuDriverGetVersion(&mut version).result()? };
    let gpus = (0..device::get_count()?).map(describe_gpu).collect::<Result<_, _>>()?;
    let driver = Some(format!("{}.{}", version / 1000, version % 1000 / 10));
    Ok(CudaProbe { driver, driver_error: None, gpus })
}

fn describe_gpu(ordinal: i32) -> Result<Gpu, cudarc::driver::DriverError> {
    let gpu = device::get(ordinal)?;
    // SAFETY: `gpu` is a handle that the driver gave out for this process.
    let (major, minor, memory_bytes) = unsafe {
        (
            device::get_attribute(gpu, Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            device::get_attribute(gpu, Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
            device::total_mem(gpu)?,
        )
    };
    Ok(Gpu { name: device::get_name(gpu)?, architecture: format!("sm_{major}{minor}"), memory_bytes })
}

#[cfg(test)]
mod tests {
    /// On a machine without a driver the probe says so; with one it names a version. It never panics.
    #[test]
    fn probe_answers_either_way() {
        let probe = super::probe();
        assert!(probe.driver.is_some() != probe.driver_error.is_some(), "{probe:?}");
        assert!(probe.driver.is_some() || probe.gpus.is_empty(), "{probe:?}");
    }
}
