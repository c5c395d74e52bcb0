//! The bytes that `bench roofline` says the convolutions' tiles move, against what the emulator counts of a block in the middle.

use super::emulator;
use super::harness::{Case, Random, run_case};
use crate::reference::Array;
use unet_engine::bench::case::{Convolution, Kind, Pass};
use unet_engine::bench::traffic::{Kernels, tile_bytes};
use unet_engine::ops::Instruction;
use unet_engine::ops::conv_transpose2d::{ConvTranspose2d, ConvTranspose2dDataGrad};
use unet_engine::ops::conv2d::{Conv2d, Conv2dDataGrad, Conv2dWeightGrad};
use unet_engine::tape::DType;

/// Bytes that the launches move, if all `blocks` of each move what the middle one does.
fn moved(case: &Case, blocks: &[u64]) -> Option<u64> {
    let half = case.stored_as(DType::F16).expect("convolutions know f16");
    let mut backend = emulator::open(80, 1)?;
    backend.driver().trace();
    run_case(&half, &mut backend).unwrap();
    let traffic = backend.driver().take_traffic();
    assert_eq!(traffic.len(), blocks.len(), "{traffic:?}");
    Some(traffic.iter().zip(blocks).map(|((_, traffic), blocks)| traffic.sectors * 32 * blocks).sum())
}

fn case(instruction: Instruction, inputs: &[[usize; 4]]) -> Case {
    let mut random = Random::new(5);
    let inputs = inputs.iter().map(|&shape| random.symmetric(shape)).collect();
    Case::linear("tiles".into(), instruction, inputs, 1000)
}

fn image(height: usize, width: usize, channels: usize) -> [usize; 4] {
    [1, height, width, channels]
}

/// Products over pixels: 3 x 3 tiles, and outputs whose blocks of channels are whole.
#[test]
fn products_move_what_is_counted() {
    let layer = |kind, pass, kernel, channels_in, channels_out| Convolution {
        kind,
        pass,
        kernel,
        n: 1,
        height: 24,
        width: 48,
        channels_in,
        channels_out,
        half: true,
    };
    let x = image(24, 48, 64);
    let forward = |two_inputs| Instruction::Conv2d(Conv2d { two_inputs, bias: false });
    let cases = [
        (layer(Kind::Conv2d, Pass::Forward, 3, [64, 64], 64), case(forward(true), &[[3, 3, 128, 64], x, x]), 9),
        (layer(Kind::Conv2d, Pass::Forward, 1, [64, 0], 64), case(forward(false), &[[1, 1, 64, 64], x]), 9),
        (
            // An odd number of blocks, so that the middle one lies in the middle of the image.
            layer(Kind::Conv2d, Pass::DataGrad, 3, [128, 64], 64),
            case(Instruction::Conv2dDataGrad(Conv2dDataGrad { channels: [128, 64] }), &[[3, 3, 192, 64], x]),
            27,
        ),
        (
            layer(Kind::ConvTranspose2d, Pass::DataGrad, 2, [64, 0], 64),
            case(Instruction::ConvTranspose2dDataGrad(ConvTranspose2dDataGrad {}), &[[2, 2, 64, 64], image(48, 96, 64)]),
            9,
        ),
    ];
    for (layer, case, blocks) in cases {
        let Some(moved) = moved(&case, &[blocks]) else { return };
        assert_eq!(moved, tile_bytes(&layer, Kernels::Common, 1), "{layer:?}");
    }
    // With a bias, which every thread reads: 4 bytes of it for every number of its share, beside what is counted.
    let layer = layer(Kind::ConvTranspose2d, Pass::Forward, 2, [64, 0], 64);
    let with_bias = case(Instruction::ConvTranspose2d(ConvTranspose2d {}), &[[2, 2, 64, 64], x, [1, 1, 1, 64]]);
    let Some(moved) = moved(&with_bias, &[36]) else { return };
    let counted = tile_bytes(&layer, Kernels::Common, 1);
    assert!(moved >= counted && moved < counted * 5 / 4, "{moved} {counted}");
}

/// 7 x 5 tiles of 4 x 16 pixels, each a part of its own; two blocks of 32 channels of dy; 36 blocks that add the parts. Parts leave in pairs
/// of numbers, so that each of their sectors is moved twice.
#[test]
fn gradients_of_weights_move_what_is_counted() {
    let (height, width, splits) = (28, 80, 35);
    let x = image(height, width, 64);
    let case = case(Instruction::Conv2dWeightGrad(Conv2dWeightGrad { kernel: 3 }), &[x, x]);
    let kind = Kind::Conv2d;
    let layer = Convolution {
        kind,
        pass: Pass::WeightGrad,
        kernel: 3,
        n: 1,
        height,
        width,
        channels_in: [64, 0],
        channels_out: 64,
        half: true,
    };
    let Some(moved) = moved(&case, &[2 * splits, 36]) else { return };
    let (counted, parts) = (tile_bytes(&layer, Kernels::Common, splits as usize), splits * 9 * 64 * 64 * 4);
    assert_eq!(moved, counted + parts);
}

/// So that a case of zeros would not pass: the helper sees what a kernel moves.
#[test]
fn other_channels_move_other_bytes() {
    let of = |channels| {
        let forward = Instruction::Conv2d(Conv2d { two_inputs: false, bias: false });
        let inputs: Vec<Array> =
            [[1, 1, channels, 64], image(24, 48, channels)].map(|shape| Random::new(1).symmetric(shape)).into();
        moved(&Case::linear("tiles".into(), forward, inputs, 100), &[9])
    };
    assert!(of(32).is_none() || of(32) < of(64));
}
