//! The inner loop: some rows of activations times one panel of weights.
#![allow(unsafe_code)]

use crate::contract::product::Product;
use crate::contract::vector::Vector;

/// Rows of a tile at most, with any kernel.
pub(crate) const MAX_ROWS: usize = 14;
/// Columns of a panel.
pub(crate) const COLUMNS: usize = 32;
/// Words of a row that are laid out at a time.
pub(crate) const CHUNK: usize = 16;
/// The distance at which weights are prefetched, in steps of a panel.
const AHEAD: usize = 12;

/// One step of a panel: for each of its columns the next 32 bits of weights: an f32, two bf16 or four i8.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Step(pub(crate) [u32; COLUMNS]);

/// Sums: i32 for int8, else the bits of f32.
#[repr(C, align(64))]
pub(crate) struct Tile(pub(crate) [[u32; COLUMNS]; MAX_ROWS]);

impl Tile {
    pub(crate) fn new() -> Self {
        Self([[0; COLUMNS]; MAX_ROWS])
    }

    /// The sums in row `r`, as f32.
    pub(crate) fn floats(&self, r: usize) -> [f32; COLUMNS] {
        self.0[r].map(f32::from_bits)
    }
}

/// `tile[r][c] = Σ over steps of words[step][r] · panel[step][c]`, for R rows; `words` holds the rows' next 32 bits side
/// by side, part after part, step after step.
///
/// SAFETY: `words` holds R words for every part of every step; the machine has the instructions.
#[inline(always)]
pub(crate) unsafe fn multiply<P: Product, const R: usize>(
    words: *const u32,
    panel: &[Step],
    tile: &mut Tile,
) {
    let lanes = P::Register::LANES;
    for first in (0..COLUMNS).step_by(2 * lanes) {
        // SAFETY: the columns from `first` on are two registers, in a step as in a row of the tile.
        unsafe {
            let mut sums = [[P::Register::splat(0.0); 2]; R];
            for (s, step) in panel.iter().enumerate() {
                let columns: *const f32 = step.0.as_ptr().add(first).cast();
                for line in (0..2 * lanes).step_by(16) {
                    P::Register::prefetch(columns.wrapping_add(AHEAD * COLUMNS + line));
                }
                let left = P::Register::load(columns);
                let right = P::Register::load(columns.add(lanes));
                for part in 0..P::PARTS {
                    let words = words.add((s * P::PARTS + part) * R);
                    let (left, right) = (P::part(left, part), P::part(right, part));
                    for (r, sums) in sums.iter_mut().enumerate() {
                        let row = P::Register::splat(f32::from_bits(*words.add(r)));
                        sums[0] = P::dot(sums[0], row, left);
                        sums[1] = P::dot(sums[1], row, right);
                    }
                }
            }
            for (row, sums) in tile.0.iter_mut().zip(sums) {
                let columns: *mut f32 = row.as_mut_ptr().add(first).cast();
                sums[0].store(columns);
                sums[1].store(columns.add(lanes));
            }
        }
    }
}
