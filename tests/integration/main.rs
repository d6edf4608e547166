//! The library against the reference and against itself; nothing here needs a network, a GPU or weights.

mod checkpoints;
mod demo;
mod eval;
mod fixtures;
mod golden;
mod old_indexes;
mod pipeline;
mod shared;
