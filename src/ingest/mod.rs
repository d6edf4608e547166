//! Brings an index up to date with folders of photos.
//!
//! ```text
//! scan ─► plan ─► read, hash, decode, preprocess (all cores) ─► embed in batches ─► commit ─► publish
//! ```
//!
//! Commits come every few seconds, so that a killed build loses no more than that; the next one plans
//! again from what is there. Photos leave the index only at the end of a build that saw everything.

mod intake;
mod others;
mod plan;
mod read;
mod roots;
mod scan;
mod select;
mod stamp;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use self::intake::Intake;
use self::plan::Plan;
use self::read::{MemoryBudget, Reader, Source};
pub use self::roots::indexed_path;
use self::scan::{PhotoFile, Scan, scan};
pub use self::select::{ScanOptions, concerns_build};
use self::stamp::Stamp;
use crate::cache::PhotoCache;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::index::{IndexReader, IndexWriter};
use crate::processor::{MAX_DECODING_BYTES, MAX_FILE_BYTES};

/// Why a link to a folder is skipped that the index knows photos behind.
const NOTHING_BEHIND: &str =
    "it leads to no photo, as a link to an unmounted drive does; the index keeps what was there";

/// What files, and what decoding them, may hold in memory at once, all threads together, bytes. The largest file and
/// the largest picture that are read fit.
const FILE_MEMORY: u64 = MAX_FILE_BYTES;
const DECODE_MEMORY: u64 = MAX_DECODING_BYTES;

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

/// What tells that the file at a path is the one that the index knows. All others are read, and recognised by their
/// content.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Compare {
    /// Size and modification time: for file systems that make up change times.
    Times,
    /// Those, and the change time where both sides know it.
    #[default]
    ChangeTime,
    /// The content: every file is read.
    Content,
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
    /// A folder is not there or looks empty; the index keeps what it knows of it, and the build goes on.
    Away(&'a AwayFolder),
    /// A folder of earlier builds is gone, and all its photos were found elsewhere: it is no longer built.
    Renamed {
        /// Where it was.
        folder: &'a Path,
    },
    /// Links to folders are not followed, and nothing else leads to those.
    PassedOver {
        /// All of them.
        links: &'a [PathBuf],
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
    /// The state up to here is being written for queries.
    Publishing,
    /// Queries see it.
    Published,
}

/// A photo folder in which there was nothing to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwayFolder {
    /// Its path, as far as it exists without links.
    pub path: PathBuf,
    /// What there is instead.
    pub reason: String,
    /// Photos that the index keeps below it.
    pub photos: usize,
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
    /// Folders that are not there or look empty.
    pub away: Vec<AwayFolder>,
    /// Folders of earlier builds that are gone, all their photos having been found elsewhere.
    pub renamed: Vec<PathBuf>,
    /// Links to folders that were passed over.
    pub links: Vec<PathBuf>,
    /// Of the files left out, those that cannot be decoded; and those that [`BuildOptions::broken`] named.
    pub broken: BrokenFiles,
}

/// What a build would find to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    /// Photos that came, changed or went.
    pub changes: usize,
    /// Files that are being written.
    pub unsettled: usize,
    /// Folders that are not there or look empty.
    pub away: Vec<AwayFolder>,
}

/// Compares `folders` with what was last published in the index. Neither waits for a builder nor keeps one
/// waiting, and takes far less time than to open a large index for changes.
pub fn survey(index: &IndexReader, folders: &[PathBuf], options: &BuildOptions) -> Result<Survey> {
    let mut scan = scan(folders, &options.scan)?;
    let mut known = HashMap::with_capacity(index.len());
    for photo in index.photos() {
        let (_, photo) = photo?;
        let stamp = Stamp::of_photo(&photo);
        known.insert(photo.path, stamp);
    }
    let plan = Plan::new(&mut scan, |path| known.get(path).copied(), options);
    let gone = known.keys().filter(|path| plan.misses(path));
    Ok(Survey {
        changes: plan.to_read.len() + gone.count(),
        unsettled: plan.unsettled.len(),
        away: away(scan.away, || known.keys().map(PathBuf::as_path)),
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
    let mut scan = scan(folders, &options.scan)?;
    let known = |path: &Path| {
        writer
            .by_path(path)
            .map(|(_, photo)| Stamp::of_photo(photo))
    };
    let mut plan = Plan::new(&mut scan, known, options);
    let report = report(scan, &mut plan, writer);
    tell(&report, plan.to_read.len(), on_event);
    let source = Source {
        processor: engine.processor(),
        files: MemoryBudget::new(FILE_MEMORY),
        pictures: MemoryBudget::new(DECODE_MEMORY),
        settle: options.settle,
    };
    let mut intake = Intake::new(writer, engine, options, report, &source, on_event);
    let photos = intake.writer.photos();
    let gone = photos.filter(|(_, photo)| plan.misses(&photo.path));
    intake.gone = gone.map(|(id, _)| id).collect();
    let earlier = intake.writer.roots().iter();
    let unseen = earlier.filter(|root| !plan.sees(root));
    intake.unseen_roots = unseen.cloned().collect();
    intake.date(&plan.undated, cancel)?;

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
    intake.finish(&plan, cancel)
}

/// What is known before the first file is read.
fn report(scan: Scan, plan: &mut Plan, index: &IndexWriter) -> BuildReport {
    let paths = || index.photos().map(|(_, photo)| photo.path.as_path());
    let mut skipped = scan.unreadable;
    skipped.extend(scan.not_files);
    let hollow = scan.hollow.into_iter();
    // Any link may lead nowhere. This one led to photos.
    let hollow = hollow.filter(|link| paths().any(|photo| photo.starts_with(link)));
    skipped.extend(hollow.map(|link| (link, NOTHING_BEHIND.to_owned())));
    BuildReport {
        found: plan.found(),
        unchanged: plan.unchanged,
        unsettled: std::mem::take(&mut plan.unsettled),
        broken: std::mem::take(&mut plan.broken),
        skipped,
        away: away(scan.away, paths),
        links: scan.links,
        ..BuildReport::default()
    }
}

fn tell(report: &BuildReport, to_read: usize, on_event: &mut dyn FnMut(BuildEvent)) {
    on_event(BuildEvent::Planned {
        found: report.found,
        to_read,
    });
    for (path, reason) in &report.skipped {
        on_event(BuildEvent::Skipped { path, reason });
    }
    for folder in &report.away {
        on_event(BuildEvent::Away(folder));
    }
    if !report.links.is_empty() {
        on_event(BuildEvent::PassedOver {
            links: &report.links,
        });
    }
}

/// Folders in which there was nothing to see, with what the index holds of them.
fn away<'p, I: Iterator<Item = &'p Path>>(
    folders: Vec<(PathBuf, Error)>,
    photos: impl Fn() -> I,
) -> Vec<AwayFolder> {
    let folders = folders.into_iter().map(|(path, reason)| AwayFolder {
        photos: photos().filter(|photo| photo.starts_with(&path)).count(),
        reason: reason.to_string(),
        path,
    });
    folders.collect()
}

/// The photos that a build of `folders` would look at, sorted by path.
pub fn find_photos(folders: &[PathBuf], options: &ScanOptions) -> Result<Vec<PathBuf>> {
    let scan = scan(folders, options)?;
    Ok(scan.files.into_iter().map(|file| file.path).collect())
}
