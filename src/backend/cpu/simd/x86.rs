//! Vectors of x86-64.
//!
//! The methods' bodies are unsafe as a whole: the intrinsics need the CPU features that the caller of each method has promised, and
//! loads and stores the floats that the caller of [`Lanes::load`] and [`Lanes::store`] has promised.
#![allow(unsafe_op_in_unsafe_fn)]

use super::Lanes;
use core::arch::x86_64::*;

/// Eight floats: AVX2 with FMA.
#[derive(Clone, Copy)]
pub struct F32x8(__m256);

/// Sixteen floats: AVX-512F.
#[derive(Clone, Copy)]
pub struct F32x16(__m512);

// SAFETY: the caller has AVX2 and FMA; loads and stores are unaligned ones of eight floats.
unsafe impl Lanes for F32x8 {
    const N: usize = 8;
    const TILE_ROWS: usize = 6;

    #[inline(always)]
    unsafe fn load(at: *const f32) -> Self {
        F32x8(_mm256_loadu_ps(at))
    }
    #[inline(always)]
    unsafe fn store(self, at: *mut f32) {
        _mm256_storeu_ps(at, self.0)
    }
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        F32x8(_mm256_set1_ps(x))
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        F32x8(_mm256_add_ps(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        F32x8(_mm256_sub_ps(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        F32x8(_mm256_mul_ps(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        F32x8(_mm256_div_ps(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn sqrt(self) -> Self {
        F32x8(_mm256_sqrt_ps(self.0))
    }
    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, addend: Self) -> Self {
        F32x8(_mm256_fmadd_ps(self.0, factor.0, addend.0))
    }
    #[inline(always)]
    unsafe fn relu(self) -> Self {
        // maxps answers its second operand when one is NaN.
        F32x8(_mm256_max_ps(_mm256_setzero_ps(), self.0))
    }
    #[inline(always)]
    unsafe fn where_positive(self, gate: Self) -> Self {
        F32x8(_mm256_and_ps(self.0, _mm256_cmp_ps::<_CMP_GT_OQ>(gate.0, _mm256_setzero_ps())))
    }
}

// SAFETY: the caller has AVX-512F; loads and stores are unaligned ones of sixteen floats.
unsafe impl Lanes for F32x16 {
    const N: usize = 16;
    const TILE_ROWS: usize = 12;

    #[inline(always)]
    unsafe fn load(at: *const f32) -> Self {
        F32x16(_mm512_loadu_ps(at))
    }
    #[inline(always)]
    unsafe fn store(self, at: *mut f32) {
        _mm512_storeu_ps(at, self.0)
    }
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        F32x16(_mm512_set1_ps(x))
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        F32x16(_mm512_add_ps(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        F32x16(_mm512_sub_ps(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        F32x16(_mm512_mul_ps(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        F32x16(_mm512_div_ps(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn sqrt(self) -> Self {
        F32x16(_mm512_sqrt_ps(self.0))
    }
    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, addend: Self) -> Self {
        F32x16(_mm512_fmadd_ps(self.0, factor.0, addend.0))
    }
    #[inline(always)]
    unsafe fn relu(self) -> Self {
        F32x16(_mm512_max_ps(_mm512_setzero_ps(), self.0))
    }
    #[inline(always)]
    unsafe fn where_positive(self, gate: Self) -> Self {
        F32x16(_mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(gate.0, _mm512_setzero_ps()), self.0))
    }
}
