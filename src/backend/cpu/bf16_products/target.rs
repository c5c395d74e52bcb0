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

    /// Where `n` channels from `channel` on of a pixel (image, row, column) lie.
    #[inline(always)]
    pub fn place(&self, pixel: [usize; 3], channel: usize, n: usize) -> *mut bf16 {
        let at = (0..3).map(|i| pixel[i] * self.pitch[i]).sum::<usize>() + channel;
        assert!(at + n <= self.len, "a pixel outside its image");
        // SAFETY: the place was just checked.
        unsafe { self.start.add(at) }
    }
}

// SAFETY: an address alone, to be written to by one task a place.
unsafe impl Send for Target {}
// SAFETY: as above.
unsafe impl Sync for Target {}

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

    /// Rounds the first `valid` of 32 sums.
    ///
    /// # Safety
    /// The CPU has the level of `L`, and there are `valid` numbers at `at`.
    #[inline(always)]
    pub unsafe fn store_row<L: Lanes>(&self, sums: &[f32], at: *mut bf16, valid: usize) {
        assert!(sums.len() >= SIDE && valid <= SIDE);
        let mut few = [bf16::ZERO; SIDE];
        let to = if valid == SIDE { at } else { few.as_mut_ptr() };
        // SAFETY: the caller has the level and `valid` numbers at `at`.
        unsafe {
            for i in (0..SIDE).step_by(2 * L::N) {
                let first = self.apply::<L>(sums.as_ptr(), i);
                let second = self.apply::<L>(sums.as_ptr(), i + L::N);
                first.store_two_bf16(second, to.add(i));
            }
            if valid < SIDE {
                std::ptr::copy_nonoverlapping(few.as_ptr(), at, valid);
            }
        }
    }

    #[inline(always)]
    unsafe fn apply<L: Lanes>(&self, sums: *const f32, i: usize) -> L {
        // SAFETY: the caller has the level and 32 sums, with N of them behind the i-th.
        unsafe {
            let value = L::load(sums.add(i)).mul_add(L::load(self.scale.as_ptr().add(i)), L::load(self.bias.as_ptr().add(i)));
            if self.relu { value.relu() } else { value }
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
