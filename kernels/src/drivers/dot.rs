//! The dot product, on one thread: callers compare one vector with many, and choose how to share those.
#![allow(unsafe_code)]

use std::sync::LazyLock;

use crate::format::Format;
use crate::loops::dot::dot_anywhere;
use crate::table::Kernel;

/// A dot product of two vectors, compiled for one instruction set.
#[derive(Debug, Clone, Copy)]
pub struct DotProduct(unsafe fn(&[f32], &[f32]) -> f32);

impl DotProduct {
    /// Returns the best that this machine has. A loop takes it once and calls it often.
    ///
    /// # Panics
    ///
    /// As [`Kernel::available`].
    pub fn best() -> Self {
        static BEST: LazyLock<DotProduct> = LazyLock::new(|| {
            Kernel::best(Format::F32).map_or_else(DotProduct::anywhere, DotProduct::with)
        });
        *BEST
    }

    /// Returns the dot product of a kernel's instruction set.
    pub fn with(kernel: &Kernel) -> Self {
        Self(kernel.dot)
    }

    /// Returns the one that needs no instructions beyond those that the crate is compiled for.
    pub fn anywhere() -> Self {
        Self(dot_anywhere)
    }

    /// Computes the dot product of two vectors of the same length.
    #[inline]
    pub fn of(self, a: &[f32], b: &[f32]) -> f32 {
        debug_assert_eq!(a.len(), b.len());
        // SAFETY: the function is compiled for any machine, or belongs to a kernel, and those are only to be had where
        // the machine has their instructions.
        unsafe { (self.0)(a, b) }
    }
}

/// Computes the dot product of two vectors of the same length with [`DotProduct::best`].
///
/// # Panics
///
/// As [`Kernel::available`].
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    DotProduct::best().of(a, b)
}
