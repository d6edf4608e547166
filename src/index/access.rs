//! The seam between an index and those who use it: what a search needs to read, and what a build needs to write.
//!
//! [`IndexReader`](super::IndexReader) and [`IndexWriter`](super::IndexWriter) are the local index, in sled and a mapped
//! snapshot. Another store implements these two traits, and builds and searches run on it unchanged. Snapshots,
//! compaction and repair are the local store's own.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::changes::Changes;
use super::hit::Hit;
use crate::embedding::Embedding;
use crate::error::Result;
use crate::filter::Filter;
use crate::identity::ModelIdentity;
use crate::photo::{ContentHash, Photo, PhotoId};

/// A complete state of an index, for searches on any number of threads.
pub trait ReadIndex: Send + Sync {
    /// The model that the index was built with.
    fn model(&self) -> &ModelIdentity;

    /// Refuses a model or preprocessing other than the one that the index was built with.
    fn check_model(&self, given: &ModelIdentity) -> Result<()>;

    /// Grows with every published change.
    fn generation(&self) -> u64;

    /// The number of photos.
    fn len(&self) -> usize;

    /// Whether there are no photos.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The `k` photos most similar to the query among those that pass, best first; fewer only if fewer pass. Their match
    /// probability is left open.
    fn nearest(&self, query: &Embedding, k: usize, filter: &Filter) -> Result<Vec<Hit>>;

    /// The number of photos that pass.
    fn count(&self, filter: &Filter) -> Result<usize>;

    /// All photos, by ascending id.
    fn photos(&self) -> Box<dyn Iterator<Item = Result<(PhotoId, Photo)>> + '_>;

    /// One photo; `None` if the index does not have it.
    fn photo(&self, id: PhotoId) -> Result<Option<Photo>>;

    /// A newer published state; `None` if this is the newest. Cheap enough to ask before every query.
    fn newer(&self) -> Result<Option<Arc<dyn ReadIndex>>>;
}

/// An index open for changes by one builder.
///
/// A build asks for every file that it meets, so a store far away should load what it knows of the photos when it is
/// opened, as the local one does.
pub trait WriteIndex {
    /// The number of photos.
    fn len(&self) -> usize;

    /// Whether there are no photos.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The photo folders of the last build.
    fn roots(&self) -> &[PathBuf];

    /// All photos, by ascending id.
    fn photos(&self) -> Box<dyn Iterator<Item = Result<(PhotoId, Cow<'_, Photo>)>> + '_>;

    /// One photo; `None` if the index does not have it.
    fn photo(&self, id: PhotoId) -> Result<Option<Cow<'_, Photo>>>;

    /// The photo at a path.
    fn by_path(&self, path: &Path) -> Result<Option<(PhotoId, Cow<'_, Photo>)>>;

    /// The photos with a content.
    fn by_content(&self, hash: ContentHash) -> Result<Cow<'_, [PhotoId]>>;

    /// Applies all changes or none, and returns once they would survive a power cut.
    ///
    /// [`Error::Input`](crate::Error::Input) if they contradict the index or each other.
    fn commit(&mut self, changes: Changes) -> Result<()>;

    /// Shows the committed state to searches that start from now on.
    fn publish(&mut self) -> Result<()>;

    /// Makes searches fast again where changes have slowed them down. `progress` gets (vectors done, vectors in all).
    /// [`Error::Cancelled`](crate::Error::Cancelled) leaves an index that still finds everything.
    fn tidy(&mut self, cancel: &AtomicBool, progress: &mut dyn FnMut(usize, usize)) -> Result<()>;
}
