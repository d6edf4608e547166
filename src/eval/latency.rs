//! Times of the parts of a query, one at a time, with nothing else to do.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::metrics::percentile;
use super::protocol::{best, similarities};
use crate::embedding::Embedding;
use crate::engine::Engine;
use crate::error::Result;
use crate::processor::Pixels;

/// Milliseconds of the parts of a query, measured on a sample after the scoring.
///
/// The evaluation itself computes the image side of a photo for all its texts at once; a query computes it
/// for each photo that it reads.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Latency {
    /// One text's embedding, and the exact search over the collection.
    pub text_ms: Option<Times>,
    /// One photo's file to pixels.
    pub photo_read_ms: Times,
    /// One photo's image tower and bridge.
    pub photo_tower_ms: Times,
    /// One pair's cross-modal layers and matching head, both sides at hand.
    pub pair_ms: Option<Times>,
    /// The time of a query, computed from these medians.
    pub rerank: Vec<RerankTime>,
}

/// Times of single runs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Times {
    /// Half took no longer, milliseconds.
    pub p50: f64,
    /// 95 of 100 took no longer, milliseconds.
    pub p95: f64,
    /// Number of runs measured.
    pub samples: usize,
}

/// The time to rerank one query's candidates, computed from medians.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RerankTime {
    /// Candidates; no more than there are photos.
    pub k: usize,
    /// With the image sides at hand, milliseconds.
    pub pairs_ms: f64,
    /// From the photos' files, as `bt-query` does it; files are read on all cores.
    pub from_files_ms: f64,
}

/// The inputs of the measurement.
pub(super) struct Sample<'a> {
    /// Embeds and searches.
    pub embedder: &'a Engine,
    /// Reads pairs.
    pub reranker: Option<&'a Engine>,
    /// Queries.
    pub texts: &'a [&'a str],
    /// Files that can be read.
    pub photos: &'a [PathBuf],
    /// Their embeddings, if the checkpoint has such heads.
    pub embeddings: Option<&'a [Embedding]>,
    /// Numbers of candidates that a query reads.
    pub k: &'a [usize],
}

/// The longest time for each measurement, which takes at least three runs if there are as many inputs.
const BUDGET: Duration = Duration::from_secs(5);

pub(super) fn measure(sample: &Sample) -> Result<Latency> {
    let text_ms = match sample.embeddings {
        Some(photos) if !sample.texts.is_empty() => Some(times(sample.texts, 200, |text| {
            let tokens = sample.embedder.processor().text().encode(text)?;
            let query = sample.embedder.embed_texts(&[tokens])?;
            Ok(best(&similarities(&query[0], photos), 100).len())
        })?),
        _ => None,
    };
    let engine = sample.reranker.unwrap_or(sample.embedder);
    let mut photos: Vec<Pixels> = Vec::new();
    let photo_read_ms = times(sample.photos, 32, |path| {
        photos.push(engine.processor().read_photo(path)?.0);
        Ok(())
    })?;
    // As many at once as a search reads.
    let batches: Vec<&[Pixels]> = photos.chunks_exact(engine.batch_size()).collect();
    let batches = if batches.is_empty() {
        vec![&photos[..]]
    } else {
        batches
    };
    let each = batches[0].len() as f64;
    let photo_tower_ms = times(&batches, 32, |batch| engine.bridge_photos(batch))?.divided(each);
    let pair_ms = match (sample.reranker, sample.texts.first()) {
        (Some(reranker), Some(text)) => {
            let text = reranker.bridge_texts(&[reranker.processor().text().encode(text)?])?;
            let batch = reranker.bridge_photos(batches[0])?;
            let runs = [(); 32];
            Some(
                times(&runs, runs.len(), |()| {
                    reranker.match_bridged(&text, &batch)
                })?
                .divided(each),
            )
        }
        _ => None,
    };
    let cores = rayon::current_num_threads().min(engine.batch_size()) as f64;
    let rerank = pair_ms.iter().flat_map(|pair| {
        sample.k.iter().map(move |k| {
            let photos = (*k).min(sample.photos.len()) as f64;
            let from_file = photo_read_ms.p50 / cores + photo_tower_ms.p50 + pair.p50;
            RerankTime {
                k: *k,
                pairs_ms: photos * pair.p50,
                from_files_ms: photos * from_file,
            }
        })
    });
    Ok(Latency {
        text_ms,
        photo_read_ms,
        photo_tower_ms,
        pair_ms,
        rerank: rerank.collect(),
    })
}

impl Times {
    fn divided(self, parts: f64) -> Self {
        Self {
            p50: self.p50 / parts,
            p95: self.p95 / parts,
            ..self
        }
    }
}

/// Times `work` on up to `most` of the inputs, spread over all of them, after one run that is not counted, since a
/// part's weights are read when it first runs.
fn times<T, R>(inputs: &[T], most: usize, mut work: impl FnMut(&T) -> Result<R>) -> Result<Times> {
    let mut milliseconds = Vec::new();
    let began = Instant::now();
    let step = inputs.len().div_ceil(most).max(1);
    if let Some(first) = inputs.first() {
        work(first)?;
    }
    for input in inputs.iter().step_by(step) {
        let started = Instant::now();
        work(input)?;
        milliseconds.push(started.elapsed().as_secs_f64() * 1e3);
        if began.elapsed() > BUDGET && milliseconds.len() >= 3 {
            break;
        }
    }
    milliseconds.sort_by(f64::total_cmp);
    Ok(Times {
        p50: percentile(&milliseconds, 0.5),
        p95: percentile(&milliseconds, 0.95),
        samples: milliseconds.len(),
    })
}
