//! One search: candidates by embedding, then every one of the best read together with the query.

use std::sync::atomic::{AtomicBool, Ordering};

use super::event::SearchEvent;
use super::found::{Found, Warning, WhyNothing};
use super::query::Query;
use super::rerank::{Asked, PairReader, Reading};
use super::term::{Term, TermContent};
use crate::cache::PhotoCache;
use crate::embedding::Embedding;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::index::ReadIndex;

/// The parts of a search.
#[derive(Clone, Copy)]
pub(super) struct Searcher<'a> {
    pub(super) index: &'a dyn ReadIndex,
    /// The model that the index was built with.
    pub(super) embedder: &'a Engine,
    /// The model with the matching head, often the same; `None` to rank by embeddings alone.
    pub(super) reranker: Option<&'a Engine>,
    /// The cache for what the reranker computes of photos, if any.
    pub(super) cache: Option<&'a PhotoCache>,
}

impl Searcher<'_> {
    /// Searches. [`Error::Cancelled`] soon after `cancel` is set.
    pub(super) fn search(
        &self,
        query: &Query,
        cancel: &AtomicBool,
        on_event: &mut dyn FnMut(SearchEvent),
    ) -> Result<Found> {
        query.check()?;
        let depth = match (self.reranker, query.rerank) {
            (None, _) => 0,
            (Some(reranker), None) => default_rerank(reranker),
            (Some(_), Some(depth)) => depth,
        };
        let mut found = Found {
            query: query.clone(),
            hits: Vec::new(),
            by_similarity: Vec::new(),
            reranked: 0,
            min_score: self.cut_off(query, depth),
            model: self.embedder.name().to_owned(),
            reranker: None,
            photos: self.index.len(),
            warnings: Vec::new(),
            left_out: Vec::new(),
            nothing: Vec::new(),
        };
        let (embedding, asked) = self.embed(&query.terms, &mut found.warnings)?;
        if cancel.load(Ordering::Relaxed) {
            return Err(Error::Cancelled);
        }
        let k = query.candidates.max(query.top);
        let mut candidates = self.index.nearest(&embedding, k, &query.filter)?;
        found.by_similarity.clone_from(&candidates);
        let rest = candidates.split_off(depth.min(candidates.len()));
        match self.reranker {
            Some(engine) if !asked.is_empty() && !candidates.is_empty() => {
                on_event(SearchEvent::Candidates(&found.by_similarity));
                let cache = self.cache;
                let reading = PairReader { engine, cache };
                let Reading {
                    hits,
                    warnings,
                    left_out,
                } = reading.read_all(&asked, &candidates, cancel, on_event)?;
                found.reranked = hits.len();
                found.reranker = (!hits.is_empty()).then(|| engine.name().to_owned());
                found.hits = hits;
                found.warnings.extend(warnings);
                found.left_out = left_out;
            }
            _ => found.hits = candidates,
        }
        found.hits.extend(rest);
        if let Some(least) = found.min_score {
            found
                .hits
                .retain(|hit| hit.match_probability.is_some_and(|p| p >= least));
        }
        found.hits.truncate(query.top);
        if found.hits.is_empty() {
            found.nothing = self.why_nothing(&found)?;
        }
        Ok(found)
    }

    /// Returns the match probability at which the hits end. The reranker's own calibration has no say where it would end
    /// them for want of a match probability: of a photo's likeness, and of more hits than are read together with the
    /// query.
    fn cut_off(&self, query: &Query, depth: usize) -> Option<f32> {
        if let Some(least) = query.min_score {
            return (least > 0.0).then_some(least);
        }
        let reads_all_hits = query.top <= depth;
        self.reranker?
            .min_score()
            .filter(|_| query.has_words() && reads_all_hits)
    }

    fn why_nothing(&self, found: &Found) -> Result<Vec<WhyNothing>> {
        let mut reasons = Vec::new();
        if let Some(least) = found.min_score {
            if found.reranked > 0 {
                reasons.push(WhyNothing::BelowCutOff {
                    candidates: found.reranked,
                    least,
                });
            } else if found.left_out.is_empty() && !found.by_similarity.is_empty() {
                reasons.push(WhyNothing::NoWords);
            }
        }
        let filter = &found.query.filter;
        if !filter.is_empty() {
            reasons.push(WhyNothing::Filtered {
                passing: self.index.count(filter)?,
                photos: self.index.len(),
            });
        }
        Ok(reasons)
    }

    /// The weighted sum of the terms' embeddings, scaled to norm 1, and the text terms among them: image terms ask
    /// nothing that the cross-modal layers can answer.
    fn embed<'t>(
        &self,
        terms: &'t [Term],
        warnings: &mut Vec<Warning>,
    ) -> Result<(Embedding, Vec<Asked<'t>>)> {
        // One model's text tower runs once per text.
        let is_one_model = self
            .reranker
            .is_some_and(|reranker| std::ptr::eq(self.embedder, reranker));
        let mut asked = Vec::new();
        let mut sum = vec![0f32; self.embedder.model().embed_dim()?];
        for term in terms {
            let embedding = match &term.content {
                TermContent::Text(text) => {
                    let tokens = self.embedder.processor().text().encode(text)?;
                    if tokens.truncated {
                        warnings.push(Warning::TextCut {
                            tokens: tokens.ids.len(),
                        });
                    }
                    let states = self.embedder.text_states(&[tokens])?;
                    let embedding = self.embedder.embed_text_states(&states)?;
                    asked.push(Asked {
                        weight: term.weight,
                        text,
                        states: is_one_model.then_some(states),
                    });
                    embedding
                }
                TermContent::Image(picture) => {
                    let (pixels, _) = self.embedder.processor().read(picture)?;
                    self.embedder.embed_photos(&[pixels])?
                }
            };
            for (total, value) in sum.iter_mut().zip(embedding[0].as_slice()) {
                *total += term.weight * value;
            }
        }
        Ok((Embedding::new(sum)?, asked))
    }
}

/// Returns the number of candidates to rerank when the user does not say: as many as a page of hits on a slow machine
/// and a large model, up to 50 where that takes no longer.
///
/// A budget of operations rather than a measured time, so that the same query gives the same answer every time: 4 TFLOP,
/// some 6 seconds in bf16 and 10 in f32 on two cores with AVX-512.
pub fn default_rerank(reranker: &Engine) -> usize {
    const CPU_BUDGET: f64 = 4e12;
    if !reranker.model().device().is_cpu() {
        return 50;
    }
    let typical_query = 12;
    let affordable = CPU_BUDGET / reranker.model().config().match_flops(typical_query);
    (affordable as usize).clamp(10, 50)
}
