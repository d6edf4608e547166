//! Ranks items: by embeddings alone, as a search reranks, and as the paper's authors count.

use rayon::prelude::*;

use super::metrics::Retrieval;
use crate::embedding::Embedding;
use crate::engine::ItmLogits;
use crate::index::dot;

/// The authors' score of a pair that was not read.
const UNREAD: f32 = -100.0;

/// The best `k` of a ranking, and the rank of the best right item in all of it.
pub(super) struct Ranking {
    /// Best first; among equals, the earlier item.
    pub best: Vec<u32>,
    /// Counted from 1; none if no item is right.
    pub rank: Option<usize>,
}

/// Ranks `items` by their cosine to each of `queries`; `is_right(query, item)`.
pub(super) fn rankings(
    queries: &[Embedding],
    items: &[Embedding],
    k: usize,
    is_right: impl Fn(usize, usize) -> bool + Sync,
) -> Vec<Ranking> {
    let ranking = |(q, query): (usize, &Embedding)| {
        let scores = similarities(query, items);
        Ranking {
            rank: rank(&scores, |item| is_right(q, item)),
            best: best(&scores, k),
        }
    };
    queries.par_iter().enumerate().map(ranking).collect()
}

/// Returns the cosine of `query` with each of `items`, as an exact search computes it.
pub(super) fn similarities(query: &Embedding, items: &[Embedding]) -> Vec<f32> {
    let query = query.as_slice();
    items.iter().map(|i| dot(query, i.as_slice())).collect()
}

/// Returns the `k` items of highest score, best first; among equals, the earlier first.
pub(super) fn best(scores: &[f32], k: usize) -> Vec<u32> {
    let mut items: Vec<u32> = (0..scores.len() as u32).collect();
    let order = |a: &u32, b: &u32| {
        let (a, b) = (*a as usize, *b as usize);
        scores[b].total_cmp(&scores[a]).then(a.cmp(&b))
    };
    if k > 0 && k < items.len() {
        items.select_nth_unstable_by(k - 1, order);
    }
    items.truncate(k);
    items.sort_unstable_by(order);
    items
}

/// Returns the rank of the best right item, from 1; among equals, the earlier item ranks higher.
fn rank(scores: &[f32], is_right: impl Fn(usize) -> bool) -> Option<usize> {
    let right = (0..scores.len()).filter(|i| is_right(*i));
    let first = right.max_by(|a, b| scores[*a].total_cmp(&scores[*b]).then(b.cmp(a)))?;
    let before = scores
        .iter()
        .enumerate()
        .filter(|(i, score)| score.total_cmp(&scores[first]).then(first.cmp(i)).is_gt());
    Some(1 + before.count())
}

/// The matching head's logits of the pairs that were read.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    /// For each caption its best photos by embedding, best first.
    pub captions: Vec<Vec<(u32, ItmLogits)>>,
    /// For each absent query its best photos.
    pub absent: Vec<Vec<(u32, ItmLogits)>>,
    /// For each photo its best captions.
    pub photos: Vec<Vec<(u32, ItmLogits)>>,
}

/// Ranks as a search does: the first `k` photos by embedding, reordered by match probability, then the rest in their
/// order. `right[c]` is caption c's photo, `itc_ranks[c]` that photo's rank by embedding.
pub(super) fn search(pairs: &Pairs, right: &[usize], itc_ranks: &[usize], k: usize) -> Retrieval {
    let rank = |(caption, read): (usize, &Vec<(u32, ItmLogits)>)| {
        let read = &read[..k.min(read.len())];
        let scores: Vec<f64> = read.iter().map(|(_, l)| l.log_probability(true)).collect();
        let place = read.iter().position(|(p, _)| *p as usize == right[caption]);
        place.map_or(itc_ranks[caption], |place| {
            let before = scores.iter().enumerate().filter(|(i, score)| {
                let order = score.total_cmp(&scores[place]);
                order.then(place.cmp(i)).is_gt()
            });
            1 + before.count()
        })
    };
    Retrieval::of(pairs.captions.iter().enumerate().map(rank).collect())
}

/// Ranks as the authors count, text → image and image → text: by the raw logit of "match" for the best `k` photos of
/// each text and the best `k` texts of each photo, −100 for all other pairs, and the greater of the two directions'
/// scores for each pair.
///
/// A right answer loses every tie, also among the pairs at −100, whose order would be chance.
pub(super) fn authors(pairs: &Pairs, right: &[usize], k: usize) -> (Retrieval, Retrieval) {
    let (captions, photos) = (pairs.captions.len(), pairs.photos.len());
    let mut rows: Vec<Vec<(u32, f32)>> = vec![Vec::new(); captions];
    let mut columns: Vec<Vec<(u32, f32)>> = vec![Vec::new(); photos];
    let mut put = |caption: u32, photo: u32, logits: ItmLogits| {
        let score = logits.yes.max(UNREAD);
        rows[caption as usize].push((photo, score));
        columns[photo as usize].push((caption, score));
    };
    for (caption, read) in pairs.captions.iter().enumerate() {
        for (photo, logits) in &read[..k.min(read.len())] {
            put(caption as u32, *photo, *logits);
        }
    }
    for (photo, read) in pairs.photos.iter().enumerate() {
        for (caption, logits) in &read[..k.min(read.len())] {
            put(*caption, photo as u32, *logits);
        }
    }
    for list in rows.iter_mut().chain(&mut columns) {
        // A pair that both directions read is there twice.
        list.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.total_cmp(&a.1)));
        list.dedup_by_key(|(item, _)| *item);
    }
    let mut captions_of = vec![0usize; photos];
    for photo in right {
        captions_of[*photo] += 1;
    }
    let text_to_image = rows.iter().enumerate().map(|(caption, row)| {
        let is_right = |photo: u32| photo as usize == right[caption];
        sparse_rank(row, is_right, 1, photos)
    });
    let with_captions = columns
        .iter()
        .enumerate()
        .filter(|(photo, _)| captions_of[*photo] > 0);
    let image_to_text = with_captions.map(|(photo, column)| {
        let is_right = |caption: u32| right[caption as usize] == photo;
        sparse_rank(column, is_right, captions_of[photo], captions)
    });
    (
        Retrieval::of(text_to_image.collect()),
        Retrieval::of(image_to_text.collect()),
    )
}

/// Returns the rank of the best of `right` right items among `total`, of which those not `listed` score [`UNREAD`];
/// below every wrong item of the same score.
fn sparse_rank(
    listed: &[(u32, f32)],
    is_right: impl Fn(u32) -> bool,
    right: usize,
    total: usize,
) -> usize {
    let (right_ones, wrong_ones): (Vec<_>, Vec<_>) =
        listed.iter().partition(|(item, _)| is_right(*item));
    let best = right_ones
        .iter()
        .fold(UNREAD, |best, (_, score)| best.max(*score));
    let mut before = wrong_ones
        .iter()
        .filter(|(_, score)| *score >= best)
        .count();
    if best <= UNREAD {
        before += total - right - wrong_ones.len();
    }
    1 + before
}

#[cfg(test)]
mod tests {
    use super::*;

    fn yes(yes: f32) -> ItmLogits {
        ItmLogits { no: 0.0, yes }
    }

    #[test]
    fn of_equal_scores_the_earlier_ranks_higher() {
        let scores = [0.5, 0.9, 0.5, 0.1];
        assert_eq!(best(&scores, 3), [1, 0, 2]);
        assert_eq!(best(&scores, 9), [1, 0, 2, 3]);
        assert_eq!(rank(&scores, |i| i == 0), Some(2));
        assert_eq!(rank(&scores, |i| i == 2), Some(3));
        assert_eq!(rank(&scores, |i| i == 3 || i == 2), Some(3));
        assert_eq!(rank(&scores, |_| false), None);
    }

    /// Three captions, one of each of three photos.
    fn pairs() -> Pairs {
        Pairs {
            captions: vec![
                vec![(1, yes(2.0)), (0, yes(5.0)), (2, yes(-1.0))],
                vec![(0, yes(3.0)), (2, yes(1.0)), (1, yes(9.0))],
                vec![(0, yes(4.0)), (1, yes(4.0)), (2, yes(4.0))],
            ],
            absent: Vec::new(),
            photos: vec![
                vec![(0, yes(5.0)), (2, yes(4.0)), (1, yes(3.0))],
                vec![(1, yes(9.0)), (0, yes(2.0)), (2, yes(4.0))],
                vec![(1, yes(1.0)), (2, yes(4.0)), (0, yes(-1.0))],
            ],
        }
    }

    #[test]
    fn a_search_reorders_what_it_read_and_leaves_the_rest() {
        let (right, itc_ranks) = ([0, 1, 2], [2, 3, 3]);
        let ranks = |k| search(&pairs(), &right, &itc_ranks, k);
        // Nothing reordered: ranks 2, 3, 3.
        assert!((ranks(1).recall_at_1 - 0.0).abs() < 1e-9);
        assert!((ranks(1).median_rank - 3.0).abs() < 1e-9);
        // Caption 0 finds its photo among the first two: 1, 3, 3.
        assert!((ranks(2).recall_at_1 - 1.0 / 3.0).abs() < 1e-9);
        assert!((ranks(2).median_rank - 3.0).abs() < 1e-9);
        // All are read: 1, 1, and 3 by a tie that leaves the order of the embeddings.
        assert!((ranks(3).recall_at_1 - 2.0 / 3.0).abs() < 1e-9);
        assert!((ranks(3).median_rank - 1.0).abs() < 1e-9);
    }

    #[test]
    fn the_authors_join_both_directions_and_fill_with_minus_100() {
        // k = 1 reads (0, 1), (1, 0), (2, 0) for the texts and (0, 0), (1, 1), (1, 2) for the photos:
        //            photo 0   1     2
        // caption 0     5      2   −100   right: photo 0, rank 1
        // caption 1     3      9      1   right: photo 1, rank 1
        // caption 2     4   −100   −100   right: photo 2, rank 3: all others are no worse
        let (texts, photos) = authors(&pairs(), &[0, 1, 2], 1);
        assert!((texts.recall_at_1 - 2.0 / 3.0).abs() < 1e-9);
        assert!((texts.median_rank - 1.0).abs() < 1e-9);
        // Photo 0: 5 is its best; photo 1: 9 is; photo 2: its caption is at −100, 1 and −100 are no worse.
        assert!((photos.recall_at_1 - 2.0 / 3.0).abs() < 1e-9);
        assert_eq!(sparse_rank(&[(1, 1.0)], |c| c == 2, 1, 3), 3);
        // With all pairs read, caption 2 loses its tie of three.
        let (texts, photos) = authors(&pairs(), &[0, 1, 2], 3);
        assert!((texts.recall_at_1 - 2.0 / 3.0).abs() < 1e-9);
        assert!((photos.recall_at_1 - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_photo_is_found_by_any_of_its_captions() {
        // Captions 0 and 1 are of photo 0, caption 2 of photo 1; photo 2 has none and asks nothing.
        let (_, photos) = authors(&pairs(), &[0, 0, 1], 3);
        assert_eq!(photos.queries, 2);
        // Photo 0: 5 (right) first. Photo 1: 9 is wrong, 4 is right, 2 is wrong: rank 2.
        assert!((photos.median_rank - 1.5).abs() < 1e-9);
        assert_eq!(sparse_rank(&[(0, -3.0), (1, 7.0)], |c| c < 2, 2, 9), 1);
        assert_eq!(sparse_rank(&[], |c| c < 2, 2, 9), 8);
    }

    #[test]
    fn a_logit_below_minus_100_counts_as_unread() {
        let pairs = Pairs {
            captions: vec![vec![(0, yes(-200.0))]],
            photos: vec![vec![(0, yes(-200.0))], vec![]],
            ..Pairs::default()
        };
        let (texts, _) = authors(&pairs, &[0], 1);
        assert!((texts.median_rank - 2.0).abs() < 1e-9);
    }
}
