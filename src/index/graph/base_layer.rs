//! One layer of the graph as it grows: the lowest, which holds all rows, and the one above it.
//!
//! Written here since `hnsw_rs` takes several times as long for it: it allocates for every row that it meets, and a
//! row that has too many links keeps the nearest ones, which in a burst of photos lead nowhere else.
//!
//! What makes bursts hard: near a centre that thousands of photos surround, all of them are more similar to it than
//! to each other. So it is the one diverse link of each, and has room for a few of them only. Two rules keep the
//! others within reach:
//!
//! - Every row has a parent, an earlier row whose link to it is never dropped. So the first row leads to every
//!   other, by induction.
//! - Where diversity leaves a row few links, the most similar of what it passed over fill them up.

use std::cmp::Reverse;

use bt_kernels::DotProduct;
use rayon::prelude::*;

use crate::error::Result;
use crate::index::graph::flat::{Effort, FlatGraph, search_layer};
use crate::index::graph::parameters::{EF_CONSTRUCTION, MAX_LINKS};
use crate::index::graph::similarity::{Matrix, Scored};

/// Rows of the layers above where the search for a new row's neighbours begins.
const ENTRIES: usize = 8;
/// Children of a row before new ones go to others that are nearly as near.
const CHILDREN: usize = 8;

/// The first rows of some vectors, linked with each other.
pub(in crate::index) struct GrowingLayer<'a> {
    vectors: Matrix<'a>,
    /// Most links of a row, not counting those to its children.
    most_links: usize,
    /// The links of each row, with their similarity.
    links: Vec<Vec<Scored>>,
    /// The rows that each is the parent of.
    children: Vec<Vec<u32>>,
}

/// The outcome of a search for a new row.
struct Found {
    /// The most similar rows, best first: one of them becomes the parent.
    nearest: Vec<Scored>,
    /// Those of them to be linked with.
    neighbours: Vec<Scored>,
}

impl<'a> GrowingLayer<'a> {
    /// Begins with the first row.
    pub fn new(vectors: Matrix<'a>, most_links: usize) -> Self {
        Self {
            vectors,
            most_links,
            links: vec![Vec::new()],
            children: vec![Vec::new()],
        }
    }

    pub fn rows(&self) -> usize {
        self.links.len()
    }

    /// Inserts the next `count` rows, on all threads. The same rows always give the same links.
    pub fn insert(&mut self, count: usize, above: &FlatGraph) -> Result<()> {
        let first = self.rows() as u32;
        let batch = first..first + count as u32;
        let found = batch.clone().into_par_iter();
        let found = found.map(|row| self.find(row, above));
        let found = found.collect::<Result<Vec<_>>>()?;
        let mut ways_back: Vec<(u32, Scored)> = Vec::new();
        for (row, found) in batch.zip(found) {
            self.adopt(row, &found.nearest);
            ways_back.extend(found.neighbours.iter().map(
                |&Scored {
                     similarity,
                     row: to,
                 }| { (to, Scored { similarity, row }) },
            ));
            self.links.push(found.neighbours);
            self.children.push(Vec::new());
        }
        self.link_back(ways_back);
        Ok(())
    }

    /// Links of each row.
    pub fn into_links(self) -> Vec<Vec<u32>> {
        let links = self.links.into_par_iter().zip(self.children);
        let links = links.map(|(links, mut all)| {
            all.extend(links.iter().map(|link| link.row));
            all.sort_unstable();
            all.dedup();
            all
        });
        links.collect()
    }

    /// Finds the rows that a new row can be linked with.
    fn find(&self, row: u32, above: &FlatGraph) -> Result<Found> {
        let score = self.vectors.scorer(self.vectors.row(row));
        let effort = |ef| Effort {
            ef,
            budget: usize::MAX,
        };
        let entries = above.search(&score, |_| Ok(true), effort(ENTRIES))?;
        let mut entries = entries.unwrap_or_default();
        // The rows of the layers above come first here, but one by one as all others.
        entries.retain(|entry| (entry.row as usize) < self.rows());
        if entries.is_empty() {
            score(&[0], &mut entries);
        }
        let links_of = |row: u32| {
            let links = self.links[row as usize].iter().map(|link| link.row);
            links.chain(self.children[row as usize].iter().copied())
        };
        let nearest = search_layer(
            self.rows(),
            links_of,
            &entries,
            &score,
            |_| Ok(true),
            effort(EF_CONSTRUCTION),
        )?;
        let mut nearest = nearest.unwrap_or_default();
        nearest.sort_unstable_by_key(|&row| Reverse(row));
        let mut neighbours = select(self.vectors, &nearest, MAX_LINKS);
        fill(&mut neighbours, &nearest, MAX_LINKS);
        Ok(Found {
            nearest,
            neighbours,
        })
    }

    /// Gives a new row its parent: the nearest row that has few children, or if all have many, the one that has
    /// fewest. So the centre of a burst is not the parent of all of it, which every search would then look through.
    fn adopt(&mut self, row: u32, nearest: &[Scored]) {
        let excess =
            |near: &&Scored| (self.children[near.row as usize].len() + 1).saturating_sub(CHILDREN);
        let parent = nearest.iter().min_by_key(excess);
        let parent = parent.expect("a search finds a row where there is one").row;
        self.children[parent as usize].push(row);
    }

    /// Adds links; rows that have too many then drop some.
    fn link_back(&mut self, mut ways_back: Vec<(u32, Scored)>) {
        ways_back.par_sort_unstable();
        let rows: Vec<_> = ways_back.chunk_by(|a, b| a.0 == b.0).collect();
        let changed = rows.into_par_iter().map(|ways_back| {
            let row = ways_back[0].0;
            let mut links = self.links[row as usize].clone();
            links.extend(ways_back.iter().map(|(_, link)| link));
            if links.len() > self.most_links {
                links.sort_unstable_by_key(|&link| Reverse(link));
                links = select(self.vectors, &links, self.most_links);
            }
            (row, links)
        });
        for (row, links) in changed.collect::<Vec<_>>() {
            self.links[row as usize] = links;
        }
    }
}

/// Algorithm 4 of the paper, on candidates in their order: the most similar, but none that is more similar to one that
/// is kept already, which leads to it anyway.
fn select(vectors: Matrix, candidates: &[Scored], most: usize) -> Vec<Scored> {
    let dot = DotProduct::best();
    let mut kept: Vec<Scored> = Vec::with_capacity(most);
    for &candidate in candidates {
        if kept.len() == most {
            break;
        }
        let vector = vectors.row(candidate.row);
        let is_led_to =
            |kept: &Scored| dot.of(vector, vectors.row(kept.row)) > candidate.similarity;
        if !kept.iter().any(is_led_to) {
            kept.push(candidate);
        }
    }
    kept
}

/// Adds the first candidates that are not there, until there are so many (`keepPrunedConnections` in the paper).
fn fill(kept: &mut Vec<Scored>, candidates: &[Scored], most: usize) {
    for candidate in candidates {
        if kept.len() == most {
            break;
        }
        if !kept.contains(candidate) {
            kept.push(*candidate);
        }
    }
}
