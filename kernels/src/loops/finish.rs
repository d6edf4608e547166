//! From sums to results: scales, bias, activation and residual.
#![allow(unsafe_code)]

use crate::contract::product::Product;
use crate::contract::vector::Vector;
use crate::format::Format;
use crate::loops::math::{Activation, activate};
use crate::loops::tile::{COLUMNS, Tile};

/// From sums to results.
pub(crate) struct Finish<'a> {
    /// N.
    pub(crate) width: usize,
    /// By column, filled up to whole panels; so below.
    pub(crate) bias: &'a [f32],
    /// Int8: what a step of the quantised weight is worth.
    pub(crate) scales: &'a [f32],
    /// Int8: what activations around 128 instead of 0 add to the sum.
    pub(crate) offsets: &'a [i32],
    /// Int8: the scale of each row of the activations.
    pub(crate) row_scales: &'a [f32],
    pub(crate) activation: Activation,
    /// `[M, N]`.
    pub(crate) residual: Option<&'a [f32]>,
}

/// Writes the columns from `column` on of `rows` result rows from `first` on, whose sums are in the tile.
///
/// SAFETY: `out` holds those rows, and nobody else writes those columns of them; the machine has the instructions.
#[inline(always)]
pub(crate) unsafe fn finish<P: Product>(
    results: &Finish,
    tile: &Tile,
    (first, rows): (usize, usize),
    column: usize,
    out: *mut f32,
) {
    for (row, sums) in (first..first + rows).zip(&tile.0) {
        for from in (0..COLUMNS).step_by(P::Register::LANES) {
            let column = column + from;
            let inside = results.width.saturating_sub(column);
            let at = row * results.width + column;
            // SAFETY: a tile's row, the bias, scales and offsets are whole panels wide; what is read of the residual
            // and written of the result lies inside the row.
            unsafe {
                let mut value = P::Register::load(sums.as_ptr().add(from).cast());
                if P::FORMAT == Format::Int8 {
                    if P::IS_UNSIGNED {
                        let offsets = results.offsets.as_ptr().add(column).cast();
                        value = value.sub_i32(P::Register::load(offsets));
                    }
                    let scales = P::Register::load(results.scales.as_ptr().add(column));
                    value = value.to_f32() * (scales * value.all(results.row_scales[row]));
                }
                value = value + P::Register::load(results.bias.as_ptr().add(column));
                value = activate(results.activation, value);
                if let Some(residual) = results.residual {
                    let residual = residual.as_ptr().wrapping_add(at);
                    value = value + P::Register::load_first(inside, residual);
                }
                value.store_first(inside, out.wrapping_add(at));
            }
        }
    }
}
