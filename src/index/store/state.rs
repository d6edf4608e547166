//! The store's content in memory, and how changes change it.

use std::collections::HashSet;
use std::path::Path;

use crate::embedding::Embedding;
use crate::error::{Error, Result};
use crate::identity::ModelIdentity;
use crate::index::changes::Changes;
use crate::index::codec::{Info, Meta, PhotoRecord, VectorId};
use crate::index::folder::files::fresh_store_path;
use crate::index::graph::flat::FlatGraph;
use crate::index::store::database::{Store, StoredGraph, Writes};
use crate::index::store::photos::PhotoTable;
use crate::index::store::vectors::{VectorHash, VectorTable};
use crate::mapped::bytes_of;
use crate::photo::{Photo, PhotoId};

/// The message about a wrong sum.
pub(in crate::index) const OUT_OF_DATE: &str =
    "a record or vector in it is not the one that was committed last";

/// The store's content in memory, but for the vectors themselves.
pub(crate) struct State {
    pub meta: Meta,
    pub photos: PhotoTable,
    pub vectors: VectorTable,
    pub graph: StoredGraph,
}

impl State {
    /// Makes a store that is pinned to a model, for the caller to give its name to when it is complete: half of one
    /// would be damage.
    pub fn create(dir: &Path, model: &ModelIdentity) -> Result<()> {
        let meta = Meta {
            info: Info {
                model: model.clone(),
                roots: Vec::new(),
                created_by: concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")).into(),
            },
            generation: 0,
            next_photo: 0,
            next_vector: 0,
            photos: 0,
            vectors: 0,
            sum: Some(0),
            graph: None,
        };
        let mut writes = Writes::default();
        writes.put_meta(&meta)?;
        let store = Store::open_at(fresh_store_path(dir))?;
        store.write(writes)?;
        store.close()
    }

    /// Reads everything once, and checks that it is all there.
    pub fn load(store: &Store, meta: Meta) -> Result<Self> {
        let mut vectors = VectorTable::default();
        for entry in store.vectors() {
            let (id, vector) = entry?;
            if vector.len() != meta.info.model.dim * size_of::<f32>() {
                return Err(store.damaged(&format!("vector {} has the wrong length", id.0)));
            }
            vectors.add(id, VectorHash::of(&vector));
        }
        let mut photos = PhotoTable::default();
        for entry in store.photos() {
            let (id, record) = entry?;
            if !vectors.acquire(record.vector) {
                return Err(store.damaged(&format!("photo {} has no vector", id.0)));
            }
            photos.insert(id, record);
        }
        let graph = meta
            .graph
            .map(|stamp| store.graph(stamp))
            .transpose()?
            .unwrap_or_default();
        check_graph(&graph, &vectors).map_err(|reason| store.damaged(&reason))?;
        let unused = vectors.set_graph(&graph.vectors);
        let counted = (photos.len() as u64, vectors.len() as u64);
        if !unused.is_empty() || counted != (meta.photos, meta.vectors) {
            return Err(store.damaged(&format!(
                "it holds {} photos and {} vectors, and should hold {} and {}",
                counted.0,
                counted.1 + unused.len() as u64,
                meta.photos,
                meta.vectors
            )));
        }
        let sum = photos.sum().wrapping_add(vectors.sum());
        if meta.sum.is_some_and(|expected| expected != sum) {
            return Err(store.damaged(OUT_OF_DATE));
        }
        Ok(Self {
            meta,
            photos,
            vectors,
            graph,
        })
    }

    /// Whether the changes can be applied.
    pub fn check(&self, changes: &Changes) -> Result<()> {
        let leaving = self.check_ids(changes)?;
        let dim = self.meta.info.model.dim;
        if let Some((photo, embedding)) = changes.insert.iter().find(|(_, e)| e.dim() != dim) {
            let (path, found) = (photo.path.display(), embedding.dim());
            return refuse(format!(
                "{path}: an embedding of {found} coordinates, not {dim}"
            ));
        }
        let mut coming = HashSet::new();
        let inserted = changes.insert.iter().map(|(photo, _)| photo);
        let copied = changes.copy.iter().map(|(photo, _)| photo);
        let updated = changes.update.iter().map(|(_, photo)| photo);
        for photo in inserted.chain(copied).chain(updated) {
            let holder = self.photos.by_path(&photo.path);
            let is_free = holder.is_none_or(|holder| leaving.contains(&holder));
            if !is_free || !coming.insert(&photo.path) {
                return refuse(format!("two photos at {}", photo.path.display()));
            }
        }
        Ok(())
    }

    /// The photos that leave their paths.
    fn check_ids(&self, changes: &Changes) -> Result<HashSet<PhotoId>> {
        let removed = changes.remove.iter();
        let updated = changes.update.iter().map(|(id, _)| id);
        let sources = changes.copy.iter().map(|(_, id)| id);
        let mut named = removed.clone().chain(updated.clone()).chain(sources);
        if let Some(unknown) = named.find(|id| self.photos.by_id(**id).is_none()) {
            return refuse(format!("photo {} is not in the index", unknown.0));
        }
        let mut leaving = HashSet::new();
        for &id in removed.chain(updated) {
            if !leaving.insert(id) {
                return refuse(format!("photo {} is changed twice", id.0));
            }
        }
        Ok(leaving)
    }

    /// Applies checked changes in memory, and returns what they change in the store.
    pub fn apply(&mut self, changes: Changes) -> Result<Writes> {
        let mut writes = Writes::default();
        // Sources of copies are looked up before any of them may be removed.
        let copies: Vec<(Photo, VectorId)> = changes
            .copy
            .into_iter()
            .filter_map(|(photo, source)| Some((photo, self.photos.by_id(source)?.vector)))
            .collect();
        let removed: Vec<PhotoRecord> = changes
            .remove
            .iter()
            .inspect(|id| writes.remove_photo(**id))
            .filter_map(|id| self.photos.remove(*id))
            .collect();
        let updates: Vec<(PhotoId, PhotoRecord)> = changes
            .update
            .into_iter()
            .filter_map(|(id, photo)| {
                let vector = self.photos.remove(id)?.vector;
                Some((id, PhotoRecord { vector, photo }))
            })
            .collect();
        for (id, record) in updates {
            writes.put_photo(id, &record)?;
            self.photos.insert(id, record);
        }
        for (photo, vector) in copies {
            self.add(photo, vector, &mut writes)?;
        }
        for (photo, embedding) in changes.insert {
            let vector = self.vector_of(&embedding, &mut writes);
            self.add(photo, vector, &mut writes)?;
        }
        // Last, so that a vector that goes over to another photo is not dropped in between.
        for record in removed {
            if self.vectors.release(record.vector) {
                writes.remove_vector(record.vector);
            }
        }
        if let Some(roots) = changes.roots {
            self.meta.info.roots = roots;
        }
        self.meta.generation += 1;
        self.meta.photos = self.photos.len() as u64;
        self.meta.vectors = self.vectors.len() as u64;
        self.meta.sum = Some(self.sum());
        writes.put_meta(&self.meta)?;
        Ok(writes)
    }

    /// The sum over all records and vectors.
    pub fn sum(&self) -> u64 {
        self.photos.sum().wrapping_add(self.vectors.sum())
    }

    fn add(&mut self, photo: Photo, vector: VectorId, writes: &mut Writes) -> Result<()> {
        let id = PhotoId(self.meta.next_photo);
        self.meta.next_photo += 1;
        let record = PhotoRecord { vector, photo };
        writes.put_photo(id, &record)?;
        self.vectors.acquire(vector);
        self.photos.insert(id, record);
        Ok(())
    }

    /// The stored vector that equals the embedding, or a new one.
    fn vector_of(&mut self, embedding: &Embedding, writes: &mut Writes) -> VectorId {
        let hash = VectorHash::of(bytes_of(embedding.as_slice()));
        self.vectors.find(hash).unwrap_or_else(|| {
            let id = VectorId(self.meta.next_vector);
            self.meta.next_vector += 1;
            writes.put_vector(id, embedding.as_slice());
            self.vectors.add(id, hash);
            id
        })
    }
}

/// Whether the graph can be searched, and is about vectors that exist.
pub(in crate::index) fn check_graph(
    graph: &StoredGraph,
    vectors: &VectorTable,
) -> Result<(), String> {
    let view = FlatGraph::view(&graph.words)?;
    view.check()?;
    if view.rows() != graph.vectors.len() {
        return Err(format!(
            "the graph has {} rows for {} vectors",
            view.rows(),
            graph.vectors.len()
        ));
    }
    let distinct: HashSet<_> = graph.vectors.iter().collect();
    if distinct.len() != graph.vectors.len()
        || !graph.vectors.iter().all(|&id| vectors.contains(id))
    {
        return Err("the graph is about other vectors than there are".into());
    }
    Ok(())
}

fn refuse<T>(reason: String) -> Result<T> {
    Err(Error::Input { reason })
}
