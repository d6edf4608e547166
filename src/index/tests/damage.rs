//! Crashes, and files that are not what was written.

use std::fs;
use std::path::Path;

use super::{Rng, build, copy_dir, files, identity, insert, open, photo, problems};
use crate::embedding::Embedding;
use crate::error::{Error, Result};
use crate::index::folder::files::{published_generation, snapshot_path, store_path};
use crate::index::reader::{IndexReader, SearchOptions};
use crate::index::store::database::{Store, StoredGraph};
use crate::index::writer::IndexWriter;
use crate::photo::Photo;

/// Opens and uses an index; whatever is wrong with it must come out as an error.
fn use_reader(dir: &Path, query: &Embedding) -> Result<Vec<Photo>> {
    let reader = IndexReader::open(dir)?;
    let found = reader.search(query, 100, &SearchOptions::default())?;
    reader.photos().collect::<Result<Vec<_>>>()?;
    Ok(found.into_iter().map(|candidate| candidate.photo).collect())
}

#[test]
fn any_damage_to_a_snapshot_is_noticed_or_harmless() {
    let dir = tempfile::tempdir().unwrap();
    let mut rng = Rng(11);
    let embeddings: Vec<Embedding> = (0..12).map(|_| rng.embedding()).collect();
    drop(build(dir.path(), &embeddings));
    let expected = use_reader(dir.path(), &embeddings[0]).unwrap();
    let generation = published_generation(dir.path()).unwrap().unwrap();
    let check = |what: &str| match use_reader(dir.path(), &embeddings[0]) {
        Ok(found) => assert_eq!(found, expected, "{what}"),
        Err(Error::Corrupt { .. } | Error::IndexFormat { .. }) => {}
        Err(other) => panic!("{what}: {other}"),
    };
    for path in [
        snapshot_path(dir.path(), generation),
        dir.path().join("current"),
    ] {
        let intact = fs::read(&path).unwrap();
        for position in 0..intact.len() {
            let mut damaged = intact.clone();
            damaged[position] ^= 1 << (position % 8);
            fs::write(&path, &damaged).unwrap();
            check(&format!("{} with byte {position} changed", path.display()));
            if position % 7 == 0 {
                fs::write(&path, &intact[..position]).unwrap();
                check(&format!("{} cut to {position} bytes", path.display()));
            }
        }
        fs::write(&path, [&intact[..], b"more"].concat()).unwrap();
        check(&format!("{} with more at its end", path.display()));
        fs::write(&path, &intact).unwrap();
    }
    check("restored");
}

#[test]
fn a_damaged_snapshot_is_replaced_by_the_next_publication() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = build(dir.path(), &[Rng(13).embedding()]);
    let generation = published_generation(dir.path()).unwrap().unwrap();
    fs::write(snapshot_path(dir.path(), generation), "garbage").unwrap();
    assert!(matches!(
        IndexReader::open(dir.path()),
        Err(Error::Corrupt { .. })
    ));
    writer.publish().unwrap();
    assert_eq!(IndexReader::open(dir.path()).unwrap().len(), 1);
}

#[test]
fn damage_to_the_store_never_panics_and_never_loses_photos_silently() {
    let original = tempfile::tempdir().unwrap();
    let mut rng = Rng(14);
    let embeddings: Vec<Embedding> = (0..200).map(|_| rng.embedding()).collect();
    drop(build(original.path(), &embeddings));
    for round in 0..60 {
        let dir = tempfile::tempdir().unwrap();
        copy_dir(original.path(), dir.path());
        let files = files(&store_path(dir.path()));
        let path = &files[rng.below(files.len())];
        let mut bytes = fs::read(path).unwrap();
        // Most of sled's file is empty.
        let used = bytes
            .iter()
            .rposition(|&byte| byte != 0)
            .map_or(0, |last| last + 1);
        if used == 0 {
            continue;
        }
        let position = rng.below(used);
        if round % 3 == 0 {
            bytes.truncate(position);
        } else {
            bytes[position] ^= 1 << rng.below(8);
        }
        fs::write(path, &bytes).unwrap();
        match IndexWriter::open(dir.path(), &identity()) {
            Ok(writer) => assert_eq!(
                writer.len(),
                200,
                "round {round}: {} {position}",
                path.display()
            ),
            Err(Error::Corrupt { .. } | Error::IndexFormat { .. }) => {}
            Err(other) => panic!("round {round}: {other}"),
        }
    }
}

#[test]
fn what_is_committed_survives_a_crash_and_half_a_graph_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut rng = Rng(15);
    let mut writer = open(dir.path());
    for round in 1..=5 {
        let photos = (0..40).map(|number| (photo(round * 100 + number), rng.embedding()));
        insert(&mut writer, photos.collect());
        // What is on the disk while the writer is still open is what a crash would leave.
        let crashed = tempfile::tempdir().unwrap();
        copy_dir(dir.path(), crashed.path());
        assert_eq!(open(crashed.path()).len(), round * 40);
    }
    drop(writer);
    let store = Store::open(dir.path()).unwrap();
    let half = StoredGraph {
        vectors: vec![],
        words: vec![7; 5000],
    };
    let stamp = store.put_graph(99, &half).unwrap();
    drop(store);
    drop(open(dir.path()));
    assert!(
        Store::open(dir.path()).unwrap().graph(stamp).is_err(),
        "it is cleared away"
    );
    assert_eq!(problems(dir.path()), [""; 0]);
}
