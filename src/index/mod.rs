//! The photo index: records, vectors and graph in a store; a mapped snapshot for queries.
//!
//! [`IndexWriter`] changes an index, [`IndexReader`] searches what was last published. Neither knows of
//! models: vectors come in and go out. ARCHITECTURE.md tells how the files fit together.

mod access;
mod changes;
mod codec;
mod folder;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod graph;
mod hit;
mod local;
mod place;
mod predicate;
mod reader;
mod snapshot;
mod store;
mod strategy;
#[cfg(test)]
mod tests;
mod transfer;
mod upkeep;
mod writer;

pub use crate::identity::ModelIdentity;
pub use access::{ReadIndex, WriteIndex};
pub use changes::Changes;
pub(crate) use folder::files::{Leftovers, bytes_on_disk, cache_path};
pub(crate) use folder::lock::BuildLock;
pub(crate) use graph::similarity::dot;
pub use hit::{Hit, RankedHit};
pub use place::Index;
pub use predicate::PhotoPredicate;
pub use reader::{IndexReader, SearchOptions};
pub use strategy::Plan;
pub use transfer::{ExportReport, ImportEvent, ImportReport};
pub use upkeep::compact::{CompactEvent, CompactReport};
pub use upkeep::duplicates::{DuplicateContent, DuplicateGroup, DuplicateOptions, Duplicates};
pub use upkeep::repair::{RepairEvent, RepairReport};
pub use upkeep::status::Status;
pub use upkeep::verify::VerifyReport;
pub use writer::IndexWriter;
