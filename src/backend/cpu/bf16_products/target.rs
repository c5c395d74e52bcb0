//! Where the sums of a convolution go, and what happens to them on the way.

use super::super::simd::Lanes;
use super::product::SIDE;
use crate::tape::Shape;
use half::bf16;

/// Where a pixel's results go.
#[derive(Clone, Copy)]
pub struct Target {
    start: *mut bf16,
    len: usize,
    pub channels: usize,
    /// Numbers from an image, a row, a pixel to the next.
    pitch: [usize; 3],
}

impl Target {
    /// A target of no channels.
    pub fn none() -> Target {
        Target { start: std::ptr::null_mut(), len: 0, channels: 0, pitch: [0; 3] }
    }

    /// All pixels of images of `shape`.
    pub fn whole(out: &mut [bf16], shape: Shape) -> Target {
        let c = shape.c();
        let pitch = [shape.h() * shape.w() * c, shape.w() * c, c];
        Target { start: out.as_mut_ptr(), len: out.len(), channels: c, pitch }
    }

    /// The pixels (2 y + tap / 2, 2 x + tap % 2) of images of which `self` is all pixels.
    pub fn quarter(self, tap: usize) -> Target {
        let [image, row, pixel] = self.pitch;
        let offset = tap / 2 * row + tap % 2 * pixel;
        assert!(offset <= self.len, "a quarter lies in its image");
        // SAFETY: the offset was just checked.
        Target { start: unsafe { self.start.add(offset) }, len: self.len - offset, pitch: [image, 2 * row, 2 * pixel], ..self }
    }

    /// `n` channels from `channel` on of `count` pixels of a row, from `pixel` (image, row, column) on.
    #[inline(always)]
    pub fn pixels(&self, pixel: [usize; 3], count: usize, channel: usize, n: usize) -> Pixels {
        let at = pixel[0] * self.pitch[0] + pixel[1] * self.pitch[1] + pixel[2] * self.pitch[2] + channel;
        assert!(count > 0 && n <= SIDE && at + (count - 1) * self.pitch[2] + n <= self.len, "pixels outside their image");
        // SAFETY: the place was just checked.
        Pixels { start: unsafe { self.start.add(at) }, pitch: self.pitch[2], n }
    }
}

// SAFETY: an address alone, to be written to by one task a place.
unsafe impl Send for Target {}
// SAFETY: as above.
unsafe impl Sync for Target {}

/// Up to 32 channels of some pixels that lie `pitch` numbers apart.
pub struct Pixels {
    start: *mut bf16,
    pitch: usize,
    n: usize,
}

/// What happens to the sums of 32 channels.
pub struct Tail {
    scale: [f32; SIDE],
    bias: [f32; SIDE],
    relu: bool,
}

impl Tail {
    /// For the channels from `channel` on: sums times `scale` plus `bias`, or only their positive part.
    pub fn new(scale: Option<&[f32]>, bias: Option<&[f32]>, relu: bool, channel: usize) -> Tail {
        Tail { scale: of_block(scale, channel, 1.0), bias: of_block(bias, channel, 0.0), relu }
    }

    /// Rounds and stores 32 sums a pixel.
    ///
    /// # Safety
    /// The CPU has the level of `L`, `pixels` has a pixel for every 32 sums, its image still lives, and nobody else writes to its channels.
    #[inline(always)]
    pub unsafe fn store<L: Lanes>(&self, sums: &[f32], pixels: Pixels) {
        let Pixels { start, pitch, n } = pixels;
        let mut few = [bf16::ZERO; SIDE];
        // SAFETY: passed on.
        unsafe {
            for i in (0..n).step_by(2 * L::N) {
                let (scale, bias) = (self.scale.as_ptr().add(i), self.bias.as_ptr().add(i));
                let scale = [L::load(scale), L::load(scale.add(L::N))];
                let bias = [L::load(bias), L::load(bias.add(L::N))];
                let is_whole = i + 2 * L::N <= n;
                for (m, sums) in sums.chunks_exact(SIDE).enumerate() {
                    let sums = sums.as_ptr().add(i);
                    let mut first = L::load(sums).mul_add(scale[0], bias[0]);
                    let mut second = L::load(sums.add(L::N)).mul_add(scale[1], bias[1]);
                    if self.relu {
                        (first, second) = (first.relu(), second.relu());
                    }
                    let at = start.add(m * pitch + i);
                    if is_whole {
                        first.store_two_bf16(second, at);
                    } else {
                        first.store_two_bf16(second, few.as_mut_ptr());
                        std::ptr::copy_nonoverlapping(few.as_ptr(), at, n - i);
                    }
                }
            }
        }
    }
}

/// The numbers of 32 channels from `channel` on, `default` where there are none.
fn of_block(numbers: Option<&[f32]>, channel: usize, default: f32) -> [f32; SIDE] {
    let mut padded = [default; SIDE];
    if let Some(numbers) = numbers {
        let n = SIDE.min(numbers.len() - channel);
        padded[..n].copy_from_slice(&numbers[channel..channel + n]);
    }
    padded
}
