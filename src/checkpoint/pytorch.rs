//! Weights under PyTorch's names and layouts: what `export` writes and `train --init` reads.
//!
//! | parameter | here | PyTorch |
//! | --- | --- | --- |
//! | convolution | [R, S, Ci, Co] | [Co, Ci, R, S] |
//! | transposed convolution (`up.*`) | [2, 2, Ci, Co] | [Ci, Co, 2, 2] |
//! | vectors over channels | `[1, 1, 1, C]` | `[C]` |
//!
//! Every batch normalisation has a `num_batches_tracked` besides (a whole number without extents), which is ignored when read.

use super::file::METADATA_KEY;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{NetworkSpec, Parameter, ParameterKind};
use crate::tape::Shape;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Differences that are listed before the rest is only counted.
const LISTED: usize = 12;

/// The bytes of a safetensors file with `weights` of `network` in PyTorch's layouts, trained for `steps` batches.
///
/// # Errors
/// If a parameter is missing from `weights`.
pub fn export(network: &NetworkSpec, weights: &BTreeMap<String, Vec<f32>>, steps: u64) -> Result<Vec<u8>> {
    let mut tensors: BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)> = BTreeMap::new();
    for parameter in network.parameters() {
        let data = weights.get(&parameter.name).filter(|w| w.len() == parameter.shape.len());
        let data = data.ok_or_else(|| Error::run(format!("{} is missing from the weights", parameter.name)))?;
        let bytes = bytemuck::cast_slice(&to_pytorch(&parameter, data)).to_vec();
        if let Some(prefix) = parameter.name.strip_suffix("running_mean") {
            let tracked = (Dtype::I64, Vec::new(), (steps as i64).to_le_bytes().to_vec());
            tensors.insert(format!("{prefix}num_batches_tracked"), tracked);
        }
        tensors.insert(parameter.name.clone(), (Dtype::F32, shape_in_pytorch(&parameter), bytes));
    }
    let cannot = |e: safetensors::SafeTensorError| Error::run("cannot write safetensors").caused_by(e);
    let mut views = Vec::with_capacity(tensors.len());
    for (name, (dtype, shape, bytes)) in &tensors {
        views.push((name.as_str(), TensorView::new(*dtype, shape.clone(), bytes).map_err(cannot)?));
    }
    safetensors::serialize(views, None).map_err(cannot)
}

/// The weights of `network` from a safetensors file in PyTorch's layouts, in f32, f16 or bf16.
///
/// # Errors
/// If the file cannot be read or does not fit the network; the error lists the differences.
pub fn import(path: &Path, network: &NetworkSpec) -> Result<BTreeMap<String, Vec<f32>>> {
    let bytes = std::fs::read(path).map_err(|e| Error::io(ErrorKind::Data, path, "read the weights", e))?;
    let file =
        SafeTensors::deserialize(&bytes).map_err(|e| Error::data(path, "expected a safetensors file of weights").caused_by(e))?;
    let metadata = SafeTensors::read_metadata(&bytes).ok().and_then(|(_, header)| header.metadata().clone());
    if metadata.is_some_and(|metadata| metadata.contains_key(METADATA_KEY)) {
        return Err(Error::data(path, "expected weights under PyTorch's names, found a checkpoint of this program")
            .remedy("write its weights with `unet-engine export --model RUN --safetensors FILE`, and give that file"));
    }
    let parameters = network.parameters();
    check_head(path, &file, network)?;
    let differences = differences(&file, &parameters);
    if !differences.is_empty() {
        return Err(mismatch(path, network, &differences));
    }
    let read = |p: &Parameter| -> Result<(String, Vec<f32>)> {
        let view = file.tensor(&p.name).map_err(|e| Error::data(path, p.name.clone()).caused_by(e))?;
        let data = as_f32(&view)
            .ok_or_else(|| Error::data(path, format!("{}: expected f32, f16 or bf16, found {:?}", p.name, view.dtype())))?;
        if data.iter().any(|x| !x.is_finite()) {
            return Err(Error::data(path, format!("{} holds numbers that are not finite", p.name)));
        }
        Ok((p.name.clone(), from_pytorch(p, &data)))
    };
    parameters.iter().map(read).collect()
}

fn check_head(path: &Path, file: &SafeTensors<'_>, network: &NetworkSpec) -> Result<()> {
    let Ok(head) = file.tensor("head.weight") else { return Ok(()) };
    let found = head.shape().first().copied().unwrap_or(0);
    if found == network.channels_out {
        return Ok(());
    }
    Err(Error::data(path, format!("its head has {found} channels, this network's has {}", network.channels_out))
        .remedy(format!("train with --instances {found}, or start from weights whose head has {}", network.channels_out)))
}

/// What the file lacks, what it has too much, and what has another shape, in this order.
fn differences(file: &SafeTensors<'_>, parameters: &[Parameter]) -> Vec<String> {
    let (mut missing, mut other_shape) = (Vec::new(), Vec::new());
    for parameter in parameters {
        let expected = shape_in_pytorch(parameter);
        match file.tensor(&parameter.name) {
            Err(_) => missing.push(format!("{} {expected:?} is missing", parameter.name)),
            Ok(view) if view.shape() != expected => {
                other_shape.push(format!("{}: expected {expected:?}, found {:?}", parameter.name, view.shape()));
            }
            Ok(_) => {}
        }
    }
    let known: BTreeSet<&str> = parameters.iter().map(|p| p.name.as_str()).collect();
    let is_unknown = |name: &&str| !known.contains(name) && !name.ends_with(".num_batches_tracked");
    let unknown: BTreeSet<&str> = file.names().into_iter().filter(is_unknown).collect();
    let unknown = unknown.into_iter().map(|name| format!("{name} is unknown to this network"));
    missing.into_iter().chain(unknown).chain(other_shape).collect()
}

fn mismatch(path: &Path, network: &NetworkSpec, differences: &[String]) -> Error {
    let mut text = format!("the weights do not fit ({} differences):", differences.len());
    for difference in differences.iter().take(LISTED) {
        text.push_str("\n    ");
        text.push_str(difference);
    }
    if differences.len() > LISTED {
        text.push_str(&format!("\n    and {} more", differences.len() - LISTED));
    }
    let arch = format!("{:?}", network.arch).to_lowercase();
    Error::data(path, text).remedy(format!(
        "the network is --arch {arch} --base {} --levels {}; choose those that the weights were trained with",
        network.base, network.levels
    ))
}

fn is_transposed_convolution(parameter: &Parameter) -> bool {
    parameter.name.starts_with("up.") && matches!(parameter.kind, ParameterKind::Weight { .. })
}

fn shape_in_pytorch(parameter: &Parameter) -> Vec<usize> {
    let Shape([r, s, ci, co]) = parameter.shape;
    match parameter.kind {
        ParameterKind::Weight { .. } if is_transposed_convolution(parameter) => vec![ci, co, r, s],
        ParameterKind::Weight { .. } => vec![co, ci, r, s],
        _ => vec![co],
    }
}

fn to_pytorch(parameter: &Parameter, data: &[f32]) -> Vec<f32> {
    let mut out = vec![0.0; data.len()];
    for_each_pair(parameter, |here, there| out[there] = data[here]);
    out
}

fn from_pytorch(parameter: &Parameter, data: &[f32]) -> Vec<f32> {
    let mut out = vec![0.0; data.len()];
    for_each_pair(parameter, |here, there| out[here] = data[there]);
    out
}

/// Calls `pair` with the index of each element here and in PyTorch's layout.
fn for_each_pair(parameter: &Parameter, mut pair: impl FnMut(usize, usize)) {
    let Shape([n_r, n_s, n_ci, n_co]) = parameter.shape;
    let transposed = is_transposed_convolution(parameter);
    let mut here = 0;
    for r in 0..n_r {
        for s in 0..n_s {
            for ci in 0..n_ci {
                for co in 0..n_co {
                    let outer = if transposed { ci * n_co + co } else { co * n_ci + ci };
                    pair(here, (outer * n_r + r) * n_s + s);
                    here += 1;
                }
            }
        }
    }
}

fn as_f32(view: &TensorView<'_>) -> Option<Vec<f32>> {
    let halves = || view.data().chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]]));
    match view.dtype() {
        Dtype::F32 => Some(bytemuck::pod_collect_to_vec(view.data())),
        Dtype::F16 => Some(halves().map(|bits| half::f16::from_bits(bits).to_f32()).collect()),
        Dtype::BF16 => Some(halves().map(|bits| half::bf16::from_bits(bits).to_f32()).collect()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
