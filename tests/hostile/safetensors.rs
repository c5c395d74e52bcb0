//! Checkpoints and foreign weights: safetensors files.

use super::allocator::peak_of;
use super::mutate::Corpus;
use super::runner::Suite;
use super::targets;
use std::collections::BTreeMap;
use unet_engine::checkpoint::{self, pytorch};

/// The file's bytes, the tensors, and what JSON needs for its tables.
fn bound(bytes: &[u8]) -> usize {
    (1 << 20) + 64 * bytes.len()
}

fn weights() -> Vec<u8> {
    let weights: BTreeMap<String, Vec<f32>> = targets::example().tensors.into_iter().map(|(name, t)| (name, t.data)).collect();
    pytorch::export(&targets::network(), &weights, 7).expect("weights")
}

fn checkpoint() -> Vec<u8> {
    let path = targets::scratch("good.safetensors");
    checkpoint::write(&path, &targets::example()).expect("a checkpoint");
    std::fs::read(&path).expect("a checkpoint")
}

/// Makes the header's length that of the text in front of the data, which begins behind the last closing brace.
fn repair(bytes: &mut [u8]) {
    let Some(end) = bytes.windows(3).rposition(|w| w == b"]}}") else { return };
    if end >= 8 {
        bytes[..8].copy_from_slice(&((end + 3 - 8) as u64).to_le_bytes());
    }
}

#[test]
fn mutants_of_checkpoints() {
    assert!(targets::checkpoint(&checkpoint()), "the good file is good");
    let corpus = Corpus { files: vec![checkpoint(), weights()], words: &[] };
    Suite { name: "checkpoint", corpus, n_mutants: 6_000, run: targets::checkpoint, bound, repair: Some(repair) }.test();
}

#[test]
fn mutants_of_foreign_weights() {
    assert!(targets::weights(&weights()), "the good file is good");
    let corpus = Corpus { files: vec![weights(), checkpoint()], words: &[] };
    Suite { name: "weights", corpus, n_mutants: 6_000, run: targets::weights, bound, repair: Some(repair) }.test();
}

#[test]
fn lengths_of_the_header_are_not_believed() {
    for good in [checkpoint(), weights()] {
        let length = good.len() as u64;
        for lie in
            [0, 1, 7, length - 8, length - 7, length, 99_999_999, 100_000_001, u64::from(u32::MAX), i64::MAX as u64, u64::MAX]
        {
            let mut bytes = good.clone();
            bytes[..8].copy_from_slice(&lie.to_le_bytes());
            let (accepted, peak) = peak_of(|| targets::checkpoint(&bytes) || targets::weights(&bytes));
            assert!(!accepted, "a header of {lie} bytes");
            assert!(peak < bound(&bytes), "{peak} bytes held for a header of {lie} bytes");
        }
        for cut in 0..12 {
            assert!(!targets::checkpoint(&good[..cut]) && !targets::weights(&good[..cut]));
        }
    }
}

/// Tensors that claim more than the file has, overlap, or have shapes whose product overflows.
#[test]
fn tensors_that_lie_are_refused() {
    let entries = [
        r#"{"head.weight":{"dtype":"F32","shape":[4294967296,4294967296,1,1],"data_offsets":[0,4]}}"#,
        r#"{"head.weight":{"dtype":"F32","shape":[1,2,1,1],"data_offsets":[0,18446744073709551615]}}"#,
        r#"{"head.weight":{"dtype":"F32","shape":[1,2,1,1],"data_offsets":[8,0]}}"#,
        r#"{"head.weight":{"dtype":"F32","shape":[0,0,0,0],"data_offsets":[0,0]}}"#,
        r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#,
    ];
    for text in entries {
        let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
        bytes.extend(text.bytes());
        bytes.extend([0; 8]);
        let (accepted, peak) = peak_of(|| targets::checkpoint(&bytes) || targets::weights(&bytes));
        assert!(!accepted && peak < bound(&bytes), "{text}: {peak} bytes held");
    }
}

/// Deep JSON in the header and in the metadata.
#[test]
fn deep_nesting_is_an_error() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(!targets::checkpoint(&targets::with_description(deep.as_bytes())));
    let header = format!(r#"{{"a":{deep}}}"#);
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.bytes());
    assert!(!targets::checkpoint(&bytes) && !targets::weights(&bytes));
}
