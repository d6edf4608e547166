//! Similarity of unit vectors, and a total order of what was scored.

use std::cmp::Ordering;

/// Dot product of two vectors of the same length: the cosine similarity of unit vectors.
///
/// Sixteen independent sums let the compiler use vector instructions; one running sum would force it to
/// add in order. A hand-written AVX2 variant was measured to save a tenth of the time of building a graph,
/// and less of a search: the time goes into fetching the vectors. That is not worth its `unsafe`.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    debug_assert_eq!(a.len(), b.len());
    let (a_lanes, a_rest) = a.as_chunks::<16>();
    let (b_lanes, b_rest) = b.as_chunks::<16>();
    let mut sums = [0.0; 16];
    for (x, y) in a_lanes.iter().zip(b_lanes) {
        for (sum, (x, y)) in sums.iter_mut().zip(x.iter().zip(y)) {
            *sum += x * y;
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(x, y)| x * y).sum();
    sums.iter().sum::<f32>() + rest
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
        for len in 0..70 {
            let a: Vec<f32> = (0..len).map(|i| (i as f32).sin()).collect();
            let b: Vec<f32> = (0..len).map(|i| (i as f32).cos()).collect();
            let expected: f64 = a
                .iter()
                .zip(&b)
                .map(|(x, y)| f64::from(*x) * f64::from(*y))
                .sum();
            assert!(
                (f64::from(dot(&a, &b)) - expected).abs() < 1e-5,
                "length {len}"
            );
        }
    }

    #[test]
    fn the_more_similar_is_greater_and_ties_go_to_the_lower_row() {
        let scored = |similarity, row| Scored { similarity, row };
        assert!(scored(0.9, 7) > scored(0.8, 1));
        assert!(scored(0.9, 1) > scored(0.9, 7));
    }
}
