//! The library against the reference and against itself; nothing here needs a network, a GPU or weights.

mod checkpoints;
mod demo;
mod eval;
mod fixtures;
mod golden;
mod in_memory;
mod old_indexes;
mod pipeline;
mod shared;
