//! The report of an export.

use crate::index::snapshot::Snapshot;

/// The report of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExportReport {
    /// Lines of `photos.jsonl`.
    pub photos: usize,
    /// Rows of `embeddings.npy`: photos with equal embeddings share one.
    pub vectors: usize,
    /// Bytes of all files.
    pub bytes: u64,
}

/// Vectors that have photos.
pub(super) fn vectors_in_use(snapshot: &Snapshot) -> usize {
    let rows = 0..snapshot.vectors().rows() as u32;
    rows.filter(|&row| !snapshot.photos_of(row).is_empty())
        .count()
}
