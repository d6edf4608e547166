//! From a query to ranked photos: candidates by embedding, then every one of the best read together with
//! the query.

use std::path::PathBuf;

use rayon::prelude::*;

use crate::cache::{CacheLevel, Kept, PhotoCache};
use crate::embedding::Embedding;
use crate::engine::{Engine, ItmLogits};
use crate::error::{Error, Result};
use crate::index::{Candidate, IndexReader, PhotoPredicate, SearchOptions};
use crate::model::{Bridged, TextStates};
use crate::photo::Photo;
use crate::processor::Pixels;

/// One part of a query.
#[derive(Debug, Clone, PartialEq)]
pub struct Term {
    /// How much it counts; negative for what the photo should not show.
    pub weight: f32,
    /// What it asks for.
    pub content: TermContent,
}

/// What a [`Term`] asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum TermContent {
    /// Something described in words.
    Text(String),
    /// Something that looks like this photo.
    Image(PathBuf),
}

impl Term {
    /// Reads a term as typed: `a cat`, `2:a cat`, `./photo.jpg`, `/photos/1.jpg`, `file:///photos/1.jpg`.
    pub fn parse(typed: &str) -> Result<Self> {
        let (weight, rest) = match typed.split_once(':') {
            Some((number, rest)) => match number.trim().parse::<f32>() {
                Ok(weight) => (weight, rest),
                Err(_) => (1.0, typed),
            },
            None => (1.0, typed),
        };
        let rest = rest.trim();
        if rest.is_empty() {
            return Err(Error::EmptyQuery);
        }
        if !(weight.is_finite() && weight > 0.0) {
            return Err(Error::Input {
                reason: format!("the weight in {typed:?} must be a positive number"),
            });
        }
        let content = match rest.strip_prefix("file://") {
            Some(path) => TermContent::Image(path.into()),
            None if ["./", "../", "/"]
                .iter()
                .any(|prefix| rest.starts_with(prefix)) =>
            {
                TermContent::Image(rest.into())
            }
            None => TermContent::Text(rest.to_owned()),
        };
        Ok(Self { weight, content })
    }

    /// The same term, as something that the photo should not show.
    #[must_use]
    pub fn negated(self) -> Self {
        Self {
            weight: -self.weight,
            ..self
        }
    }
}

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

/// A photo found.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// The photo.
    pub photo: Photo,
    /// Cosine between the query's embedding and the photo's, −1..=1.
    pub similarity: f32,
    /// Probability that photo and query match, where the photo was reranked.
    pub match_probability: Option<f32>,
}

impl Hit {
    /// What it was ranked by: the match probability where there is one, else the similarity.
    pub fn score(&self) -> f32 {
        self.match_probability.unwrap_or(self.similarity)
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
    /// What the user should know: cut texts, photos that could not be read any more.
    pub warnings: Vec<String>,
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
        self.index.check_pins(&self.embedder.pins()?)
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
        found.by_similarity = candidates.iter().cloned().map(by_similarity).collect();
        let rest = candidates.split_off(options.rerank.min(candidates.len()));
        if !asked.is_empty() && !candidates.is_empty() {
            on_event(SearchEvent::Candidates(&found.by_similarity));
            let questions = self.questions(&asked)?;
            self.rerank(&questions, &candidates, &mut found, on_event)?;
        } else {
            found.hits.extend(candidates.into_iter().map(by_similarity));
        }
        found.hits.extend(rest.into_iter().map(by_similarity));
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
                TermContent::Image(path) => {
                    let pixels = self.embedder.processor().read_photo(path)?.0;
                    self.embedder.embed_photos(&[pixels])?
                }
            };
            for (total, value) in sum.iter_mut().zip(embedding[0].as_slice()) {
                *total += term.weight * value;
            }
        }
        Ok((Embedding::new(sum)?, asked))
    }

    /// The text terms, ready for the cross-modal layers. One model's text tower runs once per text.
    fn questions(&self, asked: &[Asked]) -> Result<Vec<Question>> {
        let is_one_model = std::ptr::eq(self.embedder, self.reranker);
        let question = |asked: &Asked| {
            let text = if is_one_model {
                self.reranker.model().bridge_text(&asked.states)?
            } else {
                let tokens = self.reranker.processor().text().encode(asked.text)?;
                self.reranker.bridge_texts(&[tokens])?
            };
            Ok(Question {
                weight: asked.weight,
                text,
            })
        };
        asked.iter().map(question).collect()
    }

    fn rerank(
        &self,
        questions: &[Question],
        candidates: &[Candidate],
        found: &mut Found,
        on_event: &mut dyn FnMut(SearchEvent),
    ) -> Result<()> {
        let total = candidates.len();
        let mut scored = Vec::with_capacity(total);
        let mut done = 0;
        on_event(SearchEvent::Reading { done, total });
        for batch in candidates.chunks(self.reranker.batch_size()) {
            let (readable, kept) = self.image_sides(batch, &mut found.warnings)?;
            if !readable.is_empty() {
                let scores = self.answer(questions, &kept)?;
                scored.extend(scores.into_iter().zip(readable.into_iter().cloned()));
            }
            done += batch.len();
            on_event(SearchEvent::Reading { done, total });
        }
        if let Some(Err(error)) = self.cache.map(PhotoCache::trim) {
            found
                .warnings
                .push(format!("the cache cannot be trimmed: {error}"));
        }
        found.reranked = scored.len();
        scored.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        found
            .hits
            .extend(scored.into_iter().map(|(log_probability, candidate)| Hit {
                match_probability: Some(log_probability.exp() as f32),
                ..by_similarity(candidate)
            }));
        Ok(())
    }

    /// The candidates whose files can be read, and the image side of each as far as the cache keeps it: from there,
    /// or computed and then kept.
    fn image_sides<'c>(
        &self,
        batch: &'c [Candidate],
        warnings: &mut Vec<String>,
    ) -> Result<(Vec<&'c Candidate>, Vec<Kept>)> {
        let read = |candidate: &Candidate| -> Result<Read> {
            let photo = &candidate.photo;
            // A photo that is gone is no hit, whatever is known of it.
            let known = self.cache.filter(|_| photo.path.is_file());
            match known.and_then(|cache| cache.load(photo.content_hash)) {
                Some(kept) => Ok(Read::Kept(kept)),
                None => Ok(Read::Pixels(
                    self.reranker.processor().read_photo(&photo.path)?.0,
                )),
            }
        };
        let read: Vec<Result<Read>> = batch.par_iter().map(read).collect();
        let (mut ready, mut candidates, mut pixels) = (Vec::new(), Vec::new(), Vec::new());
        for (candidate, read) in batch.iter().zip(read) {
            match read {
                Ok(Read::Kept(kept)) => ready.push((candidate, kept)),
                Ok(Read::Pixels(photo)) => {
                    candidates.push(candidate);
                    pixels.push(photo);
                }
                Err(error) => warnings.push(unreadable(&candidate.photo, &error)),
            }
        }
        if !pixels.is_empty() {
            let computed = self.reranker.keep(self.level(), &pixels)?;
            for (candidate, kept) in candidates.into_iter().zip(computed) {
                self.store(candidate, &kept, warnings);
                ready.push((candidate, kept));
            }
        }
        Ok(ready.into_iter().unzip())
    }

    /// Keeps what was computed of a photo. That it cannot is told once: the answer is right without it.
    fn store(&self, candidate: &Candidate, kept: &Kept, warnings: &mut Vec<String>) {
        let Some(Err(error)) = self
            .cache
            .map(|cache| cache.store(candidate.photo.content_hash, kept))
        else {
            return;
        };
        let warning = "the cache cannot be written";
        if !warnings.iter().any(|known| known.starts_with(warning)) {
            warnings.push(format!("{warning}: {error}"));
        }
    }

    fn level(&self) -> CacheLevel {
        self.cache.map_or(CacheLevel::None, PhotoCache::level)
    }

    /// For each photo the logarithm of the weighted geometric mean, over all questions, of the probability
    /// that the answer is the wanted one. With one question it is that question's own log-probability.
    fn answer(&self, questions: &[Question], photos: &[Kept]) -> Result<Vec<f64>> {
        let photos_bridged = self.reranker.image_side(self.level(), photos)?;
        let total: f64 = questions.iter().map(|q| f64::from(q.weight.abs())).sum();
        let mut scores = vec![0f64; photos.len()];
        for question in questions {
            let logits: Vec<ItmLogits> = self
                .reranker
                .match_bridged(&question.text, &photos_bridged)?;
            for (score, logits) in scores.iter_mut().zip(logits) {
                let wanted = question.weight > 0.0;
                let share = f64::from(question.weight.abs()) / total;
                *score += share * logits.log_probability(wanted);
            }
        }
        Ok(scores)
    }
}

/// What there is of a candidate before the reranker computes.
enum Read {
    Kept(Kept),
    Pixels(Pixels),
}

/// A text term as the embedder's text tower left it.
struct Asked<'t> {
    weight: f32,
    text: &'t str,
    states: TextStates,
}

/// A text term on the reranker's side.
struct Question {
    weight: f32,
    text: Bridged,
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

fn by_similarity(candidate: Candidate) -> Hit {
    Hit {
        photo: candidate.photo,
        similarity: candidate.similarity,
        match_probability: None,
    }
}

fn unreadable(photo: &Photo, error: &Error) -> String {
    format!("{} left out: {error}", photo.path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(weight: f32, words: &str) -> Term {
        Term {
            weight,
            content: TermContent::Text(words.into()),
        }
    }

    #[test]
    fn terms_are_read_as_rclip_reads_them() {
        for (typed, expected) in [
            ("a cat", text(1.0, "a cat")),
            ("2:a cat", text(2.0, "a cat")),
            ("0.5: cat", text(0.5, "cat")),
            ("the score was 2:1", text(1.0, "the score was 2:1")),
            ("at 12:30", text(1.0, "at 12:30")),
        ] {
            assert_eq!(Term::parse(typed).expect("a term"), expected, "{typed}");
        }
        for (typed, path) in [
            ("./cat.jpg", "./cat.jpg"),
            ("/photos/cat.jpg", "/photos/cat.jpg"),
            ("file:///photos/cat.jpg", "/photos/cat.jpg"),
            ("1.5:../cat.jpg", "../cat.jpg"),
        ] {
            let term = Term::parse(typed).expect("a term");
            assert_eq!(term.content, TermContent::Image(path.into()), "{typed}");
        }
    }

    #[test]
    fn empty_terms_and_senseless_weights_are_refused() {
        for typed in ["", "  ", "2:", "0:cat", "-1:cat", "nan:cat", "inf:cat"] {
            assert!(Term::parse(typed).is_err(), "{typed:?}");
        }
    }
}
