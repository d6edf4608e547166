//! The graph's lowest layer, which holds all rows, as it grows.
//!
//! Written here since `hnsw_rs` takes several times as long for it: it allocates for every row that it meets, and a
//! row that has too many links keeps the nearest ones, which in a burst of photos lead nowhere else.

use std::cmp::Reverse;

use rayon::prelude::*;

use super::graph::{Effort, FlatGraph, search_layer};
use super::hnsw::{EF_CONSTRUCTION, MAX_LINKS};
use super::similarity::{Matrix, Scored, dot};
use crate::error::Result;

/// Most links of a row: twice those of the layers above, as the paper advises.
const MAX_GROUND_LINKS: usize = 2 * MAX_LINKS;
/// Rows of the layer above where the search for a new row's neighbours begins.
const ENTRIES: usize = 8;

/// The first rows of some vectors, linked with each other.
pub(super) struct Ground<'a> {
    vectors: Matrix<'a>,
    /// What each row is linked with, and how similar that is.
    links: Vec<Vec<Scored>>,
}

impl<'a> Ground<'a> {
    /// Begins with the rows and links of the layer above.
    pub fn new(vectors: Matrix<'a>, above: &[Vec<u32>]) -> Self {
        let links = above.par_iter().enumerate().map(|(row, above)| {
            let mut links = Vec::with_capacity(above.len());
            vectors.scorer(vectors.row(row as u32))(above, &mut links);
            most_diverse(vectors, links, MAX_GROUND_LINKS)
        });
        Self {
            vectors,
            links: links.collect(),
        }
    }

    /// Inserts the next `count` rows, on all threads. The same rows always give the same links.
    pub fn insert(&mut self, count: usize, above: &FlatGraph) -> Result<()> {
        let first = self.links.len() as u32;
        let batch = first..first + count as u32;
        let neighbours = batch.clone().into_par_iter();
        let neighbours = neighbours.map(|row| self.neighbours(row, above));
        let neighbours = neighbours.collect::<Result<Vec<_>>>()?;
        let mut ways_back: Vec<(u32, Scored)> = Vec::new();
        for (row, neighbours) in batch.zip(&neighbours) {
            ways_back.extend(neighbours.iter().map(
                |&Scored {
                     similarity,
                     row: to,
                 }| { (to, Scored { similarity, row }) },
            ));
        }
        self.links.extend(neighbours);
        ways_back.par_sort_unstable();
        let rows: Vec<_> = ways_back.chunk_by(|a, b| a.0 == b.0).collect();
        let changed = rows.into_par_iter().map(|ways_back| {
            let row = ways_back[0].0;
            let mut links = self.links[row as usize].clone();
            links.extend(ways_back.iter().map(|(_, link)| link));
            (row, most_diverse(self.vectors, links, MAX_GROUND_LINKS))
        });
        for (row, links) in changed.collect::<Vec<_>>() {
            self.links[row as usize] = links;
        }
        Ok(())
    }

    /// Links of each row.
    pub fn into_links(self) -> Vec<Vec<u32>> {
        let links = self.links.into_par_iter();
        links
            .map(|links| links.iter().map(|link| link.row).collect())
            .collect()
    }

    /// What a new row is to be linked with.
    fn neighbours(&self, row: u32, above: &FlatGraph) -> Result<Vec<Scored>> {
        let score = self.vectors.scorer(self.vectors.row(row));
        let effort = |ef| Effort {
            ef,
            budget: usize::MAX,
        };
        let entries = above.search(&score, |_| Ok(true), effort(ENTRIES))?;
        let links_of = |row: u32| self.links[row as usize].iter().map(|link| link.row);
        let found = search_layer(
            self.links.len(),
            links_of,
            &entries.unwrap_or_default(),
            &score,
            |_| Ok(true),
            effort(EF_CONSTRUCTION),
        )?;
        Ok(select(self.vectors, found.unwrap_or_default(), MAX_LINKS))
    }
}

/// All candidates if they are few enough.
fn most_diverse(vectors: Matrix, candidates: Vec<Scored>, most: usize) -> Vec<Scored> {
    if candidates.len() <= most {
        return candidates;
    }
    select(vectors, candidates, most)
}

/// Algorithm 4 of the paper: the most similar candidates, but none that is more similar to one that is kept
/// already, which leads to it anyway.
fn select(vectors: Matrix, mut candidates: Vec<Scored>, most: usize) -> Vec<Scored> {
    candidates.sort_unstable_by_key(|&candidate| Reverse(candidate));
    let mut kept: Vec<Scored> = Vec::with_capacity(most);
    for candidate in candidates {
        if kept.len() == most {
            break;
        }
        let vector = vectors.row(candidate.row);
        let is_led_to = |kept: &Scored| dot(vector, vectors.row(kept.row)) > candidate.similarity;
        if !kept.iter().any(is_led_to) {
            kept.push(candidate);
        }
    }
    kept
}
