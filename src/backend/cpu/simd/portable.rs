//! Vectors in plain Rust.
//!
//! The methods' bodies are unsafe as a whole: what they read and write is what the caller of [`Lanes::load`] and [`Lanes::store`] has
//! promised to be there; everything else is safe arithmetic.
#![allow(unsafe_op_in_unsafe_fn)]

use super::{Lanes, Stored};
use half::bf16;

/// One float: the tail of a row that fills no vector.
// SAFETY: plain Rust, and one float is read and written.
unsafe impl Lanes for f32 {
    const N: usize = 1;
    const TILE_ROWS: usize = 4;

    #[inline(always)]
    unsafe fn load(at: *const f32) -> Self {
        at.read()
    }
    #[inline(always)]
    unsafe fn store(self, at: *mut f32) {
        at.write(self)
    }
    #[inline(always)]
    unsafe fn load_bf16(at: *const bf16) -> Self {
        at.read().widen()
    }
    #[inline(always)]
    unsafe fn store_bf16(self, at: *mut bf16) {
        at.write(bf16::narrow(self))
    }
    #[inline(always)]
    unsafe fn load_bf16_pairs(at: *const bf16) -> [Self; 2] {
        [at.read().widen(), at.add(1).read().widen()]
    }
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        x
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        self + other
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        self - other
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        self * other
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        self / other
    }
    #[inline(always)]
    unsafe fn sqrt(self) -> Self {
        f32::sqrt(self)
    }
    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, addend: Self) -> Self {
        self * factor + addend
    }
    #[inline(always)]
    unsafe fn relu(self) -> Self {
        if self < 0.0 { 0.0 } else { self }
    }
    #[inline(always)]
    unsafe fn where_positive(self, gate: Self) -> Self {
        if gate > 0.0 { self } else { 0.0 }
    }
}

/// Four floats in plain Rust: the portable level.
#[derive(Clone, Copy)]
pub struct F32x4([f32; 4]);

impl F32x4 {
    #[inline(always)]
    fn zip(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        let (a, b) = (self.0, other.0);
        F32x4([f(a[0], b[0]), f(a[1], b[1]), f(a[2], b[2]), f(a[3], b[3])])
    }
}

// SAFETY: plain Rust, and four floats are read and written.
unsafe impl Lanes for F32x4 {
    const N: usize = 4;
    const TILE_ROWS: usize = 4;

    #[inline(always)]
    unsafe fn load(at: *const f32) -> Self {
        F32x4(at.cast::<[f32; 4]>().read_unaligned())
    }
    #[inline(always)]
    unsafe fn store(self, at: *mut f32) {
        at.cast::<[f32; 4]>().write_unaligned(self.0)
    }
    #[inline(always)]
    unsafe fn load_bf16(at: *const bf16) -> Self {
        F32x4(at.cast::<[bf16; 4]>().read_unaligned().map(bf16::widen))
    }
    #[inline(always)]
    unsafe fn store_bf16(self, at: *mut bf16) {
        at.cast::<[bf16; 4]>().write_unaligned(self.0.map(bf16::narrow))
    }
    #[inline(always)]
    unsafe fn load_bf16_pairs(at: *const bf16) -> [Self; 2] {
        let pairs = at.cast::<[[bf16; 2]; 4]>().read_unaligned();
        [F32x4(pairs.map(|[first, _]| first.widen())), F32x4(pairs.map(|[_, second]| second.widen()))]
    }
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        F32x4([x; 4])
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        self.zip(other, |a, b| a - b)
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        self.zip(other, |a, b| a * b)
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        self.zip(other, |a, b| a / b)
    }
    #[inline(always)]
    unsafe fn sqrt(self) -> Self {
        F32x4(self.0.map(f32::sqrt))
    }
    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, addend: Self) -> Self {
        let product = self.zip(factor, |a, b| a * b);
        product.zip(addend, |a, b| a + b)
    }
    #[inline(always)]
    unsafe fn relu(self) -> Self {
        F32x4(self.0.map(|a| if a < 0.0 { 0.0 } else { a }))
    }
    #[inline(always)]
    unsafe fn where_positive(self, gate: Self) -> Self {
        self.zip(gate, |a, g| if g > 0.0 { a } else { 0.0 })
    }
}
