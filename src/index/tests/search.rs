//! Searches, against comparing with every photo.

use std::collections::HashSet;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Rng, build, ids, open, photo, problems, rebuild_graph};
use crate::embedding::Embedding;
use crate::error::Error;
use crate::index::graph::similarity::dot;
use crate::index::reader::{IndexReader, SearchOptions};
use crate::index::strategy::{Course, Plan};
use crate::index::upkeep::status::Status;
use crate::index::{Changes, IndexWriter};
use crate::photo::{Photo, PhotoId};

/// An index with a graph over 5,000 vectors, of which some are copies and some are then deleted, and a
/// tail of 500 newer ones.
fn large_index(dir: &Path) -> (IndexWriter, Vec<Embedding>) {
    let mut rng = Rng(9);
    let centres: Vec<Embedding> = (0..100).map(|_| rng.embedding()).collect();
    let mut embeddings: Vec<Embedding> = (0..5000).map(|_| rng.near(&centres, 0.5)).collect();
    for copy in 0..300 {
        embeddings.push(embeddings[copy % 2].clone());
    }
    let mut writer = build(dir, &embeddings);
    assert!(rebuild_graph(&mut writer));
    assert!(!rebuild_graph(&mut writer), "fresh");
    let tail: Vec<(Photo, Embedding)> = (6000..6500)
        .map(|number| (photo(number), rng.near(&centres, 0.5)))
        .collect();
    embeddings.extend(tail.iter().map(|(_, e)| e.clone()));
    let remove = (0..5000).step_by(7).map(PhotoId).collect();
    writer
        .commit(Changes {
            insert: tail,
            remove,
            ..Changes::default()
        })
        .unwrap();
    writer.publish().unwrap();
    (writer, embeddings)
}

/// The `k` of the photos that are most similar to the query, best first, of equals the older ones.
fn brute_force(
    reader: &IndexReader,
    photos: &[(PhotoId, Photo)],
    query: &Embedding,
    k: usize,
) -> Vec<PhotoId> {
    let snapshot = reader.snapshot();
    let mut scored: Vec<(f32, PhotoId)> = photos
        .iter()
        .map(|&(id, _)| {
            let row = snapshot.row_of(snapshot.position(id).unwrap());
            (dot(query.as_slice(), snapshot.vectors().row(row)), id)
        })
        .collect();
    scored.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    scored.into_iter().take(k).map(|(_, id)| id).collect()
}

/// The photos of an index that pass a filter, by ascending id.
fn passing(reader: &IndexReader, filter: impl Fn(&Photo) -> bool) -> Vec<(PhotoId, Photo)> {
    let photos = reader.photos().map(Result::unwrap);
    photos.filter(|(_, photo)| filter(photo)).collect()
}

/// Whether the same photos were found, in any order: copies tie.
fn is_same(found: &[PhotoId], wanted: &[PhotoId]) -> bool {
    let sorted = |ids: &[PhotoId]| {
        let mut ids = ids.to_vec();
        ids.sort();
        ids
    };
    sorted(found) == sorted(wanted)
}

#[test]
fn searches_by_graph_find_what_a_scan_finds() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, embeddings) = large_index(dir.path());
    drop(writer);
    let status = Status::read(dir.path()).unwrap();
    assert_eq!((status.graph_rows, status.tail_rows), (5000, 500));
    assert!(status.dead_rows > 700, "{status:?}");
    assert_eq!(problems(dir.path()), [""; 0]);

    let reader = IndexReader::open(dir.path()).unwrap();
    let graph_search = SearchOptions {
        ef: Some(20),
        plan: Plan::Graph,
        ..SearchOptions::default()
    };
    let cheapest = SearchOptions {
        plan: Plan::Cheapest,
        ..graph_search
    };
    let (mut found, mut wanted) = (0, 0);
    for query in embeddings.iter().skip(2).step_by(11) {
        let exact = ids(&reader.search_exact(query, 10, None).unwrap());
        let hits = ids(&reader.search(query, 10, &graph_search).unwrap());
        wanted += exact.len();
        found += hits.iter().filter(|id| exact.contains(id)).count();
        let course = reader.course(query, 10, &cheapest).unwrap();
        assert!(course.graph_budget > 0, "{course:?}");
    }
    assert!(found * 100 >= wanted * 99, "{found} of {wanted}");
    // Three hundred copies of two pictures: all found, and none of them stands in the way.
    let copies = reader.search(&embeddings[1], 150, &graph_search).unwrap();
    assert!(copies.iter().all(|copy| copy.similarity > 0.999_999));
}

#[test]
fn filters_of_any_selectivity_get_the_best_that_pass() {
    let dir = tempfile::tempdir().unwrap();
    let (_writer, embeddings) = large_index(dir.path());
    let reader = IndexReader::open(dir.path()).unwrap();
    // From all photos to 0.1 %, then one, then none.
    for one_in in [1, 2, 10, 100, 1000, 6400, 10_000] {
        let filter = |photo: &Photo| {
            photo.size.is_multiple_of(one_in) && (photo.size > 0 || one_in < 10_000)
        };
        let options = SearchOptions {
            ef: Some(20),
            filter: Some(&filter),
            plan: Plan::Cheapest,
        };
        let by_graph = SearchOptions {
            plan: Plan::Graph,
            ..options
        };
        let passing = passing(&reader, filter);
        assert_eq!(reader.count(&filter).unwrap(), passing.len());
        let (mut wanted, mut found, mut found_by_graph) = (0, 0, 0);
        for query in embeddings.iter().skip(3).step_by(211) {
            let best = brute_force(&reader, &passing, query, 10);
            // A scan in either order is exact.
            for filter_first in [false, true] {
                let scan = Course {
                    graph_budget: 0,
                    filter_first,
                };
                let hits = ids(&reader.follow(scan, query, 10, &options).unwrap());
                assert!(
                    is_same(&hits, &best),
                    "one in {one_in}, {scan:?}: {hits:?}, not {best:?}"
                );
            }
            for (options, found) in [(options, &mut found), (by_graph, &mut found_by_graph)] {
                let hits = reader.search(query, 10, &options).unwrap();
                assert_eq!(hits.len(), best.len(), "one in {one_in}");
                assert!(hits.iter().all(|hit| filter(&hit.photo)));
                *found += ids(&hits).iter().filter(|id| best.contains(id)).count();
            }
            wanted += best.len();
        }
        println!("one in {one_in}: {found} and, by graph, {found_by_graph} of {wanted} found");
        assert!(found * 100 >= wanted * 98, "one in {one_in}");
        assert!(found_by_graph * 100 >= wanted * 98, "one in {one_in}");
    }
}

/// The best photos all fail the filter, so the graph has to go far, or to give way.
#[test]
fn a_filter_against_the_query_gets_the_best_that_pass() {
    let dir = tempfile::tempdir().unwrap();
    let (_writer, embeddings) = large_index(dir.path());
    let reader = IndexReader::open(dir.path()).unwrap();
    let all = passing(&reader, |_| true);
    for query in embeddings.iter().skip(3).step_by(700) {
        let sizes: HashSet<u64> = brute_force(&reader, &all, query, 2000)
            .into_iter()
            .map(|id| reader.photo(id).unwrap().unwrap().size)
            .collect();
        let filter = |photo: &Photo| !sizes.contains(&photo.size);
        let best = brute_force(&reader, &passing(&reader, filter), query, 10);
        for plan in [Plan::Cheapest, Plan::Graph, Plan::Scan] {
            let options = SearchOptions {
                ef: Some(20),
                filter: Some(&filter),
                plan,
            };
            let hits = ids(&reader.search(query, 10, &options).unwrap());
            let found = hits.iter().filter(|id| best.contains(id)).count();
            assert!(
                found >= 9 && hits.len() == 10,
                "{plan:?}: {hits:?}, not {best:?}"
            );
        }
    }
}

#[test]
fn a_graph_survives_reopening_and_is_dropped_with_its_photos() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, _) = large_index(dir.path());
    drop(writer);
    let mut writer = open(dir.path());
    assert!(!rebuild_graph(&mut writer));
    let remove = writer
        .photos()
        .map(|(id, _)| id)
        .filter(|id| id.0 >= 10)
        .collect();
    writer
        .commit(Changes {
            remove,
            ..Changes::default()
        })
        .unwrap();
    assert!(rebuild_graph(&mut writer));
    writer.publish().unwrap();
    drop(writer);
    let status = Status::read(dir.path()).unwrap();
    assert_eq!(
        (status.graph_rows, status.dead_rows, status.photos),
        (0, 0, 8)
    );
    assert_eq!(problems(dir.path()), [""; 0]);
}

#[test]
fn a_cancelled_graph_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut rng = Rng(10);
    let mut writer = build(
        dir.path(),
        &(0..5000).map(|_| rng.embedding()).collect::<Vec<_>>(),
    );
    let cancel = AtomicBool::new(false);
    let mut progress = |done, total| {
        assert!(done <= total);
        cancel.store(done > 2000, Ordering::Relaxed);
    };
    let cancelled = writer.rebuild_graph_if_stale(&cancel, &mut progress);
    assert!(matches!(cancelled, Err(Error::Cancelled)));
    writer.publish().unwrap();
    drop(writer);
    assert_eq!(Status::read(dir.path()).unwrap().graph_rows, 0);
    assert_eq!(problems(dir.path()), [""; 0]);
}

/// Each step deletes 3 % and adds as many; every fifth time the graph is built again, as builds do when it is stale.
#[test]
fn recall_stays_when_photos_come_and_go() {
    let (photos, step, steps) = (5000, 150, 10);
    let mut rng = Rng(11);
    let centres: Vec<Embedding> = (0..50).map(|_| rng.embedding()).collect();
    let embeddings: Vec<Embedding> = (0..photos + steps * step)
        .map(|_| rng.near(&centres, 0.6))
        .collect();
    let dir = tempfile::tempdir().unwrap();
    let mut writer = build(dir.path(), &embeddings[..photos]);
    assert!(rebuild_graph(&mut writer));
    let numbered = |numbers: Range<usize>| {
        let embeddings = embeddings[numbers.clone()].iter().cloned();
        numbers.map(photo).zip(embeddings).collect()
    };
    for number in 0..steps {
        let oldest = writer.photos().take(step).map(|(id, _)| id).collect();
        writer
            .commit(Changes {
                remove: oldest,
                insert: numbered(photos + number * step..photos + (number + 1) * step),
                ..Changes::default()
            })
            .unwrap();
        if number % 5 == 4 {
            let rebuilt = writer.rebuild_graph(&AtomicBool::new(false), &mut |_, _| {});
            assert!(rebuilt.unwrap());
        }
        writer.publish().unwrap();
        let reader = IndexReader::open(dir.path()).unwrap();
        let recall = graph_recall(&reader, &embeddings[(number + 1) * step..][..photos]);
        assert!(recall > 0.98, "step {number}: {recall}");
    }
    let status = Status::read(dir.path()).unwrap();
    assert_eq!((status.photos, status.graph_rows), (photos, photos));
    assert_eq!((status.dead_rows, status.tail_rows), (0, 0));
}

/// Recall@10 with little effort, every 50th embedding being the query.
fn graph_recall(reader: &IndexReader, embeddings: &[Embedding]) -> f64 {
    let options = SearchOptions {
        ef: Some(50),
        plan: Plan::Graph,
        ..SearchOptions::default()
    };
    let queries = embeddings.iter().step_by(50);
    let (mut found, mut wanted) = (0, 0);
    for query in queries {
        let exact = ids(&reader.search_exact(query, 10, None).unwrap());
        let by_graph = ids(&reader.search(query, 10, &options).unwrap());
        found += exact.iter().filter(|id| by_graph.contains(id)).count();
        wanted += exact.len();
    }
    f64::from(found as u32) / f64::from(wanted as u32)
}
