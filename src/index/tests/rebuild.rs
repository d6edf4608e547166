//! A rebuild: beside the index in use, and then in its place.

use std::fs;
use std::path::Path;

use super::{build, copy_dir, embeddings, identity, insert, open, photo, problems};
use crate::embedding::Embedding;
use crate::identity::ModelIdentity;
use crate::index::IndexWriter;
use crate::index::folder::destroy::destroy;
use crate::index::folder::files::{
    latest_generation, published_generation, rebuild_path, snapshot_path, store_path,
};
use crate::index::reader::IndexReader;
use crate::index::upkeep::status::Status;

/// The published photos, by number.
fn published(dir: &Path) -> Vec<u64> {
    let reader = IndexReader::open(dir).unwrap();
    let photos = reader.photos().map(|entry| entry.unwrap().1.size);
    photos.collect()
}

fn add(writer: &mut IndexWriter, embeddings: &[Embedding], numbers: std::ops::Range<usize>) {
    let photos = numbers.map(|number| (photo(number), embeddings[number].clone()));
    insert(writer, photos.collect());
}

fn names(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn queries_see_the_old_index_until_a_rebuild_is_complete() {
    let dir = tempfile::tempdir().unwrap();
    let embeddings = embeddings(40, 40);
    drop(build(dir.path(), &embeddings[..20]));
    let before = published_generation(dir.path()).unwrap();
    let other = ModelIdentity {
        preprocessing: "another".into(),
        ..identity()
    };
    let mut writer = IndexWriter::rebuild(dir.path(), &other).unwrap();
    assert!(writer.is_empty() && writer.is_rebuild());
    add(&mut writer, &embeddings, 20..30);
    writer.publish().unwrap();
    add(&mut writer, &embeddings, 30..40);
    assert_eq!(published(dir.path()), (0..20).collect::<Vec<_>>());
    assert!(Status::read(dir.path()).unwrap().rebuild_bytes > 0);
    writer.switch().unwrap();
    assert_eq!(published(dir.path()), (20..40).collect::<Vec<_>>());
    let status = Status::read(dir.path()).unwrap();
    assert_eq!((status.rebuild_bytes, &status.model), (0, &other));
    assert!(Some(status.generation) > before);
    assert_eq!(problems(dir.path()), [""; 0]);
    let mut writer = IndexWriter::open(dir.path(), &other).unwrap();
    assert_eq!(writer.len(), 20);
    add(&mut writer, &embeddings, 0..1);
    writer.publish().unwrap();
    drop(writer);
    assert_eq!(published(dir.path()).len(), 21);
    let left = names(dir.path());
    assert_eq!((left.len(), &left[3][..]), (4, "store.sled"), "{left:?}");
}

#[test]
fn a_rebuild_that_was_stopped_goes_on_unless_it_is_for_another_model() {
    let dir = tempfile::tempdir().unwrap();
    let embeddings = embeddings(41, 40);
    drop(build(dir.path(), &embeddings[..20]));
    let mut writer = IndexWriter::rebuild(dir.path(), &identity()).unwrap();
    add(&mut writer, &embeddings, 20..30);
    drop(writer);
    // The old index lives on meanwhile, and is ahead of the rebuild.
    let mut old = open(dir.path());
    for number in 30..40 {
        add(&mut old, &embeddings, number..number + 1);
    }
    old.publish().unwrap();
    drop(old);
    let before = latest_generation(dir.path()).unwrap();
    let writer = IndexWriter::rebuild(dir.path(), &identity()).unwrap();
    assert_eq!(writer.len(), 10);
    writer.switch().unwrap();
    assert_eq!(published(dir.path()), (20..30).collect::<Vec<_>>());
    assert!(published_generation(dir.path()).unwrap() > Some(before));
    assert_eq!(problems(dir.path()), [""; 0]);

    let mut writer = IndexWriter::rebuild(dir.path(), &identity()).unwrap();
    add(&mut writer, &embeddings, 0..1);
    drop(writer);
    let other = ModelIdentity {
        fingerprint: "fedcba9876543210".into(),
        ..identity()
    };
    assert!(IndexWriter::rebuild(dir.path(), &other).unwrap().is_empty());
    fs::write(rebuild_path(dir.path()).join("db"), vec![0xa5; 100_000]).unwrap();
    assert!(IndexWriter::rebuild(dir.path(), &other).unwrap().is_empty());
    assert_eq!(published(dir.path()).len(), 10);
    destroy(dir.path()).unwrap();
    assert_eq!(names(dir.path()), ["build.lock"]);
}

/// A crash between any two of a switch's steps.
#[test]
fn a_switch_that_was_cut_short_leaves_the_old_index_or_the_new_one() {
    let [before, after] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let embeddings = embeddings(42, 30);
    drop(build(before.path(), &embeddings[..20]));
    let mut writer = IndexWriter::rebuild(before.path(), &identity()).unwrap();
    add(&mut writer, &embeddings, 20..30);
    drop(writer);
    copy_dir(before.path(), after.path());
    let writer = IndexWriter::rebuild(after.path(), &identity()).unwrap();
    writer.switch().unwrap();
    let new = published_generation(after.path()).unwrap().unwrap();
    let next = format!("store.next-{new:016x}");

    for (store_of_old, is_switched) in [
        (Some("store.sled"), false),
        (Some("store.sled"), true),
        (Some("store.old"), true),
        // It was lost before.
        (None, true),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let snapshot = |of: &Path, generation| {
            let path = snapshot_path(of, generation);
            fs::copy(&path, at(path.file_name().unwrap().to_str().unwrap())).unwrap();
        };
        let old = published_generation(before.path()).unwrap().unwrap();
        snapshot(before.path(), old);
        snapshot(after.path(), new);
        let current = if is_switched { &after } else { &before };
        fs::copy(current.path().join("current"), at("current")).unwrap();
        copy_dir(&store_path(after.path()), &at(&next));
        if let Some(name) = store_of_old {
            copy_dir(&store_path(before.path()), &at(name));
        }
        let wanted: Vec<u64> = if is_switched {
            (20..30).collect()
        } else {
            (0..20).collect()
        };
        assert_eq!(published(dir.path()), wanted);
        assert_eq!(
            problems(dir.path()),
            [""; 0],
            "{store_of_old:?} {is_switched}"
        );
        assert_eq!(open(dir.path()).len(), wanted.len());
        assert!(!at(&next).exists() && !at("store.old").exists());
        let writer = IndexWriter::rebuild(dir.path(), &identity()).unwrap();
        assert_eq!(writer.len(), if is_switched { 0 } else { 10 });
    }
}

#[test]
fn an_index_beyond_repair_is_rebuilt_in_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let embeddings = embeddings(43, 20);
    drop(build(dir.path(), &embeddings[..10]));
    fs::write(store_path(dir.path()).join("db"), vec![0xa5; 100_000]).unwrap();
    fs::write(dir.path().join("current"), "snapshot-").unwrap();
    let before = latest_generation(dir.path()).unwrap();
    assert!(before > 0, "a snapshot's name still tells");
    let mut writer = IndexWriter::rebuild(dir.path(), &identity()).unwrap();
    add(&mut writer, &embeddings, 10..20);
    writer.switch().unwrap();
    assert_eq!(published(dir.path()), (10..20).collect::<Vec<_>>());
    assert!(published_generation(dir.path()).unwrap() > Some(before));
    assert_eq!(problems(dir.path()), [""; 0]);
}

#[test]
fn a_rebuild_of_nothing_is_a_first_build() {
    let dir = tempfile::tempdir().unwrap();
    let embeddings = embeddings(44, 10);
    let mut writer = IndexWriter::rebuild(dir.path(), &identity()).unwrap();
    assert!(!writer.is_rebuild());
    add(&mut writer, &embeddings, 0..5);
    writer.publish().unwrap();
    assert_eq!(published(dir.path()).len(), 5);
    add(&mut writer, &embeddings, 5..10);
    writer.switch().unwrap();
    assert_eq!(published(dir.path()).len(), 10);
}
