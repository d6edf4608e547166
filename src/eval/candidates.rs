//! The photos and captions that embeddings rank highest, which are read together with the query.

use super::dataset::{Dataset, Foil};
use super::protocol::{self, Pairs, Ranking};
use super::score::{self, Read, Tokens};
use crate::embedding::Embedding;
use crate::engine::{Engine, ItmLogits};
use crate::error::Result;
use crate::processor::TokenIds;

/// The rankings by embeddings alone.
pub(super) struct Candidates {
    /// Captions, then absent queries: their best photos.
    pub(super) photos: Vec<Ranking>,
    /// Photos: their best captions.
    pub(super) captions: Vec<Ranking>,
    /// For each foil the cosines of the caption and of the foil.
    pub(super) foils: Vec<[f32; 2]>,
}

impl Candidates {
    pub(super) fn find(
        engine: &Engine,
        dataset: &Dataset,
        photos: &[Embedding],
        depths: &[usize],
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Self> {
        let encoded = Tokens::encode(engine, dataset)?;
        let foils = encoded.foils.into_iter().flatten();
        let texts: Vec<TokenIds> = encoded.queries.into_iter().chain(foils).collect();
        let embeddings = score::embed_texts(engine, &texts, &mut |done| {
            progress(done, texts.len());
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

    /// The logits of the pairs read, in the order of the candidates.
    pub(super) fn pairs(&self, read: &[Read], captions: usize) -> Pairs {
        let logits = |query: u32, photo: u32| -> ItmLogits {
            let scores = &read[photo as usize].queries;
            let place = scores.binary_search_by_key(&query, |(query, _)| *query);
            scores[place.expect("every candidate was read")].1
        };
        let of_query = |(query, ranking): (usize, &Ranking)| {
            let photos = ranking.best.iter();
            photos.map(|p| (*p, logits(query as u32, *p))).collect()
        };
        let mut by_query: Vec<_> = self.photos.iter().enumerate().map(of_query).collect();
        let of_photo = |(photo, ranking): (usize, &Ranking)| {
            let captions = ranking.best.iter();
            captions.map(|c| (*c, logits(*c, photo as u32))).collect()
        };
        Pairs {
            absent: by_query.split_off(captions),
            captions: by_query,
            photos: self.captions.iter().enumerate().map(of_photo).collect(),
        }
    }
}
