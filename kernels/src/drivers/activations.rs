//! Activations on their way into a product: rounded, and laid out as the inner loop reads them.
#![allow(unsafe_code)]

use std::ops::Range;

use rayon::prelude::*;

use crate::format::Format;
use crate::memory::with_room;
use crate::table::Kernel;

/// Of a core's second cache, what rows may take: the rest is for weights and results.
const GROUP_BYTES: usize = 384 << 10;

/// Cuts M rows into blocks of at most `most`, as evenly as possible.
#[derive(Clone, Copy)]
pub(crate) struct Blocks {
    rows: usize,
    pub(crate) count: usize,
}

impl Blocks {
    pub(crate) fn new(rows: usize, most: usize) -> Self {
        Self {
            rows,
            count: rows.div_ceil(most),
        }
    }

    /// The start of block `i`.
    pub(crate) fn start(self, i: usize) -> usize {
        i * self.rows / self.count
    }

    /// The rows of block `i`.
    pub(crate) fn len(self, i: usize) -> usize {
        self.start(i + 1) - self.start(i)
    }

    /// Blocks that together fit a core's cache, group after group; a row has `row_bytes`.
    pub(crate) fn groups(self, row_bytes: usize) -> Vec<Range<usize>> {
        let rows = GROUP_BYTES / row_bytes;
        let blocks = (rows * self.count / self.rows).clamp(1, self.count);
        let count = self.count.div_ceil(blocks);
        let start = |group: usize| group * self.count / count;
        (0..count)
            .map(|group| start(group)..start(group + 1))
            .collect()
    }
}

/// Activations `[M, K]` as products in one format read them: block after block of rows, laid out by `round`.
pub struct Rounded {
    pub(crate) kernel: &'static Kernel,
    pub(crate) k: usize,
    pub(crate) blocks: Blocks,
    words: Vec<u32>,
    /// Int8: of each row.
    pub(crate) scales: Vec<f32>,
}

impl Rounded {
    /// Rounds `x`, `[M, K]` row by row, with `inputs` = K, to what is multiplied with weights in `format`.
    ///
    /// # Panics
    ///
    /// Where the lengths contradict each other, or the machine has no instructions for the format.
    pub fn new(format: Format, x: &[f32], inputs: usize) -> Self {
        Self::with(Kernel::best_or_panic(format), x, inputs)
    }

    pub(crate) fn with(kernel: &'static Kernel, x: &[f32], k: usize) -> Self {
        assert!(x.len().is_multiple_of(k), "activations are [M, K]");
        let rows = x.len() / k;
        let blocks = Blocks::new(rows, kernel.rows());
        let width = words_of_a_row(kernel, k);
        let mut words = with_room(rows * width);
        words.resize(rows * width, 0);
        let mut scales = vec![0.0; rows];
        let (mut words_left, mut scales_left) = (&mut words[..], &mut scales[..]);
        let mut parts = Vec::with_capacity(blocks.count);
        for i in 0..blocks.count {
            let (words, others) = words_left.split_at_mut(blocks.len(i) * width);
            let (scales, more) = scales_left.split_at_mut(blocks.len(i));
            (words_left, scales_left) = (others, more);
            parts.push((&x[blocks.start(i) * k..], words, scales));
        }
        parts.into_par_iter().for_each(|(x, words, scales)| {
            // SAFETY: the kernel is available.
            unsafe { (kernel.round)(x, (scales.len(), k, k), 1.0, words, scales) }
        });
        Self {
            kernel,
            k,
            blocks,
            words,
            scales,
        }
    }

    /// M.
    pub(crate) fn rows(&self) -> usize {
        self.scales.len()
    }

    /// The words of block `i`.
    pub(crate) fn block(&self, i: usize) -> &[u32] {
        let width = words_of_a_row(self.kernel, self.k);
        &self.words[self.blocks.start(i) * width..self.blocks.start(i + 1) * width]
    }
}

fn words_of_a_row(kernel: &Kernel, k: usize) -> usize {
    k.div_ceil(kernel.format().values_per_word()) * kernel.parts
}
