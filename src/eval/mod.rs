//! Measures how well a model finds what it should, with the paper's measures and those of a search.
//!
//! [`Dataset`] holds pictures with captions, [`evaluate`] reads them with a model, and [`Evaluation`] holds the
//! results: by embeddings alone ([`Evaluation::itc`]), reranked as a search does it ([`Evaluation::search`]) and as the
//! paper's authors count it ([`Evaluation::authors`]).

mod dataset;
pub mod fidelity;
mod latency;
mod metrics;
mod protocol;
mod report;
mod score;

use std::time::Instant;

pub use dataset::{CAPTIONS_PER_PHOTO, Caption, Cloze, Dataset, Foil};
pub use latency::{Latency, RerankTime, Times};
pub use metrics::{Bin, Cut, CutOffs, KEEP, Reliability, Retrieval};
pub use report::{
    BothWays, ClozeScore, Counts, Depth, Evaluation, FoilScore, Skipped, Unreadable, Work,
};

use crate::embedding::Embedding;
use crate::engine::{Engine, ItmLogits};
use crate::error::{Error, Result};
use crate::processor::TokenIds;
use protocol::{Pairs, Ranking};
use score::{Read, Reading, Tokens};

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
        let candidates = Candidates::find(embedder, &dataset, &embeddings, &depths, progress)?;
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

/// The rankings by embeddings alone.
struct Candidates {
    /// Captions, then absent queries: their best photos.
    photos: Vec<Ranking>,
    /// Photos: their best captions.
    captions: Vec<Ranking>,
    /// For each foil the cosines of the caption and of the foil.
    foils: Vec<[f32; 2]>,
}

impl Candidates {
    fn find(
        engine: &Engine,
        dataset: &Dataset,
        photos: &[Embedding],
        depths: &[usize],
        progress: &mut dyn FnMut(EvalStage, usize, usize),
    ) -> Result<Self> {
        let encoded = Tokens::encode(engine, dataset)?;
        let foils = encoded.foils.into_iter().flatten();
        let texts: Vec<TokenIds> = encoded.queries.into_iter().chain(foils).collect();
        let embeddings = score::embed_texts(engine, &texts, &mut |done| {
            progress(EvalStage::Texts, done, texts.len());
        })?;
        let (queries, foils) = embeddings.split_at(dataset.captions.len() + dataset.absent.len());
        let deepest = depths.last().copied().unwrap_or(0);
        let photo_of = |caption: usize| dataset.captions.get(caption).map(|c| c.photo);
        let captions = &queries[..dataset.captions.len()];
        let (foils, _) = foils.as_chunks::<2>();
        let cosines = |(foil, pair): (&Foil, &[Embedding; 2])| {
            pair.each_ref().map(|text| text.cosine(&photos[foil.photo]))
        };
        Ok(Self {
            photos: protocol::rankings(queries, photos, deepest, |q, p| photo_of(q) == Some(p)),
            captions: protocol::rankings(photos, captions, deepest, |p, c| photo_of(c) == Some(p)),
            foils: dataset.foils.iter().zip(foils).map(cosines).collect(),
        })
    }
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

impl Tokens {
    fn encode(engine: &Engine, dataset: &Dataset) -> Result<Self> {
        let encode = |text: &str| engine.processor().text().encode(text);
        let captions = dataset.captions.iter().map(|caption| &caption.text);
        let queries = captions.chain(&dataset.absent).map(|text| encode(text));
        let pair = |foil: &Foil| Ok([encode(&foil.caption)?, encode(&foil.foil)?]);
        Ok(Self {
            queries: queries.collect::<Result<_>>()?,
            foils: dataset.foils.iter().map(pair).collect::<Result<_>>()?,
            cloze: dataset
                .cloze
                .iter()
                .map(|cloze| encode(&cloze.text))
                .collect::<Result<_>>()?,
        })
    }
}

impl Pairs {
    /// Returns the logits in the order of the candidates.
    fn of(candidates: &Candidates, read: &[Read], captions: usize) -> Self {
        let logits = |query: u32, photo: u32| -> ItmLogits {
            let scores = &read[photo as usize].queries;
            let place = scores.binary_search_by_key(&query, |(query, _)| *query);
            scores[place.expect("every candidate was read")].1
        };
        let of_query = |(query, ranking): (usize, &Ranking)| {
            let photos = ranking.best.iter();
            photos.map(|p| (*p, logits(query as u32, *p))).collect()
        };
        let mut by_query: Vec<_> = candidates.photos.iter().enumerate().map(of_query).collect();
        let of_photo = |(photo, ranking): (usize, &Ranking)| {
            let captions = ranking.best.iter();
            captions.map(|c| (*c, logits(*c, photo as u32))).collect()
        };
        Self {
            absent: by_query.split_off(captions),
            captions: by_query,
            photos: candidates
                .captions
                .iter()
                .enumerate()
                .map(of_photo)
                .collect(),
        }
    }
}
