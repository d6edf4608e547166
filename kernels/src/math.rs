//! Elementary functions on 16 floats at once.
#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m512, _CMP_LT_OQ, _MM_FROUND_NO_EXC, _MM_FROUND_TO_NEAREST_INT, _mm512_abs_ps, _mm512_add_ps,
    _mm512_cmp_ps_mask, _mm512_div_ps, _mm512_fmadd_ps, _mm512_fnmadd_ps, _mm512_mask_sub_ps,
    _mm512_max_ps, _mm512_min_ps, _mm512_mul_ps, _mm512_roundscale_ps, _mm512_scalef_ps,
    _mm512_set1_ps, _mm512_setzero_ps, _mm512_sub_ps,
};

use crate::Activation;

/// `activation(x)`.
#[target_feature(enable = "avx512f")]
#[inline]
pub(crate) fn activate(activation: Activation, x: __m512) -> __m512 {
    match activation {
        Activation::None => x,
        Activation::Gelu => gelu(x),
        Activation::QuickGelu => quick_gelu(x),
    }
}

/// `e^x`, off by at most 2 units in the last place; 0 for what is below −87.3, where f32 has no normal numbers.
#[target_feature(enable = "avx512f")]
#[inline]
pub(crate) fn exp(x: __m512) -> __m512 {
    let x = _mm512_min_ps(x, _mm512_set1_ps(88.7));
    let clamped = _mm512_max_ps(x, _mm512_set1_ps(-104.0));
    let n = _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(
        _mm512_mul_ps(clamped, _mm512_set1_ps(std::f32::consts::LOG2_E)),
    );
    // ln 2 in two parts, so that the remainder is exact.
    let r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693_359_4), clamped);
    let r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.121_944_4e-4), r);
    let p = polynomial(
        r,
        &[
            1.987_569_1e-4,
            1.398_199_9e-3,
            8.333_452e-3,
            4.166_579_6e-2,
            1.666_666_5e-1,
            0.5,
            1.0,
            1.0,
        ],
    );
    _mm512_scalef_ps(p, n)
}

#[target_feature(enable = "avx512f")]
#[inline]
fn quick_gelu(x: __m512) -> __m512 {
    let e = exp(_mm512_mul_ps(x, _mm512_set1_ps(-1.702)));
    _mm512_div_ps(x, _mm512_add_ps(e, _mm512_set1_ps(1.0)))
}

#[target_feature(enable = "avx512f")]
#[inline]
fn gelu(x: __m512) -> __m512 {
    let half = _mm512_mul_ps(x, _mm512_set1_ps(0.5));
    let e = erf(_mm512_mul_ps(
        x,
        _mm512_set1_ps(std::f32::consts::FRAC_1_SQRT_2),
    ));
    _mm512_fmadd_ps(half, e, half)
}

/// Abramowitz and Stegun 7.1.26.
#[target_feature(enable = "avx512f")]
#[inline]
fn erf(x: __m512) -> __m512 {
    let one = _mm512_set1_ps(1.0);
    let magnitude = _mm512_abs_ps(x);
    let t = _mm512_div_ps(
        one,
        _mm512_fmadd_ps(_mm512_set1_ps(0.327_591_1), magnitude, one),
    );
    let p = polynomial(
        t,
        &[
            1.061_405_4,
            -1.453_152,
            1.421_413_7,
            -0.284_496_74,
            0.254_829_6,
            0.0,
        ],
    );
    let square = _mm512_mul_ps(magnitude, magnitude);
    let tail = _mm512_mul_ps(p, exp(_mm512_sub_ps(_mm512_setzero_ps(), square)));
    let positive = _mm512_sub_ps(one, tail);
    let negative = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(x, _mm512_setzero_ps());
    _mm512_mask_sub_ps(positive, negative, _mm512_setzero_ps(), positive)
}

/// Horner's rule, highest power first.
#[target_feature(enable = "avx512f")]
#[inline]
fn polynomial(x: __m512, coefficients: &[f32]) -> __m512 {
    let mut sum = _mm512_set1_ps(coefficients[0]);
    for &c in &coefficients[1..] {
        sum = _mm512_fmadd_ps(sum, x, _mm512_set1_ps(c));
    }
    sum
}
