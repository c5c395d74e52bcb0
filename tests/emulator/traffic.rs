//! What accesses cost, counted on kernels whose cost is known.

use super::{Trial, open};
use unet_engine::backend::cuda::driver::{Access, Traffic};

/// The traffic of one block.
fn traffic(kernel: &str, trial: Trial) -> Option<Traffic> {
    let mut emulator = open(1)?;
    emulator.trace();
    let (_, wrong) = trial.run(&mut emulator, kernel);
    assert_eq!(wrong, None, "{kernel}");
    let [(name, traffic)] = &emulator.take_traffic()[..] else { panic!("one launch") };
    assert_eq!(name, kernel);
    Some(*traffic)
}

fn of_block(per_thread: usize) -> Trial {
    Trial { count: 128 * per_thread, access: Access::Update, ..Trial::default() }
}

fn of_warp(per_thread: usize) -> Trial {
    Trial { blocks: 1, threads: 32, count: 32 * per_thread, access: Access::Update }
}

/// A block of two warps reads and writes: four requests.
#[test]
fn sectors_of_global_memory() {
    for (kernel, per_thread, sectors, least) in
        [("coalesced_copy", 1, 16, 16), ("strided_copy", 8, 128, 16), ("vector_copy", 4, 64, 64)]
    {
        let Some(traffic) = traffic(kernel, of_block(per_thread)) else { return };
        assert_eq!((traffic.requests, traffic.sectors, traffic.least_sectors), (4, sectors, least), "{kernel}");
        assert_eq!(traffic.shared_requests, 0, "{kernel}");
    }
}

/// A warp writes, and then reads.
#[test]
fn wavefronts_of_shared_memory() {
    let cases = [
        ("column_32", 1, 2, 64, 2),
        ("column_33", 1, 2, 2, 2),
        // Rows of 128 bytes begin in the same bank, those of 144 bytes do not.
        ("matrix_rows_64", 1, 2, 64, 8),
        ("matrix_rows_72", 1, 2, 8, 8),
        // Written when they arrive.
        ("async_rows_16", 4, 1, 4, 4),
        ("async_rows_128", 4, 1, 32, 4),
    ];
    for (kernel, per_thread, requests, wavefronts, least) in cases {
        let Some(traffic) = traffic(kernel, of_warp(per_thread)) else { return };
        let found = (traffic.shared_requests, traffic.wavefronts, traffic.least_wavefronts);
        assert_eq!(found, (requests, wavefronts, least), "{kernel}");
    }
}
