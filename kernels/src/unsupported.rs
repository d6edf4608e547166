//! Stands in where no kernel exists: the same names, and [`Format::is_supported`] is false.

use crate::{Activation, Attention, Format};

/// Weights ready for products; cannot be made on this machine.
#[derive(Debug)]
pub enum Packed {}

impl Packed {
    /// Panics: see [`Format::is_supported`].
    pub fn new(_: Format, _: &[f32], _: usize, _: &[f32]) -> Self {
        panic!("no kernels for this machine");
    }

    /// Output width.
    pub fn width(&self) -> usize {
        match *self {}
    }

    /// The product.
    pub fn forward(&self, _: &[f32], _: Activation, _: Option<&[f32]>) -> Vec<f32> {
        match *self {}
    }
}

/// Panics: see [`Format::is_supported`].
pub fn attention(_: Attention) -> Vec<f32> {
    panic!("no kernels for this machine");
}
