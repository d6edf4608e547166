//! AVX2 with FMA: 8 lanes, 16 registers. Also AVX-VNNI, which adds AVX-512's integer products at this width.
#![allow(unsafe_code)]

use std::arch::asm;
use std::arch::x86_64::{
    __m256, __m256i, _MM_FROUND_NO_EXC, _MM_FROUND_TO_NEAREST_INT, _MM_HINT_T0, _mm_add_ps,
    _mm_add_ss, _mm_cvtss_f32, _mm_max_ps, _mm_max_ss, _mm_movehdup_ps, _mm_movehl_ps,
    _mm_prefetch, _mm_storel_epi64, _mm_storeu_si128, _mm256_add_epi32, _mm256_add_ps,
    _mm256_and_ps, _mm256_and_si256, _mm256_andnot_ps, _mm256_castps_si256, _mm256_castps256_ps128,
    _mm256_castsi256_ps, _mm256_castsi256_si128, _mm256_cvtepi32_ps, _mm256_cvtps_epi32,
    _mm256_div_ps, _mm256_dpbusd_avx_epi32, _mm256_extractf128_ps, _mm256_fmadd_ps,
    _mm256_loadu_ps, _mm256_loadu_si256, _mm256_maskload_ps, _mm256_maskstore_ps, _mm256_max_ps,
    _mm256_min_ps, _mm256_mul_ps, _mm256_permute4x64_epi64, _mm256_permutevar8x32_epi32,
    _mm256_round_ps, _mm256_set1_epi32, _mm256_set1_ps, _mm256_setr_epi32, _mm256_shuffle_epi8,
    _mm256_slli_epi16, _mm256_slli_epi32, _mm256_srai_epi16, _mm256_srai_epi32, _mm256_storeu_ps,
    _mm256_sub_epi32, _mm256_sub_ps, _mm256_xor_ps,
};

use crate::contract::product::Product;
use crate::contract::vector::{Vector, operators};
use crate::format::Format;

/// `vfmadd` on weights that are kept in bf16, the upper half of an f32; activations are not rounded.
pub(crate) struct Bf16;

impl Product for Bf16 {
    type Register = F32x8;
    const FORMAT: Format = Format::Bf16;
    const PARTS: usize = 2;

    #[inline(always)]
    unsafe fn encode(values: F32x8, to: *mut u32) {
        // SAFETY: 4 steps of 2 parts.
        unsafe { values.store(to.cast()) }
    }

    #[inline(always)]
    fn part(weights: F32x8, part: usize) -> F32x8 {
        // SAFETY: `weights` proves the instructions.
        unsafe {
            F32x8::of_bits(match part {
                0 => _mm256_slli_epi32::<16>(weights.bits()),
                _ => _mm256_and_si256(weights.bits(), _mm256_set1_epi32(!0xffff)),
            })
        }
    }

    #[inline(always)]
    unsafe fn dot(sum: F32x8, activations: F32x8, weights: F32x8) -> F32x8 {
        activations.mul_add(weights, sum)
    }
}

/// `vpmaddwd`, on i8 widened to i16: its pairs cannot overflow, as those of `vpmaddubsw` can. The first part of a step is
/// its values 0 and 2, the second 1 and 3, since that is how shifts widen them.
pub(crate) struct Int8;

impl Product for Int8 {
    type Register = F32x8;
    const FORMAT: Format = Format::Int8;
    const PARTS: usize = 2;

    #[inline(always)]
    unsafe fn encode(values: F32x8, to: *mut u32) {
        // SAFETY: 2 steps of 2 parts.
        unsafe {
            // In each half the lower 16 bits of its values 0, 2, 1 and 3.
            let order = _mm256_setr_epi32(
                0x0908_0100,
                0x0d0c_0504,
                -1,
                -1,
                0x0908_0100,
                0x0d0c_0504,
                -1,
                -1,
            );
            let whole = _mm256_shuffle_epi8(_mm256_cvtps_epi32(values.0), order);
            let joined = _mm256_permute4x64_epi64::<0b1000>(whole);
            _mm_storeu_si128(to.cast(), _mm256_castsi256_si128(joined));
        }
    }

    #[inline(always)]
    fn part(weights: F32x8, part: usize) -> F32x8 {
        // SAFETY: `weights` proves the instructions.
        unsafe {
            let raised = match part {
                0 => _mm256_slli_epi16::<8>(weights.bits()),
                _ => weights.bits(),
            };
            F32x8::of_bits(_mm256_srai_epi16::<8>(raised))
        }
    }

    #[inline(always)]
    unsafe fn dot(sum: F32x8, activations: F32x8, weights: F32x8) -> F32x8 {
        // SAFETY: as of this function.
        unsafe {
            let (activations, weights) = (activations.bits(), weights.bits());
            F32x8::of_bits(add_products(sum.bits(), activations, weights))
        }
    }
}

/// `sum` and two products of i16 in each lane. Of intrinsics the compiler adds the products of both parts first, for which
/// there are not enough registers.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn add_products(mut sum: __m256i, a: __m256i, b: __m256i) -> __m256i {
    // SAFETY: computes on registers.
    unsafe {
        asm!(
            "vpmaddwd {products}, {a}, {b}",
            "vpaddd {sum}, {sum}, {products}",
            sum = inout(ymm_reg) sum,
            a = in(ymm_reg) a,
            b = in(ymm_reg) b,
            products = lateout(ymm_reg) _,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sum
}

/// AVX-VNNI's `vpdpbusd`.
pub(crate) struct Int8Vnni;

impl Product for Int8Vnni {
    type Register = F32x8;
    const FORMAT: Format = Format::Int8;
    const IS_UNSIGNED: bool = true;

    #[inline(always)]
    unsafe fn encode(values: F32x8, to: *mut u32) {
        // SAFETY: 2 steps.
        unsafe {
            let whole = _mm256_add_epi32(_mm256_cvtps_epi32(values.0), _mm256_set1_epi32(128));
            // In each half the lowest byte of its 4 values.
            let order = _mm256_setr_epi32(0x0c08_0400, -1, -1, -1, 0x0c08_0400, -1, -1, -1);
            let bytes = _mm256_shuffle_epi8(whole, order);
            let joined =
                _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 0, 0, 0, 0, 0, 0));
            _mm_storel_epi64(to.cast(), _mm256_castsi256_si128(joined));
        }
    }

    #[inline(always)]
    unsafe fn dot(sum: F32x8, activations: F32x8, weights: F32x8) -> F32x8 {
        // SAFETY: as of this function.
        unsafe {
            let (activations, weights) = (activations.bits(), weights.bits());
            F32x8::of_bits(_mm256_dpbusd_avx_epi32(sum.bits(), activations, weights))
        }
    }
}

#[derive(Clone, Copy)]
pub(crate) struct F32x8(__m256);

impl F32x8 {
    #[inline(always)]
    fn bits(self) -> __m256i {
        // SAFETY: `self` proves the instructions.
        unsafe { _mm256_castps_si256(self.0) }
    }

    /// SAFETY: the machine has the instructions.
    #[inline(always)]
    unsafe fn of_bits(bits: __m256i) -> Self {
        // SAFETY: as of this function.
        Self(unsafe { _mm256_castsi256_ps(bits) })
    }
}

operators!(F32x8: Add add _mm256_add_ps, Sub sub _mm256_sub_ps, Mul mul _mm256_mul_ps, Div div _mm256_div_ps);

impl Vector for F32x8 {
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: the caller vouches for the instructions.
        Self(unsafe { _mm256_set1_ps(value) })
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller vouches for the instructions, and for `LANES` values there.
        Self(unsafe { _mm256_loadu_ps(from) })
    }

    #[inline(always)]
    unsafe fn load_first(count: usize, from: *const f32) -> Self {
        if count >= Self::LANES {
            // SAFETY: the caller vouches for the instructions and `count` values, which fill all lanes.
            return unsafe { Self::load(from) };
        }
        // SAFETY: the caller vouches for the instructions and `count` values; the mask leaves out the rest.
        Self(unsafe { _mm256_maskload_ps(from, mask(count)) })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: `self` proves the instructions; the caller vouches for room for `LANES` values.
        unsafe { _mm256_storeu_ps(to, self.0) }
    }

    // A masked store takes some CPUs ten times as long.
    #[inline(always)]
    unsafe fn store_first(self, count: usize, to: *mut f32) {
        if count >= Self::LANES {
            // SAFETY: the caller vouches for room for `count` values, which are at least all lanes.
            return unsafe { self.store(to) };
        }
        // SAFETY: `self` proves the instructions; the mask leaves out what lies beyond the caller's `count`.
        unsafe { _mm256_maskstore_ps(to, mask(count), self.0) }
    }

    #[inline(always)]
    fn prefetch(from: *const f32) {
        // SAFETY: every x86-64 CPU has the instruction; it may be given any address, and changes nothing that a program sees.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) }
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, summand: Self) -> Self {
        // SAFETY: `self` proves the instructions.
        Self(unsafe { _mm256_fmadd_ps(self.0, factor.0, summand.0) })
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        // SAFETY: `self` proves the instructions.
        Self(unsafe { _mm256_max_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        // SAFETY: `self` proves the instructions.
        Self(unsafe { _mm256_min_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn abs(self) -> Self {
        // SAFETY: `self` proves the instructions.
        Self(unsafe { _mm256_andnot_ps(_mm256_set1_ps(-0.0), self.0) })
    }

    #[inline(always)]
    fn round(self) -> Self {
        const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
        // SAFETY: `self` proves the instructions.
        Self(unsafe { _mm256_round_ps::<NEAREST>(self.0) })
    }

    // In two halves: 2ⁿ itself may be no normal number.
    #[inline(always)]
    fn scale(self, n: Self) -> Self {
        // SAFETY: `self` proves the instructions.
        unsafe {
            let n = _mm256_cvtps_epi32(n.0);
            let half = _mm256_srai_epi32::<1>(n);
            self * power_of_two(half) * power_of_two(_mm256_sub_epi32(n, half))
        }
    }

    #[inline(always)]
    fn negate_by(self, sign: Self) -> Self {
        // SAFETY: `self` proves the instructions.
        unsafe {
            let sign = _mm256_and_ps(sign.0, _mm256_set1_ps(-0.0));
            Self(_mm256_xor_ps(self.0, sign))
        }
    }

    #[inline(always)]
    fn sub_i32(self, other: Self) -> Self {
        // SAFETY: `self` proves the instructions.
        unsafe { Self::of_bits(_mm256_sub_epi32(self.bits(), other.bits())) }
    }

    #[inline(always)]
    fn to_f32(self) -> Self {
        // SAFETY: `self` proves the instructions.
        Self(unsafe { _mm256_cvtepi32_ps(self.bits()) })
    }

    #[inline(always)]
    fn sum(self) -> f32 {
        // SAFETY: `self` proves the instructions.
        unsafe {
            let (low, high) = (
                _mm256_castps256_ps128(self.0),
                _mm256_extractf128_ps::<1>(self.0),
            );
            let four = _mm_add_ps(low, high);
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        }
    }

    // Lane after lane: another order would round the similarities of an index differently than before.
    #[inline(always)]
    fn sum_of_four(sums: [Self; 4]) -> f32 {
        let mut lanes = [[0f32; Self::LANES]; 4];
        for (lanes, sum) in lanes.iter_mut().zip(sums) {
            // SAFETY: there is room for a register's lanes.
            unsafe { sum.store(lanes.as_mut_ptr()) }
        }
        lanes.as_flattened().iter().sum()
    }

    #[inline(always)]
    fn largest(self) -> f32 {
        // SAFETY: `self` proves the instructions.
        unsafe {
            let (low, high) = (
                _mm256_castps256_ps128(self.0),
                _mm256_extractf128_ps::<1>(self.0),
            );
            let four = _mm_max_ps(low, high);
            let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)))
        }
    }
}

/// 2ⁿ by its bits, of n from −126 to 127.
///
/// SAFETY: the machine has the instructions.
#[inline(always)]
unsafe fn power_of_two(n: __m256i) -> F32x8 {
    // SAFETY: as of this function.
    unsafe {
        let exponent = _mm256_add_epi32(n, _mm256_set1_epi32(127));
        F32x8::of_bits(_mm256_slli_epi32::<23>(exponent))
    }
}

/// The sign bit in each of the first `count` lanes.
///
/// SAFETY: `count` is at most 8; the machine has the instructions.
#[inline(always)]
unsafe fn mask(count: usize) -> __m256i {
    static ENDS: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
    // SAFETY: as of this function; 8 of the 16 numbers begin at an index from 0 to 8.
    unsafe { _mm256_loadu_si256(ENDS.as_ptr().add(8 - count).cast()) }
}
