//! SIMD chosen at run time. A kernel is written once, generic over [`Lanes`], and compiled for each [`Level`]; [`dispatch`] runs the
//! version that this machine's CPU has. Every generic body is `#[inline(always)]`, so that it lands inside a function with the
//! level's target features.
//!
//! Levels differ in their last bits: AVX2 and AVX-512 fuse multiplication and addition, the portable level rounds twice.

mod portable;
mod prefetch;
mod stored;
#[cfg(target_arch = "x86_64")]
mod x86;

use crate::error::{Error, Result};
use crate::plan::Precision;
use half::bf16;
use portable::F32x4;
pub(super) use prefetch::{prefetch, prefetch_to_write};
pub use stored::Stored;

/// The environment variable that forces a level.
pub const LEVEL_VARIABLE: &str = "UNET_ENGINE_SIMD";

/// An instruction set that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Plain Rust; on x86-64 the compiler makes SSE2 of it.
    Portable,
    /// AVX2 with FMA.
    Avx2,
    /// AVX-512F.
    Avx512,
    /// AVX-512 with BF16, and AMX: products of matrices of bf16. The same as [`Level::Avx512`] in f32.
    Amx,
}

impl Level {
    /// All levels, the widest last.
    pub const ALL: [Level; 4] = [Level::Portable, Level::Avx2, Level::Avx512, Level::Amx];

    /// The widest level of this CPU, or the one that `UNET_ENGINE_SIMD` forces.
    ///
    /// # Errors
    /// If the variable names no level, or one that this CPU lacks.
    pub fn choose() -> Result<Level> {
        match std::env::var(LEVEL_VARIABLE) {
            Ok(name) => Level::parse(&name),
            Err(_) => Ok(Level::ALL.into_iter().rev().find(|l| l.is_available()).unwrap_or(Level::Portable)),
        }
    }

    /// The level called `name`, if this CPU has it.
    ///
    /// # Errors
    /// If there is no such level or the CPU lacks it.
    pub fn parse(name: &str) -> Result<Level> {
        let known = Level::ALL.into_iter().find(|l| l.name() == name);
        let level = known.ok_or_else(|| {
            Error::usage(format!("{LEVEL_VARIABLE}={name} names no instruction set")).remedy("use portable, avx2, avx512 or amx")
        })?;
        if level.is_available() {
            return Ok(level);
        }
        Err(Error::device(format!("{LEVEL_VARIABLE}={name}, but this CPU has no {name}"))
            .remedy(format!("unset {LEVEL_VARIABLE}: the widest available instruction set is chosen by itself")))
    }

    /// `portable`, `avx2`, `avx512` or `amx`.
    pub fn name(self) -> &'static str {
        match self {
            Level::Portable => "portable",
            Level::Avx2 => "avx2",
            Level::Avx512 => "avx512",
            Level::Amx => "amx",
        }
    }

    /// Whether this CPU (and its operating system) has the level.
    pub fn is_available(self) -> bool {
        match self {
            Level::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => Level::Avx2.is_available() && is_x86_feature_detected!("avx512f"),
            #[cfg(target_arch = "x86_64")]
            Level::Amx => Level::Avx512.is_available() && x86::has_amx(),
            #[cfg(not(target_arch = "x86_64"))]
            Level::Avx2 | Level::Avx512 | Level::Amx => false,
        }
    }

    /// The precision in which networks are computed where none is asked for: without matrix units 16 bits gain nothing.
    pub fn precision(self) -> Precision {
        if self == Level::Amx { Precision::Bf16 } else { Precision::F32 }
    }

    /// Pixels (or input channels) of a register tile: `Lanes::TILE_ROWS` of the level.
    pub fn tile_rows(self) -> usize {
        match self {
            Level::Portable => F32x4::TILE_ROWS,
            Level::Avx2 => 6,
            Level::Avx512 | Level::Amx => 12,
        }
    }

    /// Output channels of a register tile: two vectors.
    pub fn tile_columns(self) -> usize {
        match self {
            Level::Portable => 2 * F32x4::N,
            Level::Avx2 => 16,
            Level::Avx512 | Level::Amx => 32,
        }
    }
}

/// A vector of N floats.
///
/// # Safety
/// Every method needs a CPU that has the vector's level; [`dispatch`] sees to it. `load` and `store` need N floats behind `at`, at
/// any alignment.
#[allow(clippy::missing_safety_doc)]
pub unsafe trait Lanes: Copy {
    /// Floats a vector.
    const N: usize;
    /// Rows of a register tile of two vectors a row: as many as leave registers for two columns and a broadcast value.
    const TILE_ROWS: usize;

    unsafe fn load(at: *const f32) -> Self;
    unsafe fn store(self, at: *mut f32);
    /// N numbers of bf16, which are f32 numbers.
    unsafe fn load_bf16(at: *const bf16) -> Self;
    /// Rounded to the nearest, of two equally near ones to the even one; a NaN stays one.
    unsafe fn store_bf16(self, at: *mut bf16);
    /// Itself and then `second`, rounded likewise, but for subnormal numbers, which may become 0.
    #[inline(always)]
    unsafe fn store_two_bf16(self, second: Self, at: *mut bf16) {
        // SAFETY: the caller has room for 2 N numbers.
        unsafe {
            self.store_bf16(at);
            second.store_bf16(at.add(Self::N));
        }
    }
    /// As [`Lanes::store`], but past the caches where the CPU can do so: lines that are written whole are then not read before. `at` is a
    /// multiple of the vector's size. [`Lanes::fence`] comes before any other access to what is stored.
    #[inline(always)]
    unsafe fn store_nontemporal(self, at: *mut f32) {
        // SAFETY: passed on.
        unsafe { self.store(at) }
    }
    /// The same of [`Lanes::store_bf16`].
    #[inline(always)]
    unsafe fn store_bf16_nontemporal(self, at: *mut bf16) {
        // SAFETY: passed on.
        unsafe { self.store_bf16(at) }
    }
    /// Orders what was stored past the caches before all that follows.
    #[inline(always)]
    unsafe fn fence() {}
    /// N pairs of bf16: the first of each, and the second of each.
    unsafe fn load_bf16_pairs(at: *const bf16) -> [Self; 2];
    /// `out[2 i] = a[i]` and `out[2 i + 1] = b[i]` for 32 numbers.
    #[inline(always)]
    unsafe fn interleave(a: *const bf16, b: *const bf16, out: *mut bf16) {
        // SAFETY: the caller has 32 numbers at `a` and `b`, and 64 at `out`.
        unsafe {
            for i in 0..32 {
                out.add(2 * i).write(a.add(i).read());
                out.add(2 * i + 1).write(b.add(i).read());
            }
        }
    }
    /// `out[2 i]` is `a[i]`, and `out[2 i + 1]` is `b[i]`, for 32 numbers, rounded as by [`Lanes::store_two_bf16`].
    #[inline(always)]
    unsafe fn interleave_rounded(a: *const f32, b: *const f32, out: *mut bf16) {
        // SAFETY: the caller has 32 numbers at `a` and `b`, and 64 at `out`.
        unsafe {
            let mut rows = [bf16::ZERO; 64];
            for i in (0..32).step_by(2 * Self::N) {
                Self::load(a.add(i)).store_two_bf16(Self::load(a.add(i + Self::N)), rows.as_mut_ptr().add(i));
                Self::load(b.add(i)).store_two_bf16(Self::load(b.add(i + Self::N)), rows.as_mut_ptr().add(32 + i));
            }
            Self::interleave(rows.as_ptr(), rows.as_ptr().add(32), out);
        }
    }
    /// `out[j pitch_out + i] = from[i pitch + j]` for 16 x 16 words of 32 bits, at any alignment.
    #[inline(always)]
    unsafe fn transpose_words(from: *const u32, pitch: usize, out: *mut u32, pitch_out: usize) {
        // SAFETY: the caller has both blocks.
        unsafe {
            for i in 0..16 {
                for j in 0..16 {
                    out.byte_add(4 * (j * pitch_out + i)).write_unaligned(from.byte_add(4 * (i * pitch + j)).read_unaligned());
                }
            }
        }
    }
    /// `out[32 j + i] = from[i pitch + j]` for 32 x 32 numbers, at any alignment.
    #[inline(always)]
    unsafe fn transpose_bf16(from: *const bf16, pitch: usize, out: *mut bf16) {
        // SAFETY: passed on.
        unsafe { transpose_by_words::<Self>(from, pitch, out) }
    }
    unsafe fn splat(x: f32) -> Self;
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn sub(self, other: Self) -> Self;
    unsafe fn mul(self, other: Self) -> Self;
    unsafe fn div(self, other: Self) -> Self;
    unsafe fn sqrt(self) -> Self;
    /// `self * factor + addend`, rounded once where the CPU fuses.
    unsafe fn mul_add(self, factor: Self, addend: Self) -> Self;
    /// 0 where negative; NaN stays NaN.
    unsafe fn relu(self) -> Self;
    /// Itself where `gate` is positive, else 0.
    unsafe fn where_positive(self, gate: Self) -> Self;
}

/// [`Lanes::transpose_bf16`] by twos, which are words, and these transposed.
///
/// # Safety
/// As of the method.
#[inline(always)]
unsafe fn transpose_by_words<L: Lanes>(from: *const bf16, pitch: usize, out: *mut bf16) {
    let mut pairs = [bf16::ZERO; 32 * 32];
    // SAFETY: the caller has both blocks.
    unsafe {
        for i in 0..16 {
            let row = from.add(2 * i * pitch);
            L::interleave(row, row.add(pitch), pairs.as_mut_ptr().add(64 * i));
        }
        for half in 0..2 {
            L::transpose_words(pairs.as_ptr().add(32 * half).cast(), 32, out.add(512 * half).cast(), 16);
        }
    }
}

/// Work that runs at a level.
pub trait Kernel {
    /// # Safety
    /// The CPU has the level of `L`.
    unsafe fn run<L: Lanes>(self);
}

/// Runs `kernel` compiled for `level`, which this CPU has: a backend is only opened with such a level, and nothing outside of the
/// backend reaches this function.
#[inline]
pub(super) fn dispatch<K: Kernel>(level: Level, kernel: K) {
    // SAFETY: a backend is only opened with a level for which `is_available` answered yes.
    unsafe {
        match level {
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => run_avx2(kernel),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => run_avx512(kernel),
            #[cfg(target_arch = "x86_64")]
            Level::Amx => run_amx(kernel),
            _ => kernel.run::<F32x4>(),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn run_avx2<K: Kernel>(kernel: K) {
    // SAFETY: this function has the features of the lanes.
    unsafe { kernel.run::<x86::F32x8>() }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f")]
fn run_avx512<K: Kernel>(kernel: K) {
    // SAFETY: this function has the features of the lanes.
    unsafe { kernel.run::<x86::F32x16<false>>() }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]
fn run_amx<K: Kernel>(kernel: K) {
    // SAFETY: this function has the features of the lanes.
    unsafe { kernel.run::<x86::F32x16<true>>() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn forcing_a_level() {
        assert_eq!(Level::parse("portable").unwrap(), Level::Portable);
        assert_eq!(Level::parse("sse9").unwrap_err().kind(), ErrorKind::Usage);
        for level in Level::ALL {
            match Level::parse(level.name()) {
                Ok(parsed) => assert!(parsed == level && level.is_available()),
                Err(error) => assert!(!level.is_available() && error.kind() == ErrorKind::Device, "{error}"),
            }
        }
    }

    /// NaN and signed zeros behave alike at every level, in vectors and in tails.
    struct Edges<'a>(&'a mut [[f32; 16]; 2]);

    impl Kernel for Edges<'_> {
        #[inline(always)]
        unsafe fn run<L: Lanes>(self) {
            let mut x = [f32::NAN; 16];
            x[..8].copy_from_slice(&[-1.0, 2.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0, 1e-40]);
            for i in (0..16).step_by(L::N) {
                // SAFETY: sixteen floats are a multiple of every N.
                unsafe {
                    let lanes = L::load(x.as_ptr().add(i));
                    lanes.relu().store(self.0[0].as_mut_ptr().add(i));
                    L::splat(3.0).where_positive(lanes).store(self.0[1].as_mut_ptr().add(i));
                }
            }
        }
    }

    /// Interleaves two rows of 32 numbers.
    struct Interleaved<'a>([&'a [f32; 32]; 2], &'a mut [bf16; 64]);

    impl Kernel for Interleaved<'_> {
        #[inline(always)]
        unsafe fn run<L: Lanes>(self) {
            let [a, b] = self.0;
            // SAFETY: 32 numbers each, and room for all.
            unsafe { L::interleave_rounded(a.as_ptr(), b.as_ptr(), self.1.as_mut_ptr()) };
        }
    }

    /// To the nearest, ties to even, at every level.
    #[test]
    fn rows_are_rounded_as_they_are_interleaved() {
        let edges = [0.0, -0.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, f32::MIN_POSITIVE];
        let ties = [0x3f80_8000, 0x3f81_8000, 0x3f80_8001, 0x3f80_7fff, 0xbf80_8000, 0xbf81_8000, 0x7f7f_8000, 0x0080_8000];
        let mut rows = [[0.0f32; 32]; 2];
        for i in 0..32 {
            rows[0][i] = if i < 8 { edges[i] } else { f32::from_bits(ties[i % 8]) * (1 + i / 8) as f32 };
            rows[1][i] = if i < 8 { f32::from_bits(ties[i]) } else { edges[i % 8] };
        }
        for level in Level::ALL.into_iter().filter(|l| l.is_available()) {
            let mut found = [bf16::ONE; 64];
            dispatch(level, Interleaved([&rows[0], &rows[1]], &mut found));
            for (i, found) in found.iter().enumerate() {
                let expected = bf16::narrow(rows[i % 2][i / 2]);
                let same = found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan());
                assert!(same, "{level:?}: {} of {:?}", found, rows[i % 2][i / 2]);
            }
        }
    }

    #[test]
    fn levels_agree_on_edge_values() {
        let bits = |found: [[f32; 16]; 2]| found.map(|row| row.map(f32::to_bits));
        let mut scalar = [[0.0; 16]; 2];
        // SAFETY: plain floats run on every CPU.
        unsafe { Edges(&mut scalar).run::<f32>() };
        assert_eq!(scalar[1][..8], [0.0, 3.0, 0.0, 3.0, 0.0, 0.0, 0.0, 3.0]);
        assert!(scalar[0][2].is_nan() && scalar[0][4] == 0.0);
        for level in Level::ALL.into_iter().filter(|l| l.is_available()) {
            let mut found = [[0.0; 16]; 2];
            dispatch(level, Edges(&mut found));
            assert_eq!(bits(found), bits(scalar), "{level:?}");
        }
    }
}
