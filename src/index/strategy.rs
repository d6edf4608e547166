//! The cheapest way to the best photos that pass a filter.
//!
//! Each way finds the right photos under any filter. They differ in what they have to look at:
//!
//! | way | similarities | tries of the filter |
//! |---|---|---|
//! | graph | of the rows visited, all over memory, on one thread | on those of them that might be kept |
//! | scan, similarity first | of all rows, in order, on all threads | on the best rows, until `k` photos passed |
//! | scan, filter first | of the rows that pass, on all threads | on all photos, in order, on all threads |
//!
//! A try reads the photo's record: a checksum, bincode, a path and a camera to allocate. That takes as long
//! as six dot products of 512 coordinates, so similarity goes first, unless so few photos pass that a good
//! part of them would have to be tried, one after another and all over memory, to find `k`.
//!
//! A filter may be any closure, from a comparison to a question to the file system. So its cost and the
//! part of the photos that passes are measured when the search begins, on a sample. Near the point where
//! graph and scan cost the same, one run may therefore take the graph and the next one the scan.

use std::hint::black_box;
use std::time::{Duration, Instant};

use bt_kernels::DotProduct;

use crate::embedding::Embedding;
use crate::error::Result;
use crate::index::predicate::PhotoPredicate;
use crate::index::snapshot::Snapshot;

// Measured by `benches/hnsw_recall.rs`, on 512 coordinates and two threads. What filters and collections do
// to a search is measured each time.

/// Rows of the graph that a search visits for each row that it has to keep or pass over for want of the
/// filter: 20 to 29, until it comes to see all of the graph.
const VISITS: f64 = 28.0;
/// Those of them on which the filter is tried. The others are worse than what is kept already.
const TRIES: f64 = 4.0;
/// The cost of visiting a row of the graph, in rows of a scan: 7.6 to 10.
const VISIT: f64 = 8.0;
/// The cost of trying a filter on photos in order, as a part of its cost on scattered photos: 0.4 to 0.7.
const IN_ORDER: f64 = 0.5;
/// A sample is taken in so many rounds of so many photos. The fastest round counts: whatever disturbs a
/// measurement makes it longer. None of 256 photos passes if, most likely, less than one in 85 does.
const ROUNDS: usize = 8;
const ROUND: usize = 32;
/// With fewer photos than this there is no graph, and any way takes a millisecond or two.
const LEAST_SAMPLED: usize = 4096;

/// The ways to find the best photos.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Plan {
    /// The way that is expected to take the least time.
    #[default]
    Cheapest,
    /// Through the graph, even where that visits most of it. Approximate.
    Graph,
    /// By looking at all photos. Exact.
    Scan,
}

/// The work of a search.
#[derive(Debug, Clone, Copy)]
pub(in crate::index) struct Work {
    /// Vectors.
    pub rows: usize,
    /// Those of them in the graph.
    pub graph_rows: usize,
    /// Photos.
    pub photos: usize,
    /// Photos to find, `k`.
    pub wanted: usize,
    /// Rows to keep during a search of the graph.
    pub ef: usize,
    /// Threads that a scan may use.
    pub threads: usize,
}

/// The effect of a filter on an index.
#[derive(Debug, Clone, Copy)]
pub(in crate::index) struct Sample {
    /// The part of the photos that passes, over 0, up to 1.
    pub passing: f64,
    /// The cost of trying the filter on a photo, in similarities.
    pub cost: f64,
}

/// The course of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::index) struct Course {
    /// Rows of the graph to visit before giving way to a scan; 0 where the graph is not worth a try.
    pub graph_budget: usize,
    /// Whether a scan tries the filter on all photos before it compares any.
    pub filter_first: bool,
}

impl Work {
    /// The cheapest course; without a filter where there is no sample.
    pub fn cheapest(&self, sample: Option<Sample>) -> Course {
        let Sample { passing, cost } = sample.unwrap_or(Sample {
            passing: 1.0,
            cost: 0.0,
        });
        let [rows, graph_rows, photos, wanted, ef, threads] = [
            self.rows,
            self.graph_rows,
            self.photos,
            self.wanted,
            self.ef,
            self.threads,
        ]
        .map(|count| count as f64);
        // All in rows of a scan, which all threads share. What one thread does alone takes that many times
        // as long.
        let alone = cost * threads;
        let similarity_first = rows + (wanted / passing).min(photos) * alone;
        let filter_first = photos * cost * IN_ORDER + passing * rows;
        let scan = similarity_first.min(filter_first);
        // The nearest rows are taken to pass as often as any. Where they do not, the budget ends the matter
        // after the time of one scan, or two where that is because the filter had to be tried so often.
        let visits = (VISITS * ef / passing).min(graph_rows);
        let budget = scan / (VISIT + alone * TRIES / VISITS);
        Course {
            graph_budget: if self.graph_rows > 0 && visits < budget {
                budget as usize
            } else {
                0
            },
            filter_first: filter_first < similarity_first,
        }
    }
}

impl Sample {
    /// Tries the filter on photos from all over the index, and measures what that costs; `None` where there
    /// are too few photos for it to matter.
    pub fn take(
        snapshot: &Snapshot,
        query: &Embedding,
        filter: &PhotoPredicate,
    ) -> Result<Option<Self>> {
        let photos = snapshot.photo_ids().len();
        if photos < LEAST_SAMPLED {
            return Ok(None);
        }
        let (dot, vectors) = (DotProduct::best(), snapshot.vectors());
        let mut passed = 0;
        let (mut filter_time, mut similarity_time) = (Duration::MAX, Duration::MAX);
        for round in 0..ROUNDS {
            let started = Instant::now();
            for number in round * ROUND..(round + 1) * ROUND {
                let record = snapshot.record(stratified(number, ROUNDS * ROUND, photos) as u32)?;
                passed += usize::from(filter(&record.photo));
            }
            filter_time = filter_time.min(started.elapsed());

            let first = stratified(round, ROUNDS, vectors.rows());
            let started = Instant::now();
            for number in first..first + ROUND {
                let row = vectors.row((number % vectors.rows()) as u32);
                black_box(dot.of(query.as_slice(), row));
            }
            similarity_time = similarity_time.min(started.elapsed());
        }
        let nanoseconds = |time: Duration| time.as_nanos().max(1) as f64;
        Ok(Some(Self {
            // Half a photo more on either side (Jeffreys' estimate): a sample without one that passes does
            // not mean that none does.
            passing: (passed as f64 + 0.5) / ((ROUNDS * ROUND) as f64 + 1.0),
            cost: nanoseconds(filter_time) / nanoseconds(similarity_time),
        }))
    }
}

/// One of `total` positions, from the `number`-th of `strata` equal parts, scattered inside it: equal steps
/// could keep in step with something that repeats in the collection.
fn stratified(number: usize, strata: usize, total: usize) -> usize {
    let start = number * total / strata;
    let width = ((number + 1) * total / strata - start).max(1);
    let scatter = (number as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    start + scatter as usize % width
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(rows: usize) -> Work {
        Work {
            rows,
            graph_rows: rows,
            photos: rows,
            wanted: 100,
            ef: 200,
            threads: 2,
        }
    }

    fn course(rows: usize, passing: f64, cost: f64) -> Course {
        work(rows).cheapest(Some(Sample { passing, cost }))
    }

    #[test]
    fn the_graph_answers_where_much_passes_and_a_scan_where_little_does() {
        let unfiltered = work(100_000).cheapest(None);
        assert_eq!(
            unfiltered,
            Course {
                graph_budget: 12_500,
                filter_first: false
            }
        );
        assert!(course(100_000, 1.0, 6.0).graph_budget > 0);
        assert!(course(1_000_000, 1.0, 3.0).graph_budget > 0);
        assert!(course(1_000_000, 0.5, 3.0).graph_budget > 0);
        assert_eq!(course(1_000_000, 0.01, 3.0).graph_budget, 0);
        assert_eq!(course(1_000_000, 0.001, 3.0).graph_budget, 0);
        // Few photos are compared before a graph is walked.
        assert_eq!(work(10_000).cheapest(None).graph_budget, 0);
        let no_graph = Work {
            graph_rows: 0,
            ..work(1_000_000)
        };
        assert_eq!(no_graph.cheapest(None).graph_budget, 0);
    }

    #[test]
    fn the_filter_goes_first_only_where_most_photos_would_be_tried_anyway() {
        assert!(course(100_000, 0.0005, 3.0).filter_first);
        assert!(!course(100_000, 0.05, 3.0).filter_first);
        assert!(!course(100_000, 1.0, 3.0).filter_first);
        // A filter as quick as a comparison.
        assert!(course(100_000, 0.002, 0.1).filter_first);
        // One that asks the file system.
        assert!(!course(100_000, 0.01, 1000.0).filter_first);
        assert_eq!(course(100_000, 0.5, 1000.0).graph_budget, 0);
    }

    #[test]
    fn a_sample_comes_from_everywhere_and_not_in_equal_steps() {
        for total in [256, 300, 4096, 1_000_000] {
            let sample: Vec<usize> = (0..256).map(|n| stratified(n, 256, total)).collect();
            assert!(sample.is_sorted_by(|a, b| a < b), "{total}");
            assert!(sample[255] < total);
            assert!(sample[0] < total.div_ceil(256));
        }
        let even = (0..256).filter(|&n| stratified(n, 256, 256 * 100).is_multiple_of(2));
        assert!((96..160).contains(&even.count()));
        assert_eq!(stratified(7, 8, 1), 0);
    }
}
