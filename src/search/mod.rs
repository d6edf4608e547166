//! From a query to ranked photos: candidates by embedding, then every one of the best read together with
//! the query.

mod rerank;
mod term;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use crate::cache::PhotoCache;
use crate::embedding::Embedding;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::index::{IndexReader, PhotoPredicate, SearchOptions};
use crate::processor::Pixels;
use rerank::Asked;

pub use crate::index::{Hit, RankedHit};
pub use term::{Term, TermContent};

/// How to search.
pub struct QueryOptions<'a> {
    /// Photos to return at most.
    pub top: usize,
    /// Photos to take from the index by embedding.
    pub candidates: usize,
    /// How many of the candidates to rerank; 0 for none.
    pub rerank: usize,
    /// Drops photos that match with a lower probability, and all that were not reranked.
    pub min_score: Option<f32>,
    /// Only photos for which this is true: any closure, or one that asks a [`Filter`](crate::Filter).
    pub filter: Option<&'a PhotoPredicate<'a>>,
}

impl Default for QueryOptions<'_> {
    fn default() -> Self {
        Self {
            top: 10,
            candidates: 100,
            rerank: 10,
            min_score: None,
            filter: None,
        }
    }
}

/// What a search tells while it runs.
#[derive(Debug)]
pub enum SearchEvent<'a> {
    /// All candidates in the order of their embeddings alone, before any of them is read. Not told where none will be.
    Candidates(&'a [Hit]),
    /// Candidates are being read together with the query.
    Reading {
        /// How many have been.
        done: usize,
        /// How many will be.
        total: usize,
    },
}

/// What a search found.
#[derive(Debug, Default)]
pub struct Found {
    /// Best first: reranked photos by match probability, then the others by similarity.
    pub hits: Vec<Hit>,
    /// All candidates in the order of their embeddings alone, whatever became of them.
    pub by_similarity: Vec<Hit>,
    /// How many candidates were read together with the query.
    pub reranked: usize,
    /// What the user should know: cut texts, photos that were left out.
    pub warnings: Vec<String>,
    /// Candidates that are no hits because they could not be read together with the query: their files are gone,
    /// damaged, or not what was indexed any more, or the model computes no number for them.
    pub left_out: Vec<PathBuf>,
}

/// A search over one index.
pub struct Searcher<'a> {
    /// The index.
    pub index: &'a IndexReader,
    /// The model that the index was built with: see [`Searcher::check`].
    pub embedder: &'a Engine,
    /// The model with the matching head; often the same.
    pub reranker: &'a Engine,
    /// Where what the reranker computes of photos is kept for the next query, if anywhere.
    pub cache: Option<&'a PhotoCache>,
}

impl Searcher<'_> {
    /// Refuses a model other than the one that the index was built with.
    pub fn check(&self) -> Result<()> {
        self.index.check_model(&self.embedder.identity()?)
    }

    /// Searches.
    pub fn search(
        &self,
        terms: &[Term],
        options: &QueryOptions,
        on_event: &mut dyn FnMut(SearchEvent),
    ) -> Result<Found> {
        let mut found = Found::default();
        let (query, asked) = self.embed(terms, &mut found.warnings)?;
        let k = options.candidates.max(options.top);
        let search = SearchOptions {
            filter: options.filter,
            ..SearchOptions::default()
        };
        let mut candidates = self.index.search(&query, k, &search)?;
        found.by_similarity = candidates.clone();
        let rest = candidates.split_off(options.rerank.min(candidates.len()));
        if !asked.is_empty() && !candidates.is_empty() {
            on_event(SearchEvent::Candidates(&found.by_similarity));
            self.rerank(&asked, &candidates, &mut found, on_event)?;
        } else {
            found.hits.extend(candidates);
        }
        found.hits.extend(rest);
        if let Some(least) = options.min_score {
            found
                .hits
                .retain(|hit| hit.match_probability.is_some_and(|p| p >= least));
        }
        found.hits.truncate(options.top);
        Ok(found)
    }

    /// The weighted sum of the terms' embeddings, scaled to norm 1, and the text terms among them: image
    /// terms ask nothing that the cross-modal layers can answer.
    fn embed<'t>(
        &self,
        terms: &'t [Term],
        warnings: &mut Vec<String>,
    ) -> Result<(Embedding, Vec<Asked<'t>>)> {
        let mut asked = Vec::new();
        let mut sum = vec![0f32; self.embedder.model().embed_dim()?];
        for term in terms {
            let embedding = match &term.content {
                TermContent::Text(text) => {
                    let tokens = self.embedder.processor().text().encode(text)?;
                    if tokens.truncated {
                        warnings.push(format!(
                            "the text is longer than {} tokens; its end was ignored",
                            tokens.ids.len()
                        ));
                    }
                    let states = self.embedder.text_states(&[tokens])?;
                    let embedding = self.embedder.embed_text_states(&states)?;
                    asked.push(Asked {
                        weight: term.weight,
                        text,
                        states,
                    });
                    embedding
                }
                TermContent::Image(path) => self.embedder.embed_photos(&[self.read_term(path)?])?,
            };
            for (total, value) in sum.iter_mut().zip(embedding[0].as_slice()) {
                *total += term.weight * value;
            }
        }
        Ok((Embedding::new(sum)?, asked))
    }

    fn read_term(&self, path: &Path) -> Result<Pixels> {
        match self.embedder.processor().read_photo(path) {
            Ok((pixels, _)) => Ok(pixels),
            // Of several terms, which?
            Err(Error::Photo { reason }) => Err(Error::Photo {
                reason: format!("{}: {reason}", path.display()),
            }),
            Err(error) => Err(error),
        }
    }
}

/// How many candidates to rerank when the user does not say: as many as a page of hits on a slow machine
/// and a large model, up to 50 where that takes no longer.
///
/// A budget of operations rather than a measured time, so that the same query gives the same answer every
/// time: 4 TFLOP, some 6 seconds in bf16 and 10 in f32 on two cores with AVX-512.
pub fn default_rerank(reranker: &Engine) -> usize {
    const CPU_BUDGET: f64 = 4e12;
    if !reranker.model().device().is_cpu() {
        return 50;
    }
    let typical_query = 12;
    let affordable = CPU_BUDGET / reranker.model().config().match_flops(typical_query);
    (affordable as usize).clamp(10, 50)
}
