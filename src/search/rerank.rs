//! Candidates read together with the query.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use super::event::SearchEvent;
use super::found::Warning;
use crate::cache::PhotoCache;
use crate::engine::{CacheLevel, Engine, ImageSide};
use crate::error::{Error, Result};
use crate::index::Hit;
use crate::model::{Bridged, TextStates};
use crate::photo::Photo;
use crate::processor::{Encoded, Pixels};

/// A text term, ready to be asked of photos.
pub(super) struct Asked<'t> {
    pub(super) weight: f32,
    pub(super) text: &'t str,
    /// The output of the reranker's own text tower, if that has run.
    pub(super) states: Option<TextStates>,
}

/// Reads photos together with a query.
pub(super) struct PairReader<'a> {
    /// The model with the matching head.
    pub(super) engine: &'a Engine,
    /// The cache for what it computes of photos.
    pub(super) cache: Option<&'a PhotoCache>,
}

/// The outcome of reading candidates.
#[derive(Default)]
pub(super) struct Reading {
    /// Those that could be read, best first.
    pub(super) hits: Vec<Hit>,
    pub(super) warnings: Vec<Warning>,
    /// Those that could not.
    pub(super) left_out: Vec<PathBuf>,
}

/// A text term on the model's side.
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

impl PairReader<'_> {
    /// Reads `candidates` together with what is asked. [`Error::Cancelled`] before the next batch once `cancel` is set.
    pub(super) fn read_all(
        &self,
        asked: &[Asked],
        candidates: &[Hit],
        cancel: &AtomicBool,
        on_event: &mut dyn FnMut(SearchEvent),
    ) -> Result<Reading> {
        let questions = self.questions(asked)?;
        let mut reading = Reading::default();
        let mut left_out = LeftOut::default();
        let total = candidates.len();
        let mut scored = Vec::with_capacity(total);
        let mut done = 0;
        on_event(SearchEvent::Reading { done, total });
        for batch in candidates.chunks(self.engine.batch_size()) {
            if cancel.load(Ordering::Relaxed) {
                return Err(Error::Cancelled);
            }
            let (ready, sides) = self.image_sides(batch, &mut left_out)?;
            let scores = self.answer(&questions, &sides)?;
            for ((ready, side), score) in ready.iter().zip(&sides).zip(scores) {
                let candidate = ready.candidate;
                if score.is_nan() {
                    left_out.numberless.push(candidate.photo.path.clone());
                    continue;
                }
                if !ready.was_kept {
                    self.store(candidate, side, &mut reading.warnings);
                }
                scored.push((score, candidate));
            }
            done += batch.len();
            on_event(SearchEvent::Reading { done, total });
        }
        if let Some(Err(error)) = self.cache.map(PhotoCache::trim) {
            reading.warnings.push(Warning::CacheUntrimmed {
                reason: error.to_string(),
            });
        }
        if scored.is_empty() && !left_out.numberless.is_empty() {
            return Err(Error::NoNumber {
                what: format!("every match by {}", self.engine.name()),
            });
        }
        left_out.report(&mut reading);
        scored.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        let hits = scored.into_iter().map(|(log_probability, candidate)| Hit {
            match_probability: Some(log_probability.exp() as f32),
            ..candidate.clone()
        });
        reading.hits = hits.collect();
        Ok(reading)
    }

    /// The text terms, ready for the cross-modal layers.
    fn questions(&self, asked: &[Asked]) -> Result<Vec<Question>> {
        let question = |asked: &Asked| {
            let text = if let Some(states) = &asked.states {
                self.engine.model().bridge_text(states)?
            } else {
                let tokens = self.engine.processor().text().encode(asked.text)?;
                self.engine.bridge_texts(&[tokens])?
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
            sides.extend(self.engine.image_sides(self.level(), &pixels)?);
            ready.extend(unkept);
        }
        Ok((ready, sides))
    }

    /// Reads a photo. The cache holds what was computed of the content that the index knows, so it counts only
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
            self.engine.processor().preprocess(&encoded)?.0,
        ))
    }

    /// Keeps what was computed of a photo. That it cannot is reported once: the answer is right without it.
    fn store(&self, candidate: &Hit, kept: &ImageSide, warnings: &mut Vec<Warning>) {
        let Some(Err(error)) = self
            .cache
            .map(|cache| cache.store(candidate.photo.content_hash, kept))
        else {
            return;
        };
        let is_known = |warning: &Warning| matches!(warning, Warning::CacheUnwritable { .. });
        if !warnings.iter().any(is_known) {
            warnings.push(Warning::CacheUnwritable {
                reason: error.to_string(),
            });
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
        let photos_bridged = self.engine.bridge_image_sides(self.level(), photos)?;
        let total: f64 = questions.iter().map(|q| f64::from(q.weight.abs())).sum();
        let mut scores = vec![0f64; photos.len()];
        for question in questions {
            let logits = self.engine.raw_match(&question.text, &photos_bridged)?;
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

/// A candidate before the reranker computes.
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

    fn report(self, reading: &mut Reading) {
        let Self {
            unreadable,
            changed,
            numberless,
        } = self;
        for (path, reason) in unreadable {
            reading.left_out.push(path.clone());
            reading.warnings.push(Warning::Unreadable { path, reason });
        }
        reading
            .left_out
            .extend(changed.iter().chain(&numberless).cloned());
        if !changed.is_empty() {
            reading.warnings.push(Warning::Changed { paths: changed });
        }
        if !numberless.is_empty() {
            reading
                .warnings
                .push(Warning::NoNumber { paths: numberless });
        }
    }
}
