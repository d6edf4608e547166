//! Activations on their way into a product: rounded, and laid out as the inner loop reads them.
#![allow(unsafe_code)]

use std::ops::Range;

use rayon::prelude::*;

use crate::Format;
use crate::kernel::{Kernel, Product};
use crate::memory::with_room;
use crate::packed::word;
use crate::tile::{COLUMNS, MAX_ROWS, Step};
use crate::vector::Vector;

/// Of a core's second cache, what rows may take: the rest is for weights and results.
const GROUP_BYTES: usize = 384 << 10;
/// Words of a row that are laid out at a time.
const CHUNK: usize = 16;

/// How M rows are cut into blocks of at most `most`, as even as can be.
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

    /// Where block `i` starts.
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

/// Rounds a block of rows, each `k` long, `stride` apart in `x`, into `words`: part by part of step by step the rows'
/// next 32 bits side by side. Floats are multiplied by `factor` first; of int8 the scale of each row comes back in
/// `scales`.
///
/// SAFETY: the machine has the instructions.
#[inline(always)]
pub(crate) unsafe fn round<P: Product>(
    x: &[f32],
    (rows, k, stride): (usize, usize, usize),
    factor: f32,
    words: &mut [u32],
    scales: &mut [f32],
) {
    assert!((1..=MAX_ROWS).contains(&rows) && x.len() >= (rows - 1) * stride + k);
    let lanes = P::Register::LANES;
    let words_of_a_register = lanes / P::FORMAT.values_per_word() * P::PARTS;
    let mut factors = [factor; MAX_ROWS];
    if P::FORMAT == Format::Int8 {
        for r in 0..rows {
            // SAFETY: as of this function.
            let largest = unsafe { largest::<P::Register>(&x[r * stride..r * stride + k]) };
            scales[r] = largest / 127.0;
            factors[r] = if largest > 0.0 { 127.0 / largest } else { 0.0 };
        }
    }
    let mut chunk = [[0u32; CHUNK]; MAX_ROWS];
    for (c, out) in words.chunks_mut(rows * CHUNK).enumerate() {
        for (r, row) in chunk.iter_mut().enumerate().take(rows) {
            for (i, to) in row.chunks_exact_mut(words_of_a_register).enumerate() {
                let at = (c * (CHUNK / words_of_a_register) + i) * lanes;
                // SAFETY: what lies before `k` lies in `x`, as checked above.
                unsafe {
                    let from = x.as_ptr().wrapping_add(r * stride + at);
                    let values = P::Register::load_first(k.saturating_sub(at), from);
                    P::encode(values * values.all(factors[r]), to.as_mut_ptr());
                }
            }
        }
        // SAFETY: as of this function.
        unsafe { interleave::<P::Register>(&chunk[..rows], out) }
    }
}

/// The largest magnitude.
///
/// SAFETY: the machine has the instructions.
#[inline(always)]
unsafe fn largest<V: Vector>(row: &[f32]) -> f32 {
    // SAFETY: as of this function.
    let mut largest = unsafe { V::splat(0.0) };
    for values in row.chunks(V::LANES) {
        // SAFETY: all of them and no more.
        largest = largest.max(unsafe { V::load_first(values.len(), values.as_ptr()) }.abs());
    }
    largest.largest()
}

/// From row after row to word after word.
///
/// SAFETY: the machine has the instructions.
#[inline(always)]
unsafe fn interleave<V: Vector>(chunk: &[[u32; CHUNK]], out: &mut [u32]) {
    let rows = chunk.len();
    if out.len() == rows * CHUNK {
        // SAFETY: the room was just counted.
        return unsafe { V::store_transposed(chunk, out.as_mut_ptr(), rows) };
    }
    for (s, out) in out.chunks_exact_mut(rows).enumerate() {
        for (word, row) in out.iter_mut().zip(chunk) {
            *word = row[s];
        }
    }
}

/// Rows as the weights of a product: up to a panel's columns of them, each `k` long, `stride` apart in `x`.
///
/// SAFETY: the machine has the instructions.
#[inline(always)]
pub(crate) unsafe fn pack_rows<P: Product>(
    x: &[f32],
    (rows, k, stride): (usize, usize, usize),
    panel: &mut [Step],
) {
    assert!((1..=COLUMNS).contains(&rows) && x.len() >= (rows - 1) * stride + k && P::PARTS == 1);
    let lanes = P::Register::LANES;
    let words_of_a_register = lanes / P::FORMAT.values_per_word();
    let mut chunk = [[0u32; CHUNK]; COLUMNS];
    for (c, steps) in panel.chunks_mut(CHUNK).enumerate() {
        for (r, row) in chunk.iter_mut().enumerate().take(rows) {
            for (i, to) in row.chunks_exact_mut(words_of_a_register).enumerate() {
                let at = (c * (CHUNK / words_of_a_register) + i) * lanes;
                // SAFETY: what lies before `k` lies in `x`, as checked above.
                unsafe {
                    let from = x.as_ptr().wrapping_add(r * stride + at);
                    let values = P::Register::load_first(k.saturating_sub(at), from);
                    P::encode(values, to.as_mut_ptr());
                }
            }
        }
        let mut columns = [Step([0; COLUMNS]); CHUNK];
        for half in (0..COLUMNS).step_by(16) {
            // SAFETY: a square within the steps.
            unsafe {
                let to = columns.as_mut_ptr().cast::<u32>().add(half);
                P::Register::store_transposed(&chunk[half..half + 16], to, COLUMNS);
            }
        }
        steps.copy_from_slice(&columns[..steps.len()]);
    }
}

/// Rows as the inner dimension of a product: each step of the panels gets the next 32 bits of up to a panel's columns,
/// from as many rows as a word has values, `stride` apart in `x`.
///
/// SAFETY: the machine has the instructions.
#[inline(always)]
pub(crate) unsafe fn pack_columns<P: Product>(
    x: &[f32],
    (columns, stride): (usize, usize),
    panel: &mut [Step],
) {
    let per_word = P::FORMAT.values_per_word();
    for (rows, step) in x.chunks(per_word * stride).zip(panel) {
        let first = &rows[..columns];
        let none = [0f32; COLUMNS];
        let second = rows
            .get(stride..stride + columns)
            .unwrap_or(&none[..columns]);
        for ((to, first), second) in step.0.iter_mut().zip(first).zip(second) {
            *to = word(P::FORMAT, *first, *second);
        }
    }
}
