//! The end of a build: pixels to embeddings to commits, on the caller's thread.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use super::read::{Reading, Source};
use super::scan::PhotoFile;
use super::{BuildEvent, BuildOptions, BuildReport};
use crate::cache::{Filling, Kept};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::index::{Changes, IndexWriter};
use crate::photo::{ContentHash, Photo, PhotoId, PhotoMetadata};
use crate::processor::Pixels;

/// A batch that takes longer than this is made smaller, so that commits stay frequent on slow machines.
const LONGEST_BATCH: Duration = Duration::from_secs(20);
/// Publishing may take one part in this many of a build's time.
const PUBLISH_SHARE: u32 = 20;

/// What has been read and is not yet committed, and what a commit does to the index.
pub(super) struct Intake<'a> {
    pub(super) writer: &'a mut IndexWriter,
    engine: &'a Engine,
    options: &'a BuildOptions<'a>,
    on_event: &'a mut dyn FnMut(BuildEvent),
    report: BuildReport,
    /// While there is room.
    cache: Option<Filling<'a>>,
    /// Photos whose file is no longer where it was; one of them may turn up elsewhere.
    pub(super) gone: HashSet<PhotoId>,
    /// Waiting for the model.
    batch: Vec<(Photo, Pixels)>,
    pub(super) batch_size: usize,
    /// Waiting for the next commit.
    changes: Changes,
    /// Content that waits for the model or for the next commit.
    pending: HashSet<ContentHash>,
    /// Further files with pending content; looked at again after the commit.
    twins: Vec<(PhotoFile, ContentHash)>,
    source: &'a Source<'a>,
    done: usize,
    last_commit: Instant,
    /// None in a new index, whose first photos shall be found at once.
    last_publish: Option<Instant>,
    publish_took: Duration,
}

impl<'a> Intake<'a> {
    pub(super) fn new(
        writer: &'a mut IndexWriter,
        engine: &'a Engine,
        options: &'a BuildOptions<'a>,
        report: BuildReport,
        source: &'a Source<'a>,
        on_event: &'a mut dyn FnMut(BuildEvent),
    ) -> Self {
        let last_publish = (!writer.is_empty()).then(Instant::now);
        Self {
            writer,
            engine,
            options,
            on_event,
            report,
            cache: options.cache.map(Filling::new),
            gone: HashSet::new(),
            batch: Vec::new(),
            batch_size: options.batch_size.unwrap_or(engine.batch_size()).max(1),
            changes: Changes::default(),
            pending: HashSet::new(),
            twins: Vec::new(),
            source,
            done: 0,
            last_commit: Instant::now(),
            last_publish,
            publish_took: Duration::ZERO,
        }
    }

    /// Takes in what the readers send, until they end or the build is cancelled.
    pub(super) fn take_all(
        &mut self,
        readings: Receiver<Reading>,
        cancel: &AtomicBool,
    ) -> Result<()> {
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
            Reading::Changing(file) => {
                self.report.unsettled.push(file.path);
                self.progress();
            }
            Reading::Known(file, content_hash) => {
                if !self.recognise(&file, content_hash) {
                    // The photo that had this content has been replaced since the build began.
                    return self.take(self.source.read(&file, &HashSet::new()));
                }
            }
            Reading::New(new) => {
                if self.pending.contains(&new.content_hash) {
                    self.twins.push((new.file, new.content_hash));
                } else if !self.recognise(&new.file, new.content_hash) {
                    self.pending.insert(new.content_hash);
                    let photo = photo(&new.file, new.content_hash, new.metadata);
                    self.batch.push((photo, new.pixels));
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
            self.report.broken.0.insert(file.clone());
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
        let embeddings = match &self.cache {
            None => self.engine.embed_photos(&pixels)?,
            Some(cache) => {
                let (embeddings, kept) = self.engine.embed_and_keep(cache.level(), &pixels)?;
                self.keep(&photos, &kept);
                embeddings
            }
        };
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

    /// Fills the cache. That it is full or cannot be written ends the filling, not the build.
    fn keep(&mut self, photos: &[Photo], kept: &[Kept]) {
        for (photo, kept) in photos.iter().zip(kept) {
            let Some(cache) = &mut self.cache else {
                return;
            };
            let reason = match cache.store(photo.content_hash, kept) {
                Ok(true) => {
                    self.report.cached += 1;
                    continue;
                }
                Ok(false) => "the cache is full".to_owned(),
                Err(error) => format!("the cache cannot be written: {error}"),
            };
            (self.on_event)(BuildEvent::CacheStopped { reason: &reason });
            self.cache = None;
        }
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

    /// Commits the rest, ends the build if it saw everything, and publishes.
    pub(super) fn finish(
        mut self,
        roots: Vec<PathBuf>,
        cancel: &AtomicBool,
    ) -> Result<BuildReport> {
        // A commit may bring back twins, and they may need the model after all.
        while !(self.batch.is_empty() && self.changes.is_empty()) {
            self.embed()?;
            self.commit()?;
        }
        let ended = self.end(roots, cancel);
        let published = self.publish();
        // What ended it says more than what came of that.
        ended.and(published)?;
        Ok(self.report)
    }

    /// What only a build that saw everything may do: take out what is gone, and mend the graph.
    fn end(&mut self, roots: Vec<PathBuf>, cancel: &AtomicBool) -> Result<()> {
        if cancel.load(Ordering::Relaxed) {
            return Err(Error::Cancelled);
        }
        self.report.removed = self.gone.len();
        self.changes.remove.extend(self.gone.drain());
        self.changes.roots = Some(self.all_roots(roots));
        self.commit()?;
        let on_event = &mut self.on_event;
        self.writer
            .rebuild_graph_if_stale(cancel, &mut |done, total| {
                on_event(BuildEvent::Graph { done, total });
            })?;
        Ok(())
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

fn photo(file: &PhotoFile, content_hash: ContentHash, metadata: PhotoMetadata) -> Photo {
    Photo {
        path: file.path.clone(),
        size: file.size,
        mtime_ns: file.mtime_ns,
        content_hash,
        metadata,
    }
}
