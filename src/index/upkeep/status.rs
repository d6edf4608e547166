//! The state of an index, for people.

use std::path::{Path, PathBuf};

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::error::Result;
use crate::identity::ModelIdentity;
use crate::index::folder::files::{cache_bytes, index_bytes, rebuild_bytes};
use crate::index::folder::lock::builder;
use crate::index::reader::IndexReader;
use crate::json::paths_entry;

/// The published state, and work in progress. It is available while a build runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Photos that queries can find.
    pub photos: usize,
    /// Their distinct embeddings: copies share one.
    pub vectors: usize,
    /// Embeddings in the graph, those of deleted photos included; 0 where there is none.
    pub graph_rows: usize,
    /// Embeddings newer than the graph, which queries compare one by one.
    pub tail_rows: usize,
    /// Embeddings of deleted photos, which stay until the graph is built again.
    pub dead_rows: usize,
    /// Grows with every published change.
    pub generation: u64,
    /// The model that the index was built with.
    pub model: ModelIdentity,
    /// The photo folders.
    pub roots: Vec<PathBuf>,
    /// Name and version of the program that made the index.
    pub created_by: String,
    /// Bytes of all its files.
    pub bytes_on_disk: u64,
    /// Bytes of these that belong to an unfinished rebuild; 0 where there is none.
    pub rebuild_bytes: u64,
    /// Bytes of what reranking keeps of photos beside it.
    pub cache_bytes: u64,
    /// The process that is building, if any; 0 where the system does not say.
    pub builder: Option<u32>,
}

/// The JSON of `bt-index status --json`, without the place of the index.
impl Serialize for Status {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let model = &self.model;
        let mut object = serializer.serialize_map(None)?;
        object.serialize_entry("photos", &self.photos)?;
        object.serialize_entry("vectors", &self.vectors)?;
        object.serialize_entry("graph_rows", &self.graph_rows)?;
        object.serialize_entry("tail_rows", &self.tail_rows)?;
        object.serialize_entry("dead_rows", &self.dead_rows)?;
        object.serialize_entry("generation", &self.generation)?;
        object.serialize_entry("model", &model.name)?;
        object.serialize_entry("model_fingerprint", &model.fingerprint)?;
        object.serialize_entry("preprocessing", &model.preprocessing)?;
        object.serialize_entry("earlier_reading", &model.is_of_earlier_reading())?;
        object.serialize_entry("dim", &model.dim)?;
        paths_entry(&mut object, "folders", &self.roots)?;
        object.serialize_entry("created_by", &self.created_by)?;
        object.serialize_entry("bytes", &self.bytes_on_disk)?;
        object.serialize_entry("rebuild_bytes", &self.rebuild_bytes)?;
        object.serialize_entry("cache_bytes", &self.cache_bytes)?;
        object.serialize_entry("builder", &self.builder)?;
        object.end()
    }
}

impl Status {
    /// Looks at the index in `dir`; [`Error::NoIndex`](crate::error::Error::NoIndex) until the first
    /// publication.
    pub fn read(dir: &Path) -> Result<Self> {
        let reader = IndexReader::open(dir)?;
        let snapshot = reader.snapshot();
        let rows = snapshot.vectors().rows();
        let dead_rows = (0..rows as u32)
            .filter(|&row| snapshot.photos_of(row).is_empty())
            .count();
        let graph_rows = snapshot.graph().rows();
        Ok(Self {
            photos: reader.len(),
            vectors: rows - dead_rows,
            graph_rows,
            tail_rows: rows - graph_rows,
            dead_rows,
            generation: reader.generation(),
            model: reader.model().clone(),
            roots: snapshot.info.roots.clone(),
            created_by: snapshot.info.created_by.clone(),
            bytes_on_disk: index_bytes(dir)?,
            rebuild_bytes: rebuild_bytes(dir)?,
            cache_bytes: cache_bytes(dir)?,
            builder: builder(dir)?,
        })
    }
}
