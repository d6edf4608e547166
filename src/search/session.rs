//! An index with the models that search it, open for any number of queries.

use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, PoisonError, RwLock};

use super::event::SearchEvent;
use super::found::Found;
use super::models::{OpenEvent, Reranker};
use super::query::Query;
use super::searcher::Searcher;
use super::term::TermContent;
use crate::cache::PhotoCache;
use crate::embedding::Embedding;
use crate::engine::{CacheLevel, Engine, EngineOptions, PairScore};
use crate::error::Result;
use crate::identity::ModelIdentity;
use crate::index::{Index, ReadIndex};
use crate::processor::Picture;

/// Options for opening a [`Session`]; the defaults work on every machine.
#[derive(Debug, Clone)]
pub struct SessionOptions {
    /// The checkpoint whose embeddings the index holds; the one that the index names where `None`.
    pub model: Option<String>,
    /// Which model reads candidates together with the query.
    pub reranker: Reranker,
    /// Options for loading models.
    pub engine: EngineOptions,
    /// The level at which photos that were read are cached beside the index. Where `None`, the image tower's state
    /// on a CPU and nothing on an accelerator, which computes that as fast as a disk reads it.
    pub cache: Option<CacheLevel>,
    /// The most that the cache may take, bytes.
    pub cache_limit: u64,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            model: None,
            reranker: Reranker::default(),
            engine: EngineOptions::default(),
            cache: None,
            cache_limit: 2 << 30,
        }
    }
}

/// All that answering queries takes: an index, the models, and what is kept of photos. Share one between threads.
///
/// ```
/// use std::sync::atomic::AtomicBool;
///
/// use bridgetower::search::{Query, SessionOptions};
/// use bridgetower::{Index, Session};
///
/// # fn main() -> bridgetower::Result<()> {
/// # use bridgetower::ingest::{BuildOptions, build};
/// # let dir = tempfile::tempdir().expect("a temporary folder");
/// # let (place, model) = (dir.path(), "tests/fixtures/checkpoints/tiny-random");
/// # let engine = bridgetower::Engine::load(model, &Default::default(), &mut |_, _, _| {})?;
/// # let mut writer = Index::at(place).writer(&engine.identity()?)?;
/// # let photos = ["tests/fixtures/pixels".into()];
/// # build(&mut writer, &engine, &photos, &BuildOptions::default(), &AtomicBool::new(false), &mut |_| {})?;
/// let session = Session::open(&Index::at(place), &SessionOptions::default(), &mut |_| {})?;
/// let cancel = AtomicBool::new(false); // set by another thread to end the search
/// session.refresh()?; // takes up what a build has published meanwhile
/// let found = session.search(&Query::text("a cat by a window"), &cancel, &mut |_| {})?;
/// for hit in &found.hits {
///     println!("{:.2} {}", hit.score(), hit.photo.path.display());
/// }
/// # assert_eq!(found.hits.len(), 10);
/// # Ok(())
/// # }
/// ```
pub struct Session {
    index: RwLock<Arc<dyn ReadIndex>>,
    identity: ModelIdentity,
    embedder: Arc<Engine>,
    reranker: Option<Arc<Engine>>,
    cache: Option<PhotoCache>,
}

impl Session {
    /// Opens what was last published in `index`, with the models that search it.
    ///
    /// [`Error::NoIndex`](crate::Error::NoIndex) where nothing was published,
    /// [`Error::OtherModel`](crate::Error::OtherModel) if the index was built with another model than the one asked for,
    /// [`Error::ModelMoved`](crate::Error::ModelMoved) if the folder of its model is gone.
    pub fn open(
        index: &Index,
        options: &SessionOptions,
        on_event: &mut dyn FnMut(OpenEvent),
    ) -> Result<Self> {
        let reader = index.reader()?;
        let progress = &mut |file: &str, done, total| {
            on_event(OpenEvent::Download { file, done, total });
        };
        let embedder = match &options.model {
            Some(name) => Engine::load(name, &options.engine, progress)?,
            None => Engine::load_indexed(reader.model(), &options.engine, progress)?,
        };
        let embedder = Arc::new(embedder);
        let identity = embedder.identity()?;
        reader.check_model(&identity)?;
        let reranker = options
            .reranker
            .load_beside(&embedder, &options.engine, on_event)?;
        let cache = match &reranker {
            Some(reranker) => cache(index, reranker, options)?,
            None => None,
        };
        Ok(Self {
            index: RwLock::new(Arc::new(reader)),
            identity,
            embedder,
            reranker,
            cache,
        })
    }

    /// Searches any index with models that are loaded already. The `reranker` may be the `embedder` itself; `None` ranks
    /// by embeddings alone.
    ///
    /// [`Error::OtherModel`](crate::Error::OtherModel) if the index was built with another model than `embedder`.
    pub fn new(
        index: Arc<dyn ReadIndex>,
        embedder: Arc<Engine>,
        reranker: Option<Arc<Engine>>,
        cache: Option<PhotoCache>,
    ) -> Result<Self> {
        let identity = embedder.identity()?;
        index.check_model(&identity)?;
        Ok(Self {
            index: RwLock::new(index),
            identity,
            embedder,
            reranker,
            cache,
        })
    }

    /// Answers a query from the state at hand. `on_event` hears of the candidates, and of the progress of reading them.
    ///
    /// [`Error::Cancelled`](crate::Error::Cancelled) once `cancel` is set, as soon as the batch at hand is computed.
    pub fn search(
        &self,
        query: &Query,
        cancel: &AtomicBool,
        on_event: &mut dyn FnMut(SearchEvent),
    ) -> Result<Found> {
        let index = self.index();
        let searcher = Searcher {
            index: &*index,
            embedder: &self.embedder,
            reranker: self.reranker.as_deref(),
            cache: self.cache.as_ref(),
        };
        searcher.search(query, cancel, on_event)
    }

    /// Takes up a newer published state, if there is one, and returns whether there was. Searches that have begun go on
    /// with the state that they have. Takes microseconds where nothing changed, so call it before every query.
    ///
    /// After an error, searches go on with the state at hand. [`Error::OtherModel`](crate::Error::OtherModel) if the index
    /// was built again with another model: open another session then.
    pub fn refresh(&self) -> Result<bool> {
        let Some(newer) = self.index().newer()? else {
            return Ok(false);
        };
        newer.check_model(&self.identity)?;
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have been quicker.
        let is_newer = newer.generation() > index.generation();
        if is_newer {
            *index = newer;
        }
        Ok(is_newer)
    }

    /// The state that searches see now.
    pub fn index(&self) -> Arc<dyn ReadIndex> {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&index)
    }

    /// The model that the index was built with.
    pub fn embedder(&self) -> &Engine {
        &self.embedder
    }

    /// The model that reads candidates together with the query; often the same. `None` where hits rank by embeddings
    /// alone.
    pub fn reranker(&self) -> Option<&Engine> {
        self.reranker.as_deref()
    }

    /// The embedding of words or of a picture, as the index holds those of photos.
    pub fn embed(&self, content: &TermContent) -> Result<Embedding> {
        let processor = self.embedder.processor();
        let mut embeddings = match content {
            TermContent::Text(words) => self
                .embedder
                .embed_texts(&[processor.text().encode(words)?])?,
            TermContent::Image(picture) => {
                self.embedder.embed_photos(&[processor.read(picture)?.0])?
            }
        };
        Ok(embeddings.remove(0))
    }

    /// Scores words and a picture with the model that reranks, or with the index's own where none does.
    pub fn score(&self, words: &str, picture: &Picture) -> Result<PairScore> {
        let engine = self.reranker().unwrap_or(&self.embedder);
        let tokens = engine.processor().text().encode(words)?;
        let (pixels, _) = engine.processor().read(picture)?;
        engine.score_pair(&tokens, &pixels)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Session")
            .field("model", &self.identity)
            .field("reranker", &self.reranker().map(Engine::name))
            .field("generation", &self.index().generation())
            .finish_non_exhaustive()
    }
}

/// Opens the cache beside the index, if there is to be one.
fn cache(index: &Index, reranker: &Engine, options: &SessionOptions) -> Result<Option<PhotoCache>> {
    let level = match options.cache {
        Some(level) => level,
        None if reranker.model().device().is_cpu() => CacheLevel::Split,
        None => CacheLevel::None,
    };
    if level == CacheLevel::None {
        return Ok(None);
    }
    PhotoCache::new(&index.cache_dir(), reranker, level, options.cache_limit).map(Some)
}
