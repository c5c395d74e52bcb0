//! Kernels that only stream through images move no more sectors of memory than their numbers fill.

use super::emulator;
use super::harness::{Case, Random, run_case};
use crate::reference::Array;
use unet_engine::ops::Instruction;
use unet_engine::ops::adam::Adam;
use unet_engine::ops::add::Add;
use unet_engine::ops::cast::Cast;
use unet_engine::ops::check_finite::CheckFinite;
use unet_engine::ops::concat::{Concat, Split};
use unet_engine::ops::max_pool2d::{MaxPool2d, MaxPool2dGrad};
use unet_engine::ops::relu::{Relu, ReluGrad};
use unet_engine::ops::sigmoid::Sigmoid;
use unet_engine::tape::DType;

/// An image whose channels fill whole loads.
const IMAGE: [usize; 4] = [1, 16, 16, 64];
const POOLED: [usize; 4] = [1, 8, 8, 64];

/// Checks the middle block of every launch.
fn check(case: &Case) {
    let Some(mut backend) = emulator::open(80, 1) else { return };
    backend.driver().trace();
    run_case(case, &mut backend).unwrap();
    let traffic = backend.driver().take_traffic();
    assert!(!traffic.is_empty(), "{}", case.name);
    for (kernel, traffic) in traffic {
        assert!(traffic.requests > 0, "{kernel} touches nothing");
        assert_eq!(traffic.sectors, traffic.least_sectors, "{kernel}: {traffic:?}");
    }
}

fn check_both(instruction: Instruction, inputs: Vec<Array>) {
    let case = Case::exact("aligned".into(), instruction, inputs);
    check(&case);
    case.stored_as(DType::F16).iter().for_each(check);
}

#[test]
fn aligned_images_are_streamed() {
    let mut next = 0;
    let mut image = |shape| {
        next += 1;
        Random::new(next).symmetric(shape)
    };
    check_both(Instruction::Relu(Relu {}), vec![image(IMAGE)]);
    check_both(Instruction::ReluGrad(ReluGrad {}), vec![image(IMAGE), image(IMAGE)]);
    check_both(Instruction::Add(Add {}), vec![image(IMAGE), image(IMAGE)]);
    check_both(Instruction::Sigmoid(Sigmoid {}), vec![image(IMAGE)]);
    check_both(Instruction::Concat(Concat {}), vec![image(IMAGE), image(IMAGE)]);
    check_both(Instruction::Split(Split { channels: [32, 32] }), vec![image(IMAGE)]);
    check_both(Instruction::MaxPool2d(MaxPool2d {}), vec![image(IMAGE)]);
    check_both(
        Instruction::MaxPool2dGrad(MaxPool2dGrad { size: [16, 16] }),
        vec![image(POOLED), image(POOLED).map(|x| x.abs().round())],
    );
    for to in [DType::F32, DType::F16] {
        check_both(Instruction::Cast(Cast { to }), vec![image(IMAGE)]);
    }
}

/// Neighbouring lanes read and write neighbouring pixels: what exceeds the least are the right neighbours' sectors.
#[test]
fn augmentation_reads_and_writes_side_by_side() {
    let Some(mut backend) = emulator::open(80, 1) else { return };
    backend.driver().trace();
    run_case(&super::augment::unmoved(), &mut backend).unwrap();
    for (kernel, traffic) in backend.driver().take_traffic() {
        println!("{kernel}: {traffic:?}");
        assert!(traffic.requests > 0 && traffic.sectors * 4 <= traffic.least_sectors * 5, "{kernel}: {traffic:?}");
    }
}

#[test]
fn updates_are_streamed() {
    let g = Random::new(1).symmetric([3, 3, 64, 64]);
    let check_finite = Instruction::CheckFinite(CheckFinite {});
    let flag = vec![Array::vector(vec![0.0])];
    check(&Case::in_place("aligned".into(), check_finite, vec![g.clone()], flag.clone(), flag, 1));
    let adam = Instruction::Adam(Adam { beta1: 0.9, beta2: 0.999, eps: 1e-8 });
    let schedule = Array::vector(vec![0.125, 1.0, 1.0, 1.0]);
    let before = vec![g.clone(), g.clone(), g.map(f64::abs)];
    check(&Case::in_place("aligned".into(), adam, vec![g, schedule], before.clone(), before, 1));
}
