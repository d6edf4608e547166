//! The number formats of weights and activations.

/// The number format of a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The format of the activations.
    F32,
    /// Brain floats: the range of f32 with 8 bits of precision.
    Bf16,
    /// 8-bit integers with scales.
    Int8,
}

impl Format {
    /// Values in 32 bits.
    pub(crate) fn values_per_word(self) -> usize {
        match self {
            Self::F32 => 1,
            Self::Bf16 => 2,
            Self::Int8 => 4,
        }
    }
}
