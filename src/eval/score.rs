//! The model's part of an evaluation: every picture's image side is computed once for its embedding, and once for all
//! the texts that it is read with.
//!
//! Keeping it between the two would save one run of the image tower for some hundred pairs, and take 11 MB per picture
//! with the large checkpoints.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;

use rayon::prelude::*;

use super::dataset::{Dataset, Foil};
use crate::embedding::Embedding;
use crate::engine::{Engine, ItmLogits};
use crate::error::Result;
use crate::model::Bridged;
use crate::processor::TokenIds;

/// Texts to embed at once.
const TEXTS_AT_ONCE: usize = 32;

/// Reads all pictures, and embeds them if the checkpoint can. Returns for each its embedding, or why it cannot be read.
pub(super) fn embed_photos(
    engine: &Engine,
    dataset: &Dataset,
    progress: &mut dyn FnMut(usize),
) -> Result<Vec<std::result::Result<Option<Embedding>, String>>> {
    let size = engine.batch_size();
    let batches: Vec<_> = dataset.photos.chunks(size).collect();
    let embed = |batch: usize| {
        let read = |path| {
            engine
                .processor()
                .read_photo(path)
                .map(|(pixels, _)| pixels)
        };
        let read: Vec<_> = batches[batch].par_iter().map(|path| read(path)).collect();
        let (mut readable, mut outcomes) = (Vec::new(), Vec::new());
        for photo in read {
            outcomes.push(match photo {
                Ok(pixels) => {
                    readable.push(pixels);
                    Ok(None)
                }
                Err(error) => Err(error.to_string()),
            });
        }
        if engine.model().has_itc() && !readable.is_empty() {
            let embeddings = engine.embed_photos(&readable)?;
            let places = outcomes.iter_mut().filter_map(|o| o.as_mut().ok());
            for (place, embedding) in places.zip(embeddings) {
                *place = Some(embedding);
            }
        }
        Ok(outcomes)
    };
    let batches = in_parallel(workers(engine), batches.len(), embed, &mut |done| {
        progress((done * size).min(dataset.photos.len()));
    })?;
    Ok(batches.into_iter().flatten().collect())
}

/// Embeds texts, some at a time.
pub(super) fn embed_texts(
    engine: &Engine,
    texts: &[TokenIds],
    progress: &mut dyn FnMut(usize),
) -> Result<Vec<Embedding>> {
    let batches: Vec<_> = texts.chunks(TEXTS_AT_ONCE).collect();
    let embed = |batch: usize| engine.embed_texts(batches[batch]);
    let batches = in_parallel(workers(engine), batches.len(), embed, &mut |done| {
        progress((done * TEXTS_AT_ONCE).min(texts.len()));
    })?;
    Ok(batches.into_iter().flatten().collect())
}

/// The texts to read one picture with.
#[derive(Debug, Default, Clone)]
pub(super) struct Reading {
    /// Queries, by their index; each once.
    pub queries: Vec<u32>,
    /// Foils, by their index.
    pub foils: Vec<usize>,
    /// Captions with a gap, by their index.
    pub cloze: Vec<usize>,
}

/// The heads' output for one picture.
#[derive(Debug, Default)]
pub(super) struct Read {
    /// Logits of the queries, sorted by query.
    pub queries: Vec<(u32, ItmLogits)>,
    /// Logits of the captions and of the foils beside them.
    pub foils: Vec<[ItmLogits; 2]>,
    /// The likeliest words in each gap, best first.
    pub cloze: Vec<Vec<String>>,
}

/// The texts as tokens, by the indices of [`Reading`].
pub(super) struct Tokens {
    pub queries: Vec<TokenIds>,
    /// Captions, and the foils beside them.
    pub foils: Vec<[TokenIds; 2]>,
    pub cloze: Vec<TokenIds>,
}

/// Number of words considered for each gap.
pub(super) const GAP_CANDIDATES: usize = 5;

/// Reads each picture with its texts.
pub(super) fn read_pairs(
    engine: &Engine,
    dataset: &Dataset,
    tokens: &Tokens,
    readings: &[Reading],
    progress: &mut dyn FnMut(usize),
) -> Result<Vec<Read>> {
    let at_once = pairs_at_once(engine);
    let sides = TextSides::new(engine, &tokens.queries)?;
    let read = |photo: usize| {
        let reading = &readings[photo];
        if reading.queries.is_empty() && reading.foils.is_empty() && reading.cloze.is_empty() {
            return Ok(Read::default());
        }
        let (pixels, _) = engine.processor().read_photo(&dataset.photos[photo])?;
        let photo = engine.bridge_photos(&[pixels])?;
        let mut queries = Vec::with_capacity(reading.queries.len());
        for group in sides.groups(&reading.queries) {
            for batch in group.chunks(at_once) {
                let logits = engine.match_bridged(&sides.of(engine, tokens, batch)?, &photo)?;
                queries.extend(batch.iter().copied().zip(logits));
            }
        }
        queries.sort_unstable_by_key(|(query, _)| *query);

        let texts: Vec<_> = reading
            .foils
            .iter()
            .flat_map(|f| &tokens.foils[*f])
            .collect();
        let mut logits = Vec::with_capacity(texts.len());
        for text in texts {
            let text = engine.bridge_texts(std::slice::from_ref(text))?;
            logits.extend(engine.match_bridged(&text, &photo)?);
        }
        let (foils, _) = logits.as_chunks::<2>();
        let fill = |cloze: &usize| {
            let filled = engine.fill_bridged(&tokens.cloze[*cloze], &photo, GAP_CANDIDATES)?;
            let candidates = filled.masks.into_iter().next();
            let candidates = candidates.map_or(Vec::new(), |mask| mask.candidates);
            Ok(candidates.into_iter().map(|(word, _)| word).collect())
        };
        Ok(Read {
            queries,
            foils: foils.to_vec(),
            cloze: reading.cloze.iter().map(fill).collect::<Result<_>>()?,
        })
    };
    in_parallel(workers(engine), readings.len(), read, progress)
}

/// The text sides of the queries. Queries of one length share a tensor: batches of them need no padding.
struct TextSides {
    /// The place of each query among those of its length.
    places: Vec<Place>,
    /// By length; empty if they would take too much memory, and are then computed when needed.
    kept: HashMap<usize, Bridged>,
}

#[derive(Clone, Copy)]
struct Place {
    length: usize,
    row: u32,
}

impl TextSides {
    /// The most to keep, bytes: 10,000 captions for a small model, 1,500 for the large checkpoints.
    const BUDGET: usize = 512 << 20;

    fn new(engine: &Engine, queries: &[TokenIds]) -> Result<Self> {
        let mut by_length: BTreeMap<usize, Vec<TokenIds>> = BTreeMap::new();
        let place = |query: &TokenIds| {
            let length = query.ids.len();
            let alike = by_length.entry(length).or_default();
            alike.push(query.clone());
            Place {
                length,
                row: alike.len() as u32 - 1,
            }
        };
        let places = queries.iter().map(place).collect();
        let config = engine.model().config();
        let token_bytes = 4 * config.num_hidden_layers * config.hidden_size;
        let tokens: usize = queries.iter().map(|query| query.ids.len()).sum();
        let mut kept = HashMap::new();
        if tokens * token_bytes <= Self::BUDGET && engine.model().has_itm() {
            for (length, alike) in by_length {
                kept.insert(length, engine.bridge_texts(&alike)?);
            }
        }
        Ok(Self { places, kept })
    }

    /// Groups `queries` by length.
    fn groups(&self, queries: &[u32]) -> Vec<Vec<u32>> {
        let mut groups: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
        for query in queries {
            let length = self.places[*query as usize].length;
            groups.entry(length).or_default().push(*query);
        }
        groups.into_values().collect()
    }

    /// Returns the text side of queries of one length.
    fn of(&self, engine: &Engine, tokens: &Tokens, queries: &[u32]) -> Result<Bridged> {
        let places = queries.iter().map(|query| self.places[*query as usize]);
        let length = places.clone().next().map_or(0, |place| place.length);
        if let Some(kept) = self.kept.get(&length) {
            return kept.select(&places.map(|place| place.row).collect::<Vec<_>>());
        }
        let texts = queries.iter().map(|q| tokens.queries[*q as usize].clone());
        engine.bridge_texts(&texts.collect::<Vec<_>>())
    }
}

/// Returns the number of texts to read with one picture at once. The widest states of the cross-modal layers should
/// take 4 MB on a CPU, for the sake of its caches, and 1 GB elsewhere.
fn pairs_at_once(engine: &Engine) -> usize {
    let config = engine.model().config();
    let text = &config.text_config;
    let tokens = config.vision_config.num_tokens();
    let inside_mlp = tokens * text.intermediate_size;
    let attention_scores = text.num_attention_heads * tokens * tokens;
    let bytes = 4 * inside_mlp.max(attention_scores);
    let budget = if engine.model().device().is_cpu() {
        4 << 20
    } else {
        1 << 30
    };
    (budget / bytes).clamp(1, 64)
}

/// Returns the number of pictures to work on at once. The matrix products of a large model fill all cores by
/// themselves; a second picture uses the time that its other operations, which run on one thread, leave idle.
fn workers(engine: &Engine) -> usize {
    const LARGE_MODEL: f64 = 20e9; // Operations a pair: a tenth of what the base checkpoints need.
    let threads = rayon::current_num_threads();
    let model = engine.model();
    if !model.device().is_cpu() {
        1
    } else if model.config().match_flops(12) > LARGE_MODEL {
        threads.min(2)
    } else {
        threads
    }
}

/// Runs `work` for 0..count on threads of its own and returns the results in order. `progress` receives the number
/// done, on the caller's thread. The first error ends it.
///
/// It does not use rayon's pool, since threads that wait there for a matrix product would start on further pictures,
/// and hold the states of all of them.
///
/// Candle computes elementwise operations of more than 65,536 values on a pool of its own, which serves one caller at a
/// time and spins while it waits; `CANDLE_NUM_THREADS=1` in the environment avoids it. Measured at width 192 and 65
/// image tokens on two cores: 3.5 instead of 4.6 ms per pair, and 8 instead of 20 while another program kept both cores
/// busy.
fn in_parallel<T: Send>(
    threads: usize,
    count: usize,
    work: impl Fn(usize) -> Result<T> + Sync,
    progress: &mut dyn FnMut(usize),
) -> Result<Vec<T>> {
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (send, receive) = mpsc::channel();
    let mut results: Vec<Option<T>> = (0..count).map(|_| None).collect();
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, count.max(1)) {
            let (send, next, failed, work) = (send.clone(), &next, &failed, &work);
            scope.spawn(move || {
                while !failed.load(Ordering::Relaxed) {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    if i >= count || send.send((i, work(i))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(send);
        let mut outcome = Ok(());
        for (done, (i, result)) in receive.into_iter().enumerate() {
            match result {
                Ok(result) => results[i] = Some(result),
                Err(error) => {
                    failed.store(true, Ordering::Relaxed);
                    outcome = outcome.and(Err(error));
                }
            }
            progress(done + 1);
        }
        outcome
    })?;
    Ok(results.into_iter().flatten().collect())
}

impl Tokens {
    pub(super) fn encode(engine: &Engine, dataset: &Dataset) -> Result<Self> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn results_come_in_order_and_the_first_error_ends_the_work() {
        let mut seen = 0;
        let squares = in_parallel(3, 100, |i| Ok(i * i), &mut |done| seen = done);
        assert_eq!(
            squares.expect("no error"),
            (0..100).map(|i| i * i).collect::<Vec<_>>()
        );
        assert_eq!(seen, 100);
        let worked = AtomicUsize::new(0);
        let failed = in_parallel(
            2,
            1_000_000,
            |i| {
                worked.fetch_add(1, Ordering::Relaxed);
                // Long enough that the error is noticed before all is done.
                std::thread::sleep(std::time::Duration::from_micros(50));
                if i == 5 { Err(Error::Cancelled) } else { Ok(i) }
            },
            &mut |_| {},
        );
        assert!(matches!(failed, Err(Error::Cancelled)));
        assert!(worked.into_inner() < 1_000_000);
    }
}
