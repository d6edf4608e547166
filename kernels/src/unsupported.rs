//! Stands in where no kernel exists: the same names, and [`Format::is_supported`] is false.

use std::sync::Arc;

use crate::{Activation, Attention, Format};

/// Bytes that several layers share: a mapped file, say.
pub type Memory = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// Weights ready for products; cannot be made on this machine.
#[derive(Debug)]
pub enum Packed {}

impl Packed {
    /// Panics: see [`Format::is_supported`].
    pub fn new(_: Format, _: &[f32], _: usize, _: &[f32]) -> Self {
        panic!("no kernels for this machine");
    }

    /// Nothing has a length here.
    pub fn byte_len(_: Format, _: usize, _: usize) -> usize {
        panic!("no kernels for this machine");
    }

    /// Panics: see [`Format::is_supported`].
    pub fn map(_: Format, _: usize, _: usize, _: &Memory, _: usize) -> Option<Self> {
        panic!("no kernels for this machine");
    }

    /// The bytes of a layer.
    pub fn sections(&self) -> [&[u8]; 4] {
        match *self {}
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
