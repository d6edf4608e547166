//! Activations, rounded and laid out as the inner loop reads them.
#![allow(unsafe_code)]

use crate::contract::product::Product;
use crate::contract::vector::Vector;
use crate::format::Format;
use crate::loops::tile::{CHUNK, MAX_ROWS};

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
