//! The types in which images lie in memory: f32, or bf16, which is widened when loaded and rounded when stored.

use super::Lanes;
use crate::tape::DType;
use half::bf16;

/// A number of an image.
pub trait Stored: bytemuck::Pod + Send + Sync {
    const TYPE: DType;

    /// # Safety
    /// As [`Lanes::load`].
    unsafe fn load<L: Lanes>(at: *const Self) -> L;

    /// # Safety
    /// As [`Lanes::store`].
    unsafe fn store<L: Lanes>(value: L, at: *mut Self);

    /// # Safety
    /// As [`Lanes::store_nontemporal`].
    unsafe fn store_nontemporal<L: Lanes>(value: L, at: *mut Self);

    fn widen(self) -> f32;

    /// Rounded as [`Lanes::store_bf16`] does.
    fn narrow(value: f32) -> Self;

    /// The reverse of [`Stored::widen`].
    fn of_widened(value: f32) -> Self;
}

impl Stored for f32 {
    const TYPE: DType = DType::F32;

    #[inline(always)]
    unsafe fn load<L: Lanes>(at: *const f32) -> L {
        // SAFETY: passed on.
        unsafe { L::load(at) }
    }
    #[inline(always)]
    unsafe fn store<L: Lanes>(value: L, at: *mut f32) {
        // SAFETY: passed on.
        unsafe { value.store(at) }
    }
    #[inline(always)]
    unsafe fn store_nontemporal<L: Lanes>(value: L, at: *mut f32) {
        // SAFETY: passed on.
        unsafe { value.store_nontemporal(at) }
    }
    #[inline(always)]
    fn widen(self) -> f32 {
        self
    }
    #[inline(always)]
    fn narrow(value: f32) -> f32 {
        value
    }
    #[inline(always)]
    fn of_widened(value: f32) -> f32 {
        value
    }
}

impl Stored for bf16 {
    const TYPE: DType = DType::Bf16;

    #[inline(always)]
    unsafe fn load<L: Lanes>(at: *const bf16) -> L {
        // SAFETY: passed on.
        unsafe { L::load_bf16(at) }
    }
    #[inline(always)]
    unsafe fn store<L: Lanes>(value: L, at: *mut bf16) {
        // SAFETY: passed on.
        unsafe { value.store_bf16(at) }
    }
    #[inline(always)]
    unsafe fn store_nontemporal<L: Lanes>(value: L, at: *mut bf16) {
        // SAFETY: passed on.
        unsafe { value.store_bf16_nontemporal(at) }
    }
    #[inline(always)]
    fn widen(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }
    #[inline(always)]
    fn narrow(value: f32) -> bf16 {
        let bits = value.to_bits();
        let upper = bits >> 16;
        let rounded = bits.wrapping_add(0x7fff + (upper & 1)) >> 16;
        bf16::from_bits(if value.is_nan() { upper | 0x40 } else { rounded } as u16)
    }
    #[inline(always)]
    fn of_widened(value: f32) -> bf16 {
        bf16::from_bits((value.to_bits() >> 16) as u16)
    }
}
