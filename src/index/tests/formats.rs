//! Indexes of earlier formats, as the programs of their time left them, and of formats to come.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use super::copy_dir;
use super::{build, embeddings, identity, insert, photo, problems};
use crate::embedding::Embedding;
use crate::error::Error;
use crate::index::codec::{FORMAT, OLDEST_FORMAT, seal_as};
use crate::index::folder::files::{published_generation, snapshot_path, store_path};
use crate::index::hit::Hit;
use crate::index::reader::{IndexReader, SearchOptions};
use crate::index::snapshot::reseal;
use crate::index::store::database::{Store, Writes};
use crate::index::transfer::import;
use crate::index::upkeep::repair::repair;
use crate::index::upkeep::verify::verify;
use crate::index::{Changes, IndexWriter};
use crate::photo::{Photo, PhotoId};

/// What `tests/fixtures/make_index.sh` made.
fn fixture(format: u32) -> PathBuf {
    let root: PathBuf = env!("CARGO_MANIFEST_DIR").into();
    root.join(format!("tests/fixtures/indexes/{format}"))
}

/// A copy to work on.
fn unpack(format: u32, dir: &Path) {
    copy_dir(&fixture(format).join("index"), dir);
    // Half a megabyte of zeros is not committed.
    let db = fs::OpenOptions::new()
        .write(true)
        .open(store_path(dir).join("db"))
        .unwrap();
    db.set_len(512 << 10).unwrap();
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap()
}

#[test]
fn indexes_of_all_formats_are_searched_and_built_on() {
    for format in OLDEST_FORMAT..=FORMAT {
        let dir = tempfile::tempdir().unwrap();
        unpack(format, dir.path());
        assert_eq!(problems(dir.path()), [""; 0], "format {format}");

        // The export was made by the program that made the index.
        let reader = IndexReader::open(dir.path()).unwrap();
        let out = dir.path().join("out");
        reader.export(&out, false, &mut |_, _| {}).unwrap();
        for name in ["photos.jsonl", "embeddings.npy"] {
            let then = fixture(format).join("export").join(name);
            assert_eq!(
                read(&out.join(name)),
                read(&then),
                "format {format}, {name}"
            );
        }
        for entry in reader.photos() {
            let (id, photo) = entry.unwrap();
            assert_eq!(photo.ctime_ns.is_some(), format > 2, "format {format}");
            let query = reader.embedding(id).unwrap().unwrap();
            let found = reader.search(&query, 5, &SearchOptions::default()).unwrap();
            assert_eq!(found.len(), 5);
            let is_it = |found: &Hit| found.photo == photo && found.similarity > 0.9999;
            assert!(found.iter().any(is_it));
            assert!(found.is_sorted_by(|a, b| a.similarity >= b.similarity));
        }

        let mut writer = IndexWriter::open(dir.path(), reader.model()).unwrap();
        let new = Embedding::new(vec![1.0; reader.model().dim]).unwrap();
        insert(&mut writer, vec![(photo(1), new)]);
        writer.publish().unwrap();
        drop(writer);
        assert_eq!(problems(dir.path()), [""; 0], "format {format}");
        assert_eq!(IndexReader::open(dir.path()).unwrap().len(), 6);
        let store = Store::open(dir.path()).unwrap();
        let meta = store.meta().unwrap().unwrap();
        assert!(meta.sum.is_some(), "it is in today's format");
    }
}

#[test]
fn exports_of_all_formats_are_imported() {
    for format in OLDEST_FORMAT..=FORMAT {
        let dir = tempfile::tempdir().unwrap();
        let source = fixture(format).join("export");
        let report = import(dir.path(), &source, &AtomicBool::new(false), &mut |_| {}).unwrap();
        assert_eq!((report.photos, report.vectors), (5, 4));
    }
}

/// Nobody is to "repair" what a later program wrote.
#[test]
fn a_later_format_is_refused_everywhere() {
    let is_refused = |error: Option<Error>| {
        assert!(matches!(error, Some(Error::IndexFormat { found, .. }) if found == FORMAT + 1));
    };
    for in_store in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        drop(build(dir.path(), &embeddings(40, 5)));
        if in_store {
            let store = Store::open(dir.path()).unwrap();
            let mut writes = Writes::default();
            writes.put_raw_meta(&seal_as(FORMAT + 1, *b"nobody knows"));
            store.write(writes).unwrap();
            store.close().unwrap();
            is_refused(IndexWriter::open(dir.path(), &identity()).err());
        } else {
            let generation = published_generation(dir.path()).unwrap().unwrap();
            let path = snapshot_path(dir.path(), generation);
            let mut bytes = read(&path);
            bytes[8] = FORMAT as u8 + 1;
            reseal(&mut bytes);
            fs::write(&path, bytes).unwrap();
            is_refused(IndexReader::open(dir.path()).err());
        }
        is_refused(verify(dir.path()).err());
        is_refused(repair(dir.path(), &AtomicBool::new(false), &mut |_| {}).err());
    }
}

/// A value that was right once passes every checksum of its own.
#[test]
fn a_record_that_is_out_of_date_is_noticed_and_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = build(dir.path(), &embeddings(41, 5));
    let moved = Photo {
        path: "/photos/moved.jpg".into(),
        ..photo(2)
    };
    let changes = Changes {
        update: vec![(PhotoId(2), moved.clone())],
        ..Changes::default()
    };
    writer.commit(changes).unwrap();
    writer.publish().unwrap();
    drop(writer);
    let store = Store::open(dir.path()).unwrap();
    let mut record = store.photo(PhotoId(2)).unwrap().unwrap();
    record.photo = photo(2);
    let mut writes = Writes::default();
    writes.put_photo(PhotoId(2), &record).unwrap();
    store.write(writes).unwrap();
    store.close().unwrap();
    let refused = IndexWriter::open(dir.path(), &identity());
    assert!(matches!(refused, Err(Error::Corrupt { reason, .. }) if reason.contains("last")));
    assert!(!problems(dir.path()).is_empty());
    repair(dir.path(), &AtomicBool::new(false), &mut |_| {}).unwrap();
    assert_eq!(problems(dir.path()), [""; 0]);
    let writer = IndexWriter::open(dir.path(), &identity()).unwrap();
    assert_eq!(writer.photo(PhotoId(2)), Some(&moved));
}
