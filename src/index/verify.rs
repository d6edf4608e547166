//! Checking a whole index against itself.

use std::collections::HashMap;
use std::path::Path;

use super::codec::{Meta, PhotoRecord, VectorId};
use super::folder;
use super::graph::FlatGraph;
use super::lock::BuildLock;
use super::map::bytes_of;
use super::plan::Plan;
use super::reader::{IndexReader, SearchOptions};
use super::similarity::dot;
use super::state::check_graph;
use super::store::{Store, StoredGraph};
use super::vectors::{VectorHash, VectorTable};
use crate::embedding::UNIT_NORM;
use crate::error::{Error, Result};
use crate::photo::PhotoId;

/// Photos whose neighbours are looked for both ways to measure recall.
const RECALL_QUERIES: usize = 100;
const RECALL_AT: usize = 10;
/// Recall below this is reported as a problem.
const LEAST_RECALL: f64 = 0.95;

/// What [`verify`] found.
#[derive(Debug, Clone, PartialEq)]
pub struct VerifyReport {
    /// Photos in the store.
    pub photos: usize,
    /// Vectors in the store.
    pub vectors: usize,
    /// Recall@10 of searches by graph against comparing with every photo, for photos of the index as
    /// queries; `None` in an empty index or where nothing was published.
    pub recall: Option<f64>,
    /// What is wrong, in words; empty if nothing is.
    pub problems: Vec<String>,
}

/// Checks that every record can be read and has a unit vector of the right dimension, that nothing is
/// left over, that the graph leads everywhere, and that what was published is what the store holds.
///
/// Takes the builder's lock: [`Error::Busy`] during a build. Errors other than that and
/// [`Error::NoIndex`] are reported as problems.
pub fn verify(dir: &Path) -> Result<VerifyReport> {
    if !folder::has_store(dir) {
        return Err(Error::NoIndex {
            path: dir.to_owned(),
        });
    }
    let _lock = BuildLock::acquire(dir)?;
    folder::settle_store(dir)?;
    let mut problems = Vec::new();
    let stored = Store::open(dir).and_then(|store| Stored::read(&store, &mut problems));
    let stored = stored
        .map_err(|error| problems.push(error.to_string()))
        .ok();
    let reader = match IndexReader::open(dir) {
        Ok(reader) => Some(reader),
        Err(Error::NoIndex { .. }) => None,
        Err(error) => {
            problems.push(error.to_string());
            None
        }
    };
    if let (Some(stored), Some(reader)) = (&stored, &reader) {
        compare(stored, reader, &mut problems)?;
    }
    let recall = reader.as_ref().map(sampled_recall).transpose()?.flatten();
    if let Some(recall) = recall.filter(|&recall| recall < LEAST_RECALL) {
        problems.push(format!(
            "searches find only {recall:.3} of the {RECALL_AT} nearest photos"
        ));
    }
    let (photos, vectors) =
        stored.map_or((0, 0), |stored| (stored.photos.len(), stored.vectors.len()));
    Ok(VerifyReport {
        photos,
        vectors,
        recall,
        problems,
    })
}

/// All that could be read of a store.
struct Stored {
    meta: Meta,
    photos: Vec<(PhotoId, PhotoRecord)>,
    vectors: HashMap<VectorId, Vec<u8>>,
    graph: StoredGraph,
}

impl Stored {
    fn read(store: &Store, problems: &mut Vec<String>) -> Result<Self> {
        let meta = store.meta()?.ok_or_else(|| store.damaged("it is empty"))?;
        let mut table = VectorTable::default();
        let mut vectors = HashMap::new();
        for entry in store.vectors() {
            match entry {
                Ok((id, vector)) => {
                    check_vector(id, &vector, meta.info.pins.dim, problems);
                    table.add(id, VectorHash::of(&vector));
                    vectors.insert(id, vector);
                }
                Err(error) => problems.push(error.to_string()),
            }
        }
        let mut photos = Vec::new();
        for entry in store.photos() {
            match entry {
                Ok((id, record)) => {
                    if !table.acquire(record.vector) {
                        problems.push(format!("{} has no vector", record.photo.path.display()));
                    }
                    photos.push((id, record));
                }
                Err(error) => problems.push(error.to_string()),
            }
        }
        let graph = meta
            .graph
            .map(|stamp| store.graph(stamp))
            .transpose()?
            .unwrap_or_default();
        match check_graph(&graph, &table) {
            Ok(()) => check_reachability(&graph, problems),
            Err(reason) => problems.push(reason),
        }
        for orphan in table.set_graph(&graph.vectors) {
            problems.push(format!("vector {} belongs to no photo", orphan.0));
        }
        for (what, found, expected) in [
            ("photos", photos.len() as u64, meta.photos),
            ("vectors", vectors.len() as u64, meta.vectors),
        ] {
            if found != expected {
                problems.push(format!(
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

fn check_vector(id: VectorId, bytes: &[u8], dim: usize, problems: &mut Vec<String>) {
    let values: Vec<f32> = bytes
        .as_chunks()
        .0
        .iter()
        .map(|value| f32::from_le_bytes(*value))
        .collect();
    if bytes.len() != dim * size_of::<f32>() {
        problems.push(format!(
            "vector {} has {} bytes, not {dim} coordinates",
            id.0,
            bytes.len()
        ));
    } else if !UNIT_NORM.contains(&f64::from(dot(&values, &values).sqrt())) {
        problems.push(format!("vector {} has not norm 1", id.0));
    }
}

fn check_reachability(graph: &StoredGraph, problems: &mut Vec<String>) {
    let lost = FlatGraph::view(&graph.words).map_or(0, |graph| graph.unreachable().len());
    if lost > 0 {
        problems.push(format!(
            "the graph does not lead to {lost} of its {} rows",
            graph.vectors.len()
        ));
    }
}

/// Whether the snapshot says what the store says. One that is merely older says nothing wrong.
fn compare(stored: &Stored, reader: &IndexReader, problems: &mut Vec<String>) -> Result<()> {
    let snapshot = reader.snapshot();
    if snapshot.generation > stored.meta.generation {
        problems.push("the store is older than what was published from it".into());
    }
    if snapshot.generation != stored.meta.generation {
        return Ok(());
    }
    if snapshot.info != stored.meta.info {
        problems.push("the published model or folders are not those of the store".into());
    }
    if !snapshot
        .photo_ids()
        .eq(stored.photos.iter().map(|(id, _)| *id))
    {
        problems.push("the published photos are not those of the store".into());
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
            problems.push(format!(
                "photo {} was published otherwise than it is stored",
                id.0
            ));
        }
    }
    if snapshot.graph().rows() != stored.graph.vectors.len() {
        problems.push("the published graph is not that of the store".into());
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
            .filter(|hit| hit.similarity >= last.similarity)
            .count();
    }
    Ok((wanted > 0).then(|| f64::from(found as u32) / f64::from(wanted as u32)))
}
