//! The inner loop: some rows of activations times one panel of weights.
#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m512, __m512bh, __m512i, _MM_HINT_T0, _mm_prefetch, _mm512_castps_si512, _mm512_castsi512_ps,
    _mm512_dpbf16_ps, _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_load_si512, _mm512_set1_epi32,
    _mm512_setzero_ps, _mm512_setzero_si512, _mm512_store_si512,
};
use std::mem::transmute;

use crate::Format;

/// Rows of a tile at most: with two vectors of sums a row, 28 of the 32 registers.
pub(crate) const ROWS: usize = 14;
/// Columns of a panel: two vectors of 32-bit sums.
pub(crate) const COLUMNS: usize = 32;
/// How far ahead weights are asked for, in steps of a panel.
const AHEAD: usize = 12;

/// One step of a panel: for each of its columns the next 32 bits of weights: an f32, two bf16 or four i8.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Step(pub(crate) [u32; COLUMNS]);

/// Sums: i32 for int8, else the bits of f32.
#[repr(C, align(64))]
pub(crate) struct Tile(pub(crate) [[u32; COLUMNS]; ROWS]);

impl Tile {
    pub(crate) fn new() -> Self {
        Self([[0; COLUMNS]; ROWS])
    }

    /// The sums in row `r`, as f32.
    pub(crate) fn floats(&self, r: usize) -> [f32; COLUMNS] {
        self.0[r].map(f32::from_bits)
    }
}

/// `tile[r][c] = Σ over steps of words[step][r] · panel[step][c]`, for `rows` rows; `words` holds the rows' next
/// 32 bits side by side, step after step.
pub(crate) fn multiply(
    format: Format,
    rows: usize,
    words: &[u32],
    panel: &[Step],
    tile: &mut Tile,
) {
    assert!((1..=ROWS).contains(&rows) && words.len() == rows * panel.len());
    debug_assert!(format.is_supported());
    let kernel = match format {
        Format::F32 => F32[rows - 1],
        Format::Bf16 => BF16[rows - 1],
        Format::Int8 => INT8[rows - 1],
    };
    // SAFETY: whoever made the words or the panel asked `Format::is_supported`; the lengths are checked above.
    unsafe { kernel(words.as_ptr(), panel, tile) }
}

type Kernel = unsafe fn(*const u32, &[Step], &mut Tile);

macro_rules! kernel {
    ($name:ident, $features:literal, $sum:ty, $zero:expr, $dot:expr, $bits:expr) => {
        #[target_feature(enable = $features)]
        unsafe fn $name<const R: usize>(words: *const u32, panel: &[Step], tile: &mut Tile) {
            let mut sums: [[$sum; 2]; R] = [[$zero; 2]; R];
            for (s, step) in panel.iter().enumerate() {
                // SAFETY: the two halves of a step, aligned by its type; `words` holds R of them for each step;
                // a prefetch may name any address.
                unsafe {
                    let columns = step.0.as_ptr();
                    _mm_prefetch::<_MM_HINT_T0>(columns.wrapping_add(AHEAD * COLUMNS).cast());
                    _mm_prefetch::<_MM_HINT_T0>(columns.wrapping_add(AHEAD * COLUMNS + 16).cast());
                    let left = _mm512_load_si512(columns.cast());
                    let right = _mm512_load_si512(columns.add(16).cast());
                    for r in 0..R {
                        let row = _mm512_set1_epi32(*words.add(s * R + r) as i32);
                        sums[r][0] = $dot(sums[r][0], row, left);
                        sums[r][1] = $dot(sums[r][1], row, right);
                    }
                }
            }
            for (row, sums) in tile.0.iter_mut().zip(sums) {
                // SAFETY: a row of a tile is two vectors, aligned by its type.
                unsafe {
                    _mm512_store_si512(row.as_mut_ptr().cast(), $bits(sums[0]));
                    _mm512_store_si512(row.as_mut_ptr().add(16).cast(), $bits(sums[1]));
                }
            }
        }
    };
}

kernel!(
    f32,
    "avx512f",
    __m512,
    _mm512_setzero_ps(),
    |sum, a, b| _mm512_fmadd_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b), sum),
    |sum| _mm512_castps_si512(sum)
);
kernel!(
    bf16,
    "avx512f,avx512bf16",
    __m512,
    _mm512_setzero_ps(),
    |sum, a: __m512i, b: __m512i| _mm512_dpbf16_ps(
        sum,
        transmute::<__m512i, __m512bh>(a),
        transmute::<__m512i, __m512bh>(b)
    ),
    |sum| _mm512_castps_si512(sum)
);
kernel!(
    int8,
    "avx512f,avx512vnni",
    __m512i,
    _mm512_setzero_si512(),
    |sum, a, b| _mm512_dpbusd_epi32(sum, a, b),
    |sum| sum
);

macro_rules! for_rows {
    ($kernel:ident) => {
        [
            $kernel::<1>,
            $kernel::<2>,
            $kernel::<3>,
            $kernel::<4>,
            $kernel::<5>,
            $kernel::<6>,
            $kernel::<7>,
            $kernel::<8>,
            $kernel::<9>,
            $kernel::<10>,
            $kernel::<11>,
            $kernel::<12>,
            $kernel::<13>,
            $kernel::<14>,
        ]
    };
}

static F32: [Kernel; ROWS] = for_rows!(f32);
static BF16: [Kernel; ROWS] = for_rows!(bf16);
static INT8: [Kernel; ROWS] = for_rows!(int8);
