//! The result of a search, and what its reader should know.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::query::Query;
use crate::index::Hit;
use crate::json::decimal;

/// The result of a search.
#[derive(Debug, Clone)]
pub struct Found {
    /// The query.
    pub query: Query,
    /// Best first: photos read together with the query by match probability, then the others by similarity.
    pub hits: Vec<Hit>,
    /// All candidates in the order of their embeddings alone, whatever became of them.
    pub by_similarity: Vec<Hit>,
    /// The number of candidates that were read together with the query.
    pub reranked: usize,
    /// The match probability at which the hits end, if they end at one.
    pub min_score: Option<f32>,
    /// The model whose embeddings were compared.
    pub model: String,
    /// The model that read the candidates, if any was read.
    pub reranker: Option<String>,
    /// Photos in the index.
    pub photos: usize,
    /// Warnings about this answer.
    pub warnings: Vec<Warning>,
    /// Candidates that are no hits because they could not be read together with the query: their files are gone,
    /// damaged, or not what was indexed any more, or the model computes no number for them.
    pub left_out: Vec<PathBuf>,
    /// The known reasons why there are no hits, if there are none.
    pub nothing: Vec<WhyNothing>,
}

/// Something that the user should know of an answer. [`Display`](fmt::Display) says it in words, and JSON holds those.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// A text is longer than the model reads; its end was ignored.
    TextCut {
        /// Tokens that were read.
        tokens: usize,
    },
    /// A candidate's file cannot be read.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The files of candidates hold something else than what was indexed.
    Changed {
        /// The files.
        paths: Vec<PathBuf>,
    },
    /// The match of candidates computes to NaN or infinity: the checkpoint is damaged, or its number format too narrow.
    NoNumber {
        /// Their files.
        paths: Vec<PathBuf>,
    },
    /// Nothing can be kept for the next query.
    CacheUnwritable {
        /// Why.
        reason: String,
    },
    /// The cache exceeds its limit and cannot be trimmed.
    CacheUntrimmed {
        /// Why.
        reason: String,
    },
}

/// A reason for an empty answer.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum WhyNothing {
    /// No candidate that was read matches well enough.
    BelowCutOff {
        /// The number of candidates that were read.
        candidates: usize,
        /// The least match probability.
        least: f32,
    },
    /// A least match probability was asked for, and the query holds no words to match photos with.
    NoWords,
    /// Few photos, or none, pass the filter.
    Filtered {
        /// Photos that pass.
        passing: usize,
        /// Photos in the index.
        photos: usize,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::TextCut { tokens } => write!(
                f,
                "the text is longer than {tokens} tokens; its end was ignored"
            ),
            Self::Unreadable { path, reason } => write!(f, "{} left out: {reason}", path.display()),
            Self::Changed { paths } => write!(
                f,
                "left out, because they changed since the index was built: {}",
                some_of(paths)
            ),
            Self::NoNumber { paths } => write!(
                f,
                "left out, because their match probability is not a number: {}",
                some_of(paths)
            ),
            Self::CacheUnwritable { reason } => write!(f, "the cache cannot be written: {reason}"),
            Self::CacheUntrimmed { reason } => write!(f, "the cache cannot be trimmed: {reason}"),
        }
    }
}

/// Names the first few, and how many more there are.
fn some_of(paths: &[PathBuf]) -> String {
    const NAMED: usize = 3;
    let named = paths.iter().take(NAMED).map(|path| path.display());
    let named: Vec<String> = named.map(|path| path.to_string()).collect();
    match paths.len().saturating_sub(NAMED) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

impl Found {
    /// Whether a candidate could not be read together with the query.
    pub fn has_left_out(&self, path: &Path) -> bool {
        self.left_out.iter().any(|left_out| left_out == path)
    }
}

impl Serialize for Warning {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The document of `bt-query --json`.
impl Serialize for Found {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ranked = (1..).zip(&self.hits).map(|(rank, hit)| hit.ranked(rank));
        let mut object = serializer.serialize_map(None)?;
        object.serialize_entry("query", &self.query.typed)?;
        object.serialize_entry("terms", &self.query.terms)?;
        object.serialize_entry("filters", &self.query.filter)?;
        object.serialize_entry("min_score", &self.min_score.map(decimal))?;
        object.serialize_entry("model", &self.model)?;
        object.serialize_entry("reranker", &self.reranker)?;
        object.serialize_entry("reranked", &self.reranked)?;
        object.serialize_entry("warnings", &self.warnings)?;
        object.serialize_entry("hits", &ranked.collect::<Vec<_>>())?;
        object.end()
    }
}
