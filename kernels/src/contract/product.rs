//! One format's products by one instruction set.
#![allow(unsafe_code)]

use crate::contract::vector::Vector;
use crate::format::Format;

/// The product of one instruction set in one format. Everything else is written once, on top of this.
pub(crate) trait Product {
    /// The register that it computes with. A tile has two of them, full of sums, in each row.
    type Register: Vector;
    const FORMAT: Format;
    /// In how many parts the values of a step are multiplied, each with 32 bits of activations of its own.
    const PARTS: usize = 1;
    /// Int8: whether activations are u8 around 128 instead of i8.
    const IS_UNSIGNED: bool = false;

    /// Writes the next activations as `part` and `dot` want them: 32 bits for each part of each step.
    ///
    /// SAFETY: as of [`Product::dot`]; `to` has room for them.
    unsafe fn encode(values: Self::Register, to: *mut u32);

    /// The weights of one part of a step.
    #[inline(always)]
    fn part(weights: Self::Register, _part: usize) -> Self::Register {
        weights
    }

    /// `sum + activations · weights`: one instruction, if the machine has it.
    ///
    /// SAFETY: the machine has the instructions that the table below names.
    unsafe fn dot(
        sum: Self::Register,
        activations: Self::Register,
        weights: Self::Register,
    ) -> Self::Register;
}
