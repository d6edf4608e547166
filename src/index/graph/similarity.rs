//! Similarity of unit vectors, and a total order of what was scored.
#![allow(unsafe_code)]

use std::cmp::Ordering;

use bt_kernels::DotProduct;
/// The cosine similarity of unit vectors.
pub(crate) use bt_kernels::dot;

/// Rows whose vectors are on their way from memory while one is compared.
const AHEAD: usize = 2;

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
        let dot = DotProduct::best();
        move |rows, scored| {
            for &row in rows.iter().take(AHEAD) {
                prefetch(self.row(row));
            }
            scored.extend(rows.iter().enumerate().map(|(number, &row)| {
                if let Some(&next) = rows.get(number + AHEAD) {
                    prefetch(self.row(next));
                }
                let similarity = dot.of(vector, self.row(row));
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
    fn the_more_similar_is_greater_and_ties_go_to_the_lower_row() {
        let scored = |similarity, row| Scored { similarity, row };
        assert!(scored(0.9, 7) > scored(0.8, 1));
        assert!(scored(0.9, 1) > scored(0.9, 7));
    }
}
