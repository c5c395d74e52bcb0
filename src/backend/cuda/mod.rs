//! The CUDA side. So far it only says what driver and GPUs this machine has; kernels come with the CUDA backend.

/// What the CUDA driver says of this machine.
#[derive(Clone, Debug, serde::Serialize)]
pub struct CudaProbe {
    /// Whether libcuda was found and initialised, and if not, why not.
    pub driver: Result<(), String>,
    /// Name and compute capability of each GPU: ("NVIDIA H200", [9, 0]).
    pub devices: Vec<(String, [u32; 2])>,
}

/// Asks the driver. Never panics where there is none.
pub fn probe() -> CudaProbe {
    CudaProbe { driver: Err("not asked yet".into()), devices: Vec::new() }
}
