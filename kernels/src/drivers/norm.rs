//! LayerNorm over the last dimension.
#![allow(unsafe_code)]

use rayon::prelude::*;

use crate::format::Format;
use crate::memory::with_room;
use crate::table::Kernel;

/// Rows that one thread takes at least.
const ROWS_AT_A_TIME: usize = 8;

/// The weights of a LayerNorm, each `[D]`.
#[derive(Debug, Clone)]
pub struct LayerNorm {
    /// The factors of normalised values.
    pub weight: Vec<f32>,
    /// The terms that are added then.
    pub bias: Vec<f32>,
    /// The term that is added to the variance.
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
        let weights = (&self.weight[..], &self.bias[..], self.eps);
        let kernel = Kernel::best_or_panic(Format::F32);
        let mut out = with_room(x.len());
        out.resize(x.len(), 0.0);
        let rows = out.par_chunks_exact_mut(d).zip(x.par_chunks_exact(d));
        rows.with_min_len(ROWS_AT_A_TIME).for_each(|(out, x)| {
            // SAFETY: the kernel is available; all are as long as the weight, which was checked.
            unsafe { (kernel.normalize)(x, weights, out) }
        });
        out
    }
}
