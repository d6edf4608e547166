//! The HNSW graph as flat arrays, searched where they lie: in a mapped file as well as in memory.
//!
//! Rows are ordered by their top layer, highest first, so layer `l` consists of the rows `0..count(l)` and
//! row 0 is the entry point. Every layer is a compressed adjacency list. As little-endian u32 words:
//!
//! ```text
//! layer count L
//! L × (rows in the layer, links in the layer)      layer 0 first
//! L × (offsets [rows + 1], links [links])          row r's links: links[offsets[r]..offsets[r + 1]]
//! ```

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::error::Result;
use crate::index::graph::similarity::Scored;

/// A view of a graph's words.
pub(crate) struct FlatGraph<'a> {
    layers: Vec<Layer<'a>>,
}

struct Layer<'a> {
    offsets: &'a [u32],
    links: &'a [u32],
}

/// Rows kept in each layer above the lowest. The paper keeps one, which ends in the wrong place where
/// many photos are nearly the same: all the ways out of such a group look worse than staying in it.
const UPPER_EF: usize = 16;

/// The effort of a search.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    /// Accepted rows to keep while searching: `ef` in the paper.
    pub ef: usize,
    /// Rows to visit before giving up.
    pub budget: usize,
}

impl<'a> FlatGraph<'a> {
    /// Reads the words' layout; the reason if they are no graph. No words are the empty graph.
    /// Does not look at offsets and links: [`Self::check`] does.
    pub fn view(words: &'a [u32]) -> Result<Self, String> {
        let Some((&layer_count, mut rest)) = words.split_first() else {
            return Ok(Self { layers: Vec::new() });
        };
        let short = || "the graph ends early".to_owned();
        let sizes = take(&mut rest, layer_count as usize * 2).ok_or_else(short)?;
        let layers = sizes
            .as_chunks::<2>()
            .0
            .iter()
            .map(|&[rows, links]| {
                let offsets = take(&mut rest, rows as usize + 1)?;
                let links = take(&mut rest, links as usize)?;
                Some(Layer { offsets, links })
            })
            .collect::<Option<Vec<_>>>()
            .ok_or_else(short)?;
        if layers.is_empty() || !rest.is_empty() {
            return Err("the graph's sizes do not fit its length".to_owned());
        }
        Ok(Self { layers })
    }

    /// Checks what [`Self::search`] relies on: ordered offsets, links inside their layer, layers that
    /// shrink upwards and are not empty.
    pub fn check(&self) -> Result<(), String> {
        let mut below = usize::MAX;
        for (number, layer) in self.layers.iter().enumerate() {
            let rows = layer.rows();
            if rows == 0 || rows > below {
                return Err(format!("layer {number} of the graph has {rows} rows"));
            }
            below = rows;
            let ordered = layer.offsets.is_sorted()
                && layer.offsets[0] == 0
                && layer.offsets[rows] as usize == layer.links.len();
            if !ordered {
                return Err(format!(
                    "the offsets of layer {number} of the graph are out of order"
                ));
            }
            if let Some(link) = layer.links.iter().find(|&&link| link as usize >= rows) {
                return Err(format!(
                    "a link of layer {number} of the graph leads to row {link} of {rows}"
                ));
            }
        }
        Ok(())
    }

    /// The number of rows the graph knows.
    pub fn rows(&self) -> usize {
        self.layers.first().map_or(0, Layer::rows)
    }

    /// The links of a row in the lowest layer.
    #[cfg(test)]
    pub fn links_of(&self, row: u32) -> &'a [u32] {
        self.layers[0].links_of(row)
    }

    /// Rows that no path from the entry point leads to.
    pub fn unreachable(&self) -> Vec<u32> {
        let Some(ground) = self.layers.first() else {
            return Vec::new();
        };
        let mut seen = RowSet::new(ground.rows());
        let mut stack = vec![0];
        seen.insert(0);
        while let Some(row) = stack.pop() {
            stack.extend(
                ground
                    .links_of(row)
                    .iter()
                    .copied()
                    .filter(|&link| seen.insert(link)),
            );
        }
        (0..ground.rows() as u32)
            .filter(|&row| seen.insert(row))
            .collect()
    }

    /// The `effort.ef` accepted rows most similar to the query, in no order, or `None` where finding them
    /// would visit more than `effort.budget` rows. `score` appends rows with their similarity to the query.
    ///
    /// Rows that are not accepted still lead the way: the search ends when the best row left to expand is
    /// worse than all accepted ones kept, so neither deleted rows nor a selective filter cut it short.
    pub fn search(
        &self,
        score: impl Fn(&[u32], &mut Vec<Scored>),
        accept: impl FnMut(u32) -> Result<bool>,
        effort: Effort,
    ) -> Result<Option<Vec<Scored>>> {
        let Some((ground, upper)) = self.layers.split_first() else {
            return Ok(Some(Vec::new()));
        };
        let mut entries = Vec::new();
        score(&[0], &mut entries);
        let unlimited = Effort {
            ef: UPPER_EF,
            budget: usize::MAX,
        };
        for layer in upper.iter().rev() {
            let links_of = |row| layer.links_of(row).iter().copied();
            let found = search_layer(
                layer.rows(),
                links_of,
                &entries,
                &score,
                |_| Ok(true),
                unlimited,
            )?;
            entries = found.unwrap_or(entries);
        }
        let links_of = |row| ground.links_of(row).iter().copied();
        search_layer(ground.rows(), links_of, &entries, &score, accept, effort)
    }
}

impl<'a> Layer<'a> {
    fn rows(&self) -> usize {
        self.offsets.len() - 1
    }

    fn links_of(&self, row: u32) -> &'a [u32] {
        let row = row as usize;
        &self.links[self.offsets[row] as usize..self.offsets[row + 1] as usize]
    }
}

/// Algorithm 2 of the paper, from several entry points, with a filter and a budget: see
/// [`FlatGraph::search`].
pub(crate) fn search_layer<L: Iterator<Item = u32>>(
    rows: usize,
    links_of: impl Fn(u32) -> L,
    entries: &[Scored],
    score: &impl Fn(&[u32], &mut Vec<Scored>),
    mut accept: impl FnMut(u32) -> Result<bool>,
    effort: Effort,
) -> Result<Option<Vec<Scored>>> {
    let mut seen = RowSet::new(rows);
    let mut beam = Beam::new(effort.ef);
    for &entry in entries {
        seen.insert(entry.row);
        beam.offer(entry, &mut accept)?;
    }
    let mut visited = entries.len();
    let (mut fresh, mut scored) = (Vec::new(), Vec::new());
    while let Some(nearest) = beam.frontier.pop() {
        if beam.is_beaten(nearest) {
            break;
        }
        fresh.clear();
        fresh.extend(links_of(nearest.row).filter(|&row| seen.insert(row)));
        scored.clear();
        score(&fresh, &mut scored);
        for &row in &scored {
            beam.offer(row, &mut accept)?;
        }
        visited += fresh.len();
        if visited > effort.budget {
            return Ok(None);
        }
    }
    let best = beam.best.into_iter();
    Ok(Some(best.map(|Reverse(scored)| scored).collect()))
}

/// The words of a graph, from one adjacency list per row and layer, layer 0 first. See the module's text.
pub(crate) fn flatten(layers: &[Vec<Vec<u32>>]) -> Vec<u32> {
    let mut words = vec![layers.len() as u32];
    for rows in layers {
        words.push(rows.len() as u32);
        words.push(rows.iter().map(Vec::len).sum::<usize>() as u32);
    }
    for rows in layers {
        let mut offset = 0;
        words.push(offset);
        for links in rows {
            offset += links.len() as u32;
            words.push(offset);
        }
        words.extend(rows.iter().flatten());
    }
    words
}

fn take<'a>(words: &mut &'a [u32], count: usize) -> Option<&'a [u32]> {
    let (head, rest) = words.split_at_checked(count)?;
    *words = rest;
    Some(head)
}

/// The rows that a search has found so far.
struct Beam {
    ef: usize,
    /// Rows whose links were not followed yet, the most similar on top.
    frontier: BinaryHeap<Scored>,
    /// The `ef` best accepted rows, the least similar on top.
    best: BinaryHeap<Reverse<Scored>>,
}

impl Beam {
    fn new(ef: usize) -> Self {
        Self {
            ef,
            frontier: BinaryHeap::new(),
            best: BinaryHeap::with_capacity(ef + 1),
        }
    }

    fn offer(
        &mut self,
        scored: Scored,
        accept: &mut impl FnMut(u32) -> Result<bool>,
    ) -> Result<()> {
        if self.is_beaten(scored) {
            return Ok(());
        }
        self.frontier.push(scored);
        if accept(scored.row)? {
            self.best.push(Reverse(scored));
            if self.best.len() > self.ef {
                self.best.pop();
            }
        }
        Ok(())
    }

    /// Whether there are enough better ones.
    fn is_beaten(&self, scored: Scored) -> bool {
        self.best.len() >= self.ef
            && self
                .best
                .peek()
                .is_some_and(|Reverse(worst)| scored < *worst)
    }
}

/// A set of rows, one bit each.
struct RowSet(Vec<u64>);

impl RowSet {
    fn new(rows: usize) -> Self {
        Self(vec![0; rows.div_ceil(64)])
    }

    /// False if the row was there already.
    fn insert(&mut self, row: u32) -> bool {
        let word = &mut self.0[row as usize / 64];
        let bit = 1 << (row % 64);
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows 0–5 in a line, row 0 alone on top; the similarity grows along the line.
    fn line() -> Vec<u32> {
        let ground = (0..6_u32).map(|row| match row {
            0 => vec![1],
            5 => vec![4],
            _ => vec![row - 1, row + 1],
        });
        flatten(&[ground.collect(), vec![vec![]]])
    }

    fn search(
        words: &[u32],
        accept: impl Fn(u32) -> bool,
        ef: usize,
        budget: usize,
    ) -> Option<Vec<u32>> {
        let graph = FlatGraph::view(words).unwrap();
        let score = |rows: &[u32], scored: &mut Vec<Scored>| {
            scored.extend(rows.iter().map(|&row| Scored {
                similarity: row as f32,
                row,
            }));
        };
        let found = graph.search(score, |row| Ok(accept(row)), Effort { ef, budget });
        let mut rows: Vec<u32> = found.unwrap()?.iter().map(|scored| scored.row).collect();
        rows.sort_unstable();
        Some(rows)
    }

    #[test]
    fn the_best_rows_are_found_by_following_links() {
        assert_eq!(search(&line(), |_| true, 2, 100).unwrap(), [4, 5]);
        assert_eq!(search(&[], |_| true, 2, 100).unwrap(), [0; 0]);
    }

    #[test]
    fn rows_that_are_not_accepted_lead_the_way_and_are_not_returned() {
        assert_eq!(
            search(&line(), |row| row == 0 || row == 3, 2, 100).unwrap(),
            [0, 3]
        );
        assert_eq!(search(&line(), |row| row == 5, 1, 100).unwrap(), [5]);
        assert_eq!(search(&line(), |_| false, 1, 100).unwrap(), [0; 0]);
    }

    #[test]
    fn a_search_beyond_its_budget_gives_up() {
        assert_eq!(search(&line(), |row| row == 0, 2, 3), None);
    }

    #[test]
    fn rows_without_a_way_to_them_are_told() {
        let words = flatten(&[vec![vec![1], vec![], vec![0]]]);
        assert_eq!(FlatGraph::view(&words).unwrap().unreachable(), [2]);
        assert_eq!(FlatGraph::view(&line()).unwrap().unreachable(), [0; 0]);
    }

    #[test]
    fn nonsense_is_refused_and_what_is_not_can_be_searched() {
        let intact = line();
        FlatGraph::view(&intact).unwrap().check().unwrap();
        let mut refused = 0;
        for position in 0..intact.len() {
            FlatGraph::view(&intact[..position])
                .and_then(|graph| graph.check())
                .err();
            for value in [0, 1, 7, u32::MAX] {
                let mut words = intact.clone();
                words[position] = value;
                match FlatGraph::view(&words).and_then(|graph| graph.check()) {
                    Ok(()) => drop(search(&words, |_| true, 3, 100)),
                    Err(_) => refused += 1,
                }
            }
        }
        assert!(refused > intact.len());
    }
}
