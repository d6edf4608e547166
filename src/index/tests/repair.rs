//! Mending: what is damaged comes back, and what does not is embedded again and nothing else.

use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use super::{DIM, build, embeddings, identity, insert, open, photo, problems, rebuild_graph};
use crate::embedding::Embedding;
use crate::error::{Error, Result};
use crate::index::codec::VectorId;
use crate::index::folder::files::{published_generation, snapshot_path, store_path};
use crate::index::reader::{IndexReader, SearchOptions};
use crate::index::store::database::{Store, Writes};
use crate::index::upkeep::repair::{RepairReport, repair};
use crate::index::upkeep::verify::verify;
use crate::photo::PhotoId;

fn try_repair(dir: &Path) -> Result<RepairReport> {
    repair(dir, &AtomicBool::new(false), &mut |_| {})
}

/// A repair after which nothing is wrong any more.
fn mend(dir: &Path) -> RepairReport {
    let report = try_repair(dir).unwrap();
    assert_eq!(problems(dir), [""; 0], "{report:?}");
    report
}

/// Each of these photos is the nearest to its own embedding.
fn check_found(dir: &Path, embeddings: &[Embedding], numbers: impl Iterator<Item = usize>) {
    let reader = IndexReader::open(dir).unwrap();
    for number in numbers {
        let options = SearchOptions::default();
        let found = reader.search(&embeddings[number], 1, &options).unwrap();
        assert_eq!(found[0].photo, photo(number));
    }
}

fn break_snapshot(dir: &Path) {
    let generation = published_generation(dir).unwrap().unwrap();
    let path = snapshot_path(dir, generation);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// Changes a store as its files would not let us do it: value by value.
fn tamper(dir: &Path, change: impl FnOnce(&Store, &mut Writes)) {
    let store = Store::open(dir).unwrap();
    let mut writes = Writes::default();
    change(&store, &mut writes);
    store.write(writes).unwrap();
    store.close().unwrap();
}

fn garble_store(dir: &Path) {
    fs::write(store_path(dir).join("db"), vec![0xa5; 100_000]).unwrap();
}

#[test]
fn nothing_is_done_to_a_sound_index() {
    let dir = tempfile::tempdir().unwrap();
    drop(build(dir.path(), &embeddings(20, 30)));
    let before = published_generation(dir.path()).unwrap();
    let report = mend(dir.path());
    assert_eq!((report.photos, report.lost), (30, Some(0)));
    assert!(report.problems.is_empty() && report.put_aside.is_none());
    assert_eq!(published_generation(dir.path()).unwrap(), before);
}

#[test]
fn a_damaged_snapshot_or_pointer_is_published_again() {
    let dir = tempfile::tempdir().unwrap();
    let embeddings = embeddings(21, 30);
    drop(build(dir.path(), &embeddings));
    for _ in 0..2 {
        break_snapshot(dir.path());
        let report = mend(dir.path());
        assert!(!report.problems.is_empty());
        assert_eq!((report.lost, report.put_aside), (Some(0), None));
        check_found(dir.path(), &embeddings, 0..30);
    }
    for pointer in ["snapshot-", "snapshot-ffffffffffffffff.bt\n"] {
        fs::write(dir.path().join("current"), pointer).unwrap();
        assert_eq!(mend(dir.path()).put_aside, None);
        check_found(dir.path(), &embeddings, 0..30);
    }
}

#[test]
fn a_store_that_cannot_be_opened_is_rebuilt_from_the_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let embeddings = embeddings(22, 60);
    let mut writer = build(dir.path(), &embeddings[..50]);
    // Newer than what was published, and lost with the store.
    let newer = (50..60).map(|number| (photo(number), embeddings[number].clone()));
    insert(&mut writer, newer.collect());
    drop(writer);
    garble_store(dir.path());
    let refused = crate::index::IndexWriter::open(dir.path(), &identity());
    assert!(matches!(refused, Err(Error::Corrupt { .. })));
    let report = mend(dir.path());
    assert_eq!((report.photos, report.from_snapshot), (50, 50));
    assert_eq!(report.lost, None);
    assert!(report.put_aside.unwrap().join("db").exists());
    check_found(dir.path(), &embeddings, 0..50);
    // What a build would do.
    let mut writer = open(dir.path());
    let missing = (0..60).filter(|&number| writer.by_path(&photo(number).path).is_none());
    let missing: Vec<usize> = missing.collect();
    assert_eq!(missing, (50..60).collect::<Vec<_>>());
    let lost = missing
        .into_iter()
        .map(|number| (photo(number), embeddings[number].clone()));
    insert(&mut writer, lost.collect());
    writer.publish().unwrap();
    drop(writer);
    assert_eq!(problems(dir.path()), [""; 0]);
    check_found(dir.path(), &embeddings, 0..60);
}

#[test]
fn a_missing_or_emptied_store_is_rebuilt_from_the_snapshot() {
    for remove in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let embeddings = embeddings(23, 20);
        drop(build(dir.path(), &embeddings));
        if remove {
            fs::remove_dir_all(store_path(dir.path())).unwrap();
        } else {
            fs::write(store_path(dir.path()).join("db"), "").unwrap();
        }
        assert!(!verify(dir.path()).unwrap().problems.is_empty());
        assert_eq!(mend(dir.path()).photos, 20);
        check_found(dir.path(), &embeddings, 0..20);
    }
}

/// With the snapshot damaged as well, only the store can be gone by.
#[test]
fn only_damaged_values_are_lost() {
    let dir = tempfile::tempdir().unwrap();
    let embeddings = embeddings(24, 100);
    drop(build(dir.path(), &embeddings));
    tamper(dir.path(), |store, writes| {
        writes.put_raw_photo(PhotoId(3), b"not a sealed record");
        writes.put_vector(VectorId(50), &[0.5; DIM - 1]);
        writes.put_vector(VectorId(51), &[0.5; DIM]);
        assert!(store.photo(PhotoId(3)).is_ok());
    });
    break_snapshot(dir.path());
    let report = mend(dir.path());
    assert_eq!((report.photos, report.lost), (97, Some(3)));
    assert_eq!(report.lost_paths, [photo(50).path, photo(51).path]);
    let writer = open(dir.path());
    let missing = (0..100).filter(|&number| writer.by_path(&photo(number).path).is_none());
    assert_eq!(missing.collect::<Vec<_>>(), [3, 50, 51]);
    drop(writer);
    check_found(
        dir.path(),
        &embeddings,
        (0..100).filter(|n| ![3, 50, 51].contains(n)),
    );
}

/// An older snapshot still has records and vectors that the store has lost, also of photos that have moved since.
#[test]
fn an_older_snapshot_gives_back_what_the_store_has_lost() {
    let dir = tempfile::tempdir().unwrap();
    let embeddings = embeddings(25, 40);
    let mut writer = build(dir.path(), &embeddings[..30]);
    let moved = crate::photo::Photo {
        path: "/photos/moved.jpg".into(),
        ..photo(7)
    };
    writer
        .commit(crate::index::Changes {
            update: vec![(PhotoId(7), moved.clone())],
            remove: vec![PhotoId(8)],
            ..Default::default()
        })
        .unwrap();
    let newer = (30..40).map(|number| (photo(number), embeddings[number].clone()));
    insert(&mut writer, newer.collect());
    drop(writer);
    tamper(dir.path(), |_, writes| {
        writes.put_raw_photo(PhotoId(3), b"damaged");
        writes.put_vector(VectorId(7), &[2.0; DIM]);
        writes.put_vector(VectorId(35), &[2.0; DIM]);
    });
    let report = mend(dir.path());
    assert_eq!(report.lost_paths, [photo(35).path]);
    let writer = open(dir.path());
    assert_eq!(writer.photo(PhotoId(7)), Some(&moved));
    assert_eq!(writer.photo(PhotoId(3)), Some(&photo(3)));
    drop(writer);
    let others = (0..40).filter(|n| ![7, 35].contains(n));
    check_found(dir.path(), &embeddings, others);
}

#[test]
fn a_damaged_graph_is_built_anew_from_the_vectors() {
    let dir = tempfile::tempdir().unwrap();
    let embeddings = embeddings(26, 4200);
    let mut writer = build(dir.path(), &embeddings);
    assert!(rebuild_graph(&mut writer));
    writer.publish().unwrap();
    drop(writer);
    let store = Store::open(dir.path()).unwrap();
    let stamp = store.meta().unwrap().unwrap().graph.unwrap();
    store.close().unwrap();
    tamper(dir.path(), |_, writes| {
        writes.put_raw_graph_chunk(stamp.generation, 1, b"damaged");
    });
    // The snapshot still has it.
    let copy = tempfile::tempdir().unwrap();
    super::copy_dir(dir.path(), copy.path());
    let report = mend(copy.path());
    assert_eq!(
        (report.photos, report.lost, report.rebuilt_graph),
        (4200, Some(0), false)
    );
    break_snapshot(dir.path());
    let report = mend(dir.path());
    assert_eq!(
        (report.photos, report.lost, report.rebuilt_graph),
        (4200, Some(0), true)
    );
    for dir in [dir.path(), copy.path()] {
        assert_eq!(
            IndexReader::open(dir).unwrap().snapshot().graph().rows(),
            4200
        );
        check_found(dir, &embeddings, (0..4200).step_by(50));
    }
}

/// A store that has lost its counters may still hold photos that were never published.
#[test]
fn photos_newer_than_the_snapshot_outlive_lost_counters() {
    let dir = tempfile::tempdir().unwrap();
    let embeddings = embeddings(27, 30);
    let mut writer = build(dir.path(), &embeddings[..20]);
    let newer = (20..30).map(|number| (photo(number), embeddings[number].clone()));
    insert(&mut writer, newer.collect());
    drop(writer);
    tamper(dir.path(), |_, writes| writes.put_raw_meta(b"damaged"));
    let report = mend(dir.path());
    assert_eq!(
        (report.photos, report.from_snapshot, report.lost),
        (30, 20, None)
    );
    check_found(dir.path(), &embeddings, 0..30);
}

#[test]
fn without_store_and_snapshot_an_index_is_beyond_repair() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(try_repair(dir.path()), Err(Error::NoIndex { .. })));
    drop(build(dir.path(), &embeddings(28, 10)));
    garble_store(dir.path());
    break_snapshot(dir.path());
    assert_eq!(verify(dir.path()).unwrap().problems.len(), 2);
    assert!(matches!(
        try_repair(dir.path()),
        Err(Error::BeyondRepair { .. })
    ));
}

#[test]
fn a_repair_that_is_cancelled_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    drop(build(dir.path(), &embeddings(29, 10)));
    garble_store(dir.path());
    let before = verify(dir.path()).unwrap();
    let cancelled = repair(dir.path(), &AtomicBool::new(true), &mut |_| {});
    assert!(matches!(cancelled, Err(Error::Cancelled)));
    assert_eq!(verify(dir.path()).unwrap(), before);
    assert_eq!(mend(dir.path()).photos, 10);
}
