//! Building the graph: [`crate::index::graph::base_layer`] grows the two lowest layers, `hnsw_rs` builds those above.

use std::sync::atomic::{AtomicBool, Ordering};

use bt_kernels::DotProduct;
use hnsw_rs::anndists::dist::distances::Distance;
use hnsw_rs::hnsw::Hnsw;

use crate::error::{Error, Result};
use crate::index::graph::base_layer::GrowingLayer;
use crate::index::graph::flat::{FlatGraph, flatten};
use crate::index::graph::parameters::{EF_CONSTRUCTION, MAX_LINKS};
use crate::index::graph::similarity::{Matrix, Scored};

/// More layers than 16^15 rows would need; also the most that `hnsw_rs` has.
const MAX_LAYERS: usize = 16;
/// Rows inserted between two looks at the cancel flag.
const BATCH: usize = 1024;

/// A graph, and how its rows are numbered.
#[derive(Debug, Default)]
pub(crate) struct BuiltGraph {
    /// The vector of every graph row, by its number in the build.
    pub order: Vec<usize>,
    /// See [`crate::index::graph::flat`].
    pub words: Vec<u32>,
}

/// Builds the graph over `count` distinct unit vectors; `progress` gets (vectors done, vectors in all).
///
/// The vectors have to be distinct because HNSW links a row to its nearest ones only: of more copies than
/// a row has links, all links would lead to copies, and the search could not leave them.
///
/// One row in [`MAX_LINKS`] belongs to a layer above the lowest, one in so many of those to the next, and each row
/// does so with the same chance. So the first rows of an order that means nothing will do. The same vectors always
/// give the same graph.
pub(crate) fn build(
    count: usize,
    vector: impl Fn(usize) -> Result<Vec<f32>>,
    cancel: &AtomicBool,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<BuiltGraph> {
    if count == 0 {
        return Ok(BuiltGraph::default());
    }
    let mut order = spread_out(count);
    let (mut values, dim) = gather(&order, vector)?;
    let rows_of = |layer: u32| count.div_ceil(MAX_LINKS.pow(layer));
    let mut batches = Batches {
        count,
        cancel,
        progress,
    };
    let upper = build_upper(&values[..rows_of(2) * dim], dim, &mut batches)?;
    reorder(&mut order, &mut values, dim, &upper.order);

    let vectors = Matrix {
        values: &values,
        dim,
    };
    let mut layers = upper.layers;
    for layer in &mut layers {
        connect(layer, vectors);
    }
    for (number, most_links) in [(1, MAX_LINKS), (0, 2 * MAX_LINKS)] {
        let words = flatten(&layers);
        let above = FlatGraph::view(&words).expect("flatten writes what view reads");
        let mut layer = GrowingLayer::new(vectors, most_links);
        while layer.rows() < rows_of(number) {
            // Rows of one batch do not see each other, so it is a small part of those that they see.
            let batch = (layer.rows() / 32).clamp(1, BATCH);
            layer.insert(batch.min(rows_of(number) - layer.rows()), &above)?;
            batches.finish(if number == 0 { layer.rows() } else { 0 })?;
        }
        layers.insert(0, layer.into_links());
    }
    batches.finish(count)?;
    let words = flatten(&layers);
    Ok(BuiltGraph { order, words })
}

/// All numbers below `count`, each far from the one before.
///
/// Photos come in bursts. Inserted in their own order, a burst finds little but itself to link with, and
/// whole bursts end up where no search finds them; inserted among all others, each photo finds its place
/// in a graph that spans everything. Multiples of the golden ratio spread out evenly.
fn spread_out(count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by_cached_key(|&number| (number as u32).wrapping_mul(0x9E37_79B9));
    order
}

/// The vectors in that order, and their dimension. Asks for them by ascending number: so they lie in the store.
fn gather(
    order: &[usize],
    vector: impl Fn(usize) -> Result<Vec<f32>>,
) -> Result<(Vec<f32>, usize)> {
    let mut row_of = vec![0; order.len()];
    for (row, &number) in order.iter().enumerate() {
        row_of[number] = row;
    }
    let dim = vector(0)?.len();
    let mut values = vec![0.0; order.len() * dim];
    for (number, row) in row_of.into_iter().enumerate() {
        values[row * dim..][..dim].copy_from_slice(&vector(number)?);
    }
    Ok((values, dim))
}

/// Who wants to know how far the build is.
struct Batches<'a> {
    count: usize,
    cancel: &'a AtomicBool,
    progress: &'a mut dyn FnMut(usize, usize),
}

impl Batches<'_> {
    /// After each batch, with the rows that are in the lowest layer by then.
    fn finish(&mut self, done: usize) -> Result<()> {
        (self.progress)(done, self.count);
        if self.cancel.load(Ordering::Relaxed) {
            return Err(Error::Cancelled);
        }
        Ok(())
    }
}

/// The distance of unit vectors, from 0 to 2.
struct UnitDistance(DotProduct);

impl Distance<f32> for UnitDistance {
    fn eval(&self, a: &[f32], b: &[f32]) -> f32 {
        // Rounding can leave a negative distance, which hnsw_rs answers with a panic.
        (1.0 - self.0.of(a, b)).max(0.0)
    }
}

/// The layers above the two lowest.
struct Upper {
    /// What was given as which row, by its top layer, highest first.
    order: Vec<usize>,
    /// Links of each row, the layer of all rows first.
    layers: Vec<Vec<Vec<u32>>>,
}

fn build_upper(values: &[f32], dim: usize, batches: &mut Batches) -> Result<Upper> {
    let rows: Vec<(&[f32], usize)> = values.chunks(dim).zip(0..).collect();
    let hnsw = Hnsw::new(
        MAX_LINKS,
        rows.len(),
        MAX_LAYERS,
        EF_CONSTRUCTION,
        UnitDistance(DotProduct::best()),
    );
    for batch in rows.chunks(BATCH) {
        // One after another: on several threads the links would depend on which is faster.
        for &row in batch {
            hnsw.insert_slice(row);
        }
        batches.finish(0)?;
    }
    Ok(extract(&hnsw))
}

/// Renumbers the rows by their top layer, highest first.
fn extract(hnsw: &Hnsw<f32, UnitDistance>) -> Upper {
    let points = hnsw.get_point_indexation();
    let layer_count = usize::from(hnsw.get_max_level_observed()) + 1;
    let mut by_level = Vec::with_capacity(hnsw.get_nb_point());
    let mut layers = vec![Vec::new(); layer_count];
    for level in (0..layer_count).rev() {
        let mut top = points.get_layer_iterator(level).collect::<Vec<_>>();
        top.sort_by_key(|point| point.get_origin_id());
        by_level.append(&mut top);
        layers[level] = vec![Vec::new(); by_level.len()];
    }
    let order: Vec<usize> = by_level.iter().map(|point| point.get_origin_id()).collect();
    let mut row_of = vec![0; order.len()];
    for (row, &input) in order.iter().enumerate() {
        row_of[input] = row as u32;
    }
    for (row, point) in by_level.iter().enumerate() {
        // hnsw_rs also notes neighbours above a point's own layer; no search gets there.
        let of_layers = point.get_neighborhood_id().into_iter().zip(&mut layers);
        for (neighbours, layer) in of_layers.take_while(|(_, layer)| row < layer.len()) {
            let rows = neighbours.iter().map(|neighbour| row_of[neighbour.d_id]);
            let members = layer.len();
            layer[row] = rows
                .filter(|&other| (other as usize) < members && other as usize != row)
                .collect();
        }
    }
    for layer in &mut layers {
        link_both_ways(layer);
    }
    Upper { order, layers }
}

/// Puts the first rows in the order that the upper layers gave them.
fn reorder(order: &mut [usize], values: &mut [f32], dim: usize, upper: &[usize]) {
    let (old_order, old_values) = (
        order[..upper.len()].to_vec(),
        values[..upper.len() * dim].to_vec(),
    );
    for (row, &old) in upper.iter().enumerate() {
        order[row] = old_order[old];
        values[row * dim..][..dim].copy_from_slice(&old_values[old * dim..][..dim]);
    }
}

/// Adds the way back to every link that lacks it.
///
/// `hnsw_rs` keeps the nearest of too many links, so a tight group larger than a row's links (a burst of
/// photos) would keep none that lead out of it. About a tenth more links, and no such islands.
fn link_both_ways(layer: &mut [Vec<u32>]) {
    let one_way: Vec<(u32, u32)> = layer
        .iter()
        .enumerate()
        .flat_map(|(from, links)| links.iter().map(move |&to| (from as u32, to)))
        .filter(|&(from, to)| !layer[to as usize].contains(&from))
        .collect();
    for (from, to) in one_way {
        layer[to as usize].push(from);
    }
}

/// Links every row of a layer that the first one does not lead to with the most similar row that it does lead to.
///
/// Where links lead both ways, that takes one link for a whole island: a burst that is linked with nothing but itself.
fn connect(layer: &mut Vec<Vec<u32>>, vectors: Matrix) {
    loop {
        let words = flatten(std::slice::from_ref(layer));
        let graph = FlatGraph::view(&words).expect("flatten writes what view reads");
        let lost = graph.unreachable();
        let Some(&row) = lost.first() else { return };
        let others = 0..layer.len() as u32;
        let reached: Vec<u32> = others
            .filter(|other| lost.binary_search(other).is_err())
            .collect();
        let mut scored: Vec<Scored> = Vec::with_capacity(reached.len());
        vectors.scorer(vectors.row(row))(&reached, &mut scored);
        let near = scored
            .into_iter()
            .max()
            .expect("the first row is reached")
            .row;
        layer[row as usize].push(near);
        layer[near as usize].push(row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::graph::flat::Effort;
    use crate::index::graph::similarity::dot;

    const DIM: usize = 24;

    /// `groups` random directions, and `size` vectors around each.
    fn groups(groups: usize, size: usize, spread: f32) -> Vec<f32> {
        let mut state = 1_u64;
        let mut coordinate = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        };
        let mut values = Vec::new();
        for _ in 0..groups {
            let centre: Vec<f32> = (0..DIM).map(|_| coordinate()).collect();
            for _ in 0..size {
                let vector: Vec<f32> = centre.iter().map(|c| c + spread * coordinate()).collect();
                let norm = dot(&vector, &vector).sqrt();
                values.extend(vector.iter().map(|value| value / norm));
            }
        }
        values
    }

    fn build_all(vectors: Matrix) -> BuiltGraph {
        let vector = |number| Ok(vectors.row(number as u32).to_vec());
        build(
            vectors.rows(),
            vector,
            &AtomicBool::new(false),
            &mut |_, _| {},
        )
        .unwrap()
    }

    /// Recall@10 of the flat graph, every 7th vector being the query; all rows must be reachable. Rows
    /// as similar as the tenth, within rounding, are as good.
    fn recall(values: &[f32]) -> f64 {
        let vectors = Matrix { values, dim: DIM };
        let built = build_all(vectors);
        let graph = FlatGraph::view(&built.words).unwrap();
        graph.check().unwrap();
        assert_eq!(
            (graph.rows(), graph.unreachable()),
            (vectors.rows(), vec![])
        );
        let all = 0..vectors.rows() as u32;
        let effort = Effort {
            ef: 50,
            budget: usize::MAX,
        };
        let (mut hits, mut wanted) = (0, 0);
        for query in all.clone().step_by(7) {
            let similarity = |row: u32| {
                dot(
                    vectors.row(query),
                    vectors.row(built.order[row as usize] as u32),
                )
            };
            let score = |rows: &[u32], scored: &mut Vec<Scored>| {
                scored.extend(rows.iter().map(|&row| Scored {
                    similarity: similarity(row),
                    row,
                }));
            };
            let mut exact: Vec<f32> = all.clone().map(similarity).collect();
            exact.sort_by(|a, b| b.total_cmp(a));
            let found = graph.search(score, |_| Ok(true), effort).unwrap().unwrap();
            let good = found
                .iter()
                .filter(|found| found.similarity >= exact[9] - 1e-6)
                .count();
            hits += good.min(10);
            wanted += 10;
        }
        f64::from(hits as u32) / f64::from(wanted)
    }

    #[test]
    fn the_flat_graph_finds_the_nearest() {
        assert!(recall(&groups(60, 50, 0.7)) > 0.99);
    }

    #[test]
    fn bursts_of_nearly_equal_photos_are_no_islands() {
        for spread in [0.1, 0.001] {
            let recall = recall(&groups(30, 100, spread));
            assert!(recall > 0.98, "spread {spread}: {recall}");
        }
    }

    #[test]
    fn few_vectors_are_fine() {
        for rows in [0, 1, 2, 5] {
            let values = groups(1, rows, 0.5);
            let vectors = Matrix {
                values: &values,
                dim: DIM,
            };
            let built = build_all(vectors);
            assert_eq!(built.order.len(), rows);
            assert_eq!(FlatGraph::view(&built.words).unwrap().rows(), rows);
        }
    }

    #[test]
    fn lost_rows_are_linked_with_the_most_similar_ones_that_are_not() {
        let values = [1.0, 0.0, 0.8, 0.6, 0.6, 0.8, 0.0, 1.0];
        let vectors = Matrix {
            values: &values,
            dim: 2,
        };
        let mut layer = vec![vec![1], vec![0], vec![3], vec![2]];
        connect(&mut layer, vectors);
        assert_eq!(layer, [vec![1], vec![0, 2], vec![3, 1], vec![2]]);
    }
}
