//! The settings of a build.

use std::time::Duration;

use super::report::BrokenFiles;
use super::select::ScanOptions;
use super::stamp::Compare;
use crate::cache::PhotoCache;

/// The settings of a build.
#[derive(Debug, Clone)]
pub struct BuildOptions<'a> {
    /// Photos embedded at once; `None` leaves the choice to the engine.
    pub batch_size: Option<usize>,
    /// Threads that read and decode.
    pub threads: usize,
    /// Longest time between commits, not counting one batch.
    pub commit_every: Duration,
    /// Shortest time between the states that queries see during a build.
    pub publish_every: Duration,
    /// The photos of the folders that count.
    pub scan: ScanOptions,
    /// How to recognise a file that has not changed.
    pub compare: Compare,
    /// The cache for what reranking needs of the embedded photos, filled until it is full; `None` for no cache.
    pub cache: Option<&'a PhotoCache>,
    /// A file that changed less than this ago may not be complete yet: it is left to a later build, and the index keeps
    /// what it has of it. Zero reads every file as it is.
    pub settle: Duration,
    /// Broken files of an earlier build, which are not tried again until they change.
    pub broken: BrokenFiles,
}

impl Default for BuildOptions<'_> {
    fn default() -> Self {
        Self {
            batch_size: None,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            commit_every: Duration::from_secs(10),
            publish_every: Duration::from_mins(1),
            scan: ScanOptions::default(),
            compare: Compare::default(),
            cache: None,
            settle: Duration::ZERO,
            broken: BrokenFiles::default(),
        }
    }
}
