//! The contract of an instruction set: a register with its arithmetic, and for each format its product.

pub(crate) mod product;
pub(crate) mod vector;
