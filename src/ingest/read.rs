//! The first part of a build: files to pixels, on all cores, under a memory budget.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use rayon::prelude::*;

use super::scan::PhotoFile;
use crate::error::{Error, Result};
use crate::photo::{ContentHash, PhotoMetadata};
use crate::processor::{Encoded, Pixels, Processor};

/// A file that cannot be decoded gets this many times as long to settle as one that can: a slow copy may pause.
const PATIENCE: u32 = 10;

/// The result of reading a file.
pub(super) enum Reading {
    /// Its content is in the index already.
    Known(PhotoFile, ContentHash),
    /// A new picture.
    New(Box<NewPhoto>),
    /// It is still being written.
    Changing(PhotoFile),
    /// Not a picture that can be read.
    Unreadable(PhotoFile, Error),
}

/// A picture that the index does not hold yet.
pub(super) struct NewPhoto {
    pub(super) file: PhotoFile,
    pub(super) content_hash: ContentHash,
    pub(super) metadata: PhotoMetadata,
    pub(super) pixels: Pixels,
}

/// The first part of the pipeline, on threads of its own.
pub(super) struct Reader<'a> {
    pub(super) known: HashSet<ContentHash>,
    pub(super) source: &'a Source<'a>,
}

impl Reader<'_> {
    /// Reads `files` and sends the results, until done, cancelled, or nobody receives them any more.
    pub(super) fn read_all(
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
            send.send(self.source.read(file, &self.known)).ok()
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

/// The way from files to pixels.
pub(super) struct Source<'a> {
    pub(super) processor: &'a Processor,
    /// For the bytes of files, and for decoded pictures. A thread that holds some of the second never waits for the
    /// first.
    pub(super) files: MemoryBudget,
    pub(super) pictures: MemoryBudget,
    /// [`BuildOptions::settle`](super::BuildOptions::settle).
    pub(super) settle: Duration,
}

impl Source<'_> {
    /// Reads a file; decodes it unless its content is in `known`.
    pub(super) fn read(&self, file: &PhotoFile, known: &HashSet<ContentHash>) -> Reading {
        // The scan may be hours old.
        let now = || PhotoFile::at(&file.path).ok().flatten();
        let file = now().unwrap_or_else(|| file.clone());
        let reading = self.decode(&file, known);
        let is_broken = matches!(reading, Err(Error::Photo { .. }));
        let was_read = is_broken || reading.is_ok();
        // The change time that is kept is the one before reading: what changes it meanwhile is read again next time.
        let is_as_it_was = || now().is_some_and(|now| now.stamp.is_as_large_and_old(&file.stamp));
        if was_read && !is_as_it_was() || is_broken && file.is_newer_than(PATIENCE * self.settle) {
            return Reading::Changing(file);
        }
        reading.unwrap_or_else(|error| Reading::Unreadable(file, error))
    }

    fn decode(&self, file: &PhotoFile, known: &HashSet<ContentHash>) -> Result<Reading> {
        self.files
            .with(file.stamp.size, || self.decode_within(file, known))
    }

    fn decode_within(&self, file: &PhotoFile, known: &HashSet<ContentHash>) -> Result<Reading> {
        let encoded = Encoded::read(&file.path)?;
        let content_hash = encoded.content_hash();
        if known.contains(&content_hash) {
            return Ok(Reading::Known(file.clone(), content_hash));
        }
        let (pixels, metadata) = self
            .pictures
            .with(self.processor.peak_bytes(&encoded)?, || {
                self.processor.preprocess(&encoded)
            })?;
        Ok(Reading::New(Box::new(NewPhoto {
            file: file.clone(),
            content_hash,
            metadata,
            pixels,
        })))
    }
}

/// The bytes that all threads together may hold; a thread that needs more waits.
pub(super) struct MemoryBudget {
    total: u64,
    free: Mutex<u64>,
    freed: Condvar,
}

impl MemoryBudget {
    pub(super) fn new(total: u64) -> Self {
        Self {
            total,
            free: Mutex::new(total),
            freed: Condvar::new(),
        }
    }

    /// Runs `work` while holding `bytes` of the budget. Work that needs more than the whole budget runs alone.
    fn with<T>(&self, bytes: u64, work: impl FnOnce() -> T) -> T {
        let bytes = bytes.min(self.total);
        let lock = || self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = lock();
        while *free < bytes {
            free = self
                .freed
                .wait(free)
                .unwrap_or_else(PoisonError::into_inner);
        }
        *free -= bytes;
        drop(free);
        let done = work();
        *lock() += bytes;
        self.freed.notify_all();
        done
    }
}
