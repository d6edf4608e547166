//! Filling a cache in a build.

use super::photo_cache::{PhotoCache, encode};
use crate::engine::{CacheLevel, ImageSide};
use crate::error::Result;
use crate::photo::ContentHash;

/// Fills a cache until it is full. Nothing leaves for what comes, as it would in a query: that would be the photos
/// filled in first.
pub(crate) struct Filling<'a> {
    cache: &'a PhotoCache,
    /// Bytes to the limit.
    room: u64,
}

impl<'a> Filling<'a> {
    pub(crate) fn new(cache: &'a PhotoCache) -> Self {
        cache.remove_outdated();
        // What cannot be listed cannot be written either, and that will be reported.
        let files = cache.files().unwrap_or_default();
        let taken: u64 = files.iter().map(|file| file.bytes).sum();
        Self {
            cache,
            room: cache.limit().saturating_sub(taken),
        }
    }

    pub(crate) fn level(&self) -> CacheLevel {
        self.cache.level()
    }

    /// Keeps what was computed of a photo, unless there is no room for it: then false.
    pub(crate) fn store(&mut self, photo: ContentHash, kept: &ImageSide) -> Result<bool> {
        let bytes = encode(kept)?;
        let Some(left) = self.room.checked_sub(bytes.len() as u64) else {
            return Ok(false);
        };
        self.cache.write(photo, &bytes)?;
        self.room = left;
        Ok(true)
    }
}
