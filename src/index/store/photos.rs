//! All photos of an index in memory, by id, by path and by content: what a build compares folders with.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use crate::index::codec::{PhotoRecord, photo_digest};
use crate::photo::{ContentHash, PhotoId};

#[derive(Debug, Default)]
pub(crate) struct PhotoTable {
    records: BTreeMap<PhotoId, PhotoRecord>,
    paths: HashMap<PathBuf, PhotoId>,
    contents: HashMap<ContentHash, Vec<PhotoId>>,
    sum: u64,
}

impl PhotoTable {
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// The sum of the digests of all records.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    pub fn iter(&self) -> impl Iterator<Item = (PhotoId, &PhotoRecord)> {
        self.records.iter().map(|(&id, record)| (id, record))
    }

    pub fn by_id(&self, id: PhotoId) -> Option<&PhotoRecord> {
        self.records.get(&id)
    }

    pub fn by_path(&self, path: &Path) -> Option<PhotoId> {
        self.paths.get(path).copied()
    }

    pub fn by_content(&self, hash: ContentHash) -> &[PhotoId] {
        self.contents.get(&hash).map_or(&[], Vec::as_slice)
    }

    pub fn content_hashes(&self) -> impl Iterator<Item = ContentHash> {
        self.contents.keys().copied()
    }

    /// Adds a photo. Its id and path must be free.
    pub fn insert(&mut self, id: PhotoId, record: PhotoRecord) {
        self.sum = self.sum.wrapping_add(photo_digest(id, &record));
        self.paths.insert(record.photo.path.clone(), id);
        self.contents
            .entry(record.photo.content_hash)
            .or_default()
            .push(id);
        self.records.insert(id, record);
    }

    pub fn remove(&mut self, id: PhotoId) -> Option<PhotoRecord> {
        let record = self.records.remove(&id)?;
        self.sum = self.sum.wrapping_sub(photo_digest(id, &record));
        self.paths.remove(&record.photo.path);
        if let Some(same) = self.contents.get_mut(&record.photo.content_hash) {
            same.retain(|&other| other != id);
            if same.is_empty() {
                self.contents.remove(&record.photo.content_hash);
            }
        }
        Some(record)
    }
}
