//! The functions that callers see: they check sizes, share the work among threads, and call loops through the table.

pub(crate) mod activations;
pub(crate) mod attention;
pub(crate) mod dot;
pub(crate) mod norm;
pub(crate) mod packed;
