//! Checking a whole index against itself.

use std::collections::HashMap;
use std::path::Path;

use serde::Serialize;

use crate::embedding::Embedding;
use crate::error::{Error, Result};
use crate::index::codec::{Meta, PhotoRecord, VectorId, photo_digest};
use crate::index::folder::files;
use crate::index::folder::lock::BuildLock;
use crate::index::graph::flat::FlatGraph;
use crate::index::reader::{IndexReader, SearchOptions};
use crate::index::store::database::{Store, StoredGraph};
use crate::index::store::state::{OUT_OF_DATE, check_graph};
use crate::index::store::vectors::{VectorHash, VectorTable};
use crate::index::strategy::Plan;
use crate::mapped::bytes_of;
use crate::photo::PhotoId;

/// Photos whose neighbours are looked for both ways to measure recall.
const RECALL_QUERIES: usize = 100;
const RECALL_AT: usize = 10;
/// Photos this much less similar than the tenth are as good: rounding decides which of them is the tenth.
const AS_GOOD: f32 = 1e-6;

/// The report of a verification.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VerifyReport {
    /// Photos in the store.
    pub photos: usize,
    /// Vectors in the store.
    pub vectors: usize,
    /// Recall@10 of searches by graph against comparing with every photo, for photos of the index as
    /// queries; `None` in an empty index or where nothing was published.
    pub recall: Option<f64>,
    /// The problems, in words; empty if there are none.
    pub problems: Vec<String>,
    /// Whether a new graph would mend all of it: [`Index::compact`](crate::Index::compact) builds one from the vectors.
    pub needs_graph: bool,
}

/// See [`Index::verify`](crate::Index::verify).
pub(crate) fn verify(dir: &Path) -> Result<VerifyReport> {
    let _lock = lock(dir)?;
    Ok(Opened::open(dir)?.examine()?.into_report())
}

/// The builder's lock of an index that there is.
pub(in crate::index) fn lock(dir: &Path) -> Result<BuildLock> {
    if !files::has_store(dir) && matches!(files::published_generation(dir), Ok(None)) {
        return Err(Error::NoIndex {
            path: dir.to_owned(),
        });
    }
    BuildLock::acquire(dir)
}

/// Both halves of an index, as far as they open.
pub(in crate::index) struct Opened {
    pub store: Result<Store>,
    pub reader: Result<IndexReader>,
    /// The generation of the snapshot, though it may not open.
    pub published: Option<u64>,
}

impl Opened {
    /// Opens the index in `dir`, for the holder of its lock. Refuses one of another format: that is no damage.
    pub fn open(dir: &Path) -> Result<Self> {
        files::settle_store(dir)?;
        let path = files::store_path(dir);
        let store = if path.exists() {
            Store::open(dir)
        } else {
            let reason = "it is missing".into();
            Err(Error::Corrupt { path, reason })
        };
        let (store, reader) = (tolerate(store)?, tolerate(IndexReader::open(dir))?);
        Ok(Self {
            store,
            reader,
            published: files::last_published(dir),
        })
    }

    /// Looks at everything.
    pub fn examine(&self) -> Result<Findings> {
        let mut findings = Findings::default();
        let store = self.store.as_ref().map_err(ToString::to_string);
        let stored = match store {
            Ok(store) => tolerate(Stored::read(store, &mut findings))?.map_err(|e| e.to_string()),
            Err(reason) => Err(reason),
        };
        match &self.reader {
            Ok(reader) => {
                if let Ok(stored) = &stored {
                    let compared = tolerate(compare(stored, reader, &mut findings))?;
                    findings
                        .published
                        .extend(compared.err().map(|e| e.to_string()));
                }
                findings.measure(reader)?;
            }
            Err(Error::NoIndex { .. }) => {}
            Err(error) => findings.published.push(error.to_string()),
        }
        let is_older = |stored: &Stored| self.published > Some(stored.meta.generation);
        if stored.as_ref().is_ok_and(is_older) {
            let older = "the store is older than what was published from it";
            findings.store.push(older.into());
        }
        findings.store.extend(stored.err());
        Ok(findings)
    }
}

/// Leaves damage for later, and refuses another format at once.
pub(in crate::index) fn tolerate<T>(outcome: Result<T>) -> Result<Result<T>> {
    match outcome {
        Err(error @ Error::IndexFormat { .. }) => Err(error),
        outcome => Ok(outcome),
    }
}

/// The problems, by their remedy.
#[derive(Debug, Default)]
pub(in crate::index) struct Findings {
    photos: usize,
    vectors: usize,
    recall: Option<f64>,
    /// With the store.
    pub store: Vec<String>,
    /// With the bytes of the graph in it.
    pub graph: Vec<String>,
    /// That a graph as it was written does not lead everywhere: those of earlier versions, among bursts of photos.
    pub lost_rows: Option<String>,
    /// With what was published.
    pub published: Vec<String>,
}

impl Findings {
    pub fn into_report(self) -> VerifyReport {
        let lost_rows = Vec::from_iter(self.lost_rows);
        let damage = [self.store, self.graph, self.published].concat();
        VerifyReport {
            photos: self.photos,
            vectors: self.vectors,
            recall: self.recall,
            needs_graph: damage.is_empty() && !lost_rows.is_empty(),
            problems: [damage, lost_rows].concat(),
        }
    }

    fn measure(&mut self, reader: &IndexReader) -> Result<()> {
        match tolerate(sampled_recall(reader))? {
            Ok(recall) => self.recall = recall,
            Err(error) => self.published.push(error.to_string()),
        }
        Ok(())
    }
}

/// All that could be read of a store.
struct Stored {
    meta: Meta,
    photos: Vec<(PhotoId, PhotoRecord)>,
    vectors: HashMap<VectorId, Vec<u8>>,
    graph: StoredGraph,
}

impl Stored {
    fn read(store: &Store, findings: &mut Findings) -> Result<Self> {
        let meta = store.meta()?.ok_or_else(|| store.damaged("it is empty"))?;
        let mut table = VectorTable::default();
        let mut vectors = HashMap::new();
        for entry in store.vectors() {
            match tolerate(entry)? {
                Ok((id, vector)) => {
                    if let Err(reason) = unit_vector(&vector, meta.info.model.dim) {
                        findings.store.push(format!("vector {} {reason}", id.0));
                    }
                    table.add(id, VectorHash::of(&vector));
                    vectors.insert(id, vector);
                }
                Err(error) => findings.store.push(error.to_string()),
            }
        }
        let mut photos = Vec::new();
        for entry in store.photos() {
            match tolerate(entry)? {
                Ok((id, record)) => {
                    if !table.acquire(record.vector) {
                        let path = record.photo.path.display();
                        findings.store.push(format!("{path} has no vector"));
                    }
                    photos.push((id, record));
                }
                Err(error) => findings.store.push(error.to_string()),
            }
        }
        let graph = match tolerate(meta.graph.map(|stamp| store.graph(stamp)).transpose())? {
            Ok(graph) => graph.unwrap_or_default(),
            Err(error) => {
                findings.graph.push(error.to_string());
                StoredGraph::default()
            }
        };
        match check_graph(&graph, &table) {
            Ok(()) => findings.lost_rows = unreachable_rows(&graph),
            Err(reason) => findings.graph.push(reason),
        }
        let digests = photos.iter().map(|(id, record)| photo_digest(*id, record));
        let sum = digests.fold(table.sum(), u64::wrapping_add);
        if meta.sum.is_some_and(|expected| expected != sum) {
            findings.store.push(OUT_OF_DATE.into());
        }
        // Those of a graph that cannot be read belong to no photo either.
        if findings.graph.is_empty() {
            for orphan in table.set_graph(&graph.vectors) {
                findings
                    .store
                    .push(format!("vector {} belongs to no photo", orphan.0));
            }
        }
        (findings.photos, findings.vectors) = (photos.len(), vectors.len());
        for (what, found, expected) in [
            ("photos", photos.len() as u64, meta.photos),
            ("vectors", vectors.len() as u64, meta.vectors),
        ] {
            if found != expected {
                findings.store.push(format!(
                    "the store holds {found} {what} instead of {expected}"
                ));
            }
        }
        Ok(Self {
            meta,
            photos,
            vectors,
            graph,
        })
    }
}

/// A stored vector's coordinates, or what is wrong with it.
pub(in crate::index) fn unit_vector(bytes: &[u8], dim: usize) -> Result<Embedding, String> {
    if bytes.len() != dim * size_of::<f32>() {
        let len = bytes.len();
        return Err(format!("has {len} bytes, not {dim} coordinates"));
    }
    let values = bytes.as_chunks().0.iter();
    let values = values.map(|value| f32::from_le_bytes(*value)).collect();
    Embedding::from_unit(values).map_err(|norm| format!("has norm {norm}, not 1"))
}

/// Returns what is wrong with a graph that can be searched, if anything is.
pub(in crate::index) fn unreachable_rows(graph: &StoredGraph) -> Option<String> {
    let lost = FlatGraph::view(&graph.words).map_or(0, |graph| graph.unreachable().len());
    let rows = graph.vectors.len();
    (lost > 0).then(|| format!("the graph does not lead to {lost} of its {rows} rows"))
}

/// Whether the snapshot says what the store says. One that is merely older says nothing wrong.
fn compare(stored: &Stored, reader: &IndexReader, findings: &mut Findings) -> Result<()> {
    let snapshot = reader.snapshot();
    if snapshot.generation != stored.meta.generation {
        return Ok(());
    }
    if snapshot.info != stored.meta.info {
        findings
            .published
            .push("the published model or folders are not those of the store".into());
    }
    if !snapshot
        .photo_ids()
        .eq(stored.photos.iter().map(|(id, _)| *id))
    {
        findings
            .published
            .push("the published photos are not those of the store".into());
        return Ok(());
    }
    for (position, (id, record)) in stored.photos.iter().enumerate() {
        let position = position as u32;
        let published = bytes_of(snapshot.vectors().row(snapshot.row_of(position)));
        let is_same = snapshot.record(position)? == *record
            && stored
                .vectors
                .get(&record.vector)
                .is_some_and(|vector| vector == published);
        if !is_same {
            findings.published.push(format!(
                "photo {} was published otherwise than it is stored",
                id.0
            ));
        }
    }
    if snapshot.graph().rows() != stored.graph.vectors.len() {
        findings
            .published
            .push("the published graph is not that of the store".into());
    }
    Ok(())
}

/// Recall@10 over photos spread evenly over the index. By similarity rather than by id, because copies
/// may stand in for each other.
fn sampled_recall(reader: &IndexReader) -> Result<Option<f64>> {
    let step = reader.len().div_ceil(RECALL_QUERIES).max(1);
    let by_graph = SearchOptions {
        plan: Plan::Graph,
        ..SearchOptions::default()
    };
    let (mut found, mut wanted) = (0, 0);
    for id in reader.snapshot().photo_ids().step_by(step) {
        let Some(query) = reader.embedding(id)? else {
            continue;
        };
        let exact = reader.search_exact(&query, RECALL_AT, None)?;
        let Some(last) = exact.last() else { continue };
        let hits = reader.search(&query, RECALL_AT, &by_graph)?;
        wanted += exact.len();
        found += hits
            .iter()
            .filter(|hit| hit.similarity >= last.similarity - AS_GOOD)
            .count();
    }
    Ok((wanted > 0).then(|| f64::from(found as u32) / f64::from(wanted as u32)))
}
