//! What devices can do at most, by their vendor's data sheets.

use serde::Serialize;

/// A GPU's limits. FLOP/s without sparsity; a multiplication and an addition count as two.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Peaks {
    pub name: &'static str,
    /// The target of its kernels, as nvcc names it.
    pub target: &'static str,
    /// Products of f16 with sums in f32, on tensor cores.
    pub tensor_flops_per_s: f64,
    /// f32 outside of tensor cores.
    pub f32_flops_per_s: f64,
    pub bytes_per_s: f64,
    pub multiprocessors: usize,
    pub registers: usize,
    /// Shared memory of a multiprocessor that blocks can have, in bytes.
    pub shared_bytes: usize,
    /// What the system takes of it for each block, and the unit in which it is given.
    pub shared_reserved: usize,
    pub shared_unit: usize,
    pub threads: usize,
    pub blocks: usize,
}

/// NVIDIA Tesla V100 SXM2 (data sheet of January 2020; whitepaper "NVIDIA Tesla V100 GPU architecture", table 1).
pub const V100: Peaks = Peaks {
    name: "V100",
    target: "sm_70",
    tensor_flops_per_s: 125e12,
    f32_flops_per_s: 15.7e12,
    bytes_per_s: 900e9,
    multiprocessors: 80,
    registers: 65_536,
    shared_bytes: 96 << 10,
    shared_reserved: 0,
    shared_unit: 256,
    threads: 2048,
    blocks: 32,
};

/// NVIDIA H100 SXM5 (data sheet; its tensor figure of 1,979 TFLOP/s is with sparsity, half of it without).
pub const H100: Peaks = Peaks {
    name: "H100",
    target: "sm_90a",
    tensor_flops_per_s: 989e12,
    f32_flops_per_s: 67e12,
    bytes_per_s: 3350e9,
    multiprocessors: 132,
    registers: 65_536,
    shared_bytes: 228 << 10,
    shared_reserved: 1 << 10,
    shared_unit: 128,
    threads: 2048,
    blocks: 32,
};

/// NVIDIA H200 SXM (data sheet): an H100 with other memory.
pub const H200: Peaks = Peaks { name: "H200", bytes_per_s: 4800e9, ..H100 };

const ALL: [Peaks; 3] = [V100, H100, H200];

impl Peaks {
    /// By the name that the driver gives (`NVIDIA H100 80GB HBM3`, `Tesla V100-SXM2-32GB`) or that a user does (`v100`). `None` for
    /// devices that are not in the table, and for their slower relatives on PCIe cards.
    pub fn of(name: &str) -> Option<Peaks> {
        let name = name.to_uppercase();
        if ["PCIE", "NVL", "MIG", "GH200"].iter().any(|other| name.contains(other)) {
            return None;
        }
        ALL.into_iter().find(|peaks| name.split([' ', '-']).any(|word| word == peaks.name))
    }

    /// The most FLOP/s, on tensor cores or outside of them.
    pub fn flops_per_s(&self, tensor: bool) -> f64 {
        if tensor { self.tensor_flops_per_s } else { self.f32_flops_per_s }
    }

    /// The least seconds that an operation can take, and what it waits for: the roofline (Williams, Waterman and Patterson 2009).
    pub fn least_seconds(&self, flops: f64, bytes: f64, tensor: bool) -> (f64, Bound) {
        let (compute, memory) = (flops / self.flops_per_s(tensor), bytes / self.bytes_per_s);
        if compute > memory { (compute, Bound::Compute) } else { (memory, Bound::Memory) }
    }
}

/// What limits an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Bound {
    Compute,
    Memory,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_known_by_the_drivers_names() {
        let name = |text| Peaks::of(text).map(|peaks| peaks.name);
        assert_eq!(name("NVIDIA H100 80GB HBM3"), Some("H100"));
        assert_eq!(name("NVIDIA H200"), Some("H200"));
        assert_eq!(name("Tesla V100-SXM2-32GB"), Some("V100"));
        assert_eq!(name("v100"), Some("V100"));
        for unknown in
            ["NVIDIA H100 PCIe", "Tesla V100-PCIE-16GB", "NVIDIA GH200 480GB", "NVIDIA A100-SXM4-40GB", "emulated GPU (sm_80)"]
        {
            assert_eq!(name(unknown), None, "{unknown}");
        }
    }

    /// 2 TFLOP and 1 GB: 16 ms of tensor cores on a V100, 1.1 ms of its memory. 1 GFLOP and 9 GB: 10 ms of memory.
    #[test]
    fn rooflines_by_hand() {
        assert_eq!(V100.least_seconds(2e12, 1e9, true), (0.016, Bound::Compute));
        assert_eq!(V100.least_seconds(1e9, 9e9, true), (0.01, Bound::Memory));
        assert_eq!(V100.least_seconds(15.7e9, 1e3, false), (0.001, Bound::Compute));
    }
}
