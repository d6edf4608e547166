//! An evaluation from a dataset to its report.

use std::time::Instant;

use super::candidates::Candidates;
use super::dataset::Dataset;
use super::latency;
use super::report::{Evaluation, Unreadable, Work};
use super::score::{self, Read, Reading, Tokens};
use crate::embedding::Embedding;
use crate::engine::Engine;
use crate::error::{Error, Result};

/// A stage of an evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EvalStage {
    /// Reading and embedding pictures.
    Photos,
    /// Embedding texts.
    Texts,
    /// Reading pictures together with texts; counts pictures.
    Pairs,
    /// Timing single queries.
    Latency,
}

/// Measures `embedder` on `dataset`, and `reranker` (often the same) for reading a picture together with a text.
/// `depths` are the numbers of candidates read: each gets its own figures, all computed from the pairs of the largest.
/// Parts for which the checkpoints or the data lack something are left out, and listed in [`Evaluation::skipped`].
/// `progress` receives the stage, how much of it is done, and how much there is.
pub fn evaluate(
    embedder: &Engine,
    reranker: Option<&Engine>,
    mut dataset: Dataset,
    depths: &[usize],
    progress: &mut dyn FnMut(EvalStage, usize, usize),
) -> Result<Evaluation> {
    let started = Instant::now();
    let mut depths = depths.to_vec();
    depths.sort_unstable();
    depths.dedup();
    let mut work = Work::default();

    let total = dataset.photos.len();
    let outcomes = score::embed_photos(embedder, &dataset, &mut |done| {
        progress(EvalStage::Photos, done, total);
    })?;
    work.photos_seconds = started.elapsed().as_secs_f64();
    let (embeddings, unreadable) = leave_out_unreadable(&mut dataset, outcomes)?;

    let mut evaluation = Evaluation::new(embedder, reranker, &dataset, unreadable);
    let retrieval = if embedder.model().has_itc() {
        let stage = Instant::now();
        let candidates = Candidates::find(
            embedder,
            &dataset,
            &embeddings,
            &depths,
            &mut |done, total| {
                progress(EvalStage::Texts, done, total);
            },
        )?;
        work.texts_seconds = stage.elapsed().as_secs_f64();
        evaluation.take_itc(&candidates);
        Some(candidates)
    } else {
        None
    };
    if let Some(reader) = reranker {
        let stage = Instant::now();
        let read = read(reader, &dataset, retrieval.as_ref(), progress)?;
        work.pairs_seconds = stage.elapsed().as_secs_f64();
        work.pairs = read.iter().map(|r| r.queries.len()).sum();
        evaluation.take_foils_and_cloze(&dataset, &read);
        if let Some(candidates) = retrieval.filter(|_| reader.model().has_itm()) {
            evaluation.take_pairs(&dataset, &candidates, &read, &depths);
        }
    }
    progress(EvalStage::Latency, 0, 1);
    let texts: Vec<&str> = dataset.captions.iter().map(|c| c.text.as_str()).collect();
    evaluation.latency = Some(latency::measure(&latency::Sample {
        embedder,
        reranker: reranker.filter(|r| r.model().has_itm()),
        texts: &texts,
        photos: &dataset.photos,
        embeddings: (!embeddings.is_empty()).then_some(&embeddings),
        k: &depths,
    })?);
    progress(EvalStage::Latency, 1, 1);
    evaluation.say_what_is_missing(embedder, reranker, &dataset);
    evaluation.k = depths;
    work.seconds = started.elapsed().as_secs_f64();
    evaluation.work = work;
    Ok(evaluation)
}

/// Drops pictures that cannot be read. Returns the embeddings of the others (none, if the checkpoint has no such head),
/// and the dropped ones.
fn leave_out_unreadable(
    dataset: &mut Dataset,
    outcomes: Vec<std::result::Result<Option<Embedding>, String>>,
) -> Result<(Vec<Embedding>, Vec<Unreadable>)> {
    let keep: Vec<bool> = outcomes.iter().map(std::result::Result::is_ok).collect();
    let (mut embeddings, mut unreadable) = (Vec::new(), Vec::new());
    for (outcome, path) in outcomes.into_iter().zip(&dataset.photos) {
        match outcome {
            Ok(embedding) => embeddings.extend(embedding),
            Err(reason) => unreadable.push(Unreadable {
                path: path.clone(),
                reason,
            }),
        }
    }
    dataset.retain_photos(&keep);
    if dataset.photos.is_empty() {
        let reason = unreadable.first().map_or("there is none", |u| &u.reason);
        return Err(Error::Input {
            reason: format!("no picture could be read: {reason}"),
        });
    }
    Ok((embeddings, unreadable))
}

/// Reads every picture with all its texts.
fn read(
    engine: &Engine,
    dataset: &Dataset,
    candidates: Option<&Candidates>,
    progress: &mut dyn FnMut(EvalStage, usize, usize),
) -> Result<Vec<Read>> {
    let mut readings = vec![Reading::default(); dataset.photos.len()];
    if engine.model().has_itm() {
        for (i, foil) in dataset.foils.iter().enumerate() {
            readings[foil.photo].foils.push(i);
        }
        if let Some(candidates) = candidates {
            for (query, ranking) in candidates.photos.iter().enumerate() {
                for photo in &ranking.best {
                    readings[*photo as usize].queries.push(query as u32);
                }
            }
            for (reading, ranking) in readings.iter_mut().zip(&candidates.captions) {
                reading.queries.extend(&ranking.best);
                reading.queries.sort_unstable();
                reading.queries.dedup();
            }
        }
    }
    if engine.model().has_mlm() {
        for (i, cloze) in dataset.cloze.iter().enumerate() {
            readings[cloze.photo].cloze.push(i);
        }
    }
    let tokens = Tokens::encode(engine, dataset)?;
    score::read_pairs(engine, dataset, &tokens, &readings, &mut |done| {
        progress(EvalStage::Pairs, done, readings.len());
    })
}
