//! Similarity of unit vectors, and a total order of what was scored.
#![allow(unsafe_code)]

use std::cmp::Ordering;

/// Rows whose vectors are on their way from memory while one is compared.
const AHEAD: usize = 2;

/// Dot product of two vectors of the same length: the cosine similarity of unit vectors.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    debug_assert_eq!(a.len(), b.len());
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the CPU has what the function is compiled for.
            return unsafe { x86::dot_avx512(a, b) };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: as above.
            return unsafe { x86::dot_avx2(a, b) };
        }
    }
    dot_anywhere(a, b)
}

/// Sixteen independent sums let the compiler use vector instructions; one running sum would force it to add
/// in order.
fn dot_anywhere(a: &[f32], b: &[f32]) -> f32 {
    let (a_lanes, a_rest) = a.as_chunks::<16>();
    let (b_lanes, b_rest) = b.as_chunks::<16>();
    let mut sums = [0.0; 16];
    for (x, y) in a_lanes.iter().zip(b_lanes) {
        for (sum, (x, y)) in sums.iter_mut().zip(x.iter().zip(y)) {
            *sum += x * y;
        }
    }
    sums.iter().sum::<f32>() + dot_rest(a_rest, b_rest)
}

fn dot_rest(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_setzero_ps, _mm256_storeu_ps, _mm512_add_ps,
        _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_reduce_add_ps, _mm512_setzero_ps,
    };

    /// Four sums of sixteen, since an addition takes four cycles.
    #[target_feature(enable = "avx512f")]
    pub fn dot_avx512(a: &[f32], b: &[f32]) -> f32 {
        let (a_lanes, a_rest) = a.as_chunks::<64>();
        let (b_lanes, b_rest) = b.as_chunks::<64>();
        let mut sums = [_mm512_setzero_ps(); 4];
        for (x, y) in a_lanes.iter().zip(b_lanes) {
            for (part, sum) in sums.iter_mut().enumerate() {
                // SAFETY: four times sixteen numbers lie in a chunk of 64.
                let (x, y) = unsafe {
                    (
                        _mm512_loadu_ps(x.as_ptr().add(16 * part)),
                        _mm512_loadu_ps(y.as_ptr().add(16 * part)),
                    )
                };
                *sum = _mm512_fmadd_ps(x, y, *sum);
            }
        }
        let [p, q, r, s] = sums;
        let sum = _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(p, q), _mm512_add_ps(r, s)));
        sum + super::dot_rest(a_rest, b_rest)
    }

    #[target_feature(enable = "avx2,fma")]
    pub fn dot_avx2(a: &[f32], b: &[f32]) -> f32 {
        let (a_lanes, a_rest) = a.as_chunks::<32>();
        let (b_lanes, b_rest) = b.as_chunks::<32>();
        let mut sums = [_mm256_setzero_ps(); 4];
        for (x, y) in a_lanes.iter().zip(b_lanes) {
            for (part, sum) in sums.iter_mut().enumerate() {
                // SAFETY: four times eight numbers lie in a chunk of 32.
                let (x, y) = unsafe {
                    (
                        _mm256_loadu_ps(x.as_ptr().add(8 * part)),
                        _mm256_loadu_ps(y.as_ptr().add(8 * part)),
                    )
                };
                *sum = _mm256_fmadd_ps(x, y, *sum);
            }
        }
        let mut lanes = [[0.0_f32; 8]; 4];
        for (lanes, sum) in lanes.iter_mut().zip(sums) {
            // SAFETY: there is room for eight numbers.
            unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), sum) };
        }
        lanes.as_flattened().iter().sum::<f32>() + super::dot_rest(a_rest, b_rest)
    }
}

/// Asks for a vector that will be needed soon.
fn prefetch(vector: &[f32]) {
    #[cfg(target_arch = "x86_64")]
    for line in vector.chunks(16) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: the address is a reference's, and the instruction reads nothing that a program could see.
        unsafe { _mm_prefetch(line.as_ptr().cast(), _MM_HINT_T0) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = vector;
}

/// Vectors one after another, `[rows, dim]`.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    pub values: &'a [f32],
    pub dim: usize,
}

impl<'a> Matrix<'a> {
    pub fn row(self, row: u32) -> &'a [f32] {
        &self.values[row as usize * self.dim..][..self.dim]
    }

    pub fn rows(self) -> usize {
        self.values.len() / self.dim
    }

    /// What scores rows, wherever they lie, by their similarity to a vector.
    pub fn scorer<'v>(self, vector: &'v [f32]) -> impl Fn(&[u32], &mut Vec<Scored>) + 'v
    where
        'a: 'v,
    {
        move |rows, scored| {
            for &row in rows.iter().take(AHEAD) {
                prefetch(self.row(row));
            }
            scored.extend(rows.iter().enumerate().map(|(number, &row)| {
                if let Some(&next) = rows.get(number + AHEAD) {
                    prefetch(self.row(next));
                }
                let similarity = dot(vector, self.row(row));
                Scored { similarity, row }
            }));
        }
    }
}

/// A row with its similarity to the query. Greater is more similar; of equals, the lower row is greater,
/// so that every search breaks ties the same way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scored {
    pub similarity: f32,
    pub row: u32,
}

impl Ord for Scored {
    fn cmp(&self, other: &Self) -> Ordering {
        self.similarity
            .total_cmp(&other.similarity)
            .then(other.row.cmp(&self.row))
    }
}

impl PartialOrd for Scored {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Scored {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Scored {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dot_agrees_with_the_definition_at_every_length() {
        for len in 0..200 {
            let a: Vec<f32> = (0..len).map(|i| (i as f32).sin()).collect();
            let b: Vec<f32> = (0..len).map(|i| (i as f32).cos()).collect();
            let expected: f64 = a
                .iter()
                .zip(&b)
                .map(|(x, y)| f64::from(*x) * f64::from(*y))
                .sum();
            for found in [dot(&a, &b), dot_anywhere(&a, &b)] {
                assert!((f64::from(found) - expected).abs() < 1e-5, "length {len}");
            }
        }
    }

    #[test]
    fn the_more_similar_is_greater_and_ties_go_to_the_lower_row() {
        let scored = |similarity, row| Scored { similarity, row };
        assert!(scored(0.9, 7) > scored(0.8, 1));
        assert!(scored(0.9, 1) > scored(0.9, 7));
    }
}
