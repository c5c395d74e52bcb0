//! Vectors of x86-64.
//!
//! The methods' bodies are unsafe as a whole: the intrinsics need the CPU features that the caller of each method has promised, and
//! loads and stores the floats that the caller of [`Lanes::load`] and [`Lanes::store`] has promised.
#![allow(unsafe_op_in_unsafe_fn)]

use super::{Lanes, transpose_by_words};
use core::arch::x86_64::*;
use half::bf16;

/// Eight floats: AVX2 with FMA.
#[derive(Clone, Copy)]
pub struct F32x8(__m256);

/// Sixteen floats: AVX-512F, and AVX512_BF16 with the rest of its family if `BF16`.
#[derive(Clone, Copy)]
pub struct F32x16<const BF16: bool>(__m512);

/// Whether the CPU has AMX with bf16 and the AVX-512 that goes with it, and the operating system lets this process use them.
pub fn has_amx() -> bool {
    static ANSWER: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *ANSWER.get_or_init(|| {
        // Intel 64 and IA-32 Architectures Software Developer's Manual, CPUID leaf 7: EDX bit 22 AMX-BF16, bit 24 AMX-TILE.
        // Every CPU with AVX-512, which is asked first, has this leaf.
        let has_tiles = || __cpuid_count(7, 0).edx & (1 << 22 | 1 << 24) == 1 << 22 | 1 << 24;
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512bf16")
            && has_tiles()
            && may_use_tiles()
    })
}

/// Asks Linux for the tiles' registers, which it grants to a process with all of its threads.
#[cfg(target_os = "linux")]
fn may_use_tiles() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_long = 18;
    // SAFETY: a system call that takes two numbers and touches no memory of ours.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn may_use_tiles() -> bool {
    false
}

/// 16 x 16 words transposed: pairs of rows, pairs of pairs, then quarters of vectors.
#[inline(always)]
unsafe fn transpose(rows: [__m512i; 16]) -> [__m512i; 16] {
    let (mut twos, mut fours) = (rows, rows);
    for i in 0..8 {
        twos[2 * i] = _mm512_unpacklo_epi32(rows[2 * i], rows[2 * i + 1]);
        twos[2 * i + 1] = _mm512_unpackhi_epi32(rows[2 * i], rows[2 * i + 1]);
    }
    for i in 0..4 {
        // fours[4 i + k] has columns k, k + 4, k + 8, k + 12 of rows 4 i to 4 i + 3.
        fours[4 * i] = _mm512_unpacklo_epi64(twos[4 * i], twos[4 * i + 2]);
        fours[4 * i + 1] = _mm512_unpackhi_epi64(twos[4 * i], twos[4 * i + 2]);
        fours[4 * i + 2] = _mm512_unpacklo_epi64(twos[4 * i + 1], twos[4 * i + 3]);
        fours[4 * i + 3] = _mm512_unpackhi_epi64(twos[4 * i + 1], twos[4 * i + 3]);
    }
    let mut columns = rows;
    for k in 0..4 {
        let low = _mm512_shuffle_i32x4::<0x88>(fours[k], fours[4 + k]);
        let high = _mm512_shuffle_i32x4::<0xdd>(fours[k], fours[4 + k]);
        let low_too = _mm512_shuffle_i32x4::<0x88>(fours[8 + k], fours[12 + k]);
        let high_too = _mm512_shuffle_i32x4::<0xdd>(fours[8 + k], fours[12 + k]);
        columns[k] = _mm512_shuffle_i32x4::<0x88>(low, low_too);
        columns[4 + k] = _mm512_shuffle_i32x4::<0x88>(high, high_too);
        columns[8 + k] = _mm512_shuffle_i32x4::<0xdd>(low, low_too);
        columns[12 + k] = _mm512_shuffle_i32x4::<0xdd>(high, high_too);
    }
    columns
}

/// Eight columns of 32 rows of bf16, each column a vector. Lanes of 128 bits are put together by loads, so that what is left are
/// transposes of 8 x 8 within lanes.
#[inline(always)]
unsafe fn columns_of_bf16(from: *const bf16, pitch: usize) -> [__m512i; 8] {
    let mut rows = [_mm512_setzero_si512(); 8];
    for (i, row) in rows.iter_mut().enumerate() {
        let from = from.add(i * pitch);
        *row = _mm512_castsi128_si512(_mm_loadu_si128(from.cast()));
        *row = _mm512_inserti32x4::<1>(*row, _mm_loadu_si128(from.add(8 * pitch).cast()));
        *row = _mm512_inserti32x4::<2>(*row, _mm_loadu_si128(from.add(16 * pitch).cast()));
        *row = _mm512_inserti32x4::<3>(*row, _mm_loadu_si128(from.add(24 * pitch).cast()));
    }
    let (mut twos, mut fours, mut columns) = (rows, rows, rows);
    for i in 0..4 {
        twos[2 * i] = _mm512_unpacklo_epi16(rows[2 * i], rows[2 * i + 1]);
        twos[2 * i + 1] = _mm512_unpackhi_epi16(rows[2 * i], rows[2 * i + 1]);
    }
    for i in 0..2 {
        // fours[4 i + k] has columns 2 k and 2 k + 1 of rows 4 i to 4 i + 3.
        fours[4 * i] = _mm512_unpacklo_epi32(twos[4 * i], twos[4 * i + 2]);
        fours[4 * i + 1] = _mm512_unpackhi_epi32(twos[4 * i], twos[4 * i + 2]);
        fours[4 * i + 2] = _mm512_unpacklo_epi32(twos[4 * i + 1], twos[4 * i + 3]);
        fours[4 * i + 3] = _mm512_unpackhi_epi32(twos[4 * i + 1], twos[4 * i + 3]);
    }
    for k in 0..4 {
        columns[2 * k] = _mm512_unpacklo_epi64(fours[k], fours[4 + k]);
        columns[2 * k + 1] = _mm512_unpackhi_epi64(fours[k], fours[4 + k]);
    }
    columns
}

impl F32x8 {
    /// As bf16.
    #[inline(always)]
    unsafe fn rounded(self) -> __m128i {
        let bits = _mm256_castps_si256(self.0);
        let upper = _mm256_srli_epi32::<16>(bits);
        let half_up = _mm256_add_epi32(_mm256_and_si256(upper, _mm256_set1_epi32(1)), _mm256_set1_epi32(0x7fff));
        let rounded = _mm256_srli_epi32::<16>(_mm256_add_epi32(bits, half_up));
        let quiet = _mm256_or_si256(upper, _mm256_set1_epi32(0x40));
        let is_nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(self.0, self.0));
        let narrow = _mm256_blendv_epi8(rounded, quiet, is_nan);
        let packed = _mm256_permute4x64_epi64::<0b1000>(_mm256_packus_epi32(narrow, narrow));
        _mm256_castsi256_si128(packed)
    }
}

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
    unsafe fn load_bf16(at: *const bf16) -> Self {
        let wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(at.cast()));
        F32x8(_mm256_castsi256_ps(_mm256_slli_epi32::<16>(wide)))
    }
    #[inline(always)]
    unsafe fn store_bf16(self, at: *mut bf16) {
        _mm_storeu_si128(at.cast(), self.rounded())
    }
    #[inline(always)]
    unsafe fn store_nontemporal(self, at: *mut f32) {
        _mm256_stream_ps(at, self.0)
    }
    #[inline(always)]
    unsafe fn store_bf16_nontemporal(self, at: *mut bf16) {
        _mm_stream_si128(at.cast(), self.rounded())
    }
    #[inline(always)]
    unsafe fn fence() {
        _mm_sfence()
    }
    #[inline(always)]
    unsafe fn load_bf16_pairs(at: *const bf16) -> [Self; 2] {
        let pairs = _mm256_loadu_si256(at.cast());
        let second = _mm256_and_si256(pairs, _mm256_set1_epi32(0xffff_0000_u32 as i32));
        [_mm256_slli_epi32::<16>(pairs), second].map(|bits| F32x8(_mm256_castsi256_ps(bits)))
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

impl<const BF16: bool> F32x16<BF16> {
    /// As bf16.
    #[inline(always)]
    unsafe fn rounded(self) -> __m256i {
        let bits = _mm512_castps_si512(self.0);
        let upper = _mm512_srli_epi32::<16>(bits);
        let half_up = _mm512_add_epi32(_mm512_and_si512(upper, _mm512_set1_epi32(1)), _mm512_set1_epi32(0x7fff));
        let rounded = _mm512_srli_epi32::<16>(_mm512_add_epi32(bits, half_up));
        let is_nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(self.0, self.0);
        let narrow = _mm512_mask_or_epi32(rounded, is_nan, upper, _mm512_set1_epi32(0x40));
        _mm512_cvtepi32_epi16(narrow)
    }
}

// SAFETY: the caller has AVX-512F, and AVX512_BF16 if that is said; loads and stores are unaligned ones of sixteen floats.
unsafe impl<const BF16: bool> Lanes for F32x16<BF16> {
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
    unsafe fn load_bf16(at: *const bf16) -> Self {
        let wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(at.cast()));
        F32x16(_mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide)))
    }
    #[inline(always)]
    unsafe fn store_bf16(self, at: *mut bf16) {
        _mm256_storeu_si256(at.cast(), self.rounded())
    }
    #[inline(always)]
    unsafe fn store_two_bf16(self, second: Self, at: *mut bf16) {
        if BF16 {
            let both = _mm512_cvtne2ps_pbh(second.0, self.0);
            _mm512_storeu_si512(at.cast(), std::mem::transmute::<__m512bh, __m512i>(both));
        } else {
            self.store_bf16(at);
            second.store_bf16(at.add(16));
        }
    }
    #[inline(always)]
    unsafe fn store_nontemporal(self, at: *mut f32) {
        _mm512_stream_ps(at, self.0)
    }
    #[inline(always)]
    unsafe fn store_bf16_nontemporal(self, at: *mut bf16) {
        _mm256_stream_si256(at.cast(), self.rounded())
    }
    #[inline(always)]
    unsafe fn fence() {
        _mm_sfence()
    }
    #[inline(always)]
    unsafe fn load_bf16_pairs(at: *const bf16) -> [Self; 2] {
        let pairs = _mm512_loadu_si512(at.cast());
        let second = _mm512_and_si512(pairs, _mm512_set1_epi32(0xffff_0000_u32 as i32));
        [_mm512_slli_epi32::<16>(pairs), second].map(|bits| F32x16(_mm512_castsi512_ps(bits)))
    }
    #[inline(always)]
    unsafe fn interleave(a: *const bf16, b: *const bf16, out: *mut bf16) {
        for half in 0..2 {
            let [a, b] = [a, b].map(|x| _mm512_cvtepu16_epi32(_mm256_loadu_si256(x.add(16 * half).cast())));
            _mm512_storeu_si512(out.add(32 * half).cast(), _mm512_or_si512(a, _mm512_slli_epi32::<16>(b)));
        }
    }
    #[inline(always)]
    unsafe fn interleave_rounded(a: *const f32, b: *const f32, out: *mut bf16) {
        for half in 0..2 {
            let (a, b) = (_mm512_loadu_ps(a.add(16 * half)), _mm512_loadu_ps(b.add(16 * half)));
            let words = if BF16 {
                std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(b, a))
            } else {
                let mut both = [bf16::ZERO; 32];
                F32x16::<BF16>(a).store_bf16(both.as_mut_ptr());
                F32x16::<BF16>(b).store_bf16(both.as_mut_ptr().add(16));
                _mm512_loadu_si512(both.as_ptr().cast())
            };
            let a = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(words));
            let b = _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64::<1>(words));
            _mm512_storeu_si512(out.add(32 * half).cast(), _mm512_or_si512(a, _mm512_slli_epi32::<16>(b)));
        }
    }
    #[inline(always)]
    unsafe fn transpose_words(from: *const u32, pitch: usize, out: *mut u32, pitch_out: usize) {
        let mut rows = [_mm512_setzero_si512(); 16];
        for (i, row) in rows.iter_mut().enumerate() {
            *row = _mm512_loadu_si512(from.byte_add(4 * i * pitch).cast());
        }
        for (j, column) in transpose(rows).into_iter().enumerate() {
            _mm512_storeu_si512(out.byte_add(4 * j * pitch_out).cast(), column);
        }
    }
    #[inline(always)]
    unsafe fn transpose_bf16(from: *const bf16, pitch: usize, out: *mut bf16) {
        if BF16 {
            for group in 0..4 {
                for (j, column) in columns_of_bf16(from.add(8 * group), pitch).into_iter().enumerate() {
                    _mm512_storeu_si512(out.add(32 * (8 * group + j)).cast(), column);
                }
            }
        } else {
            transpose_by_words::<Self>(from, pitch, out);
        }
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
