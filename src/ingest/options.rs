//! How to build.

use std::time::Duration;

use super::report::BrokenFiles;
use super::select::ScanOptions;
use super::stamp::Compare;
use crate::cache::PhotoCache;

/// How to build.
#[derive(Debug, Clone)]
pub struct BuildOptions<'a> {
    /// Photos embedded at once; the engine's own choice where `None`.
    pub batch_size: Option<usize>,
    /// Threads that read and decode.
    pub threads: usize,
    /// Longest time between commits, but for one batch.
    pub commit_every: Duration,
    /// Shortest time between the states that queries see during a build.
    pub publish_every: Duration,
    /// Which photos of the folders count.
    pub scan: ScanOptions,
    /// What tells that a file is the one that the index knows.
    pub compare: Compare,
    /// Where what reranking needs of the photos embedded is kept, until that is full; nowhere where `None`.
    pub cache: Option<&'a PhotoCache>,
    /// A file that changed less than this ago may still be being written: what the index knows of it stays as
    /// it is, for a later build. Zero takes every file as it is.
    pub settle: Duration,
    /// Of an earlier build: these are not tried again until they change.
    pub broken: BrokenFiles,
}

impl Default for BuildOptions<'_> {
    fn default() -> Self {
        Self {
            batch_size: None,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            commit_every: Duration::from_secs(10),
            publish_every: Duration::from_secs(60),
            scan: ScanOptions::default(),
            compare: Compare::default(),
            cache: None,
            settle: Duration::ZERO,
            broken: BrokenFiles::default(),
        }
    }
}
