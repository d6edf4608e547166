//! What BridgeTower spends its time on, on a CPU: products with weights, and attention.
//!
//! ```text
//! weights [N, K] ── pack once ──► Packed ─┐
//!                                         ├─ product ──► + bias, activation, + residual ──► [M, N] f32
//! activations [M, K] f32 ─ on the fly ────┘
//! ```
//!
//! Weights are kept in f32, bf16 or int8, in the order in which the inner loop reads them; activations stay f32
//! between products and are rounded on the way in. Sums are f32, or exact for int8, and everything beside the
//! products is f32.
//!
//! | format | weights | activations | AVX-512 | AVX2 | NEON |
//! |---|---|---|---|---|---|
//! | [`Format::F32`] | f32 | f32 | `vfmadd` | `vfmadd` | `fmla` |
//! | [`Format::Bf16`] | bf16 | bf16, or f32 where weights are widened | `vdpbf16ps` (AVX512-BF16) | widened, `vfmadd` | widened, `fmla` |
//! | [`Format::Int8`] | i8, one scale a row of the weights | 8 bits, one scale a token | `vpdpbusd` (AVX512-VNNI) | `vpdpbusd` (AVX-VNNI), or widened, `vpmaddwd` | `sdot` |
//!
//! What an instruction set brings along is in `avx512.rs`, `avx2.rs` and `neon.rs`; `kernel.rs` lists them and chooses
//! at run time. All else is written once, and compiled for each.
//!
//! Nothing here knows of models or tensors: slices in, vectors out. [`Format::is_supported`] says whether this
//! machine has the instructions; without them the functions panic, so ask first.

// Generic code is compiled once for each instruction set: only what is inlined takes on its instructions.
#![allow(clippy::inline_always)]
#![cfg_attr(
    not(any(target_arch = "x86_64", target_arch = "aarch64")),
    allow(dead_code, unused_imports, unused_macros)
)]

mod attention;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod kernel;
mod math;
mod memory;
#[cfg(target_arch = "aarch64")]
mod neon;
mod norm;
mod packed;
mod rows;
mod tile;
mod vector;

pub use attention::{attention, attention_with};
pub use kernel::Kernel;
pub use memory::keep_freed_memory;
pub use norm::LayerNorm;
pub use packed::{Memory, Packed};
pub use rows::Rounded;

/// The number format of a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// As the activations are.
    F32,
    /// Brain floats: the range of f32 with 8 bits of precision.
    Bf16,
    /// 8-bit integers with scales.
    Int8,
}

impl Format {
    /// Whether this machine has the instructions for products in this format.
    pub fn is_supported(self) -> bool {
        Kernel::best(self).is_some()
    }

    /// Whether products in this format take this machine less time than in f32, not only less memory.
    pub fn beats_f32(self) -> bool {
        Kernel::best(self).is_some_and(Kernel::beats_f32)
    }
}

/// What follows a product, element by element, in f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activation {
    /// Nothing.
    #[default]
    None,
    /// `x · Φ(x)`, the exact GELU; its erf is off by at most 2e-7.
    Gelu,
    /// `x · sigmoid(1.702 x)`, CLIP's GELU.
    QuickGelu,
}

/// What attends to what. D is `heads · head_width`; a head's values lie side by side in each token.
#[derive(Debug, Clone, Copy)]
pub struct Attention<'a> {
    /// Of the products; what int8 is for weights, bf16 is here.
    pub format: Format,
    /// `[B or 1, Lq, D]`.
    pub query: &'a [f32],
    /// `[B or 1, Lk, D]`.
    pub key: &'a [f32],
    /// As `key`.
    pub value: &'a [f32],
    /// `[B or 1, Lk]`, added to the scores.
    pub mask: Option<&'a [f32]>,
    /// B.
    pub batch: usize,
    /// Heads.
    pub heads: usize,
    /// Width of one head.
    pub head_width: usize,
    /// Lq.
    pub query_len: usize,
    /// Lk.
    pub key_len: usize,
}
