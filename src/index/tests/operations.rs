//! Random sequences of operations, against a plain model in memory. A sequence that fails is shrunk to the shortest one
//! that does.
//!
//! `BT_CASES` sets how many (CI does few): `BT_CASES=10000 cargo test --release --lib random_operations`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::Config;
use tempfile::TempDir;

use super::{Rng, copy_dir, open, photo, problems};
use crate::embedding::Embedding;
use crate::error::{Error, Result};
use crate::index::graph::similarity::dot;
use crate::index::reader::{IndexReader, SearchOptions};
use crate::index::store::database::failing::{self, Moment};
use crate::index::upkeep::compact::{compact, rewrite_store};
use crate::index::{Changes, IndexWriter, Plan};
use crate::photo::{Photo, PhotoId};

/// Pictures that there are. Few, so that many photos share a vector.
const PICTURES: usize = 40;
/// More vectors than this get a graph here, so that small indexes have one.
const GRAPH_ABOVE: usize = 12;

#[derive(Debug, Clone)]
enum Operation {
    /// Changes that are committed together.
    Commit(Vec<Change>),
    /// The same, on a disk that is full.
    Fail(Vec<Change>, Moment),
    Publish,
    RebuildGraph,
    Reopen,
    Crash,
    Compact,
    RewriteStore,
    Query {
        picture: usize,
        k: usize,
        remainder: u64,
        plan: Plan,
    },
    Verify,
}

/// What happens to a folder of photos. Photos that are there are chosen by [`Index`].
#[derive(Debug, Clone)]
enum Change {
    Add(usize),
    Copy(Index),
    Move(Index),
    /// Another picture at the same path.
    Replace(Index, usize),
    Delete(Index),
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let change = || {
        prop_oneof![
            4 => (0..PICTURES).prop_map(Change::Add),
            1 => any::<Index>().prop_map(Change::Copy),
            1 => any::<Index>().prop_map(Change::Move),
            1 => (any::<Index>(), 0..PICTURES).prop_map(|(at, new)| Change::Replace(at, new)),
            2 => any::<Index>().prop_map(Change::Delete),
        ]
    };
    let changes = move || prop::collection::vec(change(), 0..12);
    let moment = prop_oneof![Just(Moment::Before), Just(Moment::After)];
    let plan = prop_oneof![Just(Plan::Cheapest), Just(Plan::Graph), Just(Plan::Scan)];
    let query =
        (0..PICTURES, 1..30_usize, 1..4_u64, plan).prop_map(|(picture, k, remainder, plan)| {
            Operation::Query {
                picture,
                k,
                remainder,
                plan,
            }
        });
    let operation = prop_oneof![
        10 => changes().prop_map(Operation::Commit),
        2 => (changes(), moment).prop_map(|(changes, moment)| Operation::Fail(changes, moment)),
        3 => Just(Operation::Publish),
        2 => Just(Operation::RebuildGraph),
        2 => Just(Operation::Reopen),
        2 => Just(Operation::Crash),
        1 => Just(Operation::Compact),
        1 => Just(Operation::RewriteStore),
        4 => query,
        1 => Just(Operation::Verify),
    ];
    prop::collection::vec(operation, 1..40)
}

#[test]
fn random_operations_end_in_what_the_model_says() {
    let cases = std::env::var("BT_CASES").map_or(24, |cases| cases.parse().unwrap());
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    proptest!(config, |(operations in operations())| {
        let mut world = World::new();
        for operation in operations {
            world.apply(operation);
        }
        world.end();
    });
}

/// What the index should hold: photos by their ids, with their pictures.
#[derive(Debug, Clone, Default, PartialEq)]
struct Model {
    photos: BTreeMap<PhotoId, (Photo, usize)>,
    next_id: u64,
}

/// An index and what it should be.
struct World {
    dir: TempDir,
    /// None while something else has the index open.
    writer: Option<IndexWriter>,
    committed: Model,
    published: Option<Model>,
    /// Paths are never used twice but by [`Change::Replace`].
    next_path: usize,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut world = Self {
            dir,
            writer: None,
            committed: Model::default(),
            published: None,
            next_path: 0,
        };
        world.open();
        world
    }

    fn apply(&mut self, operation: Operation) {
        match operation {
            Operation::Commit(changes) => {
                let (changes, model) = self.plan(&changes);
                self.writer().commit(changes).unwrap();
                self.committed = model;
            }
            Operation::Fail(changes, moment) => self.fail(&changes, moment),
            Operation::Publish => self.publish(),
            Operation::RebuildGraph => {
                self.writer()
                    .rebuild_graph(&AtomicBool::new(false), &mut |_, _| {})
                    .unwrap();
            }
            Operation::Reopen => self.open(),
            Operation::Crash => self.crash(),
            Operation::Compact => self.compact(),
            Operation::RewriteStore => {
                self.writer = None;
                rewrite_store(self.dir.path(), &AtomicBool::new(false), &mut |_| {}).unwrap();
                self.open();
            }
            Operation::Query {
                picture,
                k,
                remainder,
                plan,
            } => {
                self.query(picture, k, remainder, plan);
            }
            Operation::Verify => {
                self.writer = None;
                assert_eq!(problems(self.dir.path()), [""; 0]);
                self.open();
            }
        }
        self.compare_writer();
    }

    fn writer(&mut self) -> &mut IndexWriter {
        self.writer.as_mut().unwrap()
    }

    fn open(&mut self) {
        self.writer = None;
        let mut writer = open(self.dir.path());
        writer.graph_above = GRAPH_ABOVE;
        self.writer = Some(writer);
    }

    fn publish(&mut self) {
        self.writer().publish().unwrap();
        self.published = Some(self.committed.clone());
    }

    /// A commit that fails leaves all or nothing, and a writer that refuses to go on.
    fn fail(&mut self, changes: &[Change], moment: Moment) {
        let (changes, model) = self.plan(changes);
        failing::NEXT.set(Some(moment));
        let failed = self.writer().commit(changes);
        assert!(matches!(failed, Err(Error::DiskFull { .. })));
        let later = [
            self.writer().commit(Changes::default()),
            self.writer().publish(),
        ];
        assert!(
            later
                .iter()
                .all(|later| matches!(later, Err(Error::Unwritten { .. })))
        );
        self.open();
        if moment == Moment::After {
            self.committed = model;
        }
    }

    /// What is on the disk while the index is open is what a crash leaves.
    fn crash(&mut self) {
        let crashed = tempfile::tempdir().unwrap();
        copy_dir(self.dir.path(), crashed.path());
        self.writer = None;
        self.dir = crashed;
        self.open();
    }

    fn compact(&mut self) {
        self.writer = None;
        match compact(self.dir.path(), &AtomicBool::new(false), &mut |_| {}) {
            Ok(_) => self.published = Some(self.committed.clone()),
            Err(Error::NoIndex { .. }) => assert_eq!(self.published, None),
            Err(error) => panic!("{error}"),
        }
        self.open();
    }

    fn end(mut self) {
        self.publish();
        self.query(0, PICTURES, 1, Plan::Cheapest);
        self.writer = None;
        assert_eq!(problems(self.dir.path()), [""; 0]);
    }

    /// What is committed for changes to the photos, and the model after it. No photo takes part in two of them.
    fn plan(&mut self, wanted: &[Change]) -> (Changes, Model) {
        let mut changes = Changes::default();
        let mut model = self.committed.clone();
        let mut free: Vec<PhotoId> = model.photos.keys().copied().collect();
        // The index numbers copies before insertions.
        let (mut copied, mut inserted) = (Vec::new(), Vec::new());
        for change in wanted {
            let at = match change {
                Change::Add(picture) => {
                    inserted.push((self.new_photo(*picture), *picture));
                    continue;
                }
                Change::Copy(at)
                | Change::Move(at)
                | Change::Replace(at, _)
                | Change::Delete(at) => at,
            };
            if free.is_empty() {
                continue;
            }
            let id = free.swap_remove(at.index(free.len()));
            let (photo, picture) = model.photos[&id].clone();
            match change {
                Change::Copy(_) => {
                    let copy = self.new_photo(picture);
                    changes.copy.push((copy.clone(), id));
                    copied.push((copy, picture));
                }
                Change::Move(_) => {
                    let moved = self.new_photo(picture);
                    changes.update.push((id, moved.clone()));
                    model.photos.insert(id, (moved, picture));
                }
                Change::Replace(_, new) => {
                    changes.remove.push(id);
                    model.photos.remove(&id);
                    let replaced = Photo {
                        path: photo.path,
                        ..self.new_photo(*new)
                    };
                    inserted.push((replaced, *new));
                }
                Change::Delete(_) | Change::Add(_) => {
                    changes.remove.push(id);
                    model.photos.remove(&id);
                }
            }
        }
        let insert = inserted.iter().cloned();
        changes.insert = insert
            .map(|(photo, picture)| (photo, embedding(picture)))
            .collect();
        for (photo, picture) in copied.into_iter().chain(inserted) {
            model
                .photos
                .insert(PhotoId(model.next_id), (photo, picture));
            model.next_id += 1;
        }
        (changes, model)
    }

    /// A photo of a picture at a path of its own.
    fn new_photo(&mut self, picture: usize) -> Photo {
        self.next_path += 1;
        Photo {
            path: PathBuf::from(format!("/photos/{}.jpg", self.next_path)),
            ctime_ns: (!self.next_path.is_multiple_of(3)).then_some(self.next_path as i64),
            ..photo(picture)
        }
    }

    fn compare_writer(&self) {
        let writer = self.writer.as_ref().unwrap();
        let found = writer.photos().map(|(id, photo)| (id, photo.clone()));
        let expected = self.committed.photos.iter();
        let expected = expected.map(|(id, (photo, _))| (*id, photo.clone()));
        assert!(found.eq(expected), "the writer holds other photos");
    }

    /// What was published is what is read, and what is nearest is what is found.
    fn query(&self, picture: usize, k: usize, remainder: u64, plan: Plan) {
        let Some(published) = &self.published else {
            let reader = IndexReader::open(self.dir.path());
            assert!(matches!(reader, Err(Error::NoIndex { .. })));
            return;
        };
        let reader = IndexReader::open(self.dir.path()).unwrap();
        compare_reader(&reader, published);
        let query = embedding(picture);
        let passes = |photo: &Photo| photo.size.is_multiple_of(remainder);
        let options = SearchOptions {
            filter: Some(&passes),
            plan,
            ..SearchOptions::default()
        };
        let hits = reader.search(&query, k, &options).unwrap();
        let similarity = |picture| {
            let embedding = embedding(picture);
            dot(query.as_slice(), embedding.as_slice()).clamp(-1.0, 1.0)
        };
        let passing = published.photos.values().filter(|(photo, _)| passes(photo));
        let mut nearest: Vec<f32> = passing.map(|(_, picture)| similarity(*picture)).collect();
        nearest.sort_by(|a, b| b.total_cmp(a));
        nearest.truncate(k);
        let found: Vec<f32> = hits.iter().map(|hit| hit.similarity).collect();
        assert_eq!(found, nearest);
        for hit in &hits {
            let (photo, picture) = &published.photos[&hit.id];
            assert_eq!((&hit.photo, hit.similarity), (photo, similarity(*picture)));
        }
        let count = published
            .photos
            .values()
            .filter(|(photo, _)| passes(photo))
            .count();
        assert_eq!(reader.count(&passes).unwrap(), count);
    }
}

fn compare_reader(reader: &IndexReader, published: &Model) {
    let found: Vec<(PhotoId, Photo)> = reader.photos().collect::<Result<_>>().unwrap();
    let expected = published.photos.iter();
    let expected: Vec<_> = expected
        .map(|(id, (photo, _))| (*id, photo.clone()))
        .collect();
    assert_eq!(found, expected);
    for (id, (_, picture)) in &published.photos {
        let vector = reader.embedding(*id).unwrap().unwrap();
        assert!(vector.cosine(&embedding(*picture)) > 0.999_999);
    }
}

/// The embedding of a picture.
fn embedding(picture: usize) -> Embedding {
    Rng(picture as u64 + 1).embedding()
}
