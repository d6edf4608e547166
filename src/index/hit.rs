//! A photo that a search found.

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::photo::{Photo, PhotoId};

/// A photo found.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// Its id in the index.
    pub id: PhotoId,
    /// The photo's record.
    pub photo: Photo,
    /// Cosine of the query's embedding and the photo's, −1..=1.
    pub similarity: f32,
    /// The probability that photo and query match, where they were read together.
    pub match_probability: Option<f32>,
}

impl Hit {
    /// The score that it was ranked by: the match probability where there is one, else the similarity.
    pub fn score(&self) -> f32 {
        self.match_probability.unwrap_or(self.similarity)
    }

    /// The hit with its place in a list, counted from 1, for JSON.
    pub fn ranked(&self, rank: usize) -> RankedHit<'_> {
        RankedHit { rank, hit: self }
    }
}

/// A hit and its place in a list. It serialises to one flat object: rank, score and the photo's fields.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RankedHit<'a> {
    /// Counted from 1.
    pub rank: usize,
    /// The hit.
    pub hit: &'a Hit,
}

impl Serialize for RankedHit<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let hit = self.hit;
        let mut object = serializer.serialize_map(None)?;
        object.serialize_entry("rank", &self.rank)?;
        object.serialize_entry("score", &hit.score())?;
        object.serialize_entry("match_probability", &hit.match_probability)?;
        object.serialize_entry("similarity", &hit.similarity)?;
        hit.photo.entries(&mut object)?;
        object.end()
    }
}
