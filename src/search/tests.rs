//! Searches over an index of a few pictures, by the small random-weight checkpoint.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use candle_core::{DType, Device, Tensor};

use super::*;
use crate::engine::EngineOptions;
use crate::engine::{CacheLevel, ImageSide};
use crate::index::IndexWriter;
use crate::ingest::{BuildOptions, build};

const MODEL: &str = "tests/fixtures/checkpoints/tiny-random";

/// Photos, an index of them, and a cache beside it.
struct World {
    dir: tempfile::TempDir,
    engine: Engine,
}

impl World {
    fn new(photos: &[(&str, &[u8])]) -> Self {
        let world = Self {
            dir: tempfile::tempdir().expect("tempdir"),
            engine: Engine::load(MODEL, &EngineOptions::default(), &mut |_, _, _| {})
                .expect("loads"),
        };
        fs::create_dir(world.photos()).expect("creates");
        for (name, bytes) in photos {
            world.write(name, bytes);
        }
        world.build();
        world
    }

    fn photos(&self) -> PathBuf {
        self.dir.path().join("photos")
    }

    fn index(&self) -> PathBuf {
        self.dir.path().join("index")
    }

    fn cache(&self) -> PhotoCache {
        self.cache_in("cache")
    }

    fn cache_in(&self, folder: &str) -> PhotoCache {
        let root = self.dir.path().join(folder);
        PhotoCache::new(&root, &self.engine, CacheLevel::Split, u64::MAX).expect("opens")
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.photos().join(name), bytes).expect("writes");
    }

    fn build(&self) {
        let identity = self.engine.identity().expect("identity");
        let mut writer = IndexWriter::open(&self.index(), &identity).expect("opens");
        build(
            &mut writer,
            &self.engine,
            &[self.photos()],
            &BuildOptions::default(),
            &AtomicBool::new(false),
            &mut |_| {},
        )
        .expect("builds");
    }

    fn search(&self, cache: Option<&PhotoCache>) -> Result<Found> {
        let index = IndexReader::open(&self.index())?;
        let searcher = Searcher {
            index: &index,
            embedder: &self.engine,
            reranker: &self.engine,
            cache,
        };
        let terms = [Term::parse("a cat")?];
        searcher.search(&terms, &QueryOptions::default(), &mut |_| {})
    }

    /// The photos' names and match probabilities, by name.
    fn scores(&self, cache: Option<&PhotoCache>) -> Vec<(String, f32)> {
        scores(&self.search(cache).expect("searches"))
    }
}

fn scores(found: &Found) -> Vec<(String, f32)> {
    let score = |hit: &Hit| {
        let name = hit.photo.path.file_name().expect("a name");
        let p = hit.match_probability.expect("was reranked");
        (name.to_string_lossy().into_owned(), p)
    };
    let mut scores: Vec<_> = found.hits.iter().map(score).collect();
    scores.sort_by(|a, b| a.0.cmp(&b.0));
    scores
}

fn picture(name: &str) -> Vec<u8> {
    fs::read(Path::new("tests/fixtures/pixels").join(name)).expect("reads")
}

fn names(scores: &[(String, f32)]) -> Vec<&str> {
    scores.iter().map(|(name, _)| name.as_str()).collect()
}

#[test]
fn a_photo_edited_and_put_back_is_not_scored_as_the_other_picture() {
    let (square, wide) = (picture("square.png"), picture("wide.png"));
    let world = World::new(&[
        ("copy.png", &square),
        ("gray.png", &picture("gray.png")),
        ("p.png", &square),
    ]);
    // States are rounded where they may be kept, so that only another cache gives the same scores.
    let right = world.scores(Some(&world.cache_in("clean")));
    assert_eq!(names(&right), ["copy.png", "gray.png", "p.png"]);
    let wrong = World::new(&[("p.png", &wide)]).scores(None);
    assert!((wrong[0].1 - right[2].1).abs() > 0.001, "{wrong:?}");

    let cache = world.cache();
    world.write("p.png", &wide);
    let found = world.search(Some(&cache)).expect("searches");
    assert_eq!(names(&scores(&found)), ["copy.png", "gray.png"]);
    assert_eq!(found.left_out, [world.photos().join("p.png")]);
    let [warning] = found.warnings.as_slice() else {
        panic!("{:?}", found.warnings);
    };
    assert!(warning.contains("p.png") && warning.contains("bt-index build"));

    world.write("p.png", &square);
    world.build();
    assert_eq!(world.scores(Some(&cache)), right);
    assert_eq!(world.scores(Some(&cache)), right);
}

#[test]
fn a_changed_photo_is_not_served_from_the_cache_and_a_touched_one_is() {
    let (square, wide) = (picture("square.png"), picture("wide.png"));
    let world = World::new(&[("gray.png", &picture("gray.png")), ("p.png", &square)]);
    let cache = world.cache();
    let right = world.scores(Some(&cache));

    let file = fs::File::options()
        .write(true)
        .open(world.photos().join("p.png"));
    let an_hour_ago = SystemTime::now() - Duration::from_secs(3600);
    file.and_then(|file| file.set_modified(an_hour_ago))
        .expect("touches");
    let found = world.search(Some(&cache)).expect("searches");
    assert_eq!(scores(&found), right);
    assert!(found.warnings.is_empty(), "{:?}", found.warnings);

    world.write("p.png", &wide);
    assert_eq!(names(&world.scores(Some(&cache))), ["gray.png"]);
}

#[test]
fn an_edit_that_keeps_size_and_time_is_noticed_when_the_photo_is_read() {
    let padded = |name: &str| {
        let mut bytes = picture(name);
        // Behind a PNG's end nothing counts.
        bytes.resize(200_000, 0);
        bytes
    };
    let world = World::new(&[
        ("p.png", &padded("square.png")),
        ("q.png", &padded("gray.png")),
    ]);
    let path = world.photos().join("p.png");
    let time = path.metadata().and_then(|m| m.modified()).expect("a time");
    world.write("p.png", &padded("wide.png"));
    let file = fs::File::options().write(true).open(&path);
    file.and_then(|file| file.set_modified(time)).expect("sets");
    assert_eq!(names(&world.scores(None)), ["q.png"]);
    assert_eq!(names(&world.scores(Some(&world.cache()))), ["q.png"]);
}

#[test]
fn a_photo_whose_match_is_no_number_is_told_and_does_not_rank() {
    let world = World::new(&[
        ("gray.png", &picture("gray.png")),
        ("p.png", &picture("square.png")),
    ]);
    let cache = world.cache();
    let right = world.scores(Some(&cache));
    let index = IndexReader::open(&world.index()).expect("opens");
    let spoil = |name: &str| {
        let photo = index
            .photos()
            .map(|photo| photo.expect("reads").1)
            .find(|photo| photo.path.ends_with(name))
            .expect("is there");
        let Some(ImageSide::States(states)) = cache.load(photo.content_hash) else {
            panic!("{name} is not kept");
        };
        let shape = states[0].dims().to_vec();
        let nan = Tensor::full(f32::NAN, shape, &Device::Cpu).and_then(|t| t.to_dtype(DType::BF16));
        let spoilt = ImageSide::States(vec![nan.expect("a tensor")]);
        cache.store(photo.content_hash, &spoilt).expect("stores");
    };
    spoil("p.png");
    let found = world.search(Some(&cache)).expect("searches");
    assert_eq!(scores(&found), right[..1]);
    assert_eq!(found.left_out, [world.photos().join("p.png")]);
    assert!(
        found.warnings[0].contains("no number"),
        "{:?}",
        found.warnings
    );

    spoil("gray.png");
    let error = world.search(Some(&cache)).expect_err("nothing has a score");
    assert!(matches!(error, Error::NoNumber { .. }), "{error}");
    assert!(error.hint().contains("--precision f32"));
}
