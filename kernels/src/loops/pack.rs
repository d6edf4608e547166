//! Values as the weights of a product.
#![allow(unsafe_code)]

use crate::contract::product::Product;
use crate::contract::vector::Vector;
use crate::format::Format;
use crate::loops::tile::{CHUNK, COLUMNS, Step};

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

/// 32 bits of floats: one f32, or two bf16 with the first in the lower half.
#[inline(always)]
pub(crate) fn word(format: Format, first: f32, second: f32) -> u32 {
    match format {
        Format::F32 => first.to_bits(),
        _ => bf16(first) | bf16(second) << 16,
    }
}

/// To the nearest, ties to even; NaN stays NaN.
#[inline(always)]
fn bf16(value: f32) -> u32 {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    // Both are computed, so that a loop over values has no branches.
    let not_a_number = bits >> 16 | 0x40;
    if value.is_nan() {
        not_a_number
    } else {
        rounded
    }
}
