//! Candidates read together with the query.

use std::path::PathBuf;

use rayon::prelude::*;

use super::{Found, SearchEvent, Searcher};
use crate::cache::PhotoCache;
use crate::engine::{CacheLevel, ImageSide};
use crate::error::{Error, Result};
use crate::index::Hit;
use crate::model::{Bridged, TextStates};
use crate::photo::Photo;
use crate::processor::{Encoded, Pixels};

/// A text term as the embedder's text tower left it.
pub(super) struct Asked<'t> {
    pub(super) weight: f32,
    pub(super) text: &'t str,
    pub(super) states: TextStates,
}

/// A text term on the reranker's side.
struct Question {
    weight: f32,
    text: Bridged,
}

/// A candidate whose image side is at hand.
struct Ready<'c> {
    candidate: &'c Hit,
    /// Whether the cache had it.
    was_kept: bool,
}

impl Searcher<'_> {
    /// Reads `candidates` together with what is asked. Those of which that can be done become hits, best first.
    pub(super) fn rerank(
        &self,
        asked: &[Asked],
        candidates: &[Hit],
        found: &mut Found,
        on_event: &mut dyn FnMut(SearchEvent),
    ) -> Result<()> {
        let questions = self.questions(asked)?;
        let mut left_out = LeftOut::default();
        let total = candidates.len();
        let mut scored = Vec::with_capacity(total);
        let mut done = 0;
        on_event(SearchEvent::Reading { done, total });
        for batch in candidates.chunks(self.reranker.batch_size()) {
            let (ready, sides) = self.image_sides(batch, &mut left_out)?;
            let scores = self.answer(&questions, &sides)?;
            for ((ready, side), score) in ready.iter().zip(&sides).zip(scores) {
                let candidate = ready.candidate;
                if score.is_nan() {
                    left_out.numberless.push(candidate.photo.path.clone());
                    continue;
                }
                if !ready.was_kept {
                    self.store(candidate, side, &mut found.warnings);
                }
                scored.push((score, candidate));
            }
            done += batch.len();
            on_event(SearchEvent::Reading { done, total });
        }
        if let Some(Err(error)) = self.cache.map(PhotoCache::trim) {
            found
                .warnings
                .push(format!("the cache cannot be trimmed: {error}"));
        }
        if scored.is_empty() && !left_out.numberless.is_empty() {
            return Err(Error::NoNumber {
                what: format!("every match by {}", self.reranker.name()),
            });
        }
        left_out.report(found);
        found.reranked = scored.len();
        scored.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        found
            .hits
            .extend(scored.into_iter().map(|(log_probability, candidate)| Hit {
                match_probability: Some(log_probability.exp() as f32),
                ..candidate.clone()
            }));
        Ok(())
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

    /// The candidates whose files are what was indexed, and the image side of each as far as the cache keeps it: from
    /// there, or computed.
    fn image_sides<'c>(
        &self,
        batch: &'c [Hit],
        left_out: &mut LeftOut,
    ) -> Result<(Vec<Ready<'c>>, Vec<ImageSide>)> {
        let read: Vec<Result<Read>> = batch
            .par_iter()
            .map(|candidate| self.read(&candidate.photo))
            .collect();
        let (mut ready, mut sides) = (Vec::new(), Vec::new());
        let (mut unkept, mut pixels) = (Vec::new(), Vec::new());
        for (candidate, read) in batch.iter().zip(read) {
            match read {
                Ok(Read::Kept(kept)) => {
                    ready.push(Ready {
                        candidate,
                        was_kept: true,
                    });
                    sides.push(kept);
                }
                Ok(Read::Pixels(photo)) => {
                    unkept.push(Ready {
                        candidate,
                        was_kept: false,
                    });
                    pixels.push(photo);
                }
                Err(error) => left_out.add(&candidate.photo, error),
            }
        }
        if !pixels.is_empty() {
            sides.extend(self.reranker.image_sides(self.level(), &pixels)?);
            ready.extend(unkept);
        }
        Ok((ready, sides))
    }

    /// What there is of a photo. ImageSide is what was computed of the content that the index knows, so it counts only
    /// while the file holds that.
    fn read(&self, photo: &Photo) -> Result<Read> {
        let changed = if photo.is_untouched()? {
            None
        } else {
            Some(Encoded::of(photo)?)
        };
        if let Some(kept) = self.cache.and_then(|cache| cache.load(photo.content_hash)) {
            return Ok(Read::Kept(kept));
        }
        let encoded = match changed {
            Some(encoded) => encoded,
            None => Encoded::of(photo)?,
        };
        Ok(Read::Pixels(
            self.reranker.processor().preprocess(&encoded)?.0,
        ))
    }

    /// Keeps what was computed of a photo. That it cannot is told once: the answer is right without it.
    fn store(&self, candidate: &Hit, kept: &ImageSide, warnings: &mut Vec<String>) {
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
    /// that the answer is the wanted one. With one question it is that question's own log-probability. NaN where an
    /// answer is no number.
    fn answer(&self, questions: &[Question], photos: &[ImageSide]) -> Result<Vec<f64>> {
        if photos.is_empty() {
            return Ok(Vec::new());
        }
        let photos_bridged = self.reranker.bridge_image_sides(self.level(), photos)?;
        let total: f64 = questions.iter().map(|q| f64::from(q.weight.abs())).sum();
        let mut scores = vec![0f64; photos.len()];
        for question in questions {
            let logits = self.reranker.raw_match(&question.text, &photos_bridged)?;
            for (score, logits) in scores.iter_mut().zip(logits) {
                let wanted = question.weight > 0.0;
                let share = f64::from(question.weight.abs()) / total;
                *score += if logits.are_finite() {
                    share * logits.log_probability(wanted)
                } else {
                    f64::NAN
                };
            }
        }
        Ok(scores)
    }
}

/// What there is of a candidate before the reranker computes.
enum Read {
    Kept(ImageSide),
    Pixels(Pixels),
}

/// Candidates that become no hits.
#[derive(Default)]
struct LeftOut {
    /// With the reason.
    unreadable: Vec<(PathBuf, String)>,
    /// Their files hold something else than what was indexed.
    changed: Vec<PathBuf>,
    /// Their match is no number.
    numberless: Vec<PathBuf>,
}

impl LeftOut {
    fn add(&mut self, photo: &Photo, error: Error) {
        let path = photo.path.clone();
        match error {
            Error::Changed { .. } => self.changed.push(path),
            // The path is said before.
            Error::Io { source, .. } => self.unreadable.push((path, source.to_string())),
            error => self.unreadable.push((path, error.to_string())),
        }
    }

    fn report(self, found: &mut Found) {
        let Self {
            unreadable,
            changed,
            numberless,
        } = self;
        for (path, reason) in unreadable {
            found
                .warnings
                .push(format!("{} left out: {reason}", path.display()));
            found.left_out.push(path);
        }
        for (paths, what) in [
            (
                changed,
                "changed since the index was built, which bt-index build brings up to date",
            ),
            (
                numberless,
                "match with a probability that is no number: the checkpoint is damaged, or the number format too \
                 narrow (--precision f32)",
            ),
        ] {
            if !paths.is_empty() {
                let warning = format!("left out, because they {what}: {}", some_of(&paths));
                found.warnings.push(warning);
            }
            found.left_out.extend(paths);
        }
    }
}

/// The first few, and how many more.
fn some_of(paths: &[PathBuf]) -> String {
    const NAMED: usize = 3;
    let named: Vec<String> = paths
        .iter()
        .take(NAMED)
        .map(|path| path.display().to_string())
        .collect();
    match paths.len().saturating_sub(NAMED) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}
