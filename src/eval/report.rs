//! The report of an evaluation.

use std::path::PathBuf;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::candidates::Candidates;
use super::dataset::{Cloze, Dataset};
use super::latency::Latency;
use super::metrics::{CutOffs, Reliability, Retrieval, share};
use super::protocol;
use super::score::Read;
use crate::engine::{Engine, ItmLogits};

/// The outcome of [`super::evaluate`]. The keys of its serialized form do not change.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// The model that embedded: a folder or hub id.
    pub model: String,
    /// Its weights, where it has the contrastive heads.
    pub model_fingerprint: Option<String>,
    /// The model that read pictures together with texts.
    pub reranker: Option<String>,
    /// `cpu`, `cuda` or `metal`.
    pub device: &'static str,
    /// Number format of the computation.
    pub precision: String,
    /// Threads of the computation on a CPU.
    pub threads: usize,
    /// The amounts of data.
    pub counts: Counts,
    /// Pictures that were left out, with all their texts.
    pub unreadable: Vec<Unreadable>,
    /// Numbers of candidates read, ascending.
    pub k: Vec<usize>,
    /// By embeddings alone (ITC); among equals, the earlier in the file ranks higher.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub itc: Option<BothWays>,
    /// Reranked as a search does it: the best photos of each text by embedding, reordered by match probability, and the
    /// others after them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<Depth<Retrieval>>,
    /// Reranked as the paper's authors count it: the logit of "match" for the best k photos of each text and the best k
    /// texts of each photo, −100 for all other pairs, the greater of the two directions' scores. A right answer loses
    /// every tie, including those at −100.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub authors: Vec<Depth<BothWays>>,
    /// The reliability of match probabilities.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reliability: Option<Reliability>,
    /// The effect of `--min-score`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut_offs: Option<CutOffs>,
    /// Captions compared with false ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub foils: Option<FoilScore>,
    /// Masked words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cloze: Option<ClozeScore>,
    /// Times of single queries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    /// The time that the evaluation itself took.
    pub work: Work,
    /// Parts that were left out, and why.
    pub skipped: Vec<Skipped>,
}

/// The amounts of data evaluated, without what could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Pictures.
    pub photos: usize,
    /// Pictures left out.
    pub unreadable: usize,
    /// Captions.
    pub captions: usize,
    /// Queries that no picture shows.
    pub absent_queries: usize,
    /// Captions with a false one beside them.
    pub foils: usize,
    /// Captions with a gap.
    pub cloze: usize,
}

/// A picture that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Its file.
    pub path: PathBuf,
    /// The reason.
    pub reason: String,
}

/// Writes a path as an export does: if it is not UTF-8, which serde refuses, its bytes are in `path_hex`.
impl Serialize for Unreadable {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_map(None)?;
        fields.serialize_entry("path", &self.path.to_string_lossy())?;
        if self.path.to_str().is_none() {
            let bytes = self.path.as_os_str().as_encoded_bytes().iter();
            let digits = bytes.flat_map(|byte| [byte >> 4, byte & 15]);
            let digits = digits.filter_map(|digit| char::from_digit(digit.into(), 16));
            fields.serialize_entry("path_hex", &digits.collect::<String>())?;
        }
        fields.serialize_entry("reason", &self.reason)?;
        fields.end()
    }
}

/// Retrieval in both directions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct BothWays {
    /// Photos for a text.
    pub text_to_image: Retrieval,
    /// Captions for a photo: any of its own is right, the best one's rank counts.
    pub image_to_text: Retrieval,
}

/// Figures with the best `k` candidates read.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Depth<T> {
    /// Number of candidates read.
    pub k: usize,
    /// The figures.
    #[serde(flatten)]
    pub found: T,
}

/// The share of pictures that match their caption rather than a false one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct FoilScore {
    /// Captions compared with a false one.
    pub pairs: usize,
    /// Share preferred by match probability (ITM); a tie is no preference.
    pub itm: Option<f64>,
    /// Share preferred by cosine of the embeddings (ITC).
    pub itc: Option<f64>,
}

/// The share of masked words that are guessed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ClozeScore {
    /// Gaps.
    pub items: usize,
    /// Share in which the likeliest token, without spaces around it, is the answer.
    pub top_1: f64,
    /// Share in which one of the five likeliest is.
    pub top_5: f64,
}

/// The work of the evaluation itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Work {
    /// The total.
    pub seconds: f64,
    /// Reading and embedding pictures.
    pub photos_seconds: f64,
    /// Embedding texts and ranking by embedding.
    pub texts_seconds: f64,
    /// Reading pictures with texts.
    pub pairs_seconds: f64,
    /// Pairs of a picture and a query that were read.
    pub pairs: usize,
}

/// A part that the report lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// Its key.
    pub section: &'static str,
    /// The reason.
    pub reason: &'static str,
}

impl Evaluation {
    pub(super) fn new(
        embedder: &Engine,
        reranker: Option<&Engine>,
        dataset: &Dataset,
        unreadable: Vec<Unreadable>,
    ) -> Self {
        let device = embedder.model().device();
        Self {
            model: embedder.name().into(),
            model_fingerprint: embedder.model().fingerprint().ok(),
            reranker: reranker.map(|engine| engine.name().into()),
            device: match device {
                candle_core::Device::Cpu => "cpu",
                candle_core::Device::Cuda(_) => "cuda",
                candle_core::Device::Metal(_) => "metal",
            },
            precision: embedder.model().number_format().into(),
            threads: rayon::current_num_threads(),
            counts: Counts {
                photos: dataset.photos.len(),
                unreadable: unreadable.len(),
                captions: dataset.captions.len(),
                absent_queries: dataset.absent.len(),
                foils: dataset.foils.len(),
                cloze: dataset.cloze.len(),
            },
            unreadable,
            k: Vec::new(),
            itc: None,
            search: Vec::new(),
            authors: Vec::new(),
            reliability: None,
            cut_offs: None,
            foils: None,
            cloze: None,
            latency: None,
            work: Work::default(),
            skipped: Vec::new(),
        }
    }

    pub(super) fn take_itc(&mut self, candidates: &Candidates) {
        let ranks = |rankings: &[protocol::Ranking]| {
            Retrieval::of(rankings.iter().filter_map(|r| r.rank).collect())
        };
        if self.counts.captions > 0 {
            self.itc = Some(BothWays {
                text_to_image: ranks(&candidates.photos),
                image_to_text: ranks(&candidates.captions),
            });
        }
        if !candidates.foils.is_empty() {
            let preferred = |[caption, foil]: &&[f32; 2]| caption > foil;
            let right = candidates.foils.iter().filter(preferred).count();
            self.foils = Some(FoilScore {
                pairs: candidates.foils.len(),
                itm: None,
                itc: Some(share(right, candidates.foils.len())),
            });
        }
    }

    pub(super) fn take_foils_and_cloze(&mut self, dataset: &Dataset, read: &[Read]) {
        let foils: Vec<[ItmLogits; 2]> = read.iter().flat_map(|r| r.foils.clone()).collect();
        if !foils.is_empty() {
            let score = |logits: ItmLogits| logits.log_probability(true);
            let preferred = |[caption, foil]: &&[ItmLogits; 2]| score(*caption) > score(*foil);
            self.foils = Some(FoilScore {
                pairs: foils.len(),
                itm: Some(share(foils.iter().filter(preferred).count(), foils.len())),
                itc: self.foils.and_then(|foils| foils.itc),
            });
        }
        // Photo by photo, in the order of the file within each.
        let mut asked: Vec<&Cloze> = dataset.cloze.iter().collect();
        asked.sort_by_key(|cloze| cloze.photo);
        let words: Vec<&Vec<String>> = read.iter().flat_map(|r| &r.cloze).collect();
        if !words.is_empty() {
            let right_within = |top: usize| {
                let hits = asked.iter().zip(&words).filter(|(cloze, words)| {
                    let mut words = words.iter().take(top);
                    words.any(|word| word.trim() == cloze.answer.trim())
                });
                share(hits.count(), words.len())
            };
            self.cloze = Some(ClozeScore {
                items: words.len(),
                top_1: right_within(1),
                top_5: right_within(super::score::GAP_CANDIDATES),
            });
        }
    }

    pub(super) fn take_pairs(
        &mut self,
        dataset: &Dataset,
        candidates: &Candidates,
        read: &[Read],
        depths: &[usize],
    ) {
        let right: Vec<usize> = dataset.captions.iter().map(|c| c.photo).collect();
        if right.is_empty() {
            return;
        }
        let pairs = candidates.pairs(read, right.len());
        let itc_ranks = candidates.photos.iter().filter_map(|r| r.rank);
        let itc_ranks: Vec<usize> = itc_ranks.collect();
        for &k in depths {
            let found = protocol::search(&pairs, &right, &itc_ranks, k);
            self.search.push(Depth { k, found });
            let (text_to_image, image_to_text) = protocol::authors(&pairs, &right, k);
            let found = BothWays {
                text_to_image,
                image_to_text,
            };
            self.authors.push(Depth { k, found });
        }
        let deepest = depths.last().copied().unwrap_or(0);
        let of_captions = pairs.captions.iter().zip(&right).flat_map(|(read, own)| {
            read.iter()
                .map(|(photo, logits)| (logits.match_probability(), *photo as usize == *own))
        });
        let of_captions: Vec<(f32, bool)> = of_captions.collect();
        let of_absent = pairs.absent.iter().flatten();
        let of_absent = of_absent.map(|(_, logits)| (logits.match_probability(), false));
        let right: Vec<f32> = of_captions
            .iter()
            .filter(|(_, is_right)| *is_right)
            .map(|(p, _)| *p)
            .collect();
        let highest = |read: &Vec<(u32, ItmLogits)>| {
            let scores = read.iter().map(|(_, logits)| logits.match_probability());
            scores.fold(0f32, f32::max)
        };
        let absent: Vec<f32> = pairs.absent.iter().map(highest).collect();
        self.cut_offs = Some(CutOffs::of(deepest, &right, &absent));
        self.reliability = Some(Reliability::of(
            deepest,
            of_captions.into_iter().chain(of_absent),
        ));
    }

    pub(super) fn say_what_is_missing(
        &mut self,
        embedder: &Engine,
        reranker: Option<&Engine>,
        dataset: &Dataset,
    ) {
        const NO_ITC: &str = "the checkpoint has no contrastive (ITC) heads";
        const NO_ITM: &str = "the checkpoint has no matching (ITM) head";
        const NO_MLM: &str = "the checkpoint has no masked-word (MLM) head";
        const NOT_ASKED: &str = "only embeddings were requested";
        const NO_CAPTIONS: &str = "the data has no captions";
        let without_pairs = match reranker {
            _ if dataset.captions.is_empty() => Some(NO_CAPTIONS),
            _ if !embedder.model().has_itc() => Some(NO_ITC),
            None => Some(NOT_ASKED),
            Some(engine) if !engine.model().has_itm() => Some(NO_ITM),
            Some(_) => None,
        };
        let mut skip = |section, reason| self.skipped.push(Skipped { section, reason });
        if let Some(reason) = without_pairs {
            if reason != NOT_ASKED && reason != NO_ITM {
                skip("itc", reason);
            }
            for section in ["search", "authors", "reliability", "cut_offs"] {
                skip(section, reason);
            }
        }
        if dataset.foils.is_empty() {
            skip("foils", "the data has none");
        }
        match reranker {
            _ if dataset.cloze.is_empty() => skip("cloze", "the data has none"),
            None => skip("cloze", NOT_ASKED),
            Some(engine) if !engine.model().has_mlm() => skip("cloze", NO_MLM),
            Some(_) => {}
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn a_picture_whose_name_is_no_text_can_be_reported() {
        let unreadable = Unreadable {
            path: OsStr::from_bytes(b"/a\xff.jpg").into(),
            reason: "no picture".into(),
        };
        let expected = "{\"path\":\"/a\u{fffd}.jpg\",\"path_hex\":\"2f61ff2e6a7067\",\"reason\":\"no picture\"}";
        assert_eq!(serde_json::to_string(&unreadable).unwrap(), expected);
    }
}
