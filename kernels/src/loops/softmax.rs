//! The softmax of attention.
#![allow(unsafe_code)]

use crate::contract::vector::Vector;
use crate::loops::math::exp;
use crate::loops::tile::COLUMNS;

/// `exp(scores + bias − their maximum)`, in place; returns the sum. Both are whole panels long.
///
/// SAFETY: the machine has the instructions.
#[inline(always)]
pub(crate) unsafe fn exponentials<V: Vector>(scores: &mut [f32], bias: &[f32]) -> f32 {
    // SAFETY: every chunk is a vector; so below.
    unsafe {
        let mut largest = V::splat(f32::NEG_INFINITY);
        for (score, bias) in scores
            .chunks_exact_mut(V::LANES)
            .zip(bias.chunks_exact(V::LANES))
        {
            let sum = V::load(score.as_ptr()) + V::load(bias.as_ptr());
            largest = largest.max(sum);
            sum.store(score.as_mut_ptr());
        }
        let largest = V::splat(largest.largest());
        let mut total = V::splat(0.0);
        for score in scores.chunks_exact_mut(V::LANES) {
            let e = exp(V::load(score.as_ptr()) - largest);
            total = total + e;
            e.store(score.as_mut_ptr());
        }
        total.sum()
    }
}

/// Writes the first `width` of `sums · factor`, if there are so many.
///
/// SAFETY: `to` has room for them; the machine has the instructions.
#[inline(always)]
pub(crate) unsafe fn store_scaled<V: Vector>(
    sums: &[f32; COLUMNS],
    factor: f32,
    width: usize,
    to: *mut f32,
) {
    for from in (0..COLUMNS).step_by(V::LANES) {
        // SAFETY: a row of a tile is whole vectors; what is written lies in the first `width`.
        unsafe {
            let scaled = V::load(sums.as_ptr().add(from)) * V::splat(factor);
            scaled.store_first(width.saturating_sub(from), to.wrapping_add(from));
        }
    }
}
