//! Compares a number format's answers with those of f32, on the user's own photos and texts.
//!
//! [`Sample`] is read once, [`Answers`] are what the model says of it in one number format, and [`Fidelity`] compares
//! two of those. One format at a time, so that one copy of the weights is in memory.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rayon::prelude::*;
use serde::Serialize;

use super::metrics::{kendall_tau, mean, overlap, share};
use super::protocol::{best, similarities};
use super::report::Unreadable;
use crate::embedding::Embedding;
use crate::engine::{Engine, ItmLogits};
use crate::error::{Error, Result};
use crate::model::Bridged;
use crate::processor::{Pixels, TokenIds};

/// Photos and texts; every text is matched with every photo.
pub struct Sample {
    photos: Vec<Pixels>,
    texts: Vec<TokenIds>,
    /// Photos that were left out.
    pub unreadable: Vec<Unreadable>,
}

impl Sample {
    /// Reads `photos` and `texts` as `engine` needs them, which is the same for any number format of a checkpoint.
    /// Photos that cannot be read are left out.
    pub fn read(engine: &Engine, photos: &[PathBuf], texts: &[String]) -> Result<Self> {
        let read = |path: &PathBuf| {
            engine
                .processor()
                .read_photo(path)
                .map(|(pixels, _)| pixels)
        };
        let outcomes: Vec<Result<Pixels>> = photos.par_iter().map(read).collect();
        let mut sample = Self {
            photos: Vec::new(),
            texts: texts
                .iter()
                .map(|text| engine.processor().text().encode(text))
                .collect::<Result<_>>()?,
            unreadable: Vec::new(),
        };
        for (outcome, path) in outcomes.into_iter().zip(photos) {
            match outcome {
                Ok(pixels) => sample.photos.push(pixels),
                Err(error) => sample.unreadable.push(Unreadable {
                    path: path.clone(),
                    reason: error.to_string(),
                }),
            }
        }
        if sample.photos.len() < 2 || sample.texts.is_empty() {
            return Err(Error::Input {
                reason: format!(
                    "{} readable photos and {} texts are too few to compare: at least two photos and a text are needed",
                    sample.photos.len(),
                    sample.texts.len()
                ),
            });
        }
        Ok(sample)
    }

    /// Returns the number of photos that could be read.
    pub fn photos(&self) -> usize {
        self.photos.len()
    }

    /// Returns the number of texts.
    pub fn texts(&self) -> usize {
        self.texts.len()
    }
}

/// A model's answers for a [`Sample`] in one number format.
pub struct Answers {
    /// The number format.
    pub precision: &'static str,
    /// Its speed.
    pub speed: Speed,
    /// ITC embeddings; none, if the checkpoint has no such head.
    photos: Vec<Embedding>,
    texts: Vec<Embedding>,
    /// The matching head's logits of each photo, for each text; none, if the checkpoint has no such head.
    matches: Vec<Vec<ItmLogits>>,
}

/// Rates per second, with weights loaded and photos decoded.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Speed {
    /// Photos through image tower and bridge, embedded if the checkpoint can.
    pub photos: f64,
    /// Pairs through the cross-modal layers, both sides at hand; none without a matching head.
    pub pairs: Option<f64>,
}

impl Answers {
    /// Computes the answers of `engine`; `progress` receives the number of photos done and the total. The image side of
    /// a photo is computed once, for its embedding and for all texts.
    pub fn of(
        engine: &Engine,
        sample: &Sample,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Self> {
        let model = engine.model();
        if !model.has_itm() {
            // Then there must be the other head.
            model.embed_dim()?;
        }
        let (mut texts, mut questions) = (Vec::new(), Vec::new());
        for text in &sample.texts {
            let states = engine.text_states(std::slice::from_ref(text))?;
            if model.has_itc() {
                texts.extend(engine.embed_text_states(&states)?);
            }
            if model.has_itm() {
                questions.push(model.bridge_text(&states)?);
            }
        }
        let mut batches = sample.photos.chunks(engine.batch_size()).peekable();
        if let Some(first) = batches.peek() {
            // Weights are read when they are first used; that must not count.
            Batch::read(engine, &questions, first)?;
        }
        let mut photos = Vec::with_capacity(sample.photos.len());
        let mut matches = vec![Vec::with_capacity(sample.photos.len()); questions.len()];
        let (mut photo_time, mut pair_time) = (Duration::ZERO, Duration::ZERO);
        let mut done = 0;
        for batch in batches {
            progress(done, sample.photos.len());
            done += batch.len();
            let batch = Batch::read(engine, &questions, batch)?;
            photos.extend(batch.photos);
            for (all, some) in matches.iter_mut().zip(batch.matches) {
                all.extend(some);
            }
            photo_time += batch.photo_time;
            pair_time += batch.pair_time;
        }
        progress(done, done);
        let pairs = done * questions.len();
        Ok(Self {
            precision: model.number_format(),
            speed: Speed {
                photos: done as f64 / photo_time.as_secs_f64(),
                pairs: (pairs > 0).then(|| pairs as f64 / pair_time.as_secs_f64()),
            },
            photos,
            texts,
            matches,
        })
    }

    /// Returns the best photos of each text by embedding.
    fn nearest(&self, k: usize) -> impl Iterator<Item = Vec<u32>> {
        let texts = self.texts.iter();
        texts.map(move |text| best(&similarities(text, &self.photos), k))
    }
}

/// A model's answers for some of the photos.
struct Batch {
    photos: Vec<Embedding>,
    matches: Vec<Vec<ItmLogits>>,
    photo_time: Duration,
    pair_time: Duration,
}

impl Batch {
    fn read(engine: &Engine, questions: &[Bridged], photos: &[Pixels]) -> Result<Self> {
        let started = Instant::now();
        let (photos, bridged) = engine.embed_and_bridge(photos)?;
        let photo_time = started.elapsed();
        let started = Instant::now();
        let ask = |text| engine.match_bridged(text, &bridged);
        let matches = questions.iter().map(ask).collect::<Result<_>>()?;
        Ok(Self {
            photos,
            matches,
            photo_time,
            pair_time: started.elapsed(),
        })
    }
}

/// The closeness of the answers in one number format to those in another.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fidelity {
    /// The format in question.
    pub precision: &'static str,
    /// Its speed.
    pub speed: Speed,
    /// Of embeddings (ITC).
    pub embeddings: Option<EmbeddingFidelity>,
    /// Of match probabilities (ITM).
    pub matches: Option<MatchFidelity>,
    /// The limits for them.
    pub tolerance: Tolerance,
    /// True if they are within the limits.
    pub is_faithful: bool,
}

/// The closeness of the photos' embeddings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct EmbeddingFidelity {
    /// Mean over the photos of the cosine between a photo's two embeddings.
    pub mean_cosine: f64,
    /// The lowest of them.
    pub lowest_cosine: f64,
    /// Mean over the texts of the share of the ten nearest photos that both have.
    pub top_10_overlap: f64,
}

/// The closeness of the match probabilities, and of the order that they give.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct MatchFidelity {
    /// Mean over the texts of Kendall's τ-b between the two orders of all photos. A text whose photos all score the
    /// same has no order and does not count.
    pub mean_tau: f64,
    /// The lowest of them.
    pub lowest_tau: f64,
    /// Share of the texts that have the same best photo.
    pub top_1_agreement: f64,
    /// The largest difference of two probabilities of the same pair.
    pub largest_difference: f64,
    /// Mean over the texts of the distance, in the reference format, from the least probable photo to the most
    /// probable. If it is small, τ depends on small differences.
    pub mean_range: f64,
}

/// The limits within which a number format counts as faithful.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Tolerance {
    /// The minimum of [`EmbeddingFidelity::lowest_cosine`].
    pub cosine: f64,
    /// The minimum of [`MatchFidelity::mean_tau`].
    pub tau: f64,
}

impl Tolerance {
    /// Returns the tolerance of a format by its name: wider for 8 bits than for 16.
    fn of(precision: &str) -> Self {
        match precision {
            "int8" => Self {
                cosine: 0.99,
                tau: 0.90,
            },
            _ => Self {
                cosine: 0.999,
                tau: 0.97,
            },
        }
    }
}

impl Fidelity {
    /// Compares `near` with `exact`, which must be of the same sample and checkpoint.
    pub fn of(exact: &Answers, near: &Answers) -> Self {
        let embeddings = EmbeddingFidelity::of(exact, near);
        let matches = MatchFidelity::of(exact, near);
        let tolerance = Tolerance::of(near.precision);
        Self {
            precision: near.precision,
            speed: near.speed,
            embeddings,
            matches,
            tolerance,
            is_faithful: embeddings.is_none_or(|e| e.lowest_cosine >= tolerance.cosine)
                && matches.is_none_or(|m| m.mean_tau >= tolerance.tau),
        }
    }
}

impl EmbeddingFidelity {
    fn of(exact: &Answers, near: &Answers) -> Option<Self> {
        let pairs = exact.photos.iter().zip(&near.photos);
        let cosines: Vec<f64> = pairs.map(|(a, b)| f64::from(a.cosine(b))).collect();
        let overlaps = exact.nearest(10).zip(near.nearest(10));
        let overlaps: Vec<f64> = overlaps.map(|(a, b)| overlap(&a, &b)).collect();
        Some(Self {
            mean_cosine: mean(&cosines)?,
            lowest_cosine: least(&cosines),
            top_10_overlap: mean(&overlaps)?,
        })
    }
}

impl MatchFidelity {
    fn of(exact: &Answers, near: &Answers) -> Option<Self> {
        let by_text = || exact.matches.iter().zip(&near.matches);
        let taus = by_text().filter_map(|(a, b)| kendall_tau(&scores(a), &scores(b)));
        let taus: Vec<f64> = taus.collect();
        let same_best = by_text().filter(|(a, b)| first(a) == first(b));
        let probability = |logits: &ItmLogits| f64::from(logits.match_probability());
        let differences = by_text()
            .flat_map(|(a, b)| a.iter().zip(b))
            .map(|(a, b)| (probability(a) - probability(b)).abs());
        let range = |photos: &Vec<ItmLogits>| {
            let probabilities: Vec<f64> = photos.iter().map(probability).collect();
            most(probabilities.iter().copied()) - least(&probabilities)
        };
        let ranges: Vec<f64> = exact.matches.iter().map(range).collect();
        Some(Self {
            mean_tau: mean(&taus)?,
            lowest_tau: least(&taus),
            top_1_agreement: share(same_best.count(), exact.matches.len()),
            largest_difference: most(differences),
            mean_range: mean(&ranges)?,
        })
    }
}

/// Returns the scores that a search ranks by.
fn scores(photos: &[ItmLogits]) -> Vec<f64> {
    let score = |logits: &ItmLogits| logits.log_probability(true);
    photos.iter().map(score).collect()
}

/// Returns the photo that a search would show first; among equals, the earlier one.
fn first(photos: &[ItmLogits]) -> Option<usize> {
    let scores = scores(photos);
    (0..scores.len())
        .rev()
        .max_by(|a, b| scores[*a].total_cmp(&scores[*b]))
}

fn least(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

fn most(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(f64::NEG_INFINITY, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(precision: &'static str, matches: Vec<Vec<f32>>) -> Answers {
        let logits = |yes: f32| ItmLogits { no: 0.0, yes };
        let of_text = |row: Vec<f32>| row.into_iter().map(logits).collect();
        Answers {
            precision,
            speed: Speed {
                photos: 1.0,
                pairs: Some(1.0),
            },
            photos: Vec::new(),
            texts: Vec::new(),
            matches: matches.into_iter().map(of_text).collect(),
        }
    }

    #[test]
    fn orders_are_compared_text_by_text() {
        let exact = answers(
            "f32",
            vec![vec![0.0, 1.0, 2.0, 3.0], vec![5.0, 4.0, 1.0, 0.0]],
        );
        // The first text's order is kept, of the second's six pairs one is exchanged: that of the best two.
        let near = answers(
            "int8",
            vec![vec![0.5, 1.5, 2.5, 3.5], vec![4.0, 5.0, 1.0, 0.0]],
        );
        let found = Fidelity::of(&exact, &near);
        assert_eq!(found.embeddings, None);
        let matches = found.matches.expect("both have a matching head");
        let close = |found: f64, expected: f64| {
            assert!((found - expected).abs() < 1e-6, "{found}, not {expected}");
        };
        close(matches.mean_tau, f64::midpoint(1.0, 4.0 / 6.0));
        close(matches.lowest_tau, 4.0 / 6.0);
        close(matches.top_1_agreement, 0.5);
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        close(matches.largest_difference, sigmoid(0.5) - sigmoid(0.0));
        let ranges = [sigmoid(3.0) - sigmoid(0.0), sigmoid(5.0) - sigmoid(0.0)];
        close(matches.mean_range, f64::midpoint(ranges[0], ranges[1]));
        assert!(!found.is_faithful, "0.83 is below 0.90");
    }

    #[test]
    fn eight_bits_may_differ_more_than_sixteen() {
        // Ten photos have 45 pairs; with two pairs of neighbours exchanged τ is 41/45 = 0.91.
        let scores: Vec<f32> = (0..10_u8).map(f32::from).collect();
        let mut near = scores.clone();
        near.swap(2, 3);
        near.swap(6, 7);
        let exact = answers("f32", vec![scores]);
        assert!(Fidelity::of(&exact, &answers("int8", vec![near.clone()])).is_faithful);
        assert!(!Fidelity::of(&exact, &answers("bf16", vec![near])).is_faithful);
    }
}
