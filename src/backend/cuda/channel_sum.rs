//! Sum per channel. Kernels: `kernels/channel_sum.cu`.

use super::columns::{Cut, Sums, THREADS};
use super::program::{Lowering, kernel_for};
use bytemuck::NoUninit;

#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct ChannelSumParameters {
    x: u64,
    partials: u64,
    cut: Cut,
}

const _: () = assert!(size_of::<ChannelSumParameters>() == 40);

#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct CombineParameters {
    partials: u64,
    y: u64,
    cut: Cut,
}

const _: () = assert!(size_of::<CombineParameters>() == 40);

pub(super) fn run(lowering: &mut Lowering<'_>) {
    let (x, y) = (lowering.input(0), lowering.output(0));
    let Sums { cut, partials, grid, combining_grid } = Sums::new(lowering, x, 1);
    let mut call = lowering.call("channel_sum", kernel_for("channel_sum", x.dtype));
    let parameters = ChannelSumParameters { x: call.read(x), partials: call.write(partials), cut };
    lowering.push(call, grid, THREADS, &parameters);

    let mut call = lowering.call("channel_sum", "channel_sum_combine");
    let parameters = CombineParameters { partials: call.read(partials), y: call.write(y), cut };
    lowering.push(call, combining_grid, THREADS, &parameters);
}
