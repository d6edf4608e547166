//! Opening, publishing, refusing and removing.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Rng, build, identity, insert, open, photo, problems};
use crate::embedding::Embedding;
use crate::error::Error;
use crate::identity::ModelIdentity;
use crate::index::folder::destroy::destroy;
use crate::index::folder::lock::builder;
use crate::index::reader::{IndexReader, SearchOptions};
use crate::index::upkeep::status::Status;
use crate::index::upkeep::verify::verify;
use crate::index::{Changes, IndexWriter};
use crate::photo::Photo;
use crate::processor::READING;

#[test]
fn what_is_committed_and_published_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let mut rng = Rng(1);
    let embeddings: Vec<Embedding> = (0..50).map(|_| rng.embedding()).collect();
    let mut writer = build(dir.path(), &embeddings);
    let roots = vec![PathBuf::from("/photos")];
    writer
        .commit(Changes {
            roots: Some(roots.clone()),
            ..Changes::default()
        })
        .unwrap();
    writer.publish().unwrap();

    let reader = IndexReader::open(dir.path()).unwrap();
    assert_eq!((reader.len(), reader.model()), (50, &identity()));
    for (number, embedding) in embeddings.iter().enumerate() {
        let best = &reader
            .search(embedding, 3, &SearchOptions::default())
            .unwrap();
        assert_eq!(best.len(), 3);
        assert_eq!(best[0].photo, photo(number));
        assert!((best[0].similarity - 1.0).abs() < 1e-6 && best[1].similarity < best[0].similarity);
        let stored = reader.embedding(best[0].id).unwrap().unwrap();
        assert!((stored.cosine(embedding) - 1.0).abs() < 1e-6);
    }
    let stored: Vec<Photo> = reader.photos().map(|entry| entry.unwrap().1).collect();
    assert_eq!(stored, (0..50).map(photo).collect::<Vec<_>>());

    let status = Status::read(dir.path()).unwrap();
    assert_eq!(
        (status.photos, status.vectors, status.tail_rows),
        (50, 50, 50)
    );
    assert_eq!(
        (status.roots, status.builder),
        (roots, Some(std::process::id()))
    );
    assert_eq!(status.generation, reader.generation());
    drop(writer);

    let writer = open(dir.path());
    assert_eq!(
        (writer.len(), writer.roots()),
        (50, &[PathBuf::from("/photos")][..])
    );
    let (id, found) = writer.by_path(Path::new("/photos/7.jpg")).unwrap();
    assert_eq!(
        (found, writer.by_content(found.content_hash)),
        (&photo(7), &[id][..])
    );
    drop(writer);
    assert_eq!(problems(dir.path()), [""; 0]);
}

#[test]
fn a_reader_keeps_its_state_while_the_index_changes() {
    let dir = tempfile::tempdir().unwrap();
    let mut rng = Rng(2);
    let (first, second) = (rng.embedding(), rng.embedding());
    let mut writer = build(dir.path(), std::slice::from_ref(&first));
    let before = IndexReader::open(dir.path()).unwrap();
    insert(&mut writer, vec![(photo(1), second.clone())]);
    assert_eq!(
        IndexReader::open(dir.path()).unwrap().len(),
        1,
        "committed is not published"
    );
    writer.publish().unwrap();
    let after = IndexReader::open(dir.path()).unwrap();
    assert_eq!((before.len(), after.len()), (1, 2));
    assert!(before.generation() < after.generation());
    let found = before
        .search(&second, 10, &SearchOptions::default())
        .unwrap();
    assert_eq!(
        found[0].photo,
        photo(0),
        "the removed snapshot is still readable"
    );
    let snapshots = fs::read_dir(dir.path()).unwrap();
    let names = snapshots.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(
        names.filter(|name| name.starts_with("snapshot")).count(),
        1,
        "the old one is removed"
    );
}

#[test]
fn readers_never_fail_while_a_writer_publishes() {
    let dir = tempfile::tempdir().unwrap();
    let mut rng = Rng(3);
    let mut writer = build(dir.path(), &[rng.embedding()]);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut last = 0;
            while !done.load(Ordering::Relaxed) {
                let reader = IndexReader::open(dir.path()).unwrap();
                assert!(
                    reader.len() >= last,
                    "a newer state has what an older one has"
                );
                last = reader.len();
            }
        });
        for number in 1..40 {
            insert(&mut writer, vec![(photo(number), rng.embedding())]);
            writer.publish().unwrap();
        }
        done.store(true, Ordering::Relaxed);
        reader.join().unwrap();
    });
}

#[test]
fn a_second_writer_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let writer = open(dir.path());
    let pid = std::process::id();
    assert!(
        matches!(IndexWriter::open(dir.path(), &identity()), Err(Error::Busy { pid: p, .. }) if p == pid)
    );
    assert!(matches!(verify(dir.path()), Err(Error::Busy { .. })));
    assert!(matches!(destroy(dir.path()), Err(Error::Busy { .. })));
    drop(writer);
    assert_eq!(builder(dir.path()).unwrap(), None);
    open(dir.path());
}

#[test]
fn another_model_or_preprocessing_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    build(dir.path(), &[Rng(4).embedding()]);
    let renamed = ModelIdentity {
        name: "elsewhere/tiny".into(),
        ..identity()
    };
    IndexWriter::open(dir.path(), &renamed).unwrap();
    for other in [
        ModelIdentity {
            fingerprint: "fedcba9876543210".into(),
            ..identity()
        },
        ModelIdentity {
            preprocessing: "512 px".into(),
            ..identity()
        },
        ModelIdentity {
            dim: 8,
            ..identity()
        },
    ] {
        let refused = IndexWriter::open(dir.path(), &other);
        assert!(
            matches!(refused, Err(Error::OtherModel { .. })),
            "{other:?}"
        );
    }
}

#[test]
fn a_model_that_was_moved_is_remembered_at_its_new_place() {
    let dir = tempfile::tempdir().unwrap();
    let (here, there) = (dir.path().join("here"), dir.path().join("there"));
    fs::create_dir(&here).unwrap();
    let at = |place: &Path| ModelIdentity {
        name: place.display().to_string(),
        ..identity()
    };
    let index = dir.path().join("index");
    let build = |identity: &ModelIdentity| {
        let mut writer = IndexWriter::open(&index, identity).unwrap();
        let roots = Some(vec!["/photos".into()]);
        writer
            .commit(Changes {
                roots,
                ..Changes::default()
            })
            .unwrap();
        writer.publish().unwrap();
        let reader = IndexReader::open(&index).unwrap();
        reader.model().name.clone()
    };
    let (old, new) = (at(&here), at(&there));
    assert_eq!(build(&old), old.name);
    // A second copy changes nothing while the first one is there.
    fs::create_dir(&there).unwrap();
    assert_eq!(build(&new), old.name);
    fs::remove_dir(&here).unwrap();
    assert_eq!(build(&new), new.name);
    assert_eq!(build(&old), new.name);
    // A hub id names no folder that could be gone.
    let hub = ModelIdentity {
        name: "a/b".into(),
        ..identity()
    };
    fs::remove_dir(&there).unwrap();
    assert_eq!(build(&hub), "a/b");
    assert_eq!(build(&new), "a/b");
}

#[test]
fn an_index_that_read_colours_otherwise_goes_on_working_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    build(dir.path(), &[Rng(4).embedding()]);
    let now = ModelIdentity {
        preprocessing: format!("{}{READING}", identity().preprocessing),
        ..identity()
    };
    assert!(!now.is_of_earlier_reading());
    let writer = IndexWriter::open(dir.path(), &now).unwrap();
    assert!(writer.model().is_of_earlier_reading());
    drop(writer);
    IndexReader::open(dir.path())
        .unwrap()
        .check_model(&now)
        .unwrap();
}

#[test]
fn no_index_is_told_from_an_empty_one() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(
        IndexReader::open(dir.path()),
        Err(Error::NoIndex { .. })
    ));
    assert!(matches!(verify(dir.path()), Err(Error::NoIndex { .. })));
    build(dir.path(), &[]);
    let reader = IndexReader::open(dir.path()).unwrap();
    assert!(reader.is_empty());
    assert_eq!(
        reader
            .search(&Rng(5).embedding(), 5, &SearchOptions::default())
            .unwrap(),
        []
    );
    assert_eq!(problems(dir.path()), [""; 0]);
}

#[test]
fn destroy_removes_the_index_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    drop(build(dir.path(), &[Rng(6).embedding()]));
    fs::write(dir.path().join("holiday.jpg"), "mine").unwrap();
    destroy(dir.path()).unwrap();
    assert!(matches!(
        IndexReader::open(dir.path()),
        Err(Error::NoIndex { .. })
    ));
    let mut left: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["build.lock", "holiday.jpg"]);
    assert!(open(dir.path()).is_empty());
}
