//! The way out of an index and into a new one: files that other programs can read.
//!
//! ```text
//! embeddings.npy   f32 [vectors, dim], C order, little-endian: NumPy's format
//! photos.jsonl     a record a line, in the order of their rows; photos with equal vectors share a row
//! index.json       format version, model, photo folders, counts, BLAKE3 of the other two
//! ```
//!
//! Or `photos.parquet`, with all of that in one file.
//!
//! A path that is not UTF-8 is in `path_hex`, byte for byte, and `path` is then for reading only.

mod draft;
mod export;
mod format;
mod import;
mod parquet;
mod records;
mod report;

#[cfg(any(test, fuzzing))]
pub(super) use import::check_export;
pub(crate) use import::import;
pub use import::{ImportEvent, ImportReport};
pub use report::ExportReport;
