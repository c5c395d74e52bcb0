//! Counts by hand.

use super::*;
use crate::ops::adam::Adam;
use crate::ops::conv2d::{Conv2d, Conv2dDataGrad, Conv2dWeightGrad};

fn standard(base: usize, size: usize, precision: Precision) -> Network {
    let spec = NetworkSpec { arch: Arch::Standard, base, levels: 4, channels_in: 1, channels_out: 1 };
    Network { spec, size, batch: 8, precision }
}

/// A 3x3 convolution of 2 images of 8 x 4 pixels from 3 + 2 channels to 7, in f16.
fn small(pass: Pass) -> Case {
    let (w, dy) = (Shape([3, 3, 5, 7]), Shape::image(2, 8, 4, 7));
    let x = [3, 2].map(|c| (Shape::image(2, 8, 4, c), DType::F16));
    let (w16, dy16) = ((w, DType::F16), (dy, DType::F16));
    let (instruction, inputs, outputs) = match pass {
        Pass::Forward => (Instruction::Conv2d(Conv2d { two_inputs: true, bias: false }), vec![w16, x[0], x[1]], vec![dy16]),
        Pass::DataGrad => (Instruction::Conv2dDataGrad(Conv2dDataGrad { channels: [3, 2] }), vec![w16, dy16], x.to_vec()),
        Pass::WeightGrad => {
            (Instruction::Conv2dWeightGrad(Conv2dWeightGrad { kernel: 3 }), vec![dy16, x[0], x[1]], vec![(w, DType::F32)])
        }
    };
    Case { instruction, inputs, outputs, in_place: false, calls: 1 }
}

/// 64 pixels, each of 3 3 5 products for 7 channels; 315 weights, 320 numbers of x, 448 of y.
#[test]
fn flops_and_bytes_by_hand() {
    for pass in [Pass::Forward, Pass::DataGrad, Pass::WeightGrad] {
        let case = small(pass);
        let weights = if pass == Pass::WeightGrad { 315 * 4 } else { 315 * 2 };
        assert_eq!(case.flops(), 2 * 64 * 45 * 7, "{pass:?}");
        assert_eq!(case.bytes(), weights + 320 * 2 + 448 * 2, "{pass:?}");
        let geometry = case.convolution().unwrap();
        assert_eq!(geometry.flops(), case.flops());
        assert_eq!((geometry.pass, geometry.channels_in, geometry.channels_out), (pass, [3, 2], 7));
        assert_eq!((geometry.x().0, geometry.y().0, geometry.w().0), ([2, 8, 4, 5], [2, 8, 4, 7], [3, 3, 5, 7]));
    }
    assert_eq!(small(Pass::DataGrad).id(), "conv2d_data_grad 3x3 8x4 3+2 -> 7 n2 f16");
}

/// The gradient and the schedule are read; parameter and two moments are read and written.
#[test]
fn what_is_updated_counts_twice() {
    let f32s = |shape| (shape, DType::F32);
    let w = Shape([3, 3, 4, 4]);
    let instruction = Instruction::Adam(Adam { beta1: 0.9, beta2: 0.999, eps: 1e-8 });
    let (inputs, outputs) = (vec![f32s(w), f32s(Shape::channels(4))], vec![f32s(w); 3]);
    let case = Case { instruction, inputs, outputs, in_place: true, calls: 1 };
    assert_eq!(case.bytes(), 4 * (144 + 4 + 6 * 144));
    assert_eq!(case.convolution(), None);
}

/// The Standard U-Net of base 64 has 18 convolutions 3x3, 4 transposed ones and the head. Different shapes among the former: on each of four
/// levels down 1 or 2, of which the second also comes in the way up, two at the bottleneck, and on each level up one of two images.
#[test]
fn every_shape_of_the_standard_network_is_there_once() {
    let cases = cases(&[standard(64, 512, Precision::Mixed)], false).unwrap();
    let count = |name: &str, kernel| {
        let matches = |case: &&Case| case.instruction.name() == name && case.convolution().is_some_and(|c| c.kernel == kernel);
        let found: Vec<&Case> = cases.iter().filter(matches).collect();
        (found.len(), found.iter().map(|case| case.calls).sum::<usize>())
    };
    assert_eq!(count("conv2d", 3), (14, 18));
    assert_eq!(count("conv2d_data_grad", 3), (13, 17), "nobody asks for the gradient of the image");
    assert_eq!(count("conv2d_weight_grad", 3), (14, 18));
    for name in ["conv_transpose2d", "conv_transpose2d_data_grad", "conv_transpose2d_weight_grad"] {
        assert_eq!(count(name, 2), (4, 4), "{name}");
    }
    assert!(cases.iter().any(|case| case.id() == "conv2d 3x3 512x512 64+64 -> 64 n8 f16"), "a copy-free concatenation");
    let names: Vec<&str> = cases.iter().filter(|case| case.convolution().is_none()).map(|case| case.instruction.name()).collect();
    assert!(names.contains(&"adam") && names.contains(&"max_pool2d") && names.contains(&"dice_bce"), "{names:?}");
    let different: std::collections::BTreeSet<&str> = names.iter().copied().collect();
    assert_eq!(different.len(), names.len(), "one shape of each other kind: {names:?}");
}

/// 1,154 GFLOP an image for a training step of the Standard U-Net, of which convolutions are nearly all: the project's figure.
#[test]
fn the_convolutions_add_up_to_the_networks_work() {
    let cases = cases(&[standard(64, 512, Precision::F32)], true).unwrap();
    let flops: u64 = cases.iter().filter(|case| case.convolution().is_some()).map(|case| case.flops() * case.calls as u64).sum();
    let gflop_per_image = flops as f64 / 8.0 / 1e9;
    assert!((gflop_per_image - 1154.0).abs() < 1154.0 * 0.01, "{gflop_per_image}");
}

#[test]
fn all_networks_share_their_shapes() {
    let networks = all_networks();
    assert_eq!(networks.len(), 24);
    let cases = cases(&networks, true).unwrap();
    for (i, case) in cases.iter().enumerate() {
        assert!(!cases[..i].iter().any(|other| other.is_like(case)), "{} comes twice", case.id());
    }
    let halves = cases.iter().filter(|case| case.convolution().is_some_and(|c| c.half)).count();
    let singles = cases.iter().filter(|case| case.convolution().is_some_and(|c| !c.half)).count();
    assert!(halves > 100 && singles > 100, "{halves} in f16, {singles} in f32");
    let mut ids: Vec<String> = cases.iter().filter(|case| case.convolution().is_some()).map(Case::id).collect();
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count, "an id names one case");
}
