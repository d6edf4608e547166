//! Scaled dot-product attention, a few rows of scores at a time.
#![allow(unsafe_code)]

use rayon::prelude::*;

use crate::drivers::activations::Blocks;
use crate::format::Format;
use crate::loops::tile::{COLUMNS, MAX_ROWS, Step, Tile};
use crate::memory::{Shared, with_room};
use crate::table::Kernel;

/// The inputs of attention. D is `heads · head_width`; a head's values lie side by side in each token.
#[derive(Debug, Clone, Copy)]
pub struct Attention<'a> {
    /// Of the products; what int8 is for weights, bf16 is here.
    pub format: Format,
    /// `[B or 1, Lq, D]`.
    pub query: &'a [f32],
    /// `[B or 1, Lk, D]`.
    pub key: &'a [f32],
    /// As `key`.
    pub value: &'a [f32],
    /// `[B or 1, Lk]`, added to the scores.
    pub mask: Option<&'a [f32]>,
    /// B.
    pub batch: usize,
    /// Heads.
    pub heads: usize,
    /// Width of one head.
    pub head_width: usize,
    /// Lq.
    pub query_len: usize,
    /// Lk.
    pub key_len: usize,
}

/// `softmax(query · keyᵀ / √head_width + mask) · value`, `[B, Lq, D]`; all but the products in f32.
///
/// # Panics
///
/// Where the lengths contradict each other, or the machine has no instructions for the format.
pub fn attention(a: Attention) -> Vec<f32> {
    attention_with(Kernel::best_or_panic(a.format), a)
}

/// As [`attention`], beside products with a kernel of one's choice, whose format counts.
///
/// # Panics
///
/// Where the lengths contradict each other.
pub fn attention_with(kernel: &'static Kernel, a: Attention) -> Vec<f32> {
    let kernel = kernel.of_attention();
    let d = a.heads * a.head_width;
    let (query_size, key_size) = (a.query_len * d, a.key_len * d);
    assert!(a.head_width > 0 && a.key_len > 0);
    assert!(
        a.query.len() == query_size || a.query.len() == a.batch * query_size,
        "a query is [B, Lq, D]"
    );
    assert!(
        a.key.len() == key_size || a.key.len() == a.batch * key_size,
        "a key is [B, Lk, D]"
    );
    assert!(a.value.len() == a.key.len(), "a value is as its key");
    assert!(
        a.mask
            .is_none_or(|m| m.len() == a.key_len || m.len() == a.batch * a.key_len),
        "a mask is [B, Lk]"
    );
    let mut out = with_room(a.batch * query_size);
    let shared = Shared(out.as_mut_ptr());
    (0..a.batch * a.heads).into_par_iter().for_each(|task| {
        let (b, head) = (task / a.heads, task % a.heads);
        // SAFETY: of the member's rows this head's columns are nobody else's.
        unsafe {
            let out = shared.get().add(b * query_size + head * a.head_width);
            attend(kernel, &a.of(b, head), out);
        }
    });
    // SAFETY: every head of every member wrote its columns of all its rows.
    unsafe { out.set_len(a.batch * query_size) }
    out
}

impl<'a> Attention<'a> {
    /// One head of one member of the batch: slices that start at its first token's values.
    fn of(&self, b: usize, head: usize) -> Self {
        let d = self.heads * self.head_width;
        let own = |x: &'a [f32], len: usize| {
            let start = if x.len() == len * d { 0 } else { b * len * d };
            &x[start + head * self.head_width..start + len * d]
        };
        Self {
            query: own(self.query, self.query_len),
            key: own(self.key, self.key_len),
            value: own(self.value, self.key_len),
            mask: self.mask.map(|m| {
                let start = if m.len() == self.key_len {
                    0
                } else {
                    b * self.key_len
                };
                &m[start..start + self.key_len]
            }),
            ..*self
        }
    }
}

/// SAFETY: `out` holds this head's columns of `query_len` rows, D apart, and nobody else writes there.
unsafe fn attend(kernel: &Kernel, head: &Attention, out: *mut f32) {
    let (w, lk, d) = (head.head_width, head.key_len, head.heads * head.head_width);
    let padded = lk.div_ceil(COLUMNS) * COLUMNS;
    let keys = pack_keys(kernel, head, d);
    let values = pack_values(kernel, head, d);
    let per_word = kernel.format().values_per_word();
    let (key_steps, value_steps) = (w.div_ceil(per_word), lk.div_ceil(per_word));
    let blocks = Blocks::new(head.query_len, kernel.rows());
    let mut tile = Tile::new();
    let mut scores = vec![0f32; MAX_ROWS * padded];
    let mut words = vec![0u32; MAX_ROWS * key_steps.max(value_steps) * kernel.parts];
    let mut bias = vec![f32::NEG_INFINITY; padded];
    match head.mask {
        Some(mask) => bias[..lk].copy_from_slice(mask),
        None => bias[..lk].fill(0.0),
    }
    let scale = (w as f32).powf(-0.5);
    for i in 0..blocks.count {
        let (start, rows) = (blocks.start(i), blocks.len(i));
        let query = &mut words[..rows * key_steps * kernel.parts];
        // SAFETY: the kernel is available.
        unsafe {
            (kernel.round)(
                &head.query[start * d..],
                (rows, w, d),
                scale,
                query,
                &mut [],
            );
        };
        for (p, panel) in keys.chunks_exact(key_steps).enumerate() {
            kernel.multiply(rows, query, panel, &mut tile);
            for r in 0..rows {
                let at = r * padded + p * COLUMNS;
                scores[at..at + COLUMNS].copy_from_slice(&tile.floats(r));
            }
        }
        let mut totals = [0f32; MAX_ROWS];
        for (scores, total) in scores.chunks_exact_mut(padded).zip(&mut totals).take(rows) {
            // SAFETY: the kernel is available.
            *total = unsafe { (kernel.exponentials)(scores, &bias) };
        }
        let shares = &mut words[..rows * value_steps * kernel.parts];
        // SAFETY: the kernel is available.
        unsafe { (kernel.round)(&scores, (rows, lk, padded), 1.0, shares, &mut []) };
        for (p, panel) in values.chunks_exact(value_steps).enumerate() {
            kernel.multiply(rows, shares, panel, &mut tile);
            let column = p * COLUMNS;
            for (r, total) in totals.iter().enumerate().take(rows) {
                let to = out.wrapping_add((start + r) * d + column);
                // SAFETY: the kernel is available; the head has so many more columns.
                unsafe { (kernel.store_scaled)(&tile.floats(r), 1.0 / total, w - column, to) }
            }
        }
    }
}

/// Keys as the weights of a product: a column a key, summed over the head's width.
fn pack_keys(kernel: &Kernel, head: &Attention, d: usize) -> Vec<Step> {
    let (w, lk) = (head.head_width, head.key_len);
    let steps = w.div_ceil(kernel.format().values_per_word());
    let mut panels = vec![Step([0; COLUMNS]); lk.div_ceil(COLUMNS) * steps];
    for (p, panel) in panels.chunks_exact_mut(steps).enumerate() {
        let keys = (lk - p * COLUMNS).min(COLUMNS);
        // SAFETY: the kernel is available.
        unsafe { (kernel.pack_rows)(&head.key[p * COLUMNS * d..], (keys, w, d), panel) }
    }
    panels
}

/// Values as the weights of a product: a column a coordinate, summed over the keys.
fn pack_values(kernel: &Kernel, head: &Attention, d: usize) -> Vec<Step> {
    let w = head.head_width;
    let steps = head.key_len.div_ceil(kernel.format().values_per_word());
    let mut panels = vec![Step([0; COLUMNS]); w.div_ceil(COLUMNS) * steps];
    for (p, panel) in panels.chunks_exact_mut(steps).enumerate() {
        let columns = (w - p * COLUMNS).min(COLUMNS);
        // SAFETY: the kernel is available.
        unsafe { (kernel.pack_columns)(&head.value[p * COLUMNS..], (columns, d), panel) }
    }
    panels
}
