//! Brings an index up to date with folders of photos.
//!
//! ```text
//! scan ─► plan ─► read, hash, decode, preprocess (all cores) ─► embed in batches ─► commit ─► publish
//! ```
//!
//! Commits come every few seconds, so that a killed build loses no more than that; the next one plans
//! again from what is there. Photos leave the index only at the end of a build that saw everything.

mod intake;
mod read;
mod scan;
mod select;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use self::intake::Intake;
use self::read::{MemoryBudget, Reader};
use self::scan::{PhotoFile, canonical_roots, scan};
pub use self::select::ScanOptions;
use crate::cache::PhotoCache;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::index::IndexWriter;
use crate::photo::PhotoId;

/// What decoding may hold in memory at once, all threads together, bytes.
const DECODE_MEMORY: u64 = 768 << 20;

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
    /// Where what reranking needs of the photos embedded is kept, until that is full; nowhere where `None`.
    pub cache: Option<&'a PhotoCache>,
}

impl Default for BuildOptions<'_> {
    fn default() -> Self {
        Self {
            batch_size: None,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            commit_every: Duration::from_secs(10),
            publish_every: Duration::from_secs(60),
            scan: ScanOptions::default(),
            cache: None,
        }
    }
}

/// What a build tells while it runs.
#[derive(Debug, Clone, PartialEq)]
pub enum BuildEvent<'a> {
    /// The folders were walked: photos found, and how many of them are new or changed.
    Planned {
        /// Photos in the folders.
        found: usize,
        /// Photos to read.
        to_read: usize,
    },
    /// So many of the photos to read are done.
    Progress {
        /// Photos embedded, recognised or skipped.
        done: usize,
    },
    /// A file or folder is left out of the index.
    Skipped {
        /// The file or folder.
        path: &'a Path,
        /// Why.
        reason: &'a str,
    },
    /// What reranking needs of further photos is not kept; the build goes on.
    CacheStopped {
        /// Why.
        reason: &'a str,
    },
    /// Everything up to here survives a crash.
    Committed {
        /// Photos in the index.
        photos: usize,
    },
    /// The graph is being built.
    Graph {
        /// Photos in it so far.
        done: usize,
        /// Photos that it will hold.
        total: usize,
    },
    /// Queries see the state up to here.
    Published,
}

/// What a build did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuildReport {
    /// Photos found in the folders.
    pub found: usize,
    /// Photos that were in the index, unchanged.
    pub unchanged: usize,
    /// Photos that went through the model.
    pub embedded: usize,
    /// Of those, how many left in the cache what reranking needs.
    pub cached: usize,
    /// Photos known by their content: moved, renamed, touched or copied.
    pub recognised: usize,
    /// Photos that left the index.
    pub removed: usize,
    /// Files and folders left out, with the reason.
    pub skipped: Vec<(PathBuf, String)>,
}

/// Brings the index up to date with `folders`, or with the folders of earlier builds where none is given.
///
/// Returns [`Error::Cancelled`] soon after `cancel` is set; what was embedded by then is committed.
pub fn build(
    writer: &mut IndexWriter,
    engine: &Engine,
    folders: &[PathBuf],
    options: &BuildOptions,
    cancel: &AtomicBool,
    on_event: &mut dyn FnMut(BuildEvent),
) -> Result<BuildReport> {
    let folders = if folders.is_empty() {
        writer.roots()
    } else {
        folders
    };
    if folders.is_empty() {
        return Err(Error::NoFolders);
    }
    let roots = canonical_roots(folders)?;
    let scan = scan(&roots, &options.scan)?;
    let plan = Plan::new(writer, scan.files);
    on_event(BuildEvent::Planned {
        found: plan.found,
        to_read: plan.to_read.len(),
    });
    let mut report = BuildReport {
        found: plan.found,
        unchanged: plan.found - plan.to_read.len(),
        ..BuildReport::default()
    };
    for (path, reason) in scan.unreadable {
        on_event(BuildEvent::Skipped {
            path: &path,
            reason: &reason,
        });
        report.skipped.push((path, reason));
    }
    let unseen: Vec<PathBuf> = report
        .skipped
        .iter()
        .map(|(path, _)| path.clone())
        .collect();
    let memory = MemoryBudget::new(DECODE_MEMORY);
    let mut intake = Intake::new(writer, engine, options, report, &memory, on_event);
    intake.gone = plan.gone(intake.writer, &roots, &unseen);

    std::thread::scope(|scope| {
        let (send, receive) = sync_channel(2 * intake.batch_size);
        let reader = Reader {
            known: intake.writer.content_hashes().collect(),
            processor: engine.processor(),
            memory: &memory,
        };
        let to_read = &plan.to_read;
        scope.spawn(move || reader.read_all(to_read, options.threads, cancel, &send));
        intake.take_all(receive, cancel)
    })?;
    intake.finish(roots, cancel)
}

/// The photos that a build of `folders` would look at, sorted by path.
pub fn find_photos(folders: &[PathBuf], options: &ScanOptions) -> Result<Vec<PathBuf>> {
    let scan = scan(&canonical_roots(folders)?, options)?;
    Ok(scan.files.into_iter().map(|file| file.path).collect())
}

/// The difference between the folders and the index.
struct Plan {
    found: usize,
    to_read: Vec<PhotoFile>,
    in_folders: HashSet<PathBuf>,
}

impl Plan {
    fn new(writer: &IndexWriter, files: Vec<PhotoFile>) -> Self {
        let unchanged = |file: &PhotoFile| {
            writer.by_path(&file.path).is_some_and(|(_, photo)| {
                photo.size == file.size && photo.mtime_ns == file.mtime_ns
            })
        };
        Self {
            found: files.len(),
            in_folders: files.iter().map(|file| file.path.clone()).collect(),
            to_read: files.into_iter().filter(|file| !unchanged(file)).collect(),
        }
    }

    /// Photos of the index that should be below `roots` and are not, except below what could not be seen.
    fn gone(
        &self,
        writer: &IndexWriter,
        roots: &[PathBuf],
        unseen: &[PathBuf],
    ) -> HashSet<PhotoId> {
        let below = |path: &Path, folders: &[PathBuf]| folders.iter().any(|f| path.starts_with(f));
        writer
            .photos()
            .filter(|(_, photo)| {
                below(&photo.path, roots)
                    && !below(&photo.path, unseen)
                    && !self.in_folders.contains(&photo.path)
            })
            .map(|(id, _)| id)
            .collect()
    }
}
