//! The one process that changes an index.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use crate::error::{Error, Result};
use crate::identity::ModelIdentity;
use crate::index::changes::Changes;
use crate::index::codec::VectorId;
use crate::index::folder::files;
use crate::index::folder::lock::BuildLock;
use crate::index::graph::build;
use crate::index::snapshot::{Contents, Snapshot};
use crate::index::store::database::{Store, StoredGraph, Writes};
use crate::index::store::state::State;
use crate::index::upkeep::verify::unreachable_rows;
use crate::photo::{ContentHash, Photo, PhotoId};

/// Up to so many vectors are scanned instead of searched by graph: all of a small index, and in a larger
/// one those that came after the graph was built.
const MAX_WITHOUT_GRAPH: usize = 4096;
/// In a large index, one part in this many may be newer than the graph, or deleted, before it is rebuilt.
const STALE_PART: usize = 10;

/// An index open for changes, behind its lock.
///
/// Commits are durable at once and show in queries from the next [`publish`](Self::publish) on.
pub struct IndexWriter {
    dir: PathBuf,
    // Dropped in this order: the store is closed before the lock is released.
    store: Store,
    lock: BuildLock,
    state: State,
    /// A write failed: what is in memory, here and in the store, may not be on the disk.
    is_unwritten: bool,
    /// Queries see another index until [`Self::switch`].
    is_rebuild: bool,
    /// More vectors than this get a graph.
    pub(in crate::index) graph_above: usize,
}

impl IndexWriter {
    /// Opens the index in `dir`, or creates it there for the model that `model` names.
    ///
    /// [`Error::Busy`](crate::Error::Busy) while another process has it open,
    /// [`Error::OtherModel`](crate::Error::OtherModel) if it was built with another model or other
    /// preprocessing, [`Error::Corrupt`](crate::Error::Corrupt) if anything in it is not what was written.
    pub fn open(dir: &Path, model: &ModelIdentity) -> Result<Self> {
        Self::open_locked(BuildLock::acquire(dir)?, dir, model)
    }

    /// [`Self::open`] for the holder of the lock.
    pub(in crate::index) fn open_locked(
        lock: BuildLock,
        dir: &Path,
        model: &ModelIdentity,
    ) -> Result<Self> {
        files::settle_store(dir)?;
        if !files::has_store(dir) {
            State::create(dir, model)?;
            files::switch_to_fresh_store(dir)?;
        }
        let store = Store::open(dir)?;
        let state = load(&store, dir, model)?;
        // A pointer that cannot be read is replaced by the next publication.
        let published = files::last_published(dir);
        if published.is_some_and(|published| published > state.meta.generation) {
            return Err(store.damaged("it is older than what was published from it"));
        }
        Ok(Self::new(dir, store, lock, state))
    }

    /// Opens an index that will take the place of the one in `dir`, whatever that is or is pinned to. Queries go on
    /// to see the old one, whole, until [`Self::switch`]; the folder holds both meanwhile.
    ///
    /// Goes on with the rebuild that was begun there and not finished, if it is for the same model and preprocessing,
    /// else begins one. Where there is no index yet this is [`Self::open`].
    pub fn rebuild(dir: &Path, model: &ModelIdentity) -> Result<Self> {
        let lock = BuildLock::acquire(dir)?;
        files::settle_store(dir)?;
        let path = files::rebuild_path(dir);
        let is_new = !files::has_store(dir) && matches!(files::published_generation(dir), Ok(None));
        if is_new && !path.exists() {
            return Self::open_locked(lock, dir, model);
        }
        if path.exists() && !can_go_on(dir, model)? {
            files::abandon_rebuild(dir)?;
        }
        if !path.exists() {
            State::create(dir, model)?;
            files::begin_rebuild(dir)?;
        }
        let store = Store::open_at(path)?;
        let state = load(&store, dir, model)?;
        Ok(Self {
            is_rebuild: true,
            ..Self::new(dir, store, lock, state)
        })
    }

    fn new(dir: &Path, store: Store, lock: BuildLock, state: State) -> Self {
        Self {
            dir: dir.to_owned(),
            store,
            lock,
            state,
            is_unwritten: false,
            is_rebuild: false,
            graph_above: MAX_WITHOUT_GRAPH,
        }
    }

    /// Whether [`Self::switch`] is needed for queries to see what this writer commits.
    pub fn is_rebuild(&self) -> bool {
        self.is_rebuild
    }

    /// The model that the index was begun with.
    pub fn model(&self) -> &ModelIdentity {
        &self.state.meta.info.model
    }

    /// The number of photos.
    pub fn len(&self) -> usize {
        self.state.photos.len()
    }

    /// Whether there are no photos.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Grows with every commit.
    pub fn generation(&self) -> u64 {
        self.state.meta.generation
    }

    /// The photo folders of the last build.
    pub fn roots(&self) -> &[PathBuf] {
        &self.state.meta.info.roots
    }

    /// All photos, by ascending id.
    pub fn photos(&self) -> impl Iterator<Item = (PhotoId, &Photo)> {
        self.state
            .photos
            .iter()
            .map(|(id, record)| (id, &record.photo))
    }

    /// One photo.
    pub fn photo(&self, id: PhotoId) -> Option<&Photo> {
        self.state.photos.by_id(id).map(|record| &record.photo)
    }

    /// The photo at a path.
    pub fn by_path(&self, path: &Path) -> Option<(PhotoId, &Photo)> {
        let id = self.state.photos.by_path(path)?;
        Some((id, self.photo(id)?))
    }

    /// The photos with a content.
    pub fn by_content(&self, hash: ContentHash) -> &[PhotoId] {
        self.state.photos.by_content(hash)
    }

    /// The distinct contents of all photos.
    pub fn content_hashes(&self) -> impl Iterator<Item = ContentHash> {
        self.state.photos.content_hashes()
    }

    /// Applies all changes or none, and returns once they would survive a power cut.
    ///
    /// [`Error::Input`](crate::Error::Input) if they contradict the index or each other: an unknown photo, two photos at one
    /// path, an embedding of another dimension. After any other error they are in the index whole or not at all, and
    /// only opening it again can tell: until then, [`Error::Unwritten`](crate::Error::Unwritten).
    pub fn commit(&mut self, changes: Changes) -> Result<()> {
        self.check_written()?;
        self.state.check(&changes)?;
        let written = self
            .state
            .apply(changes)
            .and_then(|writes| self.store.write(writes));
        self.is_unwritten = written.is_err();
        written
    }

    /// Shows the current state to queries that start from now on. Copies the whole index, so a build does
    /// it seldom; without changes since the last time it does nothing. Of a [rebuild](Self::rebuild), queries see
    /// nothing until [`Self::switch`].
    pub fn publish(&mut self) -> Result<()> {
        self.check_written()?;
        if self.is_rebuild {
            return Ok(());
        }
        let published = self.publish_state();
        if published.is_err() {
            // On a full disk nothing is worth more than the space.
            let _ = files::remove_drafts(&self.dir);
        }
        published
    }

    /// Puts what a [rebuild](Self::rebuild) has made into the place of the old index, for queries that start from now
    /// on and for the next builder. An error leaves the one or the other in use, and in both cases whole. Publishes
    /// where this is no rebuild.
    pub fn switch(mut self) -> Result<()> {
        if !self.is_rebuild {
            return self.publish();
        }
        let latest = files::latest_generation(&self.dir)?;
        self.state.meta.generation = self.state.meta.generation.max(latest);
        self.commit(Changes::default())?;
        let (dir, generation) = (self.dir.clone(), self.generation());
        if let Err(error) = self.write_draft() {
            // On a full disk nothing is worth more than the space.
            let _ = files::remove_drafts(&dir);
            return Err(error);
        }
        let lock = self.close()?;
        let switched = files::switch_to_rebuild(&dir, generation);
        if switched.is_err() {
            let _ = files::remove_drafts(&dir);
        }
        drop(lock);
        switched
    }

    fn publish_state(&self) -> Result<()> {
        let generation = self.generation();
        let path = files::snapshot_path(&self.dir, generation);
        let is_published =
            files::published_generation(&self.dir).ok().flatten() == Some(generation);
        if is_published && Snapshot::open(&path).is_ok() {
            return Ok(());
        }
        self.write_draft()?;
        files::switch_to_draft(&self.dir, generation)
    }

    /// Writes all that queries need to a file of no name yet.
    fn write_draft(&self) -> Result<()> {
        let State {
            meta,
            photos,
            vectors,
            graph,
        } = &self.state;
        let mut rows = graph.vectors.clone();
        rows.extend(vectors.tail());
        let contents = Contents {
            generation: meta.generation,
            info: &meta.info,
            rows: &rows,
            photos: &photos.iter().collect::<Vec<_>>(),
            graph: &graph.words,
        };
        Snapshot::write(&files::draft_path(&self.dir), &contents, |id| {
            self.store.vector(id)
        })
    }

    /// Builds the graph again if too many vectors came or went since it was built; false if it is good
    /// enough. `progress` gets (vectors in the graph, vectors in all). [`Error::Cancelled`](crate::Error::Cancelled) keeps the old
    /// graph, which still finds everything.
    pub fn rebuild_graph_if_stale(
        &mut self,
        cancel: &AtomicBool,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<bool> {
        let State { vectors, graph, .. } = &self.state;
        let stale_rows = vectors.tail().len() + vectors.dead().len();
        if stale_rows <= self.graph_above.max(graph.vectors.len() / STALE_PART) {
            return Ok(false);
        }
        self.rebuild_graph(cancel, progress)
    }

    /// Builds the graph again if any vector came or went since it was built, or if it does not lead to all of
    /// them; false if it is as good as new.
    pub(in crate::index) fn rebuild_graph(
        &mut self,
        cancel: &AtomicBool,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<bool> {
        self.check_written()?;
        let State { vectors, graph, .. } = &self.state;
        let live = vectors.live();
        let needs_none = graph.vectors.is_empty() && live.len() <= self.graph_above;
        let is_current = vectors.tail().is_empty() && vectors.dead().is_empty();
        if needs_none || (is_current && unreachable_rows(graph).is_none()) {
            return Ok(false);
        }
        let graph = if live.len() > self.graph_above {
            self.build_graph(&live, cancel, progress)?
        } else {
            StoredGraph::default()
        };
        let switched = self.switch_graph(graph);
        self.is_unwritten = switched.is_err();
        switched.map(|()| true)
    }

    /// Closes the store; nobody else can open it while the lock lives.
    pub(in crate::index) fn close(self) -> Result<BuildLock> {
        self.store.close()?;
        Ok(self.lock)
    }

    fn build_graph(
        &self,
        vectors: &[VectorId],
        cancel: &AtomicBool,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<StoredGraph> {
        let vector = |number: usize| {
            let bytes = self.store.vector(vectors[number])?;
            let (values, _) = bytes.as_chunks();
            Ok(values
                .iter()
                .map(|value| f32::from_le_bytes(*value))
                .collect())
        };
        let built = build::build(vectors.len(), vector, cancel, progress)?;
        let rows = built.order.iter().map(|&number| vectors[number]);
        Ok(StoredGraph {
            vectors: rows.collect(),
            words: built.words,
        })
    }

    /// The new graph first, then one write that makes it the graph in use, then away with the old one:
    /// a crash in between leaves a whole graph, and bytes that the next opening removes.
    fn switch_graph(&mut self, graph: StoredGraph) -> Result<()> {
        let State {
            meta,
            photos,
            vectors,
            graph: old,
        } = &mut self.state;
        meta.generation += 1;
        meta.graph = match graph.vectors.len() {
            0 => None,
            _ => Some(self.store.put_graph(meta.generation, &graph)?),
        };
        let mut writes = Writes::default();
        for unused in vectors.set_graph(&graph.vectors) {
            writes.remove_vector(unused);
        }
        meta.vectors = vectors.len() as u64;
        meta.sum = Some(photos.sum().wrapping_add(vectors.sum()));
        *old = graph;
        writes.put_meta(meta)?;
        self.store.write(writes)?;
        self.store.remove_graphs_except(meta.graph)
    }

    fn check_written(&self) -> Result<()> {
        if self.is_unwritten {
            return Err(Error::Unwritten {
                path: self.dir.clone(),
            });
        }
        Ok(())
    }
}

/// The content of an open store of the index in `dir`.
fn load(store: &Store, dir: &Path, model: &ModelIdentity) -> Result<State> {
    let mut meta = store.meta()?.ok_or_else(|| store.damaged("it is empty"))?;
    meta.info.model.check(model, dir)?;
    meta.info.model.follow(model);
    store.remove_graphs_except(meta.graph)?;
    State::load(store, meta)
}

/// Whether the rebuild that was begun in `dir` is whole, and for this model.
fn can_go_on(dir: &Path, model: &ModelIdentity) -> Result<bool> {
    let store = match Store::open_at(files::rebuild_path(dir)) {
        Err(Error::Corrupt { .. }) => return Ok(false),
        store => store?,
    };
    let loaded = load(&store, dir, model).map(drop);
    // Closing a damaged store may well fail; it is not used again.
    let closed = store.close();
    match loaded {
        Err(Error::Corrupt { .. } | Error::OtherModel { .. } | Error::IndexFormat { .. }) => {
            Ok(false)
        }
        loaded => loaded.and(closed).map(|()| true),
    }
}
