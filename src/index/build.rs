//! Brings an index up to date with folders of photos.
//!
//! ```text
//! scan ─► plan ─► read, hash, decode, preprocess (all cores) ─► embed in batches ─► commit ─► publish
//! ```
//!
//! Commits come every few seconds, so that a killed build loses no more than that; the next one plans
//! again from what is there. Photos leave the index only at the end of a build that saw everything.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use rayon::prelude::*;

use super::record::{ContentHash, Photo, PhotoId, PhotoMetadata};
use super::scan::{PhotoFile, canonical_roots, scan};
use super::writer::{Changes, IndexWriter};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::processor::{Encoded, Pixels, Processor};

/// What decoding may hold in memory at once, all threads together, bytes.
const DECODE_MEMORY: u64 = 768 << 20;
/// A batch that takes longer than this is made smaller, so that commits stay frequent on slow machines.
const LONGEST_BATCH: Duration = Duration::from_secs(20);
/// Publishing may take one part in this many of a build's time.
const PUBLISH_SHARE: u32 = 20;

/// How to build.
#[derive(Debug, Clone)]
pub struct BuildOptions {
    /// Photos embedded at once; the engine's own choice where `None`.
    pub batch_size: Option<usize>,
    /// Threads that read and decode.
    pub threads: usize,
    /// Longest time between commits, but for one batch.
    pub commit_every: Duration,
    /// Shortest time between the states that queries see during a build.
    pub publish_every: Duration,
}

impl Default for BuildOptions {
    fn default() -> Self {
        Self {
            batch_size: None,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            commit_every: Duration::from_secs(10),
            publish_every: Duration::from_secs(60),
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
    let scan = scan(&roots)?;
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
        let known: HashSet<ContentHash> = intake.writer.content_hashes().collect();
        let reader = Reader {
            known,
            processor: engine.processor(),
            memory: &memory,
        };
        let to_read = &plan.to_read;
        scope.spawn(move || reader.read_all(to_read, options.threads, cancel, &send));
        intake.take_all(receive, cancel)
    })?;
    intake.finish(roots, cancel)
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

/// One file after reading.
enum Reading {
    /// Its content is in the index already.
    Known(PhotoFile, ContentHash),
    /// A new picture.
    New(Box<(PhotoFile, Photo, Pixels)>),
    /// Not a picture that can be read.
    Unreadable(PhotoFile, Error),
}

/// The front of the pipeline, on threads of its own.
struct Reader<'a> {
    known: HashSet<ContentHash>,
    processor: &'a Processor,
    memory: &'a MemoryBudget,
}

impl Reader<'_> {
    /// Reads `files` and sends what it finds, until done, cancelled, or nobody listens any more.
    fn read_all(
        &self,
        files: &[PhotoFile],
        threads: usize,
        cancel: &AtomicBool,
        send: &SyncSender<Reading>,
    ) {
        let read = |file: &PhotoFile| {
            if cancel.load(Ordering::Relaxed) {
                return None;
            }
            let reading = read_one(file, &self.known, self.processor, self.memory)
                .unwrap_or_else(|error| Reading::Unreadable(file.clone(), error));
            send.send(reading).ok()
        };
        // A pool of its own: in the global one, long decodes would hold up the model's matrix products.
        match rayon::ThreadPoolBuilder::new()
            .num_threads(threads.max(1))
            .build()
        {
            Ok(pool) => pool.install(|| files.par_iter().with_max_len(1).try_for_each(read)),
            Err(_) => files.iter().try_for_each(read),
        };
    }
}

fn read_one(
    file: &PhotoFile,
    known: &HashSet<ContentHash>,
    processor: &Processor,
    memory: &MemoryBudget,
) -> Result<Reading> {
    let encoded = Encoded::read(&file.path)?;
    let content_hash = ContentHash(*blake3::hash(encoded.bytes()).as_bytes());
    if known.contains(&content_hash) {
        return Ok(Reading::Known(file.clone(), content_hash));
    }
    let (pixels, metadata) =
        memory.with(encoded.decoded_bytes()?, || processor.preprocess(&encoded))?;
    let photo = photo(file, content_hash, metadata);
    Ok(Reading::New(Box::new((file.clone(), photo, pixels))))
}

fn photo(file: &PhotoFile, content_hash: ContentHash, metadata: PhotoMetadata) -> Photo {
    Photo {
        path: file.path.clone(),
        size: file.size,
        mtime_ns: file.mtime_ns,
        content_hash,
        metadata,
    }
}

/// Bytes that all threads together may hold; a thread that wants more waits.
struct MemoryBudget {
    total: u64,
    free: Mutex<u64>,
    freed: Condvar,
}

impl MemoryBudget {
    fn new(total: u64) -> Self {
        Self {
            total,
            free: Mutex::new(total),
            freed: Condvar::new(),
        }
    }

    /// Runs `work` while holding `bytes` of the budget. Work that wants more than all of it runs alone.
    fn with<T>(&self, bytes: u64, work: impl FnOnce() -> T) -> T {
        let bytes = bytes.min(self.total);
        let lock = || {
            self.free
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
        };
        let mut free = lock();
        while *free < bytes {
            free = self
                .freed
                .wait(free)
                .unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        *free -= bytes;
        drop(free);
        let done = work();
        *lock() += bytes;
        self.freed.notify_all();
        done
    }
}

/// The end of the pipeline: embeds, commits, publishes. Runs on the caller's thread.
struct Intake<'a> {
    writer: &'a mut IndexWriter,
    engine: &'a Engine,
    options: &'a BuildOptions,
    on_event: &'a mut dyn FnMut(BuildEvent),
    report: BuildReport,
    /// Photos whose file is no longer where it was; one of them may turn up elsewhere.
    gone: HashSet<PhotoId>,
    /// Waiting for the model.
    batch: Vec<(Photo, Pixels)>,
    batch_size: usize,
    /// Waiting for the next commit.
    changes: Changes,
    /// Content that waits for the model or for the next commit.
    pending: HashSet<ContentHash>,
    /// Further files with pending content; looked at again after the commit.
    twins: Vec<(PhotoFile, ContentHash)>,
    memory: &'a MemoryBudget,
    done: usize,
    last_commit: Instant,
    /// None in a new index, whose first photos shall be found at once.
    last_publish: Option<Instant>,
    publish_took: Duration,
}

impl<'a> Intake<'a> {
    fn new(
        writer: &'a mut IndexWriter,
        engine: &'a Engine,
        options: &'a BuildOptions,
        report: BuildReport,
        memory: &'a MemoryBudget,
        on_event: &'a mut dyn FnMut(BuildEvent),
    ) -> Self {
        let last_publish = (!writer.is_empty()).then(Instant::now);
        Self {
            writer,
            engine,
            options,
            on_event,
            report,
            gone: HashSet::new(),
            batch: Vec::new(),
            batch_size: options.batch_size.unwrap_or(engine.batch_size()).max(1),
            changes: Changes::default(),
            pending: HashSet::new(),
            twins: Vec::new(),
            memory,
            done: 0,
            last_commit: Instant::now(),
            last_publish,
            publish_took: Duration::ZERO,
        }
    }

    fn take_all(&mut self, readings: Receiver<Reading>, cancel: &AtomicBool) -> Result<()> {
        for reading in readings {
            self.take(reading)?;
            if self.batch.len() >= self.batch_size {
                self.embed()?;
            }
            if self.last_commit.elapsed() >= self.options.commit_every {
                self.commit()?;
                self.publish_if_due()?;
            }
            if cancel.load(Ordering::Relaxed) {
                break;
            }
        }
        self.embed()?;
        self.commit()
    }

    fn take(&mut self, reading: Reading) -> Result<()> {
        match reading {
            Reading::Unreadable(file, error) => self.skip(file, &error),
            Reading::Known(file, content_hash) => {
                if !self.recognise(&file, content_hash) {
                    // The photo that had this content has been replaced since the build began.
                    let again =
                        read_one(&file, &HashSet::new(), self.engine.processor(), self.memory);
                    return self.take(again.unwrap_or_else(|e| Reading::Unreadable(file, e)));
                }
            }
            Reading::New(new) => {
                let (file, photo, pixels) = *new;
                if self.pending.contains(&photo.content_hash) {
                    self.twins.push((file, photo.content_hash));
                } else if !self.recognise(&file, photo.content_hash) {
                    self.pending.insert(photo.content_hash);
                    self.batch.push((photo, pixels));
                }
            }
        }
        Ok(())
    }

    /// Gives `file` the vector of a photo with the same content: its own (touched), that of a photo that is
    /// gone (moved), or a copy. False where the index holds no such photo.
    fn recognise(&mut self, file: &PhotoFile, content_hash: ContentHash) -> bool {
        let removed = &self.changes.remove;
        let same = self.writer.by_content(content_hash).iter().copied();
        let same: Vec<PhotoId> = same.filter(|id| !removed.contains(id)).collect();
        let Some(known) = same.first().and_then(|id| self.writer.photo(*id)) else {
            return false;
        };
        let photo = photo(file, content_hash, known.metadata.clone());
        let own = self
            .writer
            .by_path(&file.path)
            .map(|(id, _)| id)
            .filter(|id| same.contains(id));
        let moved = same.iter().copied().find(|id| self.gone.contains(id));
        if own.is_none() {
            self.displace(&file.path);
        }
        match own.or(moved) {
            Some(id) => {
                self.gone.remove(&id);
                self.changes.update.push((id, photo));
            }
            None => self.changes.copy.push((photo, same[0])),
        }
        self.report.recognised += 1;
        self.progress();
        true
    }

    /// Takes out what the index holds at `path`: another picture is there now.
    fn displace(&mut self, path: &Path) {
        if let Some((id, _)) = self.writer.by_path(path) {
            self.gone.remove(&id);
            self.changes.remove.push(id);
        }
    }

    fn skip(&mut self, file: PhotoFile, error: &Error) {
        // A picture that turned into garbage leaves the index; one that a flaky drive withholds stays.
        if matches!(error, Error::Photo { .. }) {
            self.displace(&file.path);
        }
        let reason = error.to_string();
        (self.on_event)(BuildEvent::Skipped {
            path: &file.path,
            reason: &reason,
        });
        self.report.skipped.push((file.path, reason));
        self.progress();
    }

    fn embed(&mut self) -> Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let started = Instant::now();
        let (photos, pixels): (Vec<Photo>, Vec<Pixels>) =
            std::mem::take(&mut self.batch).into_iter().unzip();
        let embeddings = self.engine.embed_photos(&pixels)?;
        for (photo, embedding) in photos.into_iter().zip(embeddings) {
            self.displace(&photo.path);
            self.changes.insert.push((photo, embedding));
            self.report.embedded += 1;
            self.progress();
        }
        let affordable = LONGEST_BATCH.as_secs_f64() / started.elapsed().as_secs_f64();
        self.batch_size = self
            .batch_size
            .min((pixels.len() as f64 * affordable) as usize)
            .max(1);
        Ok(())
    }

    fn commit(&mut self) -> Result<()> {
        self.last_commit = Instant::now();
        if self.changes.is_empty() {
            return Ok(());
        }
        self.writer.commit(std::mem::take(&mut self.changes))?;
        (self.on_event)(BuildEvent::Committed {
            photos: self.writer.len(),
        });
        self.pending = self
            .batch
            .iter()
            .map(|(photo, _)| photo.content_hash)
            .collect();
        for (file, content_hash) in std::mem::take(&mut self.twins) {
            self.take(Reading::Known(file, content_hash))?;
        }
        Ok(())
    }

    /// Publishing copies the whole index, so the larger it is, the seldomer that happens.
    fn publish_if_due(&mut self) -> Result<()> {
        let pause = self
            .options
            .publish_every
            .max(self.publish_took * PUBLISH_SHARE);
        if self.last_publish.is_some_and(|last| last.elapsed() < pause) {
            return Ok(());
        }
        self.publish()
    }

    fn publish(&mut self) -> Result<()> {
        let started = Instant::now();
        self.writer.publish()?;
        self.publish_took = started.elapsed();
        self.last_publish = Some(Instant::now());
        (self.on_event)(BuildEvent::Published);
        Ok(())
    }

    fn finish(mut self, roots: Vec<PathBuf>, cancel: &AtomicBool) -> Result<BuildReport> {
        while !self.changes.is_empty() {
            self.commit()?;
            self.embed()?;
        }
        if !cancel.load(Ordering::Relaxed) {
            self.report.removed = self.gone.len();
            self.changes.remove.extend(self.gone.drain());
            self.changes.roots = Some(self.all_roots(roots));
            self.commit()?;
            let on_event = &mut self.on_event;
            self.writer
                .rebuild_graph_if_stale(cancel, &mut |done, total| {
                    on_event(BuildEvent::Graph { done, total });
                })?;
        }
        self.publish()?;
        if cancel.load(Ordering::Relaxed) {
            return Err(Error::Cancelled);
        }
        Ok(self.report)
    }

    /// The folders of this build and of earlier ones; a folder inside another one goes with it.
    fn all_roots(&self, roots: Vec<PathBuf>) -> Vec<PathBuf> {
        let mut all = roots;
        all.extend_from_slice(self.writer.roots());
        all.sort();
        all.dedup_by(|inner, outer| inner.starts_with(outer));
        all
    }

    fn progress(&mut self) {
        self.done += 1;
        (self.on_event)(BuildEvent::Progress { done: self.done });
    }
}
