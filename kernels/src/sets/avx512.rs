//! AVX-512: 16 lanes, 32 registers.
#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m256bh, __m256i, __m512, __m512bh, __m512i, __mmask16, _MM_FROUND_NO_EXC,
    _MM_FROUND_TO_NEAREST_INT, _MM_HINT_T0, _mm_prefetch, _mm_storeu_si128, _mm256_storeu_si256,
    _mm512_abs_ps, _mm512_add_epi32, _mm512_add_ps, _mm512_and_si512, _mm512_castps_si512,
    _mm512_castsi512_ps, _mm512_cvtepi32_epi8, _mm512_cvtepi32_ps, _mm512_cvtneps_pbh,
    _mm512_cvtps_epi32, _mm512_div_ps, _mm512_dpbf16_ps, _mm512_dpbusd_epi32, _mm512_fmadd_ps,
    _mm512_loadu_ps, _mm512_loadu_si512, _mm512_mask_storeu_epi32, _mm512_mask_storeu_ps,
    _mm512_maskz_loadu_ps, _mm512_max_ps, _mm512_min_ps, _mm512_mul_ps, _mm512_reduce_add_ps,
    _mm512_reduce_max_ps, _mm512_roundscale_ps, _mm512_scalef_ps, _mm512_set1_epi32,
    _mm512_set1_ps, _mm512_setzero_si512, _mm512_shuffle_i32x4, _mm512_storeu_ps, _mm512_sub_epi32,
    _mm512_sub_ps, _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi32,
    _mm512_unpacklo_epi64, _mm512_xor_si512,
};
use std::mem::transmute;

use crate::contract::product::Product;
use crate::contract::vector::{Vector, operators};
use crate::format::Format;

/// `vdpbf16ps`.
pub(crate) struct Bf16;

impl Product for Bf16 {
    type Register = F32x16;
    const FORMAT: Format = Format::Bf16;

    #[inline(always)]
    unsafe fn encode(values: F32x16, to: *mut u32) {
        // SAFETY: 8 steps; the same 256 bits.
        unsafe {
            let pairs = transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(values.0));
            _mm256_storeu_si256(to.cast(), pairs);
        }
    }

    #[inline(always)]
    unsafe fn dot(sum: F32x16, activations: F32x16, weights: F32x16) -> F32x16 {
        // SAFETY: the same 512 bits.
        unsafe {
            let pairs = |x: F32x16| transmute::<__m512, __m512bh>(x.0);
            F32x16(_mm512_dpbf16_ps(sum.0, pairs(activations), pairs(weights)))
        }
    }
}

/// `vpdpbusd`.
pub(crate) struct Int8;

impl Product for Int8 {
    type Register = F32x16;
    const FORMAT: Format = Format::Int8;
    const IS_UNSIGNED: bool = true;

    #[inline(always)]
    unsafe fn encode(values: F32x16, to: *mut u32) {
        // SAFETY: 4 steps.
        unsafe {
            let whole = _mm512_add_epi32(_mm512_cvtps_epi32(values.0), _mm512_set1_epi32(128));
            _mm_storeu_si128(to.cast(), _mm512_cvtepi32_epi8(whole));
        }
    }

    #[inline(always)]
    unsafe fn dot(sum: F32x16, activations: F32x16, weights: F32x16) -> F32x16 {
        // SAFETY: as of this function.
        unsafe {
            let (activations, weights) = (activations.bits(), weights.bits());
            F32x16::of_bits(_mm512_dpbusd_epi32(sum.bits(), activations, weights))
        }
    }
}

#[derive(Clone, Copy)]
pub(crate) struct F32x16(__m512);

impl F32x16 {
    #[inline(always)]
    fn bits(self) -> __m512i {
        // SAFETY: `self` proves the instructions.
        unsafe { _mm512_castps_si512(self.0) }
    }

    /// SAFETY: the machine has the instructions.
    #[inline(always)]
    unsafe fn of_bits(bits: __m512i) -> Self {
        // SAFETY: as of this function.
        Self(unsafe { _mm512_castsi512_ps(bits) })
    }
}

operators!(F32x16: Add add _mm512_add_ps, Sub sub _mm512_sub_ps, Mul mul _mm512_mul_ps, Div div _mm512_div_ps);

impl Vector for F32x16 {
    const LANES: usize = 16;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: the caller vouches for the instructions.
        Self(unsafe { _mm512_set1_ps(value) })
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller vouches for the instructions, and for `LANES` values there.
        Self(unsafe { _mm512_loadu_ps(from) })
    }

    #[inline(always)]
    unsafe fn load_first(count: usize, from: *const f32) -> Self {
        // SAFETY: the caller vouches for the instructions and `count` values; the mask leaves out the rest.
        Self(unsafe { _mm512_maskz_loadu_ps(mask(count), from) })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: `self` proves the instructions; the caller vouches for room for `LANES` values.
        unsafe { _mm512_storeu_ps(to, self.0) }
    }

    #[inline(always)]
    unsafe fn store_first(self, count: usize, to: *mut f32) {
        // SAFETY: `self` proves the instructions; the mask leaves out what lies beyond the caller's `count`.
        unsafe { _mm512_mask_storeu_ps(to, mask(count), self.0) }
    }

    #[inline(always)]
    fn prefetch(from: *const f32) {
        // SAFETY: every x86-64 CPU has the instruction; it may be given any address, and changes nothing that a program sees.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) }
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, summand: Self) -> Self {
        // SAFETY: `self` proves the instructions.
        Self(unsafe { _mm512_fmadd_ps(self.0, factor.0, summand.0) })
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        // SAFETY: `self` proves the instructions.
        Self(unsafe { _mm512_max_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        // SAFETY: `self` proves the instructions.
        Self(unsafe { _mm512_min_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn abs(self) -> Self {
        // SAFETY: `self` proves the instructions.
        Self(unsafe { _mm512_abs_ps(self.0) })
    }

    #[inline(always)]
    fn round(self) -> Self {
        const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
        // SAFETY: `self` proves the instructions.
        Self(unsafe { _mm512_roundscale_ps::<NEAREST>(self.0) })
    }

    #[inline(always)]
    fn scale(self, n: Self) -> Self {
        // SAFETY: `self` proves the instructions.
        Self(unsafe { _mm512_scalef_ps(self.0, n.0) })
    }

    #[inline(always)]
    fn negate_by(self, sign: Self) -> Self {
        // SAFETY: `self` proves the instructions.
        unsafe {
            let sign = _mm512_and_si512(sign.bits(), _mm512_set1_epi32(i32::MIN));
            Self::of_bits(_mm512_xor_si512(self.bits(), sign))
        }
    }

    #[inline(always)]
    fn sub_i32(self, other: Self) -> Self {
        // SAFETY: `self` proves the instructions.
        unsafe { Self::of_bits(_mm512_sub_epi32(self.bits(), other.bits())) }
    }

    #[inline(always)]
    fn to_f32(self) -> Self {
        // SAFETY: `self` proves the instructions.
        Self(unsafe { _mm512_cvtepi32_ps(self.bits()) })
    }

    #[inline(always)]
    unsafe fn store_transposed(rows: &[[u32; 16]], to: *mut u32, stride: usize) {
        // SAFETY: the caller vouches for the instructions and the room; a row is one register, and the mask leaves out
        // columns beyond `rows`.
        unsafe {
            let mut a = [_mm512_setzero_si512(); 16];
            for (a, row) in a.iter_mut().zip(rows) {
                *a = _mm512_loadu_si512(row.as_ptr().cast());
            }
            // Twice as large squares each time: 32, 64, 128 and 256 bits.
            let mut b = a;
            for i in 0..8 {
                b[2 * i] = _mm512_unpacklo_epi32(a[2 * i], a[2 * i + 1]);
                b[2 * i + 1] = _mm512_unpackhi_epi32(a[2 * i], a[2 * i + 1]);
            }
            for i in (0..16).step_by(4) {
                a[i] = _mm512_unpacklo_epi64(b[i], b[i + 2]);
                a[i + 1] = _mm512_unpackhi_epi64(b[i], b[i + 2]);
                a[i + 2] = _mm512_unpacklo_epi64(b[i + 1], b[i + 3]);
                a[i + 3] = _mm512_unpackhi_epi64(b[i + 1], b[i + 3]);
            }
            for i in 0..4 {
                b[i] = _mm512_shuffle_i32x4::<0x88>(a[i], a[4 + i]);
                b[4 + i] = _mm512_shuffle_i32x4::<0x88>(a[8 + i], a[12 + i]);
                b[8 + i] = _mm512_shuffle_i32x4::<0xdd>(a[i], a[4 + i]);
                b[12 + i] = _mm512_shuffle_i32x4::<0xdd>(a[8 + i], a[12 + i]);
            }
            for i in 0..4 {
                a[i] = _mm512_shuffle_i32x4::<0x88>(b[i], b[4 + i]);
                a[8 + i] = _mm512_shuffle_i32x4::<0xdd>(b[i], b[4 + i]);
                a[4 + i] = _mm512_shuffle_i32x4::<0x88>(b[8 + i], b[12 + i]);
                a[12 + i] = _mm512_shuffle_i32x4::<0xdd>(b[8 + i], b[12 + i]);
            }
            for (s, column) in a.into_iter().enumerate() {
                let to = to.add(s * stride).cast();
                _mm512_mask_storeu_epi32(to, mask(rows.len()), column);
            }
        }
    }

    #[inline(always)]
    fn sum(self) -> f32 {
        // SAFETY: `self` proves the instructions.
        unsafe { _mm512_reduce_add_ps(self.0) }
    }

    #[inline(always)]
    fn largest(self) -> f32 {
        // SAFETY: `self` proves the instructions.
        unsafe { _mm512_reduce_max_ps(self.0) }
    }
}

#[inline(always)]
fn mask(count: usize) -> __mmask16 {
    ((1u32 << count.min(16)) - 1) as __mmask16
}
