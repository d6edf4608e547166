//! The index as a thing with a place.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use super::folder::{destroy::destroy, files};
use super::reader::IndexReader;
use super::transfer::{ImportEvent, ImportReport, import};
use super::upkeep::compact::{CompactEvent, CompactReport, compact};
use super::upkeep::repair::{RepairEvent, RepairReport, repair};
use super::upkeep::status::Status;
use super::upkeep::verify::{VerifyReport, verify};
use super::writer::IndexWriter;
use crate::error::Result;
use crate::identity::ModelIdentity;

/// The place of an index, a folder, whether or not there is an index yet.
///
/// ```
/// use bridgetower::Index;
///
/// # fn main() -> bridgetower::Result<()> {
/// # let dir = tempfile::tempdir().expect("a temporary folder");
/// let index = Index::at(dir.path().join("index"));
/// assert_eq!(index.generation()?, None);
/// let missing = index.status().expect_err("nothing was built there");
/// println!("{missing}; {}", missing.hint());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    dir: PathBuf,
}

impl Index {
    /// The index in the folder `dir`.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Opens what was last published: see [`IndexReader::open`].
    pub fn reader(&self) -> Result<IndexReader> {
        IndexReader::open(&self.dir)
    }

    /// Opens the index for changes, or creates it for `model`: see [`IndexWriter::open`].
    pub fn writer(&self, model: &ModelIdentity) -> Result<IndexWriter> {
        IndexWriter::open(&self.dir, model)
    }

    /// Opens an index that will take the place of this one: see [`IndexWriter::rebuild`].
    pub fn rebuild(&self, model: &ModelIdentity) -> Result<IndexWriter> {
        IndexWriter::rebuild(&self.dir, model)
    }

    /// The generation that was last published; `None` where nothing was. Reads one small file.
    pub fn generation(&self) -> Result<Option<u64>> {
        files::published_generation(&self.dir)
    }

    /// The folder of a [`PhotoCache`](crate::cache::PhotoCache) of its photos, which goes with the index.
    pub fn cache_dir(&self) -> PathBuf {
        files::cache_path(&self.dir)
    }

    /// Returns what is in the index and what is going on. Works during a build.
    ///
    /// [`Error::NoIndex`](crate::Error::NoIndex) until something is published.
    pub fn status(&self) -> Result<Status> {
        Status::read(&self.dir)
    }

    /// Checks that every record can be read and has a unit vector of the right dimension, that nothing is left over,
    /// that the graph leads everywhere, and that what was published is what the store holds.
    ///
    /// Takes the builder's lock: [`Error::Busy`](crate::Error::Busy) during a build. Errors other than that,
    /// [`Error::NoIndex`](crate::Error::NoIndex) and [`Error::IndexFormat`](crate::Error::IndexFormat) are reported as
    /// problems. [`Self::repair`] mends them.
    pub fn verify(&self) -> Result<VerifyReport> {
        verify(&self.dir)
    }

    /// Mends what [`Self::verify`] finds wrong, as far as that can be done without the photos.
    ///
    /// A damaged snapshot is published again from the store. A graph that is damaged, or does not lead everywhere, is
    /// built again from the vectors. A damaged store is replaced by a new one that holds what can still be read in it
    /// and in the snapshot. Queries work meanwhile, if they did before.
    ///
    /// Takes the builder's lock. [`Error::BeyondRepair`](crate::Error::BeyondRepair) if neither the store nor a snapshot
    /// says which model the index was built with. [`Error::Cancelled`](crate::Error::Cancelled) soon after `cancel` is
    /// set: either nothing was changed, or all but the graph is mended.
    pub fn repair(
        &self,
        cancel: &AtomicBool,
        on_event: &mut dyn FnMut(RepairEvent),
    ) -> Result<RepairReport> {
        repair(&self.dir, cancel, on_event)
    }

    /// Makes the index as small and as fast as one that was built at once: builds the graph again unless it is fresh,
    /// drops vectors that no photo uses, writes the store again where it takes far more space than its content, and
    /// removes what killed builds left. Queries work meanwhile.
    ///
    /// The copy of the store needs as much free space as the store's content. [`Error::Busy`](crate::Error::Busy) during
    /// a build; [`Error::Cancelled`](crate::Error::Cancelled) soon after `cancel` is set, and the index is as good as
    /// before.
    pub fn compact(
        &self,
        cancel: &AtomicBool,
        on_event: &mut dyn FnMut(CompactEvent),
    ) -> Result<CompactReport> {
        compact(&self.dir, cancel, on_event)
    }

    /// Makes a new index here from the export in `source`, with its photos, vectors bit for bit, model and folders,
    /// under new photo ids. Checks the whole export before it writes anything.
    ///
    /// [`Error::IndexExists`](crate::Error::IndexExists) if there is an index; [`Error::Export`](crate::Error::Export)
    /// names the file and line that is wrong. [`Error::Cancelled`](crate::Error::Cancelled) soon after `cancel` is set:
    /// without an index, or, if the graph was being built, with a whole one that has no graph yet.
    pub fn import(
        &self,
        source: &Path,
        cancel: &AtomicBool,
        on_event: &mut dyn FnMut(ImportEvent),
    ) -> Result<ImportReport> {
        import(&self.dir, source, cancel, on_event)
    }

    /// Removes the index, and nothing else that lies in its folder. Where there is none, nothing happens.
    pub fn destroy(&self) -> Result<()> {
        destroy(&self.dir)
    }
}
