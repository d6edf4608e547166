//! Activations on their way into a product: rounded, and laid out as the inner loop reads them.
#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m512bh, __m512i, __mmask16, _mm_storeu_si128, _mm512_abs_ps, _mm512_add_epi32,
    _mm512_cvtepi32_epi8, _mm512_cvtne2ps_pbh, _mm512_cvtps_epi32, _mm512_maskz_loadu_ps,
    _mm512_max_ps, _mm512_mul_ps, _mm512_reduce_max_ps, _mm512_set1_epi32, _mm512_set1_ps,
    _mm512_setzero_ps, _mm512_storeu_ps, _mm512_storeu_si512,
};
use std::mem::transmute;

use crate::Format;
use crate::tile::ROWS;

/// Steps that are laid out at a time.
const CHUNK: usize = 16;
/// What an activation of 0 is as u8.
const ZERO_POINT: i32 = 128;

/// How M rows are cut into blocks of at most [`ROWS`], as even as can be.
#[derive(Clone, Copy)]
pub(crate) struct Blocks {
    rows: usize,
    pub(crate) count: usize,
}

impl Blocks {
    pub(crate) fn new(rows: usize) -> Self {
        Self {
            rows,
            count: rows.div_ceil(ROWS),
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
}

/// Rounds a block of rows, each `k` long, `stride` apart in `x`, into `words`: step by step the rows' next 32 bits
/// side by side. Floats are multiplied by `factor` first; of int8 the scale of each row comes back in `scales`.
pub(crate) fn round(
    format: Format,
    x: &[f32],
    (rows, k, stride): (usize, usize, usize),
    factor: f32,
    words: &mut [u32],
    scales: &mut [f32],
) {
    assert!((1..=ROWS).contains(&rows) && x.len() >= (rows - 1) * stride + k);
    debug_assert!(format.is_supported());
    // SAFETY: whoever packed the weights asked `Format::is_supported`; every row lies in `x`, as checked above.
    unsafe {
        match format {
            Format::F32 => round_f32(x, (rows, k, stride), factor, words),
            Format::Bf16 => round_bf16(x, (rows, k, stride), factor, words),
            Format::Int8 => round_int8(x, (rows, k, stride), words, scales),
        }
    }
}

#[target_feature(enable = "avx512f")]
unsafe fn round_f32(
    x: &[f32],
    (rows, k, stride): (usize, usize, usize),
    factor: f32,
    words: &mut [u32],
) {
    let factor = _mm512_set1_ps(factor);
    let mut chunk = [[0u32; CHUNK]; ROWS];
    for (c, out) in words.chunks_mut(rows * CHUNK).enumerate() {
        let at = c * CHUNK;
        for (r, row) in chunk.iter_mut().enumerate().take(rows) {
            // SAFETY: the mask keeps the load inside the row; a row of the chunk is one vector.
            unsafe {
                let values = _mm512_maskz_loadu_ps(mask(k, at), x.as_ptr().add(r * stride + at));
                _mm512_storeu_ps(row.as_mut_ptr().cast(), _mm512_mul_ps(values, factor));
            }
        }
        interleave(&chunk, rows, out);
    }
}

#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn round_bf16(
    x: &[f32],
    (rows, k, stride): (usize, usize, usize),
    factor: f32,
    words: &mut [u32],
) {
    let factor = _mm512_set1_ps(factor);
    let mut chunk = [[0u32; CHUNK]; ROWS];
    for (c, out) in words.chunks_mut(rows * CHUNK).enumerate() {
        let at = c * CHUNK * 2;
        for (r, row) in chunk.iter_mut().enumerate().take(rows) {
            // SAFETY: the masks keep both loads inside the row; a row of the chunk is one vector.
            unsafe {
                let from = x.as_ptr().add(r * stride);
                let low = _mm512_maskz_loadu_ps(mask(k, at), from.wrapping_add(at));
                let high = _mm512_maskz_loadu_ps(mask(k, at + 16), from.wrapping_add(at + 16));
                let pairs =
                    _mm512_cvtne2ps_pbh(_mm512_mul_ps(high, factor), _mm512_mul_ps(low, factor));
                _mm512_storeu_si512(
                    row.as_mut_ptr().cast(),
                    transmute::<__m512bh, __m512i>(pairs),
                );
            }
        }
        interleave(&chunk, rows, out);
    }
}

#[target_feature(enable = "avx512f")]
unsafe fn round_int8(
    x: &[f32],
    (rows, k, stride): (usize, usize, usize),
    words: &mut [u32],
    scales: &mut [f32],
) {
    let mut factors = [0f32; ROWS];
    for r in 0..rows {
        let mut largest = _mm512_setzero_ps();
        for at in (0..k).step_by(16) {
            // SAFETY: the mask keeps the load inside the row.
            let values =
                unsafe { _mm512_maskz_loadu_ps(mask(k, at), x.as_ptr().add(r * stride + at)) };
            largest = _mm512_max_ps(largest, _mm512_abs_ps(values));
        }
        let largest = _mm512_reduce_max_ps(largest);
        scales[r] = largest / 127.0;
        factors[r] = if largest > 0.0 { 127.0 / largest } else { 0.0 };
    }
    let mut chunk = [[0u32; CHUNK]; ROWS];
    for (c, out) in words.chunks_mut(rows * CHUNK).enumerate() {
        let at = c * CHUNK * 4;
        for (r, row) in chunk.iter_mut().enumerate().take(rows) {
            for quarter in 0..4 {
                let at = at + 16 * quarter;
                // SAFETY: the mask keeps the load inside the row; a quarter of the chunk's row is 16 bytes.
                unsafe {
                    let from = x.as_ptr().add(r * stride);
                    let values = _mm512_maskz_loadu_ps(mask(k, at), from.wrapping_add(at));
                    let scaled = _mm512_mul_ps(values, _mm512_set1_ps(factors[r]));
                    let whole =
                        _mm512_add_epi32(_mm512_cvtps_epi32(scaled), _mm512_set1_epi32(ZERO_POINT));
                    _mm_storeu_si128(
                        row.as_mut_ptr().add(4 * quarter).cast(),
                        _mm512_cvtepi32_epi8(whole),
                    );
                }
            }
        }
        interleave(&chunk, rows, out);
    }
}

/// From row after row to step after step.
fn interleave(chunk: &[[u32; CHUNK]; ROWS], rows: usize, out: &mut [u32]) {
    for (s, out) in out.chunks_exact_mut(rows).enumerate() {
        for (word, row) in out.iter_mut().zip(chunk) {
            *word = row[s];
        }
    }
}

/// Which of the 16 values from `at` on lie before `k`.
pub(crate) fn mask(k: usize, at: usize) -> __mmask16 {
    let left = k.saturating_sub(at).min(16);
    ((1u32 << left) - 1) as __mmask16
}
