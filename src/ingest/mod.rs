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

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use self::intake::Intake;
use self::read::{MemoryBudget, Reader, Source};
use self::scan::{PhotoFile, canonical_roots, scan};
pub use self::select::{ScanOptions, concerns_build};
use crate::cache::PhotoCache;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::index::{IndexReader, IndexWriter};

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
            cache: None,
            settle: Duration::ZERO,
            broken: BrokenFiles::default(),
        }
    }
}

/// Files that cannot be decoded, as they were when that was tried.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BrokenFiles(HashSet<PhotoFile>);

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
    /// Files that were being written, left for a later build.
    pub unsettled: Vec<PathBuf>,
    /// Of the files left out, those that cannot be decoded; and those that [`BuildOptions::broken`] named.
    pub broken: BrokenFiles,
}

/// What a build would find to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Survey {
    /// Photos that came, changed or went.
    pub changes: usize,
    /// Files that are being written.
    pub unsettled: usize,
}

/// Compares `folders` with what was last published in the index. Neither waits for a builder nor keeps one
/// waiting, and takes far less time than to open a large index for changes.
pub fn survey(index: &IndexReader, folders: &[PathBuf], options: &BuildOptions) -> Result<Survey> {
    let roots = canonical_roots(folders)?;
    let scan = scan(&roots, &options.scan)?;
    let mut known = HashMap::with_capacity(index.len());
    for photo in index.photos() {
        let (_, photo) = photo?;
        known.insert(photo.path, (photo.size, photo.mtime_ns));
    }
    let is_known = |file: &PhotoFile| known.get(&file.path) == Some(&(file.size, file.mtime_ns));
    let plan = Plan::new(is_known, scan.files, options);
    let unseen: Vec<PathBuf> = scan.unreadable.into_iter().map(|(path, _)| path).collect();
    let gone = known
        .keys()
        .filter(|path| plan.misses(path, &roots, &unseen));
    Ok(Survey {
        changes: plan.to_read.len() + gone.count(),
        unsettled: plan.unsettled.len(),
    })
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
    let is_known = |file: &PhotoFile| {
        let known = writer.by_path(&file.path);
        known.is_some_and(|(_, photo)| (photo.size, photo.mtime_ns) == (file.size, file.mtime_ns))
    };
    let mut plan = Plan::new(is_known, scan.files, options);
    on_event(BuildEvent::Planned {
        found: plan.in_folders.len(),
        to_read: plan.to_read.len(),
    });
    let mut report = BuildReport {
        found: plan.in_folders.len(),
        unchanged: plan.unchanged,
        unsettled: std::mem::take(&mut plan.unsettled),
        broken: std::mem::take(&mut plan.broken),
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
    let source = Source {
        processor: engine.processor(),
        memory: MemoryBudget::new(DECODE_MEMORY),
        settle: options.settle,
    };
    let mut intake = Intake::new(writer, engine, options, report, &source, on_event);
    let photos = intake.writer.photos();
    let gone = photos.filter(|(_, photo)| plan.misses(&photo.path, &roots, &unseen));
    intake.gone = gone.map(|(id, _)| id).collect();

    std::thread::scope(|scope| {
        let (send, receive) = sync_channel(2 * intake.batch_size);
        let reader = Reader {
            known: intake.writer.content_hashes().collect(),
            source: &source,
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
#[derive(Default)]
struct Plan {
    unchanged: usize,
    to_read: Vec<PhotoFile>,
    unsettled: Vec<PathBuf>,
    broken: BrokenFiles,
    in_folders: HashSet<PathBuf>,
}

impl Plan {
    fn new(
        is_known: impl Fn(&PhotoFile) -> bool,
        files: Vec<PhotoFile>,
        options: &BuildOptions,
    ) -> Self {
        let mut plan = Self::default();
        for file in files {
            plan.in_folders.insert(file.path.clone());
            if is_known(&file) {
                plan.unchanged += 1;
            } else if options.broken.0.contains(&file) {
                plan.broken.0.insert(file);
            } else if file.is_newer_than(options.settle) {
                plan.unsettled.push(file.path);
            } else {
                plan.to_read.push(file);
            }
        }
        plan
    }

    /// Whether a photo of the index should be below `roots` and is not, except below what could not be seen.
    fn misses(&self, photo: &Path, roots: &[PathBuf], unseen: &[PathBuf]) -> bool {
        let below = |folders: &[PathBuf]| folders.iter().any(|folder| photo.starts_with(folder));
        below(roots) && !below(unseen) && !self.in_folders.contains(photo)
    }
}
