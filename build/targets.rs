//! What the kernels are compiled for.

/// Machine code for an architecture, or PTX that the driver compiles when a module is first used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// As nvcc's `code=` names it: `sm_90a`, `compute_80`.
    pub code: &'static str,
    /// As nvcc's `arch=` names it: `compute_90a`.
    arch: &'static str,
}

/// Machine code for every architecture with tensor cores that labs own, and PTX for whatever comes later.
///
/// 9.0a is Hopper with its `wgmma`, and runs on nothing else. PTX of compute_80 serves GPUs newer than these; compute_70's alone would give
/// them Volta's `mma`, which later GPUs emulate. compute_70's is there for the rest (7.2), and to check Volta's kernels on later GPUs.
pub const ALL: &[Target] = &[
    Target { code: "sm_70", arch: "compute_70" },
    Target { code: "sm_75", arch: "compute_75" },
    Target { code: "sm_80", arch: "compute_80" },
    Target { code: "sm_86", arch: "compute_86" },
    Target { code: "sm_89", arch: "compute_89" },
    Target { code: "sm_90a", arch: "compute_90a" },
    Target { code: "compute_70", arch: "compute_70" },
    Target { code: "compute_80", arch: "compute_80" },
];

impl Target {
    pub fn is_ptx(&self) -> bool {
        self.code.starts_with("compute_")
    }

    pub fn extension(&self) -> &'static str {
        if self.is_ptx() { "ptx" } else { "cubin" }
    }

    /// nvcc's arguments for this target.
    pub fn arguments(&self) -> Vec<String> {
        let kind = if self.is_ptx() { "-ptx" } else { "-cubin" };
        vec![kind.into(), "-gencode".into(), format!("arch={},code={}", self.arch, self.code)]
    }
}
