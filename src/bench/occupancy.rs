//! How many warps of a kernel a multiprocessor holds, from its registers and its shared memory.
//!
//! The rules of NVIDIA's occupancy calculator: registers are given to a warp in units of 256, and warps come in fours (one a scheduler); shared
//! memory is given to a block in units of 256 bytes on Volta and 128 later, where the system takes 1 KiB of it for every block.

use super::peaks::Peaks;
use serde::Serialize;

const WARP: usize = 32;
const REGISTER_UNIT: usize = 256;
const WARP_UNIT: usize = 4;

/// What a kernel takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Of a thread.
    pub registers: usize,
    /// Of a block, in bytes.
    pub shared: usize,
    pub threads: usize,
}

/// What a multiprocessor holds of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Occupancy {
    pub blocks: usize,
    pub warps: usize,
    /// What there is too little of for another block.
    pub limit: Limit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Limit {
    Registers,
    Shared,
    Threads,
    Blocks,
}

impl Occupancy {
    pub fn of(needs: Needs, gpu: &Peaks) -> Occupancy {
        let warps = needs.threads.div_ceil(WARP);
        let registers = (needs.registers * WARP).next_multiple_of(REGISTER_UNIT).max(REGISTER_UNIT);
        let by_registers = gpu.registers / registers / WARP_UNIT * WARP_UNIT / warps;
        let shared = (needs.shared + gpu.shared_reserved).next_multiple_of(gpu.shared_unit);
        let by_shared = gpu.shared_bytes.checked_div(shared).unwrap_or(usize::MAX);
        let limits = [
            (by_registers, Limit::Registers),
            (by_shared, Limit::Shared),
            (gpu.threads / (warps * WARP), Limit::Threads),
            (gpu.blocks, Limit::Blocks),
        ];
        let (blocks, limit) = limits.into_iter().min_by_key(|(blocks, _)| *blocks).expect("there are limits");
        Occupancy { blocks, warps: blocks * warps, limit }
    }
}

#[cfg(test)]
mod tests {
    use super::super::peaks::{H100, V100};
    use super::*;

    fn of(registers: usize, shared: usize, threads: usize, gpu: &Peaks) -> (usize, usize, Limit) {
        let Occupancy { blocks, warps, limit } = Occupancy::of(Needs { registers, shared, threads }, gpu);
        (blocks, warps, limit)
    }

    /// 141 registers: 4,512 a warp, in units 4,608; 14 warps fit, of which 12 in fours; 3 blocks of 4 warps. Shared memory of 42,624 bytes: in
    /// units 42,752, twice in 98,304. So shared memory is what lacks on a V100; with 1 KiB more each, five times in 233,472 on an H100, where
    /// registers are what lacks.
    #[test]
    fn the_convolution_by_hand() {
        assert_eq!(of(141, 42_624, 128, &V100), (2, 8, Limit::Shared));
        assert_eq!(of(141, 42_624, 128, &H100), (3, 12, Limit::Registers));
    }

    /// 32 registers and no shared memory fill a multiprocessor with 64 warps; 33 leave room for 51 warps (1,280 registers each), 48 in fours.
    #[test]
    fn light_kernels_by_hand() {
        assert_eq!(of(32, 0, 256, &V100), (8, 64, Limit::Registers));
        assert_eq!(of(16, 0, 256, &V100), (8, 64, Limit::Threads));
        assert_eq!(of(33, 0, 256, &V100), (6, 48, Limit::Registers));
        assert_eq!(of(16, 0, 32, &V100), (32, 32, Limit::Blocks));
        assert_eq!(of(255, 0, 288, &V100), (0, 0, Limit::Registers), "8 warps of 8,192 registers fit, not 9");
    }
}
