//! The image side of photos, cached beside an index for the next query.

mod about;
mod filling;
mod gc;
mod photo_cache;

pub use crate::engine::CacheLevel;
pub(crate) use filling::Filling;
pub use gc::{Garbage, GcOptions, GcReport, gc};
pub use photo_cache::PhotoCache;
#[cfg(any(test, fuzzing))]
pub use photo_cache::fuzz_kept;
#[cfg(test)]
pub(crate) use photo_cache::kept_seeds;
