//! Searches, against comparing with every photo.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Rng, build, ids, open, photo, problems, rebuild_graph};
use crate::embedding::Embedding;
use crate::error::Error;
use crate::index::reader::{IndexReader, SearchOptions};
use crate::index::status::Status;
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

/// Whether the graph answers, or a scan does because the graph would take longer.
fn goes_by_graph(reader: &IndexReader, query: &Embedding, options: &SearchOptions) -> bool {
    reader.graph_rows(query, 10, options).unwrap().is_some()
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
        filter: None,
    };
    let (mut found, mut wanted, mut by_graph) = (0, 0, 0);
    for query in embeddings.iter().skip(2).step_by(11) {
        let exact = ids(&reader.search_exact(query, 10, None).unwrap());
        let hits = ids(&reader.search(query, 10, &graph_search).unwrap());
        by_graph += usize::from(goes_by_graph(&reader, query, &graph_search));
        wanted += exact.len();
        found += hits.iter().filter(|id| exact.contains(id)).count();
    }
    assert!(found * 100 >= wanted * 99, "{found} of {wanted}");
    assert!(
        by_graph * 11 > wanted,
        "{by_graph} of {} by graph",
        wanted / 10
    );
    // Three hundred copies of two pictures: all found, and none of them stands in the way.
    let copies = reader.search(&embeddings[1], 150, &graph_search).unwrap();
    assert!(copies.iter().all(|copy| copy.similarity > 0.999_999));
}

#[test]
fn filters_of_any_selectivity_get_the_best_that_pass() {
    let dir = tempfile::tempdir().unwrap();
    let (_writer, embeddings) = large_index(dir.path());
    let reader = IndexReader::open(dir.path()).unwrap();
    for one_in in [1, 2, 10, 100, 1000, 10_000] {
        let filter = |photo: &Photo| photo.metadata.width.is_multiple_of(one_in);
        let options = SearchOptions {
            ef: Some(10),
            filter: Some(&filter),
        };
        let (mut found, mut wanted, mut by_graph) = (0, 0, 0);
        for query in embeddings.iter().skip(3).step_by(97) {
            let exact = reader.search_exact(query, 10, Some(&filter)).unwrap();
            let hits = reader.search(query, 10, &options).unwrap();
            assert_eq!(hits.len(), exact.len(), "one in {one_in}");
            assert!(hits.iter().all(|hit| filter(&hit.photo)));
            let exact = ids(&exact);
            wanted += exact.len();
            found += ids(&hits).iter().filter(|id| exact.contains(id)).count();
            by_graph += usize::from(goes_by_graph(&reader, query, &options));
        }
        println!("one in {one_in}: {found} of {wanted} found, {by_graph} by graph");
        assert!(one_in > 2 || by_graph > 0);
        assert!(one_in < 1000 || by_graph == 0);
        assert!(
            found * 100 >= wanted * 98,
            "one in {one_in}: {found} of {wanted}"
        );
    }
    let none = |_: &Photo| false;
    let nothing = SearchOptions {
        ef: None,
        filter: Some(&none),
    };
    assert_eq!(reader.search(&embeddings[0], 10, &nothing).unwrap(), []);
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
