//! The layer norm of one row.
#![allow(unsafe_code)]

use crate::contract::vector::Vector;

/// `(x − mean) / √(variance + eps) · weight + bias` of one row.
///
/// SAFETY: `weight`, `bias` and `out` are as long as `x`; the machine has the instructions.
#[inline(always)]
pub(crate) unsafe fn normalize<V: Vector>(
    x: &[f32],
    (weight, bias, eps): (&[f32], &[f32], f32),
    out: &mut [f32],
) {
    let d = x.len();
    // Beyond the row there are zeros, which must not become deviations.
    let first = |i: usize| (d - i).min(V::LANES);
    // SAFETY: no more values than are left of the row, here and below.
    unsafe {
        let mut sum = V::splat(0.0);
        for i in (0..d).step_by(V::LANES) {
            sum = sum + V::load_first(first(i), x.as_ptr().add(i));
        }
        let mean = V::splat(sum.sum() / d as f32);
        let mut squares = V::splat(0.0);
        for i in (0..d).step_by(V::LANES) {
            (V::load_first(first(i), x.as_ptr().add(i)) - mean)
                .store_first(first(i), out.as_mut_ptr().add(i));
            let deviation = V::load_first(first(i), out.as_ptr().add(i));
            squares = deviation.mul_add(deviation, squares);
        }
        let factor = V::splat(1.0 / (squares.sum() / d as f32 + eps).sqrt());
        for i in (0..d).step_by(V::LANES) {
            let load = |from: &[f32]| V::load_first(first(i), from.as_ptr().add(i));
            let scaled = load(out) * factor;
            scaled
                .mul_add(load(weight), load(bias))
                .store_first(first(i), out.as_mut_ptr().add(i));
        }
    }
}
