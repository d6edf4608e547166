//! A query.

use super::term::{Term, TermContent};
use crate::error::{Error, Result};
use crate::filter::Filter;

/// A query, with what its answer should be like.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// The query as a person typed it, which the answer repeats; it may be empty.
    pub typed: String,
    /// The terms to look for.
    pub terms: Vec<Term>,
    /// Which photos may be found.
    pub filter: Filter,
    /// Photos to return at most.
    pub top: usize,
    /// Photos to take from the index by embedding.
    pub candidates: usize,
    /// The number of candidates to read together with the query; as many as [`default_rerank`](super::default_rerank)
    /// says where `None`.
    pub rerank: Option<usize>,
    /// Drops photos that match with a lower probability, and all that were not read; 0 drops none. Where `None`, the
    /// reranker's own [`Calibration`](crate::engine::Calibration) decides, if it has one.
    pub min_score: Option<f32>,
}

impl Default for Query {
    fn default() -> Self {
        Self {
            typed: String::new(),
            terms: Vec::new(),
            filter: Filter::default(),
            top: 10,
            candidates: 100,
            rerank: None,
            min_score: None,
        }
    }
}

impl Query {
    /// Asks in words.
    pub fn text(words: impl Into<String>) -> Self {
        let typed = words.into();
        Self {
            terms: vec![Term::text(typed.clone())],
            typed,
            ..Self::default()
        }
    }

    /// Whether any term is words, so that there is something to read photos together with.
    pub(super) fn has_words(&self) -> bool {
        let mut terms = self.terms.iter();
        terms.any(|term| matches!(term.content, TermContent::Text(_)))
    }

    /// Refuses a query that asks for nothing.
    pub(super) fn check(&self) -> Result<()> {
        if self.terms.is_empty() {
            return Err(Error::EmptyQuery);
        }
        self.terms.iter().try_for_each(Term::check)?;
        self.filter.check()
    }
}
