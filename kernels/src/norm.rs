//! LayerNorm over the last dimension.
#![allow(unsafe_code)]

use rayon::prelude::*;

use crate::Format;
use crate::kernel::Kernel;
use crate::memory::with_room;
use crate::vector::Vector;

/// Rows that one thread takes at least.
const ROWS_AT_A_TIME: usize = 8;

/// The weights of a LayerNorm, each `[D]`.
#[derive(Debug, Clone)]
pub struct LayerNorm {
    /// What normalised values are multiplied with.
    pub weight: Vec<f32>,
    /// What is added then.
    pub bias: Vec<f32>,
    /// What is added to the variance.
    pub eps: f32,
}

impl LayerNorm {
    /// `(x − mean) / √(variance + eps) · weight + bias` of every row of `x`, `[M, D]`.
    ///
    /// # Panics
    ///
    /// Where the lengths contradict each other, or the machine has no instructions for f32 products.
    pub fn forward(&self, x: &[f32]) -> Vec<f32> {
        let d = self.weight.len();
        assert!(
            d == self.bias.len() && x.len().is_multiple_of(d),
            "x is [M, D]"
        );
        let kernel = Kernel::best_or_panic(Format::F32);
        let mut out = with_room(x.len());
        out.resize(x.len(), 0.0);
        let rows = out.par_chunks_exact_mut(d).zip(x.par_chunks_exact(d));
        rows.with_min_len(ROWS_AT_A_TIME).for_each(|(out, x)| {
            // SAFETY: the kernel is available.
            unsafe { (kernel.normalize)(x, self, out) }
        });
        out
    }
}

/// One row of [`LayerNorm::forward`].
///
/// SAFETY: the machine has the instructions.
#[inline(always)]
pub(crate) unsafe fn normalize<V: Vector>(x: &[f32], norm: &LayerNorm, out: &mut [f32]) {
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
        let factor = V::splat(1.0 / (squares.sum() / d as f32 + norm.eps).sqrt());
        for i in (0..d).step_by(V::LANES) {
            let load = |from: &[f32]| V::load_first(first(i), from.as_ptr().add(i));
            let scaled = load(out) * factor;
            scaled
                .mul_add(load(&norm.weight), load(&norm.bias))
                .store_first(first(i), out.as_mut_ptr().add(i));
        }
    }
}
