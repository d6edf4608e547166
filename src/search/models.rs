//! Which model reads candidates together with the query.

use std::sync::Arc;

use crate::engine::{Engine, EngineOptions};
use crate::error::Result;

/// Reads candidates where the index's own model has no matching head.
pub const DEFAULT_RERANKER: &str = "BridgeTower/bridgetower-large-itm-mlm-gaudi";

/// Which model reads candidates together with the query.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Reranker {
    /// The index's own, or [`DEFAULT_RERANKER`] where that has no matching head.
    #[default]
    Auto,
    /// Only the index's own, whatever it has.
    Own,
    /// This checkpoint: a folder or a hub id.
    Named(String),
    /// None: hits rank by embeddings alone.
    None,
}

/// Progress of opening models.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum OpenEvent<'a> {
    /// A file of a checkpoint is being downloaded.
    Download {
        /// Its name.
        file: &'a str,
        /// Bytes so far.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// The index's own model has no matching head, so another one will read candidates.
    OtherReranker {
        /// The index's own.
        embedder: &'a str,
        /// The one that will read.
        reranker: &'a str,
    },
}

impl Reranker {
    /// Loads the model that reads candidates beside an `embedder`, unless that is the embedder itself. `None` for
    /// [`Reranker::None`].
    pub fn load_beside(
        &self,
        embedder: &Arc<Engine>,
        options: &EngineOptions,
        on_event: &mut dyn FnMut(OpenEvent),
    ) -> Result<Option<Arc<Engine>>> {
        let name = match self {
            Self::None => return Ok(None),
            Self::Own => return Ok(Some(Arc::clone(embedder))),
            Self::Auto if embedder.model().has_itm() => return Ok(Some(Arc::clone(embedder))),
            Self::Auto => {
                on_event(OpenEvent::OtherReranker {
                    embedder: embedder.name(),
                    reranker: DEFAULT_RERANKER,
                });
                DEFAULT_RERANKER
            }
            Self::Named(name) => name,
        };
        let reranker = Engine::load(name, options, &mut |file, done, total| {
            on_event(OpenEvent::Download { file, done, total });
        })?;
        Ok(Some(Arc::new(reranker)))
    }
}
