//! Computes the figures that papers and users ask for from ranks and probabilities.

use serde::Serialize;

/// The ranks of the right answers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Retrieval {
    /// Number of queries.
    pub queries: usize,
    /// Share of queries whose first answer is right.
    pub recall_at_1: f64,
    /// Share of queries with a right answer among the first 5.
    pub recall_at_5: f64,
    /// Share of queries with a right answer among the first 10.
    pub recall_at_10: f64,
    /// Half of the queries have their best right answer at this rank or a better one; ranks count from 1.
    pub median_rank: f64,
}

impl Retrieval {
    /// Computes the figures from the rank of each query's best right answer, counted from 1.
    pub(super) fn of(mut ranks: Vec<usize>) -> Self {
        let within = |k: usize| share(ranks.iter().filter(|rank| **rank <= k).count(), ranks.len());
        let (recall_at_1, recall_at_5, recall_at_10) = (within(1), within(5), within(10));
        ranks.sort_unstable();
        Self {
            queries: ranks.len(),
            recall_at_1,
            recall_at_5,
            recall_at_10,
            median_rank: percentile(&ranks.iter().map(|r| *r as f64).collect::<Vec<_>>(), 0.5),
        }
    }
}

/// Calibration: if it is good, 8 of 10 pairs with a match probability of 0.8 belong together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reliability {
    /// Number of each query's candidates that were read.
    pub k: usize,
    /// Pairs of a query and a photo, absent queries included.
    pub pairs: usize,
    /// Ten bins of equal width.
    pub bins: Vec<Bin>,
    /// Mean distance, over all pairs, between a bin's mean probability and its share of right pairs.
    pub expected_calibration_error: f64,
}

/// Pairs of similar match probability.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Bin {
    /// The lowest probability.
    pub from: f64,
    /// The next bin's lowest.
    pub to: f64,
    /// Number of pairs.
    pub pairs: usize,
    /// Number of them that belong together.
    pub right: usize,
    /// Their share; none in an empty bin.
    pub fraction_right: Option<f64>,
    /// Mean probability; none in an empty bin.
    pub mean_probability: Option<f64>,
}

impl Reliability {
    /// Computes the figures from each pair's match probability, and whether it belongs together.
    pub(super) fn of(k: usize, pairs: impl Iterator<Item = (f32, bool)>) -> Self {
        const BINS: usize = 10;
        let mut sums = [(0usize, 0usize, 0f64); BINS];
        for (p, right) in pairs {
            let bin = ((p * BINS as f32) as usize).min(BINS - 1);
            sums[bin].0 += 1;
            sums[bin].1 += usize::from(right);
            sums[bin].2 += f64::from(p);
        }
        let pairs = sums.iter().map(|(count, _, _)| count).sum();
        let bins: Vec<Bin> = (0..BINS)
            .zip(sums)
            .map(|(i, (count, right, sum))| Bin {
                from: i as f64 / BINS as f64,
                to: (i + 1) as f64 / BINS as f64,
                pairs: count,
                right,
                fraction_right: (count > 0).then(|| share(right, count)),
                mean_probability: (count > 0).then(|| sum / count as f64),
            })
            .collect();
        let distance = |bin: &Bin| {
            let (fraction, mean) = bin.fraction_right.zip(bin.mean_probability)?;
            Some(share(bin.pairs, pairs) * (fraction - mean).abs())
        };
        Self {
            k,
            pairs,
            expected_calibration_error: bins.iter().filter_map(distance).sum(),
            bins,
        }
    }
}

/// The effect of `--min-score` on the answers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CutOffs {
    /// Number of each query's candidates that were read.
    pub k: usize,
    /// Captions whose photo was among those, since only they can lose it.
    pub answerable: usize,
    /// Queries that nothing in the collection shows.
    pub absent_queries: usize,
    /// From the lowest to the highest.
    pub cuts: Vec<Cut>,
    /// The highest that keeps [`KEEP`] of the right answers, if there are absent queries that gain from it.
    pub suggested: Option<Cut>,
}

/// One value of `--min-score`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Cut {
    /// The lowest match probability shown.
    pub min_score: f32,
    /// Share of the answerable captions whose photo stays.
    pub right_kept: f64,
    /// Share of the absent queries that find nothing, as they should.
    pub absent_quiet: Option<f64>,
}

/// The share of right answers that a suggested cut-off keeps.
pub const KEEP: f64 = 0.95;

const CUTS: [f32; 23] = [
    0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75,
    0.8, 0.85, 0.9, 0.95, 0.98, 0.99,
];

impl CutOffs {
    /// Computes the cuts from each caption's match probability with its own photo, and from each absent query's highest
    /// one.
    pub(super) fn of(k: usize, right: &[f32], absent: &[f32]) -> Self {
        let cut = |min_score: f32| Cut {
            min_score,
            right_kept: share(
                right.iter().filter(|p| **p >= min_score).count(),
                right.len(),
            ),
            absent_quiet: (!absent.is_empty()).then(|| {
                let quiet = absent.iter().filter(|p| **p < min_score).count();
                share(quiet, absent.len())
            }),
        };
        let cuts: Vec<Cut> = CUTS.into_iter().map(cut).collect();
        let keeps_enough = |cut: &&Cut| cut.right_kept >= KEEP && cut.absent_quiet.is_some();
        Self {
            k,
            answerable: right.len(),
            absent_queries: absent.len(),
            suggested: cuts.iter().rfind(keeps_enough).copied(),
            cuts,
        }
    }
}

/// Returns Kendall's τ-b of two scorings of the same items: 1 if they agree on the order of every pair, −1 if on none.
/// A pair that both score equal does not count. None if either scores all items equal, and so has no order.
pub(super) fn kendall_tau(a: &[f64], b: &[f64]) -> Option<f64> {
    let (mut agreement, mut ordered_by_a, mut ordered_by_b) = (0i64, 0i64, 0i64);
    for i in 0..a.len() {
        for j in 0..i {
            let (by_a, by_b) = (sign(a[i] - a[j]), sign(b[i] - b[j]));
            agreement += by_a * by_b;
            ordered_by_a += by_a.abs();
            ordered_by_b += by_b.abs();
        }
    }
    let both = (ordered_by_a as f64).sqrt() * (ordered_by_b as f64).sqrt();
    (both > 0.0).then(|| agreement as f64 / both)
}

fn sign(difference: f64) -> i64 {
    i64::from(difference > 0.0) - i64::from(difference < 0.0)
}

/// Returns the share of the items of `a` that are also in `b`.
pub(super) fn overlap(a: &[u32], b: &[u32]) -> f64 {
    share(a.iter().filter(|item| b.contains(item)).count(), a.len())
}

/// Returns the mean; none of an empty slice.
pub(super) fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Returns `part / whole`, or 0 if `whole` is 0.
pub(super) fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

/// Returns the value below which a share of the `sorted` values lies, interpolated between two of them.
pub(super) fn percentile(sorted: &[f64], part: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else {
        return 0.0;
    };
    let place = part * last as f64;
    let (low, high) = (place.floor() as usize, place.ceil() as usize);
    sorted[low] + (sorted[high] - sorted[low]) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-6, "{found}, not {expected}");
    }

    #[test]
    fn recall_and_median_of_known_ranks() {
        let found = Retrieval::of(vec![1, 7, 1, 30, 5, 10, 11, 2]);
        assert_eq!(found.queries, 8);
        close(found.recall_at_1, 2.0 / 8.0);
        close(found.recall_at_5, 4.0 / 8.0);
        close(found.recall_at_10, 6.0 / 8.0);
        close(found.median_rank, 6.0); // Between 5 and 7.
        close(Retrieval::of(vec![9, 1, 4]).median_rank, 4.0);
    }

    #[test]
    fn tau_counts_pairs_in_the_same_order() {
        let tau = |a: &[f64], b: &[f64]| kendall_tau(a, b).expect("both have an order");
        let scores = [0.1, 0.5, 0.2, 0.9];
        close(tau(&scores, &scores), 1.0);
        close(tau(&scores, &scores.map(|s| s * s - 7.0)), 1.0);
        close(tau(&scores, &scores.map(|s| -s)), -1.0);
        // One of six pairs, that of neighbours, is exchanged.
        close(tau(&scores, &[0.2, 0.5, 0.1, 0.9]), 4.0 / 6.0);
        // Five of six pairs are ordered by the first, all by the second: 5 / √(5 · 6).
        close(
            tau(&[1.0, 2.0, 2.0, 3.0], &[1.0, 2.0, 3.0, 4.0]),
            0.912_870_9,
        );
        assert_eq!(kendall_tau(&[1.0; 3], &[1.0, 2.0, 3.0]), None);
        assert_eq!(kendall_tau(&[1.0], &[1.0]), None);
        assert_eq!(kendall_tau(&[], &[]), None);
    }

    #[test]
    fn overlap_is_the_share_that_both_have() {
        close(overlap(&[1, 2, 3, 4], &[4, 3, 9, 1]), 0.75);
        close(overlap(&[1, 2], &[2, 1]), 1.0);
        close(overlap(&[1], &[2]), 0.0);
    }

    #[test]
    fn percentiles_lie_between_neighbours() {
        let sorted: Vec<f64> = (0..=20).map(f64::from).collect();
        close(percentile(&sorted, 0.95), 19.0);
        close(percentile(&[1.0, 2.0], 0.95), 1.95);
        close(percentile(&[3.0], 0.95), 3.0);
    }

    #[test]
    fn calibration_error_by_hand() {
        let pairs = [
            (0.05, false),
            (0.15, false),
            (0.15, true),
            (0.95, true),
            (1.0, false),
        ];
        let found = Reliability::of(128, pairs.into_iter());
        assert_eq!((found.pairs, found.bins.len()), (5, 10));
        assert_eq!((found.bins[1].pairs, found.bins[1].right), (2, 1));
        assert_eq!(found.bins[4].fraction_right, None);
        close(found.bins[9].mean_probability.expect("two pairs"), 0.975);
        // 1/5 · |0 − 0.05| + 2/5 · |0.5 − 0.15| + 2/5 · |0.5 − 0.975|
        close(found.expected_calibration_error, 0.01 + 0.14 + 0.19);
    }

    #[test]
    fn the_highest_cut_off_that_keeps_enough_is_suggested() {
        // 19 of 20 right answers reach 0.72, so a cut of 0.7 keeps 95 %.
        let mut right = vec![0.72; 19];
        right.push(0.03);
        let found = CutOffs::of(50, &right, &[0.01, 0.69, 0.71, 0.9]);
        let suggested = found.suggested.expect("one keeps enough");
        assert!((suggested.min_score - 0.7).abs() < f32::EPSILON);
        close(suggested.right_kept, 0.95);
        close(suggested.absent_quiet.expect("four queries"), 0.5);
        close(found.cuts[2].right_kept, 0.95); // 0.05
        close(found.cuts[1].right_kept, 1.0); // 0.02

        right.extend([0.0; 2]);
        assert_eq!(CutOffs::of(50, &right, &[0.5]).suggested, None);
        let without_absent = CutOffs::of(50, &[1.0], &[]);
        assert_eq!(without_absent.suggested, None);
        assert!(without_absent.cuts.iter().all(|c| c.absent_quiet.is_none()));
    }

    #[test]
    fn a_probability_on_the_cut_stays() {
        let found = CutOffs::of(1, &[0.5], &[0.5]);
        let at = |p: f32| {
            found
                .cuts
                .iter()
                .find(|c| (c.min_score - p).abs() < 1e-6)
                .copied()
        };
        let cut = at(0.5).expect("in the list");
        close(cut.right_kept, 1.0);
        close(cut.absent_quiet.expect("given"), 0.0);
    }
}
