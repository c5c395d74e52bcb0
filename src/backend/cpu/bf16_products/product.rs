//! The micro-kernel: blocks of 32 x 32 sums of products of bf16, in f32.
//!
//! ```text
//! c[m][n] (+)= sum over steps of  sum over k < 32 of  a_step[m][k] b_step[k][n]
//! ```
//!
//! A step of the left side is 32 rows of 32 numbers, one row after another. A step of the right side has its rows by twos, as the
//! instructions for bf16 take them: 16 pairs of rows, `[pair][n][2]`. Both are 2 KiB. With AMX they are two tiles each, and the four
//! tiles of sums stay in registers; elsewhere bf16 is widened to f32, which loses nothing.

use super::super::simd::{Lanes, Level, Stored};
use half::bf16;
use std::marker::PhantomData;

/// Rows and columns of a block, and products of a step.
pub const SIDE: usize = 32;
/// Numbers of a step of either side, and sums of a block.
pub const BLOCK: usize = SIDE * SIDE;

/// Sums of a block, row after row.
#[repr(C, align(64))]
pub struct Sums(pub [f32; BLOCK]);

impl Sums {
    pub fn place(&mut self) -> Place {
        Place { start: self.0.as_mut_ptr(), pitch: SIDE }
    }
}

/// Where a block of sums lies: its rows begin `pitch` numbers apart.
#[derive(Clone, Copy)]
pub struct Place {
    pub start: *mut f32,
    pub pitch: usize,
}

/// The left side of a product: step (i, j) starts `i pitch + inner[j]` numbers behind `start`, and steps go by j first.
pub struct Left<'a> {
    pub start: *const bf16,
    pub count: usize,
    pub pitch: usize,
    pub inner: &'a [usize],
}

/// The right side of a product: steps follow one another, and behind the last inner one `gap` numbers are left out.
#[derive(Clone, Copy)]
pub struct Right {
    pub start: *const bf16,
    pub gap: usize,
}

/// The most steps of a row of pixels.
pub const MAX_INNER: usize = 64;
/// Where the steps of a row begin that follow one another.
pub static INNER: [usize; MAX_INNER] = {
    let mut inner = [0; MAX_INNER];
    let mut i = 0;
    while i < MAX_INNER {
        inner[i] = i * BLOCK;
        i += 1;
    }
    inner
};

/// The units that multiply, set up for this thread while it lives.
pub struct Multiplier {
    amx: bool,
    /// The setting belongs to a thread.
    _thread: PhantomData<*const ()>,
}

impl Multiplier {
    /// For a thread at `level`, which its CPU has.
    pub fn new(level: Level) -> Multiplier {
        let amx = level == Level::Amx;
        if amx {
            // SAFETY: the level was found available, which includes the right to use the tiles.
            unsafe { amx::configure() };
        }
        Multiplier { amx, _thread: PhantomData }
    }

    /// Adds the products of all steps to the block at `c`, or to 0.
    ///
    /// # Safety
    /// The CPU has the level of `L`; both sides have all of their steps; `c` has 32 rows of 32 floats. Rows are fast where they begin
    /// a cache line.
    #[inline(always)]
    pub unsafe fn multiply<L: Lanes>(&self, left: &Left<'_>, right: Right, c: Place, add: bool) {
        // SAFETY: passed on; tiles were configured where they are used.
        unsafe {
            match self.amx {
                true => amx::multiply(left, right, c, add),
                false => multiply_widened::<L>(left, right, c, add),
            }
        }
    }
}

impl Drop for Multiplier {
    fn drop(&mut self) {
        if self.amx {
            // SAFETY: the tiles were configured by this thread.
            unsafe { amx::release() };
        }
    }
}

/// Rows of sums that are kept in registers.
const ROWS: usize = 4;

#[inline(always)]
unsafe fn multiply_widened<L: Lanes>(left: &Left<'_>, right: Right, c: Place, add: bool) {
    for column in (0..SIDE).step_by(L::N) {
        for row in (0..SIDE).step_by(ROWS) {
            // SAFETY: rows, columns and steps lie in what the caller has promised.
            unsafe {
                let at = c.start.add(row * c.pitch + column);
                let mut sums = [L::splat(0.0); ROWS];
                if add {
                    for (m, sum) in sums.iter_mut().enumerate() {
                        *sum = L::load(at.add(m * c.pitch));
                    }
                }
                let Right { start, gap } = right;
                let mut right = start.add(2 * column);
                for i in 0..left.count {
                    for &inner in left.inner {
                        let left = left.start.add(i * left.pitch + inner + row * SIDE);
                        add_step::<L>(left, right, &mut sums);
                        right = right.wrapping_add(BLOCK);
                    }
                    right = right.wrapping_add(gap);
                }
                for (m, sum) in sums.iter().enumerate() {
                    sum.store(at.add(m * c.pitch));
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn add_step<L: Lanes>(left: *const bf16, right: *const bf16, sums: &mut [L; ROWS]) {
    for pair in 0..SIDE / 2 {
        // SAFETY: the caller has a step of either side.
        unsafe {
            let [even, odd] = L::load_bf16_pairs(right.add(pair * 2 * SIDE));
            for (m, sum) in sums.iter_mut().enumerate() {
                let x = left.add(m * SIDE + 2 * pair);
                *sum = L::splat((*x).widen()).mul_add(even, *sum);
                *sum = L::splat((*x.add(1)).widen()).mul_add(odd, *sum);
            }
        }
    }
}

/// Advanced Matrix Extensions (Intel 64 and IA-32 Architectures Software Developer's Manual, chapter "Programming with Intel AMX"). As
/// inline assembly, since Rust has its intrinsics in nightly builds only.
#[cfg(target_arch = "x86_64")]
mod amx {
    use super::{BLOCK, Left, Place, Right};
    use half::bf16;
    use std::arch::asm;

    /// Palette 1: eight tiles of 16 rows of 64 bytes.
    #[repr(C, align(64))]
    struct Configuration {
        palette: u8,
        start_row: u8,
        reserved: [u8; 14],
        row_bytes: [u16; 16],
        rows: [u8; 16],
    }

    const CONFIGURATION: Configuration = Configuration {
        palette: 1,
        start_row: 0,
        reserved: [0; 14],
        row_bytes: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
        rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
    };

    pub unsafe fn configure() {
        // SAFETY: the CPU has AMX, and the configuration is a valid one of 64 bytes.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &CONFIGURATION, options(nostack, preserves_flags)) };
    }

    pub unsafe fn release() {
        // SAFETY: the CPU has AMX.
        unsafe { asm!("tilerelease", options(nostack, nomem, preserves_flags)) };
    }

    /// Tiles 0 to 3 are the sums (rows 0 to 15 and columns 0 to 15, then columns from 16, then the same of rows from 16), 4 and 5 the
    /// left side, 6 and 7 the right one. Rows of the left side are 64 bytes apart, pairs of rows of the right side 128.
    #[inline(always)]
    pub unsafe fn multiply(left: &Left<'_>, right: Right, c: Place, add: bool) {
        assert!(!left.inner.is_empty() && left.count > 0, "a product of some steps");
        let inner = left.inner.as_ptr_range();
        // SAFETY: the caller has promised the blocks; the loops run over `count` times all inner steps.
        unsafe {
            asm!(
                "test {add}, {add}",
                "jz 2f",
                "mov {a}, {c_row}",
                "shl {a}, 4",
                "add {a}, {c}",
                "tileloadd tmm0, [{c} + {c_row}]",
                "tileloadd tmm1, [{c} + {c_row} + 64]",
                "tileloadd tmm2, [{a} + {c_row}]",
                "tileloadd tmm3, [{a} + {c_row} + 64]",
                "jmp 3f",
                "2:",
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                "3:",
                "mov {inner}, {begin}",
                "4:",
                "mov {a}, [{inner}]",
                "lea {a}, [{start} + 2*{a}]",
                "tileloadd tmm4, [{a} + {row}]",
                "tileloadd tmm6, [{b} + 2*{row}]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tileloadd tmm7, [{b} + 2*{row} + 64]",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tileloadd tmm5, [{a} + {row} + 1024]",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "add {b}, {block}",
                "add {inner}, 8",
                "cmp {inner}, {end}",
                "jne 4b",
                "add {start}, {pitch}",
                "add {b}, {gap}",
                "dec {count}",
                "jnz 3b",
                "mov {a}, {c_row}",
                "shl {a}, 4",
                "add {a}, {c}",
                "tilestored [{c} + {c_row}], tmm0",
                "tilestored [{c} + {c_row} + 64], tmm1",
                "tilestored [{a} + {c_row}], tmm2",
                "tilestored [{a} + {c_row} + 64], tmm3",
                add = in(reg) usize::from(add),
                c = in(reg) c.start,
                c_row = in(reg) c.pitch * size_of::<f32>(),
                row = in(reg) 64usize,
                inner = out(reg) _,
                begin = in(reg) inner.start,
                end = in(reg) inner.end,
                start = inout(reg) left.start => _,
                a = out(reg) _,
                pitch = in(reg) left.pitch * size_of::<bf16>(),
                count = inout(reg) left.count => _,
                b = inout(reg) right.start => _,
                gap = in(reg) right.gap * size_of::<bf16>(),
                block = const BLOCK * size_of::<bf16>(),
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack)
            );
        }
    }
}

/// No level of this processor has it.
#[cfg(not(target_arch = "x86_64"))]
mod amx {
    use super::{Left, Place, Right};

    pub unsafe fn configure() {}

    pub unsafe fn release() {}

    pub unsafe fn multiply(_left: &Left<'_>, _right: Right, _c: Place, _add: bool) {
        unreachable!("AMX on a processor without it")
    }
}
