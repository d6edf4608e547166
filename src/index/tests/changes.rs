//! Commits, against what they should come to.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{Rng, build, ids, open, photo, problems};
use crate::embedding::Embedding;
use crate::error::{Error, Result};
use crate::index::Changes;
use crate::index::folder::files::published_generation;
use crate::index::reader::{IndexReader, SearchOptions};
use crate::index::upkeep::status::Status;
use crate::photo::{Photo, PhotoId};

#[test]
fn contradictory_changes_are_refused_and_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut rng = Rng(7);
    let mut writer = build(dir.path(), &[rng.embedding(), rng.embedding()]);
    let generation = published_generation(dir.path()).unwrap();
    let unknown = PhotoId(99);
    let none = Changes::default;
    let narrow = Embedding::new(vec![1.0; 3]).unwrap();
    for changes in [
        Changes {
            remove: vec![unknown],
            ..none()
        },
        Changes {
            update: vec![(unknown, photo(5))],
            ..none()
        },
        Changes {
            copy: vec![(photo(5), unknown)],
            ..none()
        },
        Changes {
            insert: vec![(photo(1), rng.embedding())],
            ..none()
        },
        Changes {
            update: vec![(PhotoId(0), photo(1))],
            ..none()
        },
        Changes {
            insert: vec![(photo(5), narrow)],
            ..none()
        },
        Changes {
            remove: vec![PhotoId(0)],
            update: vec![(PhotoId(0), photo(5))],
            ..none()
        },
        Changes {
            copy: vec![(photo(5), PhotoId(0)), (photo(5), PhotoId(1))],
            ..none()
        },
    ] {
        let description = format!("{changes:?}");
        assert!(
            matches!(writer.commit(changes), Err(Error::Input { .. })),
            "{description}"
        );
    }
    writer.publish().unwrap();
    assert_eq!(
        (writer.len(), published_generation(dir.path()).unwrap()),
        (2, generation)
    );
}

#[test]
fn copies_and_moves_keep_their_vector() {
    let dir = tempfile::tempdir().unwrap();
    let mut rng = Rng(8);
    let (a, b) = (rng.embedding(), rng.embedding());
    let mut writer = build(dir.path(), &[a.clone(), b.clone()]);
    // 0 is copied to 2 and removed, 1 moves to where 0 was, and 3 is embedded to the same vector as 1.
    let changes = Changes {
        copy: vec![(photo(2), PhotoId(0))],
        remove: vec![PhotoId(0)],
        update: vec![(
            PhotoId(1),
            Photo {
                path: photo(0).path,
                ..photo(1)
            },
        )],
        insert: vec![(photo(3), b.clone())],
        roots: None,
    };
    writer.commit(changes).unwrap();
    writer.publish().unwrap();
    drop(writer);
    assert_eq!(problems(dir.path()), [""; 0]);
    assert_eq!(Status::read(dir.path()).unwrap().vectors, 2);
    let reader = IndexReader::open(dir.path()).unwrap();
    let found = |query| ids(&reader.search(query, 2, &SearchOptions::default()).unwrap());
    assert_eq!(found(&a)[0], PhotoId(2));
    assert_eq!(found(&b), [PhotoId(1), PhotoId(3)]);
    assert_eq!(
        reader.photo(PhotoId(1)).unwrap().unwrap().path,
        photo(0).path
    );
    assert_eq!(reader.photo(PhotoId(0)).unwrap(), None);
}

/// The model of the next test: what should be at each path, and its vector.
type Expected = BTreeMap<PathBuf, (PhotoId, Photo, Embedding)>;

#[test]
fn random_changes_end_in_what_a_map_says() {
    for seed in 1..=4 {
        println!("seed {seed}");
        let dir = tempfile::tempdir().unwrap();
        let mut rng = Rng(seed);
        let mut writer = open(dir.path());
        let mut expected = Expected::new();
        let mut next_id = 0;
        for number in 0..60 {
            let changes = random_changes(&mut rng, number * 100, &mut expected, &mut next_id);
            writer.commit(changes).unwrap();
            if rng.below(5) == 0 {
                writer.publish().unwrap();
            }
            if rng.below(10) == 0 {
                drop(writer);
                writer = open(dir.path());
            }
            assert_eq!(writer.len(), expected.len());
        }
        writer.publish().unwrap();
        drop(writer);
        compare(&IndexReader::open(dir.path()).unwrap(), &expected);
        assert_eq!(problems(dir.path()), [""; 0]);
    }
}

fn random_changes(
    rng: &mut Rng,
    number: usize,
    expected: &mut Expected,
    next_id: &mut u64,
) -> Changes {
    let mut changes = Changes::default();
    let known: Vec<(PhotoId, Photo, Embedding)> = expected.values().cloned().collect();
    let mut added = Vec::new();
    for (id, known, embedding) in &known {
        match rng.below(12) {
            0 => {
                expected.remove(&known.path);
                changes.remove.push(*id);
            }
            1 => {
                expected.remove(&known.path);
                let moved = Photo {
                    path: known.path.with_extension(format!("{number}")),
                    ..known.clone()
                };
                added.push((*id, moved.clone(), embedding.clone()));
                changes.update.push((*id, moved));
            }
            _ => {}
        }
    }
    let mut new_id = || {
        *next_id += 1;
        PhotoId(*next_id - 1)
    };
    if !known.is_empty() && rng.below(2) == 0 {
        let (source, _, embedding) = &known[rng.below(known.len())];
        changes.copy.push((photo(number), *source));
        added.push((new_id(), photo(number), embedding.clone()));
    }
    for new in 1..=rng.below(6) {
        let embedding = rng.embedding();
        changes
            .insert
            .push((photo(number + new), embedding.clone()));
        added.push((new_id(), photo(number + new), embedding));
    }
    expected.extend(added.into_iter().map(|entry| (entry.1.path.clone(), entry)));
    changes
}

fn compare(reader: &IndexReader, expected: &Expected) {
    let mut by_id: Vec<(PhotoId, Photo)> = expected
        .values()
        .map(|(id, photo, _)| (*id, photo.clone()))
        .collect();
    by_id.sort_by_key(|(id, _)| *id);
    let found: Vec<(PhotoId, Photo)> = reader.photos().collect::<Result<_>>().unwrap();
    assert_eq!(found, by_id);
    for (id, _, embedding) in expected.values() {
        assert!(reader.embedding(*id).unwrap().unwrap().cosine(embedding) > 0.999_999);
    }
}
