//! [`Embedding`]: a unit vector, by construction.

use std::ops::RangeInclusive;

use crate::error::{Error, Result};

/// The norm of a unit vector, within rounding.
pub(crate) const UNIT_NORM: RangeInclusive<f64> = 0.9999..=1.0001;

/// A point on the unit sphere: the output of the contrastive (ITC) heads, and what the index stores.
///
/// Always has Euclidean norm 1 (within f32 rounding) and no NaN, so the dot product of two of them is
/// their cosine similarity.
///
/// ```
/// use bridgetower::Embedding;
///
/// # fn main() -> bridgetower::Result<()> {
/// let (east, north) = (Embedding::new(vec![2.0, 0.0])?, Embedding::new(vec![0.0, 3.0])?);
/// assert_eq!(east.as_slice(), [1.0, 0.0]);
/// assert_eq!(east.cosine(&north), 0.0);
/// assert!(Embedding::new(vec![f32::NAN, 0.0]).is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Embedding(Vec<f32>);

impl Embedding {
    /// Scales `values` to norm 1. Refuses NaN, infinities and the zero vector.
    pub fn new(mut values: Vec<f32>) -> Result<Self> {
        let norm = values
            .iter()
            .map(|v| f64::from(*v).powi(2))
            .sum::<f64>()
            .sqrt();
        if !norm.is_finite() {
            return Err(Error::NoNumber {
                what: "an embedding".into(),
            });
        }
        if norm < 1e-12 {
            return Err(Error::Input {
                reason: format!("an embedding of norm {norm} has no direction"),
            });
        }
        for v in &mut values {
            *v = (f64::from(*v) / norm) as f32;
        }
        Ok(Self(values))
    }

    /// Takes a unit vector as it is, bit for bit; gives back the norm of what is none.
    pub(crate) fn from_unit(values: Vec<f32>) -> Result<Self, f64> {
        let squares = values.iter().map(|v| f64::from(*v).powi(2));
        let norm = squares.sum::<f64>().sqrt();
        if UNIT_NORM.contains(&norm) {
            Ok(Self(values))
        } else {
            Err(norm)
        }
    }

    /// The coordinates, `[D]`.
    pub fn as_slice(&self) -> &[f32] {
        &self.0
    }

    /// The number of coordinates, D.
    pub fn dim(&self) -> usize {
        self.0.len()
    }

    /// Cosine similarity with another embedding of the same dimension, in −1..=1.
    pub fn cosine(&self, other: &Self) -> f32 {
        self.0.iter().zip(&other.0).map(|(a, b)| a * b).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_scaled_to_unit_norm() {
        let e = Embedding::new(vec![3.0, 4.0]).expect("has a direction");
        assert_eq!(e.as_slice(), [0.6, 0.8]);
        assert!((e.cosine(&e) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn refuses_what_has_no_direction() {
        for bad in [
            vec![0.0; 4],
            vec![f32::NAN, 1.0],
            vec![f32::INFINITY, 1.0],
            vec![],
        ] {
            assert!(Embedding::new(bad).is_err());
        }
    }

    #[test]
    fn unit_vectors_are_taken_as_they_are_and_others_refused() {
        let unit = vec![0.6, 0.800_01];
        let taken = Embedding::from_unit(unit.clone()).expect("near enough");
        assert_eq!(taken.as_slice(), unit);
        assert_eq!(Embedding::from_unit(vec![3.0, 4.0]), Err(5.0));
        assert!(Embedding::from_unit(vec![f32::NAN, 1.0]).is_err());
        assert_eq!(Embedding::from_unit(vec![]), Err(0.0));
    }
}
