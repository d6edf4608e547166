//! Scaled dot-product attention, a few rows of scores at a time.
#![allow(unsafe_code)]

use rayon::prelude::*;

use crate::Attention;
use crate::kernel::Kernel;
use crate::math::exp;
use crate::memory::with_room;
use crate::packed::Shared;
use crate::rows::Blocks;
use crate::tile::{COLUMNS, MAX_ROWS, Step, Tile};
use crate::vector::Vector;

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
