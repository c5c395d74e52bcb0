//! Asking for memory before it is needed.

/// Asks for the cache line at `at` to be fetched; nothing has to be there.
#[inline(always)]
pub fn prefetch<T>(at: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: part of every x86-64 processor, and without effect on what a program computes.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// As [`prefetch`], of a line that will be written to, so that no other core keeps it.
#[inline(always)]
pub fn prefetch_to_write<T>(at: *mut T) {
    #[cfg(target_arch = "x86_64")]
    // The intrinsic makes a prefetch for reading of it where the compiler does not know that this instruction is there. Intel's have it
    // since 2014 and AMD's longer; before, it does nothing.
    // SAFETY: without effect on what a program computes.
    unsafe {
        std::arch::asm!("prefetchw [{}]", in(reg) at.addr(), options(nostack, preserves_flags, nomem));
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}
