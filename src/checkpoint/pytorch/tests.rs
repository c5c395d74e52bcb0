use super::*;
use crate::model::{Arch, initialise};

fn network(arch: Arch) -> NetworkSpec {
    NetworkSpec { arch, base: 2, levels: 2, channels_in: 1, channels_out: 1 }
}

fn weights(network: &NetworkSpec) -> BTreeMap<String, Vec<f32>> {
    let parameters = network.parameters();
    parameters.iter().enumerate().map(|(i, p)| (p.name.clone(), initialise(p, i, 9))).collect()
}

fn written(bytes: &[u8]) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

#[test]
fn what_is_exported_is_imported() {
    for arch in [Arch::Standard, Arch::Deep, Arch::Residual] {
        for channels_out in [1, 4] {
            let network = NetworkSpec { channels_out, ..network(arch) };
            let (_folder, path) = written(&export(&network, &weights(&network), 7).unwrap());
            assert_eq!(import(&path, &network).unwrap(), weights(&network));
        }
    }
}

/// `torch.nn.Conv2d(2, 3, ...)` holds [Co, Ci, R, S], `ConvTranspose2d(2, 3, 2)` holds [Ci, Co, 2, 2].
#[test]
fn layouts_are_pytorchs() {
    let parameter = |name: &str, shape| Parameter { name: name.into(), shape, kind: ParameterKind::Weight { fan_in: 1 } };
    let shape = Shape([2, 2, 2, 3]);
    // The element at (r, s, ci, co) is the number r s ci co, read as digits.
    let digits = |[a, b, c, d]: [usize; 4]| (a * 1000 + b * 100 + c * 10 + d) as f32;
    let mut data = Vec::new();
    for i in 0..shape.len() {
        data.push(digits([i / 12, i / 6 % 2, i / 3 % 2, i % 3]));
    }
    let convolution = to_pytorch(&parameter("down.0.c1.weight", shape), &data);
    // [Co, Ci, R, S] = [3, 2, 2, 2]: index 1 is s = 1, index 2 is r = 1, index 4 is ci = 1, index 8 is co = 1.
    assert_eq!([1, 2, 4, 8, 23].map(|i| convolution[i]), [100.0, 1000.0, 10.0, 1.0, 1112.0]);
    let transposed = to_pytorch(&parameter("up.0.weight", shape), &data);
    // [Ci, Co, R, S] = [2, 3, 2, 2]: index 4 is co = 1, index 12 is ci = 1.
    assert_eq!([1, 2, 4, 12, 23].map(|i| transposed[i]), [100.0, 1000.0, 1.0, 10.0, 1112.0]);
}

/// A head of K channels: `torch.nn.Conv2d(base, K, 1)` holds [K, base, 1, 1] and [K].
#[test]
fn a_head_of_several_channels_is_pytorchs() {
    let network = NetworkSpec { channels_out: 3, ..network(Arch::Standard) };
    let weights = weights(&network);
    let bytes = export(&network, &weights, 1).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let (weight, bias) = (file.tensor("head.weight").unwrap(), file.tensor("head.bias").unwrap());
    assert_eq!((weight.shape(), bias.shape()), ([3, 2, 1, 1].as_slice(), [3].as_slice()));
    // [Ci, Co] here, [Co, Ci] there.
    let (here, there) = (&weights["head.weight"], as_f32(&weight).unwrap());
    assert_eq!(there, [here[0], here[3], here[1], here[4], here[2], here[5]]);
}

#[test]
fn every_batch_normalisation_counts_its_batches() {
    let network = network(Arch::Residual);
    let bytes = export(&network, &weights(&network), 1234).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tracked: Vec<_> = file.iter().filter(|(name, _)| name.ends_with(".num_batches_tracked")).collect();
    let n_means = network.parameters().iter().filter(|p| p.kind == ParameterKind::RunningMean).count();
    assert!(n_means > 0 && tracked.len() == n_means);
    for (_, view) in tracked {
        assert!(view.dtype() == Dtype::I64 && view.shape().is_empty() && view.data() == 1234i64.to_le_bytes());
    }
}

#[test]
fn half_precision_is_read() {
    let network = network(Arch::Standard);
    let full = export(&network, &weights(&network), 0).unwrap();
    for (dtype, tolerance) in [(Dtype::F16, 1e-3f32), (Dtype::BF16, 1e-2)] {
        let (_folder, path) = written(&converted(&full, dtype));
        for (name, expected) in weights(&network) {
            let found = &import(&path, &network).unwrap()[&name];
            let close = |(a, b): (&f32, &f32)| (a - b).abs() <= tolerance * b.abs() + 1e-6;
            assert!(found.iter().zip(&expected).all(close), "{name} as {dtype:?}");
        }
    }
}

/// The same file with every f32 tensor in half precision.
fn converted(bytes: &[u8], dtype: Dtype) -> Vec<u8> {
    let file = SafeTensors::deserialize(bytes).unwrap();
    let bits = |x: &f32| if dtype == Dtype::F16 { half::f16::from_f32(*x).to_bits() } else { half::bf16::from_f32(*x).to_bits() };
    let mut tensors = Vec::new();
    for (name, view) in file.iter().filter(|(_, view)| view.dtype() == Dtype::F32) {
        let data: Vec<u8> = as_f32(&view).unwrap().iter().flat_map(|x| bits(x).to_le_bytes()).collect();
        tensors.push((name.to_string(), view.shape().to_vec(), data));
    }
    let views = tensors.iter().map(|(name, shape, data)| (name, TensorView::new(dtype, shape.clone(), data).unwrap()));
    safetensors::serialize(views, None).unwrap()
}

#[test]
fn differences_are_listed_and_another_head_is_named() {
    let standard = network(Arch::Standard);
    let (_folder, path) = written(&export(&standard, &weights(&standard), 0).unwrap());
    let message = import(&path, &network(Arch::Residual)).unwrap_err().to_string();
    assert!(message.contains("down.0.proj.0.weight [2, 1, 1, 1] is missing"), "{message}");
    let message = import(&path, &NetworkSpec { levels: 1, ..standard }).unwrap_err().to_string();
    assert!(message.contains("is unknown to this network") && message.contains("--levels 1"), "{message}");
    let message = import(&path, &NetworkSpec { channels_out: 3, ..standard }).unwrap_err().to_string();
    assert!(message.contains("head has 1 channels, this network's has 3"), "{message}");
    std::fs::write(&path, b"no safetensors").unwrap();
    assert!(import(&path, &standard).is_err());
}
