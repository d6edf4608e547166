//! The last part of a build: pixels to embeddings to commits, on the caller's thread.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use super::difference::Difference;
use super::options::BuildOptions;
use super::read::{Reading, Source};
use super::report::{AwayFolder, BuildEvent, BuildReport};
use super::roots::{is_below, is_lost};
use super::scan::PhotoFile;
use super::stamp::Stamp;
use crate::cache::Filling;
use crate::embedding::Embedding;
use crate::engine::{Engine, ImageSide};
use crate::error::{Error, Result};
use crate::index::{Changes, WriteIndex};
use crate::photo::{ContentHash, Photo, PhotoId, PhotoMetadata};
use crate::processor::Pixels;

/// After a batch that takes longer than this, batches get smaller, so that commits stay frequent on slow machines.
const LONGEST_BATCH: Duration = Duration::from_secs(20);
/// Publishing may take one part in this many of a build's time.
const PUBLISH_SHARE: u32 = 20;

/// Records that are updated at once, if no file has to be read for that.
const DATED_AT_ONCE: usize = 4096;

/// An embedding, and the image side of matches where it is to be kept.
type Computed = (Embedding, Option<ImageSide>);

/// Photos that were read and are not yet committed, and the changes that a commit makes to the index.
pub(super) struct Committer<'a> {
    pub(super) writer: &'a mut dyn WriteIndex,
    engine: &'a Engine,
    options: &'a BuildOptions<'a>,
    on_event: &'a mut dyn FnMut(BuildEvent),
    report: BuildReport,
    /// The cache to fill, while there is room.
    cache: Option<Filling<'a>>,
    /// Photos whose file is no longer where it was; it may turn up elsewhere.
    pub(super) gone: HashSet<PhotoId>,
    /// Folders of earlier builds that this one does not see.
    pub(super) unseen_roots: Vec<PathBuf>,
    /// The photos in those of them that are gone; computed when first needed.
    adrift: Option<Adrift>,
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
    /// None in a new index, whose first photos should be found at once.
    last_publish: Option<Instant>,
    publish_took: Duration,
}

/// Photos in folders of earlier builds that no longer exist: on an unplugged drive, or in a renamed folder. In that
/// case the photos turn up in another folder.
struct Adrift {
    folders: Vec<PathBuf>,
    photos: HashSet<PhotoId>,
    /// Those of the folders whose photos turned up.
    found: HashSet<PathBuf>,
}

impl<'a> Committer<'a> {
    pub(super) fn new(
        writer: &'a mut dyn WriteIndex,
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
            unseen_roots: Vec::new(),
            adrift: None,
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

    /// Completes records that have no change time, without reading a file.
    pub(super) fn date(&mut self, files: &[PhotoFile], cancel: &AtomicBool) -> Result<()> {
        for files in files.chunks(DATED_AT_ONCE) {
            if cancel.load(Ordering::Relaxed) {
                break;
            }
            for file in files {
                if let Some((id, photo)) = self.writer.by_path(&file.path)? {
                    let mut photo = photo.into_owned();
                    photo.ctime_ns = file.stamp.ctime_ns;
                    self.changes.update.push((id, photo));
                }
            }
            self.commit()?;
        }
        Ok(())
    }

    /// Processes what the readers send, until they end or the build is cancelled.
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
            Reading::Unreadable(file, error) => self.skip(file, &error)?,
            Reading::Changing(file) => {
                self.report.unsettled.push(file.path);
                self.progress();
            }
            Reading::Known(file, content_hash) => {
                if !self.recognise(&file, content_hash)? {
                    // The photo that had this content has been replaced since the build began.
                    return self.take(self.source.read(&file, &HashSet::new()));
                }
            }
            Reading::New(new) => {
                if self.pending.contains(&new.content_hash) {
                    self.twins.push((new.file, new.content_hash));
                } else if !self.recognise(&new.file, new.content_hash)? {
                    self.pending.insert(new.content_hash);
                    let photo = photo(&new.file, new.content_hash, new.metadata);
                    self.batch.push((photo, new.pixels));
                }
            }
        }
        Ok(())
    }

    /// Gives `file` the vector of a photo with the same content: its own (touched), that of a photo that is gone
    /// (moved), or a copy. Returns false if the index holds no such photo.
    fn recognise(&mut self, file: &PhotoFile, content_hash: ContentHash) -> Result<bool> {
        let removed = &self.changes.remove;
        let same = self.writer.by_content(content_hash)?;
        let same = same.iter().copied().filter(|id| !removed.contains(id));
        let same: Vec<PhotoId> = same.collect();
        let own = self.writer.by_path(&file.path)?.map(|(id, _)| id);
        let own = own.filter(|id| same.contains(id));
        let Some(&first) = own.as_ref().or(same.first()) else {
            return Ok(false);
        };
        let Some(known) = self.writer.photo(first)? else {
            return Ok(false);
        };
        let photo = photo(file, content_hash, known.metadata.clone());
        if own.is_some() && photo == *known {
            self.report.unchanged += 1;
            self.progress();
            return Ok(true);
        }
        drop(known);
        if own.is_none() {
            self.displace(&file.path)?;
        }
        let moved = match own {
            Some(id) => Some(id),
            None => self.moved(&same)?,
        };
        match moved {
            Some(id) => self.changes.update.push((id, photo)),
            None => self.changes.copy.push((photo, first)),
        }
        self.report.recognised += 1;
        self.progress();
        Ok(true)
    }

    /// Returns one of these photos whose file is no longer where it was.
    fn moved(&mut self, photos: &[PhotoId]) -> Result<Option<PhotoId>> {
        if let Some(&id) = photos.iter().find(|id| self.gone.contains(id)) {
            self.gone.remove(&id);
            return Ok(Some(id));
        }
        let adrift = match &mut self.adrift {
            Some(adrift) => adrift,
            none => none.insert(Adrift::new(self.writer, &self.unseen_roots)?),
        };
        let Some(&id) = photos.iter().find(|id| adrift.photos.contains(id)) else {
            return Ok(None);
        };
        adrift.photos.remove(&id);
        let Some(photo) = self.writer.photo(id)? else {
            return Ok(None);
        };
        let mut folders = adrift.folders.iter();
        let folder = folders.find(|folder| photo.path.starts_with(folder));
        adrift.found.extend(folder.cloned());
        Ok(folder.map(|_| id))
    }

    /// Removes what the index holds at `path`: another picture is there now.
    fn displace(&mut self, path: &Path) -> Result<()> {
        if let Some((id, _)) = self.writer.by_path(path)? {
            self.gone.remove(&id);
            self.changes.remove.push(id);
        }
        Ok(())
    }

    fn skip(&mut self, file: PhotoFile, error: &Error) -> Result<()> {
        // A picture that turned into garbage leaves the index; one that a flaky drive withholds stays.
        if matches!(error, Error::Photo { .. }) {
            self.displace(&file.path)?;
            self.report.broken.0.insert(file.clone());
        }
        let reason = error.to_string();
        (self.on_event)(BuildEvent::Skipped {
            path: &file.path,
            reason: &reason,
        });
        self.report.skipped.push((file.path, reason));
        self.progress();
        Ok(())
    }

    fn embed(&mut self) -> Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let started = Instant::now();
        let (photos, pixels): (Vec<Photo>, Vec<Pixels>) =
            std::mem::take(&mut self.batch).into_iter().unzip();
        for (photo, computed) in photos.into_iter().zip(self.compute(&pixels)?) {
            match computed {
                Ok((embedding, kept)) => {
                    self.keep(&photo, kept.as_ref());
                    self.displace(&photo.path)?;
                    self.changes.insert.push((photo, embedding));
                    self.report.embedded += 1;
                    self.progress();
                }
                Err(reason) => {
                    self.pending.remove(&photo.content_hash);
                    let stamp = Stamp::of_photo(&photo);
                    let path = photo.path;
                    self.skip(PhotoFile { path, stamp }, &Error::Photo { reason })?;
                }
            }
        }
        let affordable = LONGEST_BATCH.as_secs_f64() / started.elapsed().as_secs_f64();
        self.batch_size = self
            .batch_size
            .min((pixels.len() as f64 * affordable) as usize)
            .max(1);
        Ok(())
    }

    /// For each picture its embedding, or why it has none: a picture for which the model computes no number does not
    /// keep the others out. A model that computes none for any picture is damaged.
    fn compute(&self, pixels: &[Pixels]) -> Result<Vec<Result<Computed, String>>> {
        let error = match self.compute_batch(pixels) {
            Ok(all) => return Ok(all.into_iter().map(Ok).collect()),
            Err(error @ Error::NoNumber { .. }) => error,
            Err(error) => return Err(error),
        };
        let mut computed = Vec::with_capacity(pixels.len());
        for picture in pixels {
            computed.push(match self.compute_batch(std::slice::from_ref(picture)) {
                Ok(mut alone) => Ok(alone.remove(0)),
                Err(error @ Error::NoNumber { .. }) => Err(error.to_string()),
                Err(error) => return Err(error),
            });
        }
        if self.report.embedded == 0 && computed.iter().all(Result::is_err) {
            return Err(error);
        }
        Ok(computed)
    }

    fn compute_batch(&self, pixels: &[Pixels]) -> Result<Vec<Computed>> {
        Ok(match &self.cache {
            None => {
                let embeddings = self.engine.embed_photos(pixels)?.into_iter();
                embeddings.map(|embedding| (embedding, None)).collect()
            }
            Some(cache) => {
                let (embeddings, kept) =
                    self.engine.embed_with_image_sides(cache.level(), pixels)?;
                let kept = kept.into_iter().map(Some);
                embeddings.into_iter().zip(kept).collect()
            }
        })
    }

    /// Fills the cache. If it is full or cannot be written, the filling ends, not the build.
    fn keep(&mut self, photo: &Photo, kept: Option<&ImageSide>) {
        let (Some(cache), Some(kept)) = (&mut self.cache, kept) else {
            return;
        };
        let reason = match cache.store(photo.content_hash, kept) {
            Ok(true) => {
                self.report.cached += 1;
                return;
            }
            Ok(false) => "the cache is full".to_owned(),
            Err(error) => format!("the cache cannot be written: {error}"),
        };
        (self.on_event)(BuildEvent::CacheStopped { reason: &reason });
        self.cache = None;
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

    /// Publishes if it is time. Publishing copies the whole index, so it happens less often in a larger one.
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
        (self.on_event)(BuildEvent::Publishing);
        self.writer.publish()?;
        self.publish_took = started.elapsed();
        self.last_publish = Some(Instant::now());
        (self.on_event)(BuildEvent::Published);
        Ok(())
    }

    /// Commits the rest, completes the build if it saw everything, and publishes.
    pub(super) fn finish(
        mut self,
        difference: &Difference,
        cancel: &AtomicBool,
    ) -> Result<BuildReport> {
        // A commit may bring back twins, and they may need the model after all.
        while !(self.batch.is_empty() && self.changes.is_empty()) {
            self.embed()?;
            self.commit()?;
        }
        let ended = self.end(difference, cancel);
        let published = self.publish();
        // What ended it says more than what came of that.
        ended.and(published)?;
        Ok(self.report)
    }

    /// Removes what is gone and updates the graph, which only a build that saw everything may do.
    fn end(&mut self, difference: &Difference, cancel: &AtomicBool) -> Result<()> {
        if cancel.load(Ordering::Relaxed) {
            return Err(Error::Cancelled);
        }
        self.report.removed = self.gone.len();
        self.changes.remove.extend(self.gone.drain());
        self.look_after_lost_folders()?;
        self.changes.roots = Some(self.all_roots(difference));
        self.commit()?;
        let on_event = &mut self.on_event;
        self.writer.tidy(cancel, &mut |done, total| {
            on_event(BuildEvent::Graph { done, total });
        })
    }

    /// Forgets folders that were renamed: they are gone, and all their photos turned up elsewhere. If only some did,
    /// the others stay, since they may have been left behind on a drive.
    fn look_after_lost_folders(&mut self) -> Result<()> {
        let Some(adrift) = self.adrift.take() else {
            return Ok(());
        };
        for folder in adrift.folders {
            if !adrift.found.contains(&folder) {
                continue;
            }
            let mut left = 0;
            for photo in self.writer.photos() {
                left += usize::from(photo?.1.path.starts_with(&folder));
            }
            self.report.away.retain(|away| away.path != folder);
            if left == 0 {
                (self.on_event)(BuildEvent::Renamed { folder: &folder });
                self.report.renamed.push(folder);
            } else {
                let away = AwayFolder {
                    reason: Error::NoFolder {
                        path: folder.clone(),
                    }
                    .to_string(),
                    path: folder,
                    photos: left,
                };
                (self.on_event)(BuildEvent::Away(&away));
                self.report.away.push(away);
            }
        }
        Ok(())
    }

    /// Returns the folders of this build and of earlier ones, without those inside another one.
    fn all_roots(&self, difference: &Difference) -> Vec<PathBuf> {
        let unseen = self.unseen_roots.iter();
        let unseen = unseen.filter(|root| !self.report.renamed.contains(root));
        let mut all: Vec<PathBuf> = difference.roots().iter().chain(unseen).cloned().collect();
        all.sort();
        all.dedup_by(|inner, outer| inner.starts_with(outer));
        all
    }

    fn progress(&mut self) {
        self.done += 1;
        (self.on_event)(BuildEvent::Progress { done: self.done });
    }
}

impl Adrift {
    fn new(index: &dyn WriteIndex, roots: &[PathBuf]) -> Result<Self> {
        let lost = roots.iter().filter(|root| is_lost(root));
        let folders: Vec<_> = lost.cloned().collect();
        let mut photos = HashSet::new();
        for photo in index.photos() {
            let (id, photo) = photo?;
            if is_below(&folders, &photo.path) {
                photos.insert(id);
            }
        }
        Ok(Self {
            folders,
            photos,
            found: HashSet::new(),
        })
    }
}

fn photo(file: &PhotoFile, content_hash: ContentHash, metadata: PhotoMetadata) -> Photo {
    Photo {
        path: file.path.clone(),
        size: file.stamp.size,
        mtime_ns: file.stamp.mtime_ns,
        ctime_ns: file.stamp.ctime_ns,
        content_hash,
        metadata,
    }
}
