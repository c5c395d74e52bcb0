//! The launch of a convolution as one product of matrices. Kernels: `kernels/implicit_gemm.cuh`.

use super::program::{Lowering, Value, kernel_for};
use crate::tape::DType;
use bytemuck::NoUninit;

/// Output channels of a block, and its threads.
const CHANNELS: usize = 64;
const THREADS: u32 = 128;
/// Rows and columns of a block's pixels.
const PIXELS: [usize; 2] = [8, 16];
/// The same of Hopper's kernels (`kernels/warpgroup_gemm.cuh`), with their threads and their shared memory.
const WARPGROUP_PIXELS: [usize; 2] = [32, 16];
const WARPGROUP_THREADS: u32 = 384;
const WARPGROUP_SHARED: u32 = 190_464;

#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct ConvolutionParameters {
    x: [u64; 2],
    w: u64,
    bias: u64,
    y: [u64; 2],
    n: i32,
    height: i32,
    width: i32,
    channels_in: [i32; 2],
    channels_out: [i32; 2],
    w_rows: i32,
    w_columns: i32,
    padding: i32,
}

const _: () = assert!(size_of::<ConvolutionParameters>() == 88);

/// A convolution over one image or two whose channels follow one another, into one or two.
pub(super) struct Convolution<'a> {
    pub module: &'static str,
    /// Without the type of its numbers.
    pub kernel: &'a str,
    pub w: Value,
    pub x: &'a [Value],
    pub bias: Option<Value>,
    pub y: &'a [Value],
    /// The pixels that are computed: n, height, width; for a scatter those of the input.
    pub pixels: [usize; 3],
    /// Taps that blocks of their own compute: 4 for the transposed convolution, else 1.
    pub scattered_taps: usize,
}

impl Convolution<'_> {
    pub fn push(&self, lowering: &mut Lowering<'_>) {
        let is_3x3_of_f16 = self.w.shape.0[0] == 3 && self.w.dtype == DType::F16;
        let by_warpgroups = is_3x3_of_f16 && lowering.suits_warpgroups(self.x.iter().chain(self.y));
        let mut call = match by_warpgroups {
            true => lowering.call(self.module, format!("{}_warpgroup_f16", self.kernel)).with_shared(WARPGROUP_SHARED),
            false => lowering.call(self.module, kernel_for(self.kernel, self.w.dtype)),
        };
        let [n, height, width] = self.pixels;
        let channels = |images: &[Value]| [0, 1].map(|i| images.get(i).map_or(0, |image| image.shape.c()));
        let [channels_in, channels_out] = [channels(self.x), channels(self.y)];
        let [_, _, w_rows, w_columns] = self.w.shape.0;
        let parameters = ConvolutionParameters {
            x: [0, 1].map(|i| self.x.get(i).map_or(0, |&x| call.read(x))),
            w: call.read(self.w),
            bias: self.bias.map_or(0, |bias| call.read(bias)),
            y: [0, 1].map(|i| self.y.get(i).map_or(0, |&y| call.write(y))),
            n: n as i32,
            height: height as i32,
            width: width as i32,
            channels_in: channels_in.map(|c| c as i32),
            channels_out: channels_out.map(|c| c as i32),
            w_rows: w_rows as i32,
            w_columns: w_columns as i32,
            padding: 0,
        };
        let [rows, columns] = if by_warpgroups { WARPGROUP_PIXELS } else { PIXELS };
        let tiles = n * height.div_ceil(rows) * width.div_ceil(columns);
        let blocks = (channels_out[0] + channels_out[1]).div_ceil(CHANNELS) * self.scattered_taps;
        // Blocks count their items in 32 bits.
        assert!(tiles * blocks < i32::MAX as usize / 2, "{} items of work for {}", tiles * blocks, self.kernel);
        // Blocks that go from one item of the work to the next, or one block for each.
        let (grid, threads) = match by_warpgroups {
            true => ([(tiles * blocks).min(lowering.multiprocessors()), 1, 1], WARPGROUP_THREADS),
            false => ([tiles, blocks, 1], THREADS),
        };
        lowering.push(call, grid, threads, &parameters);
    }
}
