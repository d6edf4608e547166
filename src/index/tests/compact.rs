//! Compaction: smaller, the same content, and whole after a crash at any point.

use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use super::{Rng, build, identity, insert, open, photo, problems, rebuild_graph};
use crate::embedding::Embedding;
use crate::error::{Error, Result};
use crate::index::Changes;
use crate::index::reader::IndexReader;
use crate::index::store::database::{Store, StoredGraph};
use crate::index::upkeep::compact::{CompactReport, compact, rewrite_store};
use crate::index::upkeep::status::Status;
use crate::photo::{Photo, PhotoId};

fn compacted(dir: &Path) -> Result<CompactReport> {
    compact(dir, &AtomicBool::new(false), &mut |_| {})
}

fn photos(dir: &Path) -> Vec<(PhotoId, Photo)> {
    let reader = IndexReader::open(dir).unwrap();
    reader.photos().map(|entry| entry.unwrap()).collect()
}

#[test]
fn a_compacted_index_has_a_fresh_graph_and_no_dead_vectors() {
    let dir = tempfile::tempdir().unwrap();
    let mut rng = Rng(31);
    let embeddings: Vec<Embedding> = (0..6000).map(|_| rng.embedding()).collect();
    let mut writer = build(dir.path(), &embeddings);
    assert!(rebuild_graph(&mut writer));
    writer
        .commit(Changes {
            insert: vec![(photo(9000), rng.embedding())],
            remove: (0..1000).map(PhotoId).collect(),
            ..Changes::default()
        })
        .unwrap();
    writer.publish().unwrap();
    assert!(matches!(compacted(dir.path()), Err(Error::Busy { .. })));
    drop(writer);
    let before = photos(dir.path());
    fs::write(dir.path().join("snapshot.tmp"), "left by a killed build").unwrap();

    let report = compacted(dir.path()).unwrap();
    assert!(report.rebuilt_graph);
    let status = Status::read(dir.path()).unwrap();
    assert_eq!(status.bytes_on_disk, report.bytes_after);
    let rows = (status.vectors, status.graph_rows, status.dead_rows);
    assert_eq!(rows, (5001, 5001, 0));
    assert_eq!(photos(dir.path()), before);
    assert!(!dir.path().join("snapshot.tmp").exists());
    assert_eq!(problems(dir.path()), [""; 0]);

    let again = compacted(dir.path()).unwrap();
    assert!(!again.rebuilt_graph && !again.rewrote_store, "{again:?}");
    // Too few for a graph.
    let mut writer = open(dir.path());
    let remove = before.iter().skip(10).map(|(id, _)| *id).collect();
    writer
        .commit(Changes {
            remove,
            ..Changes::default()
        })
        .unwrap();
    drop(writer);
    assert!(compacted(dir.path()).unwrap().rebuilt_graph);
    let status = Status::read(dir.path()).unwrap();
    assert_eq!(
        (status.photos, status.vectors, status.graph_rows),
        (10, 10, 0)
    );
    assert_eq!(problems(dir.path()), [""; 0]);
}

#[test]
fn a_store_is_written_anew_and_its_copies_end_well_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let mut rng = Rng(32);
    let embeddings: Vec<Embedding> = (0..50).map(|_| rng.embedding()).collect();
    drop(build(dir.path(), &embeddings));
    let before = photos(dir.path());
    let at = |name: &str| dir.path().join(name);
    rewrite_store(dir.path(), &AtomicBool::new(false), &mut |_| {}).unwrap();
    assert_eq!(problems(dir.path()), [""; 0]);
    assert!(!at("store.old").exists() && !at("store.fresh").exists());

    // Killed while copying.
    fs::create_dir(at("store.fresh")).unwrap();
    fs::write(at("store.fresh").join("db"), "half").unwrap();
    assert_eq!(open(dir.path()).len(), 50);
    assert!(!at("store.fresh").exists());
    // Killed between the two renames.
    fs::rename(at("store.sled"), at("store.old")).unwrap();
    fs::create_dir(at("store.fresh")).unwrap();
    assert_eq!(problems(dir.path()), [""; 0]);
    assert!(at("store.sled").exists() && !at("store.old").exists());
    // Killed before the old one was removed.
    fs::create_dir(at("store.old")).unwrap();
    let mut writer = open(dir.path());
    assert!(!at("store.old").exists());
    insert(&mut writer, vec![(photo(50), rng.embedding())]);
    drop(writer);
    assert_eq!(photos(dir.path()), before);
    assert_eq!(open(dir.path()).len(), 51);
}

/// sled keeps the space of what was overwritten or removed.
#[test]
fn a_store_with_much_waste_shrinks() {
    let dir = tempfile::tempdir().unwrap();
    let mut rng = Rng(34);
    let embeddings: Vec<Embedding> = (0..50).map(|_| rng.embedding()).collect();
    drop(build(dir.path(), &embeddings));
    let before = photos(dir.path());
    let store = Store::open(dir.path()).unwrap();
    for generation in 100..110_u32 {
        let graph = StoredGraph {
            vectors: Vec::new(),
            words: (0..300_000).map(|word| word * generation).collect(),
        };
        store.put_graph(generation.into(), &graph).unwrap();
    }
    store.remove_graphs_except(None).unwrap();
    store.close().unwrap();
    let report = compacted(dir.path()).unwrap();
    assert!(report.rewrote_store && !report.rebuilt_graph);
    assert!(report.bytes_after < report.bytes_before / 4, "{report:?}");
    assert_eq!(photos(dir.path()), before);
    assert_eq!(problems(dir.path()), [""; 0]);
}

#[test]
fn a_cancelled_compaction_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut rng = Rng(33);
    let embeddings: Vec<Embedding> = (0..4200).map(|_| rng.embedding()).collect();
    drop(build(dir.path(), &embeddings));
    let cancelled = compact(dir.path(), &AtomicBool::new(true), &mut |_| {});
    assert!(matches!(cancelled, Err(Error::Cancelled)));
    assert_eq!(Status::read(dir.path()).unwrap().graph_rows, 0);
    assert_eq!(problems(dir.path()), [""; 0]);
    drop(crate::index::IndexWriter::open(dir.path(), &identity()).unwrap());
}
