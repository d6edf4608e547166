//! The truth about an index: records, vectors and graph in sled, and in the builder's memory what decides changes.

pub(crate) mod database;
pub(crate) mod photos;
pub(crate) mod state;
pub(crate) mod vectors;
