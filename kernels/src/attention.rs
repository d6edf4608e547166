//! Scaled dot-product attention, a few rows of scores at a time.
#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m512, _mm512_add_ps, _mm512_loadu_ps, _mm512_mask_storeu_ps, _mm512_max_ps, _mm512_mul_ps,
    _mm512_reduce_add_ps, _mm512_reduce_max_ps, _mm512_set1_ps, _mm512_setzero_ps,
    _mm512_storeu_ps, _mm512_sub_ps,
};

use rayon::prelude::*;

use crate::math::exp;
use crate::packed::{Shared, pack, word};
use crate::rows::{Blocks, mask, round};
use crate::tile::{COLUMNS, ROWS, Step, Tile, multiply};
use crate::{Attention, Format};

/// `softmax(query · keyᵀ / √head_width + mask) · value`, `[B, Lq, D]`; all but the products in f32.
///
/// # Panics
///
/// Where the lengths contradict each other, or the machine has no instructions for the format.
pub fn attention(a: Attention) -> Vec<f32> {
    let format = match a.format {
        Format::Int8 => Format::Bf16,
        format => format,
    };
    let a = Attention { format, ..a };
    let d = a.heads * a.head_width;
    let (query_size, key_size) = (a.query_len * d, a.key_len * d);
    assert!(
        Format::Bf16.is_supported(),
        "this machine has no bf16 products"
    );
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
    let mut out = Vec::with_capacity(a.batch * query_size);
    let shared = Shared(out.as_mut_ptr());
    (0..a.batch * a.heads).into_par_iter().for_each(|task| {
        let (b, head) = (task / a.heads, task % a.heads);
        // SAFETY: all formats need AVX-512; of the member's rows this head's columns are nobody else's.
        unsafe {
            let out = shared.get().add(b * query_size + head * a.head_width);
            attend(&a.of(b, head), out);
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

/// SAFETY: `out` holds this head's columns of `query_len` rows, D apart; AVX-512 is there.
#[target_feature(enable = "avx512f")]
unsafe fn attend(head: &Attention, out: *mut f32) {
    let (w, lk, d) = (head.head_width, head.key_len, head.heads * head.head_width);
    let padded = lk.div_ceil(COLUMNS) * COLUMNS;
    let keys = pack_keys(head, d);
    let values = pack_values(head, d);
    let per_word = head.format.values_per_word();
    let (key_steps, value_steps) = (w.div_ceil(per_word), lk.div_ceil(per_word));
    let blocks = Blocks::new(head.query_len);
    let mut tile = Tile::new();
    let mut scores = vec![0f32; ROWS * padded];
    let mut words = vec![0u32; ROWS * key_steps.max(value_steps)];
    let mut bias = vec![f32::NEG_INFINITY; padded];
    match head.mask {
        Some(mask) => bias[..lk].copy_from_slice(mask),
        None => bias[..lk].fill(0.0),
    }
    for i in 0..blocks.count {
        let (start, rows) = (blocks.start(i), blocks.len(i));
        let query = &mut words[..rows * key_steps];
        let scale = (w as f32).powf(-0.5);
        round(
            head.format,
            &head.query[start * d..],
            (rows, w, d),
            scale,
            query,
            &mut [],
        );
        for (p, panel) in keys.chunks_exact(key_steps).enumerate() {
            multiply(head.format, rows, query, panel, &mut tile);
            for r in 0..rows {
                let at = r * padded + p * COLUMNS;
                scores[at..at + COLUMNS].copy_from_slice(&tile.floats(r));
            }
        }
        let mut totals = [0f32; ROWS];
        for (scores, total) in scores.chunks_exact_mut(padded).zip(&mut totals).take(rows) {
            // SAFETY: AVX-512 is there.
            *total = unsafe { exponentials(scores, &bias) };
        }
        let shares = &mut words[..rows * value_steps];
        round(
            head.format,
            &scores,
            (rows, lk, padded),
            1.0,
            shares,
            &mut [],
        );
        for (p, panel) in values.chunks_exact(value_steps).enumerate() {
            multiply(head.format, rows, shares, panel, &mut tile);
            for (r, total) in totals.iter().enumerate().take(rows) {
                let sums = tile.floats(r);
                for half in 0..COLUMNS / 16 {
                    let column = p * COLUMNS + 16 * half;
                    // SAFETY: half a tile's row; the mask keeps the write inside the head's columns.
                    unsafe {
                        let mixed = _mm512_loadu_ps(sums.as_ptr().add(16 * half));
                        let mixed = _mm512_mul_ps(mixed, _mm512_set1_ps(1.0 / total));
                        let to = out.wrapping_add((start + r) * d + column);
                        _mm512_mask_storeu_ps(to, mask(w, column), mixed);
                    }
                }
            }
        }
    }
}

/// `exp(scores + bias − their maximum)`, in place; returns the sum. Both are whole vectors long.
#[target_feature(enable = "avx512f")]
unsafe fn exponentials(scores: &mut [f32], bias: &[f32]) -> f32 {
    let mut largest = _mm512_set1_ps(f32::NEG_INFINITY);
    let (scores, _) = scores.as_chunks_mut::<16>();
    let (bias, _) = bias.as_chunks::<16>();
    for (score, bias) in scores.iter_mut().zip(bias) {
        let sum = _mm512_add_ps(load(score), load(bias));
        largest = _mm512_max_ps(largest, sum);
        store(score, sum);
    }
    let largest = _mm512_set1_ps(_mm512_reduce_max_ps(largest));
    let mut total = _mm512_setzero_ps();
    for score in scores {
        let e = exp(_mm512_sub_ps(load(score), largest));
        total = _mm512_add_ps(total, e);
        store(score, e);
    }
    _mm512_reduce_add_ps(total)
}

#[target_feature(enable = "avx512f")]
#[inline]
fn load(values: &[f32; 16]) -> __m512 {
    // SAFETY: 16 floats.
    unsafe { _mm512_loadu_ps(values.as_ptr()) }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn store(values: &mut [f32; 16], x: __m512) {
    // SAFETY: 16 floats.
    unsafe { _mm512_storeu_ps(values.as_mut_ptr(), x) }
}

/// Keys as the weights of a product: a column a key, summed over the head's width.
fn pack_keys(head: &Attention, d: usize) -> Vec<Step> {
    let steps = head.head_width.div_ceil(head.format.values_per_word());
    let mut panels = vec![Step([0; COLUMNS]); head.key_len.div_ceil(COLUMNS) * steps];
    for (key, token) in head.key.chunks(d).enumerate() {
        let panel = &mut panels[key / COLUMNS * steps..][..steps];
        pack(head.format, &token[..head.head_width], key % COLUMNS, panel);
    }
    panels
}

/// Values as the weights of a product: a column a coordinate, summed over the keys.
fn pack_values(head: &Attention, d: usize) -> Vec<Step> {
    let (w, per_word) = (head.head_width, head.format.values_per_word());
    let steps = head.key_len.div_ceil(per_word);
    let mut panels = vec![Step([0; COLUMNS]); w.div_ceil(COLUMNS) * steps];
    for (s, tokens) in head.value.chunks(per_word * d).enumerate() {
        for c in 0..w {
            let second = tokens.get(d + c).copied().unwrap_or(0.0);
            panels[c / COLUMNS * steps + s].0[c % COLUMNS] = word(head.format, tokens[c], second);
        }
    }
    panels
}
