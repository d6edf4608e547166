//! What an instruction set brings along: a register with its arithmetic, and for each format its product.

pub(crate) mod product;
pub(crate) mod vector;
