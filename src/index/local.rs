//! The local index behind the seam of [`access`](super::access).

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::access::{ReadIndex, WriteIndex};
use super::changes::Changes;
use super::hit::Hit;
use super::reader::{IndexReader, SearchOptions};
use super::writer::IndexWriter;
use crate::embedding::Embedding;
use crate::error::Result;
use crate::filter::Filter;
use crate::identity::ModelIdentity;
use crate::photo::{ContentHash, Photo, PhotoId};

impl ReadIndex for IndexReader {
    fn model(&self) -> &ModelIdentity {
        self.model()
    }

    fn check_model(&self, given: &ModelIdentity) -> Result<()> {
        self.check_model(given)
    }

    fn generation(&self) -> u64 {
        self.generation()
    }

    fn len(&self) -> usize {
        self.len()
    }

    fn nearest(&self, query: &Embedding, k: usize, filter: &Filter) -> Result<Vec<Hit>> {
        let passes = |photo: &Photo| filter.matches(photo);
        let options = SearchOptions {
            filter: (!filter.is_empty()).then_some(&passes),
            ..SearchOptions::default()
        };
        self.search(query, k, &options)
    }

    fn count(&self, filter: &Filter) -> Result<usize> {
        self.count(&|photo| filter.matches(photo))
    }

    fn photos(&self) -> Box<dyn Iterator<Item = Result<(PhotoId, Photo)>> + '_> {
        Box::new(self.photos())
    }

    fn photo(&self, id: PhotoId) -> Result<Option<Photo>> {
        self.photo(id)
    }

    fn newer(&self) -> Result<Option<Arc<dyn ReadIndex>>> {
        let newer = self.newer()?;
        Ok(newer.map(|reader| Arc::new(reader) as Arc<dyn ReadIndex>))
    }
}

impl WriteIndex for IndexWriter {
    fn len(&self) -> usize {
        self.len()
    }

    fn roots(&self) -> &[PathBuf] {
        self.roots()
    }

    fn photos(&self) -> Box<dyn Iterator<Item = Result<(PhotoId, Cow<'_, Photo>)>> + '_> {
        Box::new(
            self.photos()
                .map(|(id, photo)| Ok((id, Cow::Borrowed(photo)))),
        )
    }

    fn photo(&self, id: PhotoId) -> Result<Option<Cow<'_, Photo>>> {
        Ok(self.photo(id).map(Cow::Borrowed))
    }

    fn by_path(&self, path: &Path) -> Result<Option<(PhotoId, Cow<'_, Photo>)>> {
        let found = self.by_path(path);
        Ok(found.map(|(id, photo)| (id, Cow::Borrowed(photo))))
    }

    fn by_content(&self, hash: ContentHash) -> Result<Cow<'_, [PhotoId]>> {
        Ok(Cow::Borrowed(self.by_content(hash)))
    }

    fn commit(&mut self, changes: Changes) -> Result<()> {
        self.commit(changes)
    }

    fn publish(&mut self) -> Result<()> {
        self.publish()
    }

    fn tidy(&mut self, cancel: &AtomicBool, progress: &mut dyn FnMut(usize, usize)) -> Result<()> {
        self.rebuild_graph_if_stale(cancel, progress).map(drop)
    }
}
