//! Mending a damaged index: all of it that can still be read, in a new store.
//!
//! The store is read value by value, so that one that is damaged costs nothing but itself. What the store has
//! lost comes from the published snapshot, if that has it. What neither has is missing from the new store, and
//! the next build embeds it again as it would any new photo.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::error::{Error, Result};
use crate::index::changes::Changes;
use crate::index::codec::{Info, Meta, PhotoRecord, VectorId};
use crate::index::folder::files::{self, fresh_store_path};
use crate::index::folder::lock::BuildLock;
use crate::index::reader::IndexReader;
use crate::index::snapshot::Snapshot;
use crate::index::store::database::{Store, StoredGraph, Writes};
use crate::index::store::photos::PhotoTable;
use crate::index::store::state::check_graph;
use crate::index::store::vectors::{VectorHash, VectorTable};
use crate::index::upkeep::verify::{Opened, lock, tolerate, unit_vector, unreachable_rows};
use crate::index::writer::IndexWriter;
use crate::json::{path_entry, paths_entry};
use crate::mapped::bytes_of;
use crate::photo::{Photo, PhotoId};

/// Values written at once.
const BATCH: usize = 4096;

/// Progress of a repair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepairEvent {
    /// Whatever can be read is being written to a new store.
    Store {
        /// Vectors written.
        done: usize,
        /// Vectors that could be read.
        total: usize,
    },
    /// The graph is being built.
    Graph {
        /// Vectors in it so far.
        done: usize,
        /// Vectors that it will hold.
        total: usize,
    },
}

/// The report of a repair.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RepairReport {
    /// The problems that were found, in words.
    pub problems: Vec<String>,
    /// Photos in the index now.
    pub photos: usize,
    /// Those of them that were taken from the published snapshot, not from the store.
    pub from_snapshot: usize,
    /// Photos that are lost: the next build embeds them again. `None` where nothing says how many there were.
    pub lost: Option<usize>,
    /// The lost photos whose paths could still be read.
    pub lost_paths: Vec<PathBuf>,
    /// Whether the graph was built again.
    pub rebuilt_graph: bool,
    /// The new place of the damaged store; `None` if the store was sound, or missing.
    pub put_aside: Option<PathBuf>,
}

/// The JSON of `bt-index verify --repair --json`, without the problems that are left.
impl Serialize for RepairReport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        object.serialize_entry("problems", &self.problems)?;
        object.serialize_entry("photos", &self.photos)?;
        object.serialize_entry("from_snapshot", &self.from_snapshot)?;
        object.serialize_entry("lost", &self.lost)?;
        paths_entry(&mut object, "lost_paths", &self.lost_paths)?;
        object.serialize_entry("rebuilt_graph", &self.rebuilt_graph)?;
        match &self.put_aside {
            Some(path) => path_entry(&mut object, "put_aside", path)?,
            None => object.serialize_entry("put_aside", &None::<&str>)?,
        }
        object.end()
    }
}

/// See [`Index::repair`](crate::Index::repair).
pub(crate) fn repair(
    dir: &Path,
    cancel: &AtomicBool,
    on_event: &mut dyn FnMut(RepairEvent),
) -> Result<RepairReport> {
    let lock = lock(dir)?;
    let opened = Opened::open(dir)?;
    let findings = opened.examine()?;
    let mut report = RepairReport {
        lost: Some(0),
        ..RepairReport::default()
    };
    let mut needs_graph = findings.lost_rows.is_some();
    let mut writer = if findings.store.is_empty() && findings.graph.is_empty() {
        let mut writer = reopen(dir, lock, opened)?;
        if !findings.published.is_empty() {
            // Under a new number: what opens, however wrong, counts as published.
            writer.commit(Changes::default())?;
        }
        writer
    } else {
        let mut salvage = Salvage::gather(dir, &opened)?;
        report.put_aside = salvage.replace_store(dir, opened, cancel, on_event)?;
        report.from_snapshot = salvage.from_snapshot;
        report.lost = salvage.lost;
        needs_graph = salvage.graph.vectors.is_empty();
        report.lost_paths = salvage.lost_paths;
        IndexWriter::open_locked(lock, dir, &salvage.meta.info.model)?
    };
    writer.publish()?;
    if needs_graph {
        report.rebuilt_graph = writer.rebuild_graph(cancel, &mut |done, total| {
            on_event(RepairEvent::Graph { done, total });
        })?;
        writer.publish()?;
    }
    report.photos = writer.len();
    report.problems = findings.into_report().problems;
    Ok(report)
}

/// A writer for an index whose store is sound.
fn reopen(dir: &Path, lock: BuildLock, opened: Opened) -> Result<IndexWriter> {
    let store = opened.store?;
    let meta = store.meta()?.ok_or_else(|| store.damaged("it is empty"))?;
    store.close()?;
    IndexWriter::open_locked(lock, dir, &meta.info.model)
}

/// The contents of the new store. Vectors get new numbers, since each half of the index has numbers of its own.
struct Salvage {
    meta: Meta,
    photos: PhotoTable,
    vectors: VectorTable,
    origins: BTreeMap<VectorId, Origin>,
    /// Empty where it has to be built again.
    graph: StoredGraph,
    from_snapshot: usize,
    lost: Option<usize>,
    lost_paths: Vec<PathBuf>,
}

/// New numbers of vectors by their old ones.
type Numbers = HashMap<VectorId, VectorId>;

/// The source of a vector.
#[derive(Clone, Copy)]
enum Origin {
    Store(VectorId),
    Snapshot(u32),
}

impl Salvage {
    /// Reads the newer half of the index, and from the other one what the first may have lost.
    fn gather(dir: &Path, opened: &Opened) -> Result<Self> {
        let store = opened.store.as_ref().ok();
        let meta = store.map(|store| tolerate(store.meta())).transpose()?;
        let meta = meta.and_then(|meta| meta.ok().flatten());
        let snapshot = opened.reader.as_ref().ok().map(IndexReader::snapshot);
        let is_ahead = |meta: &&Meta| snapshot.is_none_or(|s| meta.generation > s.generation);
        let mut salvage = match (store.zip(meta.as_ref().filter(is_ahead)), snapshot) {
            (Some((store, meta)), older) => Self::of_store(store, meta, older)?,
            (None, Some(snapshot)) => {
                let mut salvage = Self::of_snapshot(snapshot, store.filter(|_| meta.is_none()))?;
                // Unless the store says so, there may have been more.
                let is_all = |meta: &Meta| meta.generation == snapshot.generation;
                salvage.lost = meta.as_ref().is_some_and(is_all).then_some(0);
                salvage
            }
            (None, None) => {
                let path = dir.to_owned();
                return Err(Error::BeyondRepair { path });
            }
        };
        salvage.finish(meta.as_ref(), opened.published);
        Ok(salvage)
    }

    /// A store with its counters, and an older snapshot for what the store has lost.
    fn of_store(store: &Store, meta: &Meta, older: Option<&Snapshot>) -> Result<Self> {
        let mut salvage = Self::new(&meta.info);
        let (numbers, homeless) = salvage.take_store(store, meta.next_photo, meta.next_vector)?;
        let counted = meta.photos as usize;
        if let Some(older) = older.filter(|_| salvage.photos.len() < counted) {
            salvage.take_snapshot(older, &homeless)?;
        }
        salvage.lost = Some(counted.saturating_sub(salvage.photos.len()));
        let paths = homeless.into_iter().map(|(_, photo)| photo.path);
        let is_lost = |path: &PathBuf| salvage.photos.by_path(path).is_none();
        salvage.lost_paths = paths.filter(is_lost).collect();
        let graph = meta.graph.map(|stamp| store.graph(stamp)).transpose();
        let StoredGraph { vectors, words } = tolerate(graph)?.ok().flatten().unwrap_or_default();
        salvage.take_graph(vectors.iter().map(|id| numbers.get(id).copied()), &words);
        Ok(salvage)
    }

    /// A snapshot, and after it what may be newer in a store that has lost its counters.
    fn of_snapshot(snapshot: &Snapshot, store: Option<&Store>) -> Result<Self> {
        let mut salvage = Self::new(&snapshot.info);
        salvage.meta.generation = snapshot.generation;
        let rows = salvage.take_snapshot(snapshot, &[])?;
        let graph_rows = snapshot.graph().rows();
        salvage.take_graph(rows.into_iter().take(graph_rows), snapshot.graph_words());
        if let Some(store) = store {
            let (photos_end, vectors_end) = store.ends();
            salvage.take_store(store, photos_end, vectors_end)?;
        }
        Ok(salvage)
    }

    fn new(info: &Info) -> Self {
        Self {
            meta: Meta {
                info: info.clone(),
                generation: 0,
                next_photo: 0,
                next_vector: 0,
                photos: 0,
                vectors: 0,
                sum: None,
                graph: None,
            },
            photos: PhotoTable::default(),
            vectors: VectorTable::default(),
            origins: BTreeMap::new(),
            graph: StoredGraph::default(),
            from_snapshot: 0,
            lost: None,
            lost_paths: Vec::new(),
        }
    }

    /// Takes what can be read of a store.
    fn take_store(
        &mut self,
        store: &Store,
        photos_end: u64,
        vectors_end: u64,
    ) -> Result<(Numbers, Vec<(PhotoId, Photo)>)> {
        let mut numbers = Numbers::new();
        for id in (0..vectors_end).map(VectorId) {
            if let Ok(bytes) = tolerate(store.vector(id))? {
                let number = self.add_vector(Origin::Store(id), &bytes);
                numbers.extend(number.map(|number| (id, number)));
            }
        }
        let mut homeless = Vec::new();
        for id in (0..photos_end).map(PhotoId) {
            if let Ok(Some(PhotoRecord { vector, photo })) = tolerate(store.photo(id))? {
                match numbers.get(&vector) {
                    Some(&vector) => {
                        self.add_photo(id, PhotoRecord { vector, photo });
                    }
                    None => homeless.push((id, photo)),
                }
            }
        }
        Ok((numbers, homeless))
    }

    /// Takes what is new in a snapshot, and its vectors for `homeless` photos of known content; gives the numbers
    /// of its rows.
    fn take_snapshot(
        &mut self,
        snapshot: &Snapshot,
        homeless: &[(PhotoId, Photo)],
    ) -> Result<Vec<Option<VectorId>>> {
        let vectors = snapshot.vectors();
        let rows: Vec<_> = (0..vectors.rows() as u32)
            .map(|row| self.add_vector(Origin::Snapshot(row), bytes_of(vectors.row(row))))
            .collect();
        let mut published = Vec::with_capacity(snapshot.photo_ids().len());
        for (position, id) in snapshot.photo_ids().enumerate() {
            let photo = snapshot.record(position as u32)?.photo;
            let vector = rows[snapshot.row_of(position as u32) as usize];
            published.extend(vector.map(|vector| (id, PhotoRecord { vector, photo })));
        }
        let by_content: HashMap<_, _> = published
            .iter()
            .map(|(_, record)| (record.photo.content_hash, record.vector))
            .collect();
        for (id, photo) in homeless {
            if let Some(&vector) = by_content.get(&photo.content_hash) {
                let photo = photo.clone();
                self.add_photo(*id, PhotoRecord { vector, photo });
            }
        }
        for (id, record) in published {
            self.from_snapshot += usize::from(self.add_photo(id, record));
        }
        Ok(rows)
    }

    /// Takes a graph, if all its vectors are there and it leads to them.
    fn take_graph(&mut self, vectors: impl Iterator<Item = Option<VectorId>>, words: &[u32]) {
        let Some(vectors) = vectors.collect() else {
            return;
        };
        let words = words.to_vec();
        let graph = StoredGraph { vectors, words };
        if check_graph(&graph, &self.vectors).is_ok() && unreachable_rows(&graph).is_none() {
            self.graph = graph;
        }
    }

    /// The number of a vector; `None` where it is none that an index can hold.
    fn add_vector(&mut self, origin: Origin, bytes: &[u8]) -> Option<VectorId> {
        unit_vector(bytes, self.meta.info.model.dim).ok()?;
        let hash = VectorHash::of(bytes);
        if let Some(known) = self.vectors.find(hash) {
            return Some(known);
        }
        let id = VectorId(self.meta.next_vector);
        self.meta.next_vector += 1;
        self.vectors.add(id, hash);
        self.origins.insert(id, origin);
        Some(id)
    }

    /// False where another photo has its id or path already.
    fn add_photo(&mut self, id: PhotoId, record: PhotoRecord) -> bool {
        let is_new =
            self.photos.by_id(id).is_none() && self.photos.by_path(&record.photo.path).is_none();
        if is_new {
            self.vectors.acquire(record.vector);
            self.photos.insert(id, record);
        }
        is_new
    }

    /// Settles the counters, once all is taken in.
    fn finish(&mut self, seen: Option<&Meta>, published: Option<u64>) {
        for unused in self.vectors.set_graph(&self.graph.vectors) {
            self.origins.remove(&unused);
        }
        let generations = [
            Some(self.meta.generation),
            seen.map(|meta| meta.generation),
            published,
        ];
        let last = self.photos.iter().map(|(id, _)| id.0).max();
        self.meta.generation = generations.into_iter().flatten().max().unwrap_or(0) + 1;
        self.meta.next_photo = seen
            .map_or(0, |meta| meta.next_photo)
            .max(last.map_or(0, |last| last + 1));
        self.meta.photos = self.photos.len() as u64;
        self.meta.vectors = self.vectors.len() as u64;
        self.meta.sum = Some(self.photos.sum().wrapping_add(self.vectors.sum()));
    }

    /// Puts a new store with all this into the place of the damaged one; says where that is now.
    fn replace_store(
        &mut self,
        dir: &Path,
        opened: Opened,
        cancel: &AtomicBool,
        on_event: &mut dyn FnMut(RepairEvent),
    ) -> Result<Option<PathBuf>> {
        let fresh = Store::open_at(fresh_store_path(dir))?;
        let written = self.write_to(&fresh, &opened, cancel, on_event);
        fresh.close()?;
        // Closing a damaged store may well fail; it is not used again.
        drop(opened.store.map(Store::close));
        if let Err(error) = written {
            files::settle_store(dir)?;
            return Err(error);
        }
        files::sync_dir(&fresh_store_path(dir))?;
        files::put_damaged_store_aside(dir)
    }

    fn write_to(
        &mut self,
        fresh: &Store,
        opened: &Opened,
        cancel: &AtomicBool,
        on_event: &mut dyn FnMut(RepairEvent),
    ) -> Result<()> {
        let dim = self.meta.info.model.dim;
        let (mut done, total) = (0, self.origins.len());
        let origins: Vec<_> = self.origins.iter().collect();
        for batch in origins.chunks(BATCH) {
            let mut writes = Writes::default();
            for &(&id, &origin) in batch {
                let vector = unit_vector(&read(opened, origin)?, dim);
                let vector = vector.map_err(|reason| fresh.damaged(&reason))?;
                writes.put_vector(id, vector.as_slice());
            }
            fresh.write(writes)?;
            done += batch.len();
            on_event(RepairEvent::Store { done, total });
            if cancel.load(Ordering::Relaxed) {
                return Err(Error::Cancelled);
            }
        }
        let photos: Vec<_> = self.photos.iter().collect();
        for batch in photos.chunks(BATCH) {
            let mut writes = Writes::default();
            for (id, record) in batch {
                writes.put_photo(*id, record)?;
            }
            fresh.write(writes)?;
        }
        if !self.graph.vectors.is_empty() {
            self.meta.graph = Some(fresh.put_graph(self.meta.generation, &self.graph)?);
        }
        // Last: a store without it is none.
        let mut writes = Writes::default();
        writes.put_meta(&self.meta)?;
        fresh.write(writes)
    }
}

fn read(opened: &Opened, origin: Origin) -> Result<Vec<u8>> {
    let opened = (&opened.store, &opened.reader);
    match (origin, opened) {
        (Origin::Store(id), (Ok(store), _)) => store.vector(id),
        (Origin::Snapshot(row), (_, Ok(reader))) => {
            Ok(bytes_of(reader.snapshot().vectors().row(row)).to_vec())
        }
        _ => unreachable!("only what is open was read"),
    }
}
