//! Every planted fault is found under every order of the threads, with a message that says what it is; in its mended twin nothing is.

use super::{Trial, open, upload};
use std::collections::BTreeSet;
use unet_engine::backend::cuda::driver::{Access, Driver, Launch};

const SEEDS: std::ops::Range<u64> = 0..8;

const SHARED_UNWRITTEN: &str = "reads shared memory that nobody wrote";
const SHARED_READ: &str = "reads shared memory that another thread writes without a barrier between";
const SHARED_WRITE: &str = "writes shared memory that another thread reads without a barrier between";
const UNWRITTEN: &str = "reads memory that nobody wrote";
const RACING_WRITES: &str = "races with a write of another thread";
const RACING_READ: &str = "reads what another thread writes without a barrier between";
const RACING_WRITE: &str = "writes what another thread reads without a barrier between";
const IN_FLIGHT: &str = "touches shared memory into which an asynchronous copy is in flight";

/// A pair of kernels in tools/emulator/faults.
struct Fault {
    name: &'static str,
    /// What the message has to say: one of these, for which of two threads comes first is up to the seed.
    kinds: &'static [&'static str],
    trial: fn() -> Trial,
}

const fn fault(name: &'static str, kinds: &'static [&'static str]) -> Fault {
    Fault { name, kinds, trial: Trial::default }
}

/// A fault in a launch that is not the default one.
const fn fault_in(trial: fn() -> Trial, name: &'static str, kinds: &'static [&'static str]) -> Fault {
    Fault { name, kinds, trial }
}

/// Four elements a thread.
fn vectors() -> Trial {
    Trial { count: 4 * Trial::default().count, ..Trial::default() }
}

/// Four elements a thread, and fewer for the last ones.
fn cut_vectors() -> Trial {
    Trial { count: 4 * Trial::default().count - 5, ..Trial::default() }
}

/// `out` has contents already.
fn in_place() -> Trial {
    Trial { access: Access::Update, ..Trial::default() }
}

const FAULTS: [Fault; 36] = [
    fault("missing_syncthreads", &[SHARED_UNWRITTEN, SHARED_READ]),
    fault("missing_second_syncthreads", &[SHARED_READ, SHARED_WRITE]),
    fault("missing_syncwarp", &[SHARED_UNWRITTEN, SHARED_READ]),
    fault("syncwarp_between_warps", &[SHARED_UNWRITTEN, SHARED_READ]),
    fault("shuffle_as_barrier", &[SHARED_READ]),
    fault(
        "divergent_barrier",
        &["deadlock in block (0, 0, 0): of 64 threads 0 have ended, 32 wait at __syncthreads, 16 lanes of warp 0 wait"],
    ),
    fault(
        "shuffle_without_all",
        &["deadlock in block (0, 0, 0): of 64 threads 2 have ended, 0 wait at __syncthreads, 31 lanes of warp 0 wait"],
    ),
    fault(
        "parting_lanes",
        &["lanes of a warp part: some are at __shfl_sync, others at __syncwarp", "some are at __syncwarp, others at __shfl_sync"],
    ),
    fault("two_blocks_write", &[RACING_WRITES]),
    fault_in(in_place, "block_reads_written", &[RACING_READ]),
    fault_in(in_place, "block_writes_read", &[RACING_WRITE]),
    fault("threads_write", &[RACING_WRITES]),
    fault("thread_reads_written", &[UNWRITTEN, RACING_READ]),
    fault_in(in_place, "thread_writes_read", &[RACING_READ, RACING_WRITE]),
    fault("read_past", &["reads 4 bytes outside of its operands, 4 bytes past the end of operand 0 (512 bytes)"]),
    fault("read_before", &["reads 4 bytes outside of its operands, 4 bytes before operand 0 (512 bytes)"]),
    fault_in(cut_vectors, "vector_past", &["reads 16 bytes outside of its operands, 4 bytes past the end of operand 0"]),
    fault("write_past", &["writes 4 bytes outside of its operands, 4 bytes past the end of operand 1 (512 bytes)"]),
    fault("write_read_only", &["writes 4 bytes outside of its operands, inside of the read-only operand 0"]),
    fault("misaligned_vector", &["accesses 16 bytes at the misaligned address"]),
    fault("read_unwritten", &[UNWRITTEN]),
    fault("partly_unwritten", &["left byte 308 of operand 1 (512 bytes) unwritten"]),
    fault("index_overflow", &["multiplies integers beyond their type"]),
    fault("shared_unwritten", &[SHARED_UNWRITTEN]),
    fault("shared_of_last_block", &[SHARED_UNWRITTEN]),
    fault("shared_past", &["touches shared memory past the end of what the kernel declares, at its byte 1024"]),
    fault("shared_misaligned", &["accesses 16 bytes at the misaligned address"]),
    fault("shared_too_large", &["declares 49156 bytes of shared memory: more than 49152"]),
    fault("index_past_row", &["indexes past the end of an array"]),
    fault_in(vectors, "copy_without_wait", &[IN_FLIGHT]),
    fault_in(vectors, "copy_without_barrier", &[SHARED_UNWRITTEN, SHARED_READ]),
    fault("copy_waits_for_older", &[IN_FLIGHT]),
    fault("copy_left_in_flight", &["ends with asynchronous copies in flight"]),
    fault_in(cut_vectors, "copy_past", &["reads 16 bytes outside of its operands, 4 bytes past the end of operand 0"]),
    fault("copy_into_read", &[IN_FLIGHT, SHARED_WRITE]),
    fault("copy_misaligned", &["cp.async copies 16 bytes from or to a misaligned address"]),
];

#[test]
fn every_fault_is_found() {
    for fault in &FAULTS {
        let kernel = format!("{}_faulty", fault.name);
        for seed in SEEDS {
            let Some(mut emulator) = open(seed) else { return };
            let (_, wrong) = (fault.trial)().run(&mut emulator, &kernel);
            let message = wrong.unwrap_or_else(|| panic!("nothing was found in {kernel}, seed {seed}"));
            assert!(fault.kinds.iter().any(|kind| message.contains(kind)), "{kernel}, seed {seed}: {message}");
            assert!(message.contains(&kernel) && message.contains("blocks of 64 threads; a trial"), "{message}");
        }
    }
}

/// And what it computes is the same under every order of its threads.
#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    for fault in &FAULTS {
        let kernel = format!("{}_sound", fault.name);
        let mut outputs = BTreeSet::new();
        for seed in SEEDS {
            let Some(mut emulator) = open(seed) else { return };
            let (out, wrong) = (fault.trial)().run(&mut emulator, &kernel);
            assert_eq!(wrong, None, "{kernel}, seed {seed}");
            outputs.insert(out.iter().map(|x| x.to_bits()).collect::<Vec<_>>());
        }
        assert_eq!(outputs.len(), 1, "{kernel} computes something else under another seed");
    }
}

/// A device on which something went wrong goes on working: what was left half done is forgotten.
#[test]
fn a_fault_leaves_no_trace() {
    let Some(mut emulator) = open(3) else { return };
    for fault in &FAULTS {
        assert!((fault.trial)().run(&mut emulator, &format!("{}_faulty", fault.name)).1.is_some(), "{}", fault.name);
        assert_eq!((fault.trial)().run(&mut emulator, &format!("{}_sound", fault.name)).1, None, "{}", fault.name);
    }
}

/// The seed decides who comes first: here, what is left in memory.
#[test]
fn seeds_permute_the_order_of_threads() {
    let mut left = BTreeSet::new();
    for seed in SEEDS {
        let Some(mut emulator) = open(seed) else { return };
        let [first, again] = [0, 1].map(|_| {
            let mut fresh = open(seed).expect("as before");
            Trial::default().run(&mut fresh, "threads_write_faulty").0[0]
        });
        assert_eq!(first, again, "seed {seed} is not replayed");
        left.insert(Trial::default().run(&mut emulator, "threads_write_faulty").0[0] as u32);
    }
    assert!(left.len() > 2, "{left:?}");
}

#[test]
fn launches_that_do_not_fit_are_refused() {
    let Some(mut emulator) = open(1) else { return };
    let memory = upload(&mut emulator, &[0; 512]);
    let launch = Trial::default().launch("copy", memory, memory);
    let mut refused = |launch: Launch, expected: &str| {
        let message = emulator.launch(&launch).expect_err(expected).to_string();
        assert!(message.contains(expected), "{message}");
    };
    refused(Launch { kernel: "copi".into(), ..launch.clone() }, "there is no such kernel in this library");
    refused(Launch { parameters: vec![0; 28], ..launch.clone() }, "takes 24 bytes of parameters, not 28");
    refused(Launch { threads: 96, ..launch.clone() }, "launched with 96 threads; the kernel is made for 64");
    refused(Launch { grid: [2, 0, 1], ..launch.clone() }, "a grid of this size cannot be launched");
    refused(Launch { grid: [1, 65536, 1], ..launch }, "a grid of this size cannot be launched");
}
