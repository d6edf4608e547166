//! The products that BridgeTower spends its time on, on a CPU: products with weights, and attention.
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
//! Arrows between files run one way: `contract/` says what an instruction set brings along, `sets/` has the instruction
//! sets, `loops/` is written on top of the contract, `table.rs` compiles the loops for each set and chooses among them
//! at run time, and `drivers/` has the functions that callers see, which call loops through the table.
//!
//! Nothing here knows of models or tensors: slices in, vectors out. [`Format::is_supported`] says whether this
//! machine has the instructions; without them the functions panic, so ask first.

// Generic code is compiled once for each instruction set: only what is inlined takes on its instructions.
#![allow(clippy::inline_always)]
#![cfg_attr(
    not(any(target_arch = "x86_64", target_arch = "aarch64")),
    allow(dead_code, unused_imports, unused_macros)
)]

mod contract;
mod drivers;
mod format;
mod loops;
mod memory;
mod sets;
mod table;

pub use drivers::activations::Rounded;
pub use drivers::attention::{Attention, attention, attention_with};
pub use drivers::dot::{DotProduct, dot};
pub use drivers::norm::LayerNorm;
pub use drivers::packed::{Memory, Packed};
pub use format::Format;
pub use loops::math::Activation;
pub use memory::keep_freed_memory;
pub use table::Kernel;
