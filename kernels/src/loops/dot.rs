//! The dot product of two vectors.
#![allow(unsafe_code)]

use crate::contract::vector::Vector;

/// Computes the dot product of two vectors of the same length.
///
/// It keeps four registers of sums, since an addition takes four cycles.
///
/// SAFETY: the machine has the instructions.
#[inline(always)]
pub(crate) unsafe fn dot<V: Vector>(a: &[f32], b: &[f32]) -> f32 {
    let (a, b) = (a.chunks_exact(4 * V::LANES), b.chunks_exact(4 * V::LANES));
    let rest = dot_rest(a.remainder(), b.remainder());
    // SAFETY: four registers of values lie in a chunk of four times as many as a register has lanes.
    unsafe {
        let mut sums = [V::splat(0.0); 4];
        for (x, y) in a.zip(b) {
            for (part, sum) in sums.iter_mut().enumerate() {
                let x = V::load(x.as_ptr().add(V::LANES * part));
                let y = V::load(y.as_ptr().add(V::LANES * part));
                *sum = x.mul_add(y, *sum);
            }
        }
        V::sum_of_four(sums) + rest
    }
}

/// Computes the same on any machine. Sixteen independent sums let the compiler use vector instructions; one running sum
/// would force it to add in order.
pub(crate) fn dot_anywhere(a: &[f32], b: &[f32]) -> f32 {
    let (a_lanes, a_rest) = a.as_chunks::<16>();
    let (b_lanes, b_rest) = b.as_chunks::<16>();
    let mut sums = [0.0; 16];
    for (x, y) in a_lanes.iter().zip(b_lanes) {
        for (sum, (x, y)) in sums.iter_mut().zip(x.iter().zip(y)) {
            *sum += x * y;
        }
    }
    sums.iter().sum::<f32>() + dot_rest(a_rest, b_rest)
}

#[inline(always)]
fn dot_rest(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}
