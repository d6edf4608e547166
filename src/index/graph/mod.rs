//! The HNSW graph: how it is built, and how it is searched where it lies.

pub(crate) mod base_layer;
pub(crate) mod build;
pub(crate) mod flat;
pub(crate) mod parameters;
pub(crate) mod similarity;
