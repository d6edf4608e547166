//! placeholder
pub mod device;
pub mod embedding;
pub mod error;
pub mod model;
