//! One checkpoint file: safetensors, whose metadata holds one key with JSON sorted by key, and beside it the file's checksum.
//!
//! The checksum lies in `<file>.sha256`, in the format of `sha256sum -c`. Both files are written atomically, the checksum last; a file
//! whose checksum is missing or differs is not read.

use super::Description;
use crate::atomic_file;
use crate::error::{Error, ErrorKind, Result};
use crate::tape::Shape;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

/// The metadata key that holds everything but the tensors.
pub(super) const METADATA_KEY: &str = "unet-engine";

/// What helps where a file of a run is missing or damaged.
pub(crate) const RESTORE: &str = "restore the file from a copy, or train again";

/// An array with its shape, in the layout of the tape.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    pub shape: Shape,
    pub data: Vec<f32>,
}

/// What a checkpoint file holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    pub description: Description,
    /// The state of the training, in the words of [`crate::train`].
    pub state: serde_json::Value,
    /// By name: parameters and running statistics; in `last` the moments too.
    pub tensors: BTreeMap<String, Tensor>,
}

#[derive(Serialize, Deserialize)]
struct Header {
    model: Description,
    state: serde_json::Value,
}

/// Writes a checkpoint and its checksum, which is returned in hexadecimal.
///
/// # Errors
/// If the files cannot be written; the ones that stood there before are then untouched, or fail their checksum.
pub fn write(path: &Path, checkpoint: &Checkpoint) -> Result<String> {
    let bytes = serialise(checkpoint)?;
    let checksum = checksum(&bytes);
    atomic_file::write(path, &bytes)?;
    write_sidecar(path, &checksum)?;
    Ok(checksum)
}

/// Reads a checkpoint and verifies its checksum.
///
/// # Errors
/// If a file is missing, damaged, or no checkpoint of this program.
pub fn read(path: &Path) -> Result<Checkpoint> {
    let bytes = read_verified(path)?;
    let no_checkpoint = |what: &str| Error::data(path, format!("not a checkpoint of this program: {what}"));
    let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(|e| no_checkpoint("no safetensors file").caused_by(e))?;
    let text = metadata.metadata().as_ref().and_then(|m| m.get(METADATA_KEY));
    let text = text.ok_or_else(|| no_checkpoint("its metadata names no network"))?;
    let header: Header = serde_json::from_str(text).map_err(|e| no_checkpoint("its metadata is unknown").caused_by(e))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|e| no_checkpoint("no safetensors file").caused_by(e))?;
    let mut tensors = BTreeMap::new();
    for (name, view) in file.iter() {
        let (Dtype::F32, &[a, b, c, d]) = (view.dtype(), view.shape()) else {
            return Err(no_checkpoint(&format!("{name} has type {:?} and shape {:?}", view.dtype(), view.shape())));
        };
        let data = bytemuck::pod_collect_to_vec(view.data());
        tensors.insert(name.to_string(), Tensor { shape: Shape([a, b, c, d]), data });
    }
    Ok(Checkpoint { description: header.model, state: header.state, tensors })
}

/// SHA-256 in hexadecimal.
pub fn checksum(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The checksum that the file at `path` should have, as its sidecar file says.
pub(crate) fn stored_checksum(path: &Path) -> Result<String> {
    let sidecar = sidecar(path);
    let text = std::fs::read_to_string(&sidecar)
        .map_err(|e| Error::io(ErrorKind::Data, &sidecar, "read the checksum of a checkpoint", e).remedy(RESTORE))?;
    Ok(text.split_whitespace().next().unwrap_or_default().to_string())
}

/// Makes a checkpoint and its checksum known by another name in the same folder too, if both are there. `from` stays as it is, so that
/// at every moment one of the two is whole.
pub(crate) fn keep_as(from: &Path, to: &Path) -> Result<()> {
    if !from.is_file() || !sidecar(from).is_file() {
        return Ok(());
    }
    let checksum = stored_checksum(from)?;
    atomic_file::keep_as(from, to)?;
    write_sidecar(to, &checksum)
}

/// The checksum of the checkpoint at `path`, if it is the one that it should have.
pub(crate) fn verified_checksum(path: &Path) -> Result<String> {
    Ok(checksum(&read_verified(path)?))
}

fn write_sidecar(path: &Path, checksum: &str) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    atomic_file::write(&sidecar(path), format!("{checksum}  {name}\n").as_bytes())
}

fn sidecar(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(".sha256");
    name.into()
}

fn serialise(checkpoint: &Checkpoint) -> Result<Vec<u8>> {
    let cannot = |e: &dyn std::fmt::Display| Error::run(format!("cannot write a checkpoint: {e}"));
    let header = Header { model: checkpoint.description.clone(), state: checkpoint.state.clone() };
    let mut header = serde_json::to_value(header).map_err(|e| cannot(&e))?;
    header.sort_all_objects();
    let mut views = Vec::with_capacity(checkpoint.tensors.len());
    for (name, tensor) in &checkpoint.tensors {
        let view = TensorView::new(Dtype::F32, tensor.shape.0.to_vec(), bytemuck::cast_slice(&tensor.data));
        views.push((name.as_str(), view.map_err(|e| cannot(&e))?));
    }
    let metadata = HashMap::from([(METADATA_KEY.to_string(), header.to_string())]);
    safetensors::serialize(views, Some(metadata)).map_err(|e| cannot(&e))
}

fn read_verified(path: &Path) -> Result<Vec<u8>> {
    let expected = stored_checksum(path)?;
    let bytes = std::fs::read(path).map_err(|e| Error::io(ErrorKind::Data, path, "read the checkpoint", e))?;
    let found = checksum(&bytes);
    if found == expected {
        return Ok(bytes);
    }
    Err(Error::data(path, format!("the checkpoint is damaged: its SHA-256 should be {expected}, but is {found}")).remedy(RESTORE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::Normalization;
    use crate::model::{Arch, NetworkSpec};

    fn example() -> Checkpoint {
        let network = NetworkSpec { arch: Arch::Standard, base: 2, levels: 1, channels_in: 1, channels_out: 1 };
        let normalization = Normalization { mean: 0.1, deviation: 0.3 };
        let description = Description { network, size: [32, 32], organ: "heart".into(), normalization };
        let state = serde_json::json!({"z": 0.1 + 0.2, "a": [1, 2], "best": null});
        let tensor = |n: usize| Tensor { shape: Shape::channels(n), data: (0..n).map(|i| 0.1 * i as f32 - 1.0).collect() };
        Checkpoint { description, state, tensors: BTreeMap::from([("b.weight".into(), tensor(5)), ("a".into(), tensor(1))]) }
    }

    #[test]
    fn comes_back_bit_for_bit_and_is_written_the_same_way_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("last.safetensors");
        let checksum = write(&path, &example()).unwrap();
        assert_eq!(read(&path).unwrap(), example());
        assert_eq!(stored_checksum(&path).unwrap(), checksum);
        for _ in 0..5 {
            assert_eq!(write(&path, &example()).unwrap(), checksum);
        }
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("last.safetensors");
        write(&path, &example()).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for position in (0..whole.len()).step_by(7) {
            let mut damaged = whole.clone();
            damaged[position] ^= 0x10;
            std::fs::write(&path, &damaged).unwrap();
            let error = read(&path).unwrap_err().to_string();
            assert!(error.contains("damaged") && error.contains("last.safetensors"), "{error}");
        }
        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        assert!(read(&path).is_err(), "a short file passed");
    }

    #[test]
    fn a_checkpoint_without_its_checksum_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("best.safetensors");
        write(&path, &example()).unwrap();
        std::fs::remove_file(sidecar(&path)).unwrap();
        assert!(read(&path).is_err());
    }
}
