//! The photo index: records, vectors and graph in a store; a mapped snapshot for queries.
//!
//! [`IndexWriter`] changes an index, [`IndexReader`] searches what was last published. Neither knows of
//! models: vectors come in and go out. ARCHITECTURE.md tells how the files fit together.

mod changes;
mod codec;
mod compact;
mod duplicates;
mod folder;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod graph;
mod hnsw;
mod layer;
mod lock;
mod map;
mod photos;
mod plan;
mod reader;
mod repair;
mod similarity;
mod snapshot;
mod state;
mod status;
mod store;
#[cfg(test)]
mod tests;
mod transfer;
mod vectors;
mod verify;
mod writer;

pub use changes::Changes;
pub use codec::Pins;
pub use compact::{CompactEvent, CompactReport, compact};
pub use duplicates::{DuplicateContent, DuplicateGroup, DuplicateOptions, Duplicates, duplicates};
pub(crate) use folder::{Leftovers, bytes_on_disk};
pub use folder::{cache_path, destroy};
pub(crate) use lock::BuildLock;
pub(crate) use similarity::dot;

pub use plan::Plan;
pub use reader::{Candidate, IndexReader, PhotoPredicate, SearchOptions};
pub use repair::{RepairEvent, RepairReport, repair};
pub use status::Status;
pub use transfer::{ExportReport, ImportEvent, ImportReport, export, export_parquet, import};
pub use verify::{VerifyReport, verify};
pub use writer::IndexWriter;
