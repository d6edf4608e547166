//! Searches over an index of a few pictures, by the small random-weight checkpoint.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use candle_core::{DType, Device, Tensor};

use super::searcher::Searcher;
use super::*;
use crate::cache::PhotoCache;
use crate::engine::{CacheLevel, Engine, EngineOptions, ImageSide};
use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::index::Index;
use crate::index::{IndexReader, IndexWriter};
use crate::ingest::{BuildOptions, build};
use crate::processor::Picture;

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

    fn place(&self) -> Index {
        Index::at(self.index())
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
            reranker: Some(&self.engine),
            cache,
        };
        let cancel = AtomicBool::new(false);
        searcher.search(&Query::text("a cat"), &cancel, &mut |_| {})
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
    assert!(matches!(warning, Warning::Changed { paths } if *paths == found.left_out));
    assert!(warning.to_string().contains("p.png"));

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
    let an_hour_ago = SystemTime::now() - Duration::from_hours(1);
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
        matches!(found.warnings[0], Warning::NoNumber { .. }),
        "{:?}",
        found.warnings
    );

    spoil("gray.png");
    let error = world.search(Some(&cache)).expect_err("nothing has a score");
    assert!(matches!(error, Error::NoNumber { .. }), "{error}");
    assert!(error.hint().contains("try f32"));
}

fn session(world: &World) -> Session {
    let options = SessionOptions {
        model: Some(MODEL.into()),
        ..SessionOptions::default()
    };
    Session::open(&world.place(), &options, &mut |_| {}).expect("opens")
}

fn ask(session: &Session, query: &Query) -> Result<Found> {
    session.search(query, &AtomicBool::new(false), &mut |_| {})
}

/// A world of some photos that differ.
fn several() -> World {
    World::new(&[
        ("alpha.png", &picture("alpha.png")),
        ("gray.png", &picture("gray.png")),
        ("square.png", &picture("square.png")),
        ("wide.png", &picture("wide.png")),
    ])
}

#[test]
fn a_search_ends_soon_after_it_is_cancelled() {
    let world = several();
    let session = session(&world);
    let cancel = AtomicBool::new(false);
    let mut cancelled = None;
    let outcome = session.search(&Query::text("a cat"), &cancel, &mut |event| {
        // A CPU reads two photos at once, so that half of the four are left.
        if matches!(event, SearchEvent::Reading { done: 2, .. }) {
            cancel.store(true, Ordering::Relaxed);
            cancelled = Some(Instant::now());
        }
    });
    let waited = cancelled.expect("the first batch was read").elapsed();
    assert!(matches!(outcome, Err(Error::Cancelled)), "{outcome:?}");
    assert!(waited < Duration::from_millis(100), "{waited:?}");
    let before = session.search(&Query::text("a cat"), &cancel, &mut |_| {
        panic!("a search that was cancelled before it began reads nothing");
    });
    assert!(matches!(before, Err(Error::Cancelled)));
}

#[test]
fn a_session_takes_up_what_is_published_and_costs_nothing_meanwhile() {
    let world = several();
    let session = session(&world);
    assert!(!session.refresh().expect("looks"));
    let begun = Instant::now();
    for _ in 0..100 {
        session.refresh().expect("looks");
    }
    // It is some ten microseconds; the bound leaves room for a loaded machine.
    assert!(begun.elapsed() / 100 < Duration::from_millis(1));

    let old = session.index();
    world.write("new.png", &picture("portrait.png"));
    world.build();
    assert_eq!(
        ask(&session, &Query::text("a cat")).expect("finds").photos,
        4
    );
    assert!(session.refresh().expect("opens the newer state"));
    assert!(!session.refresh().expect("looks"));
    assert_eq!(
        ask(&session, &Query::text("a cat")).expect("finds").photos,
        5
    );
    assert_eq!(old.len(), 4);
}

#[test]
fn threads_share_a_session_while_it_is_refreshed() {
    let world = several();
    let session = session(&world);
    let right = scores(&ask(&session, &Query::text("a cat")).expect("finds"));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..5 {
                    session.refresh().expect("looks");
                    let found = ask(&session, &Query::text("a cat")).expect("finds");
                    assert_eq!(scores(&found), right);
                }
            });
        }
        world.build();
    });
}

#[test]
fn an_upload_is_searched_for_as_its_file_is() {
    let world = several();
    let session = session(&world);
    let path = world.photos().join("wide.png");
    let by_picture = |picture: Picture| {
        let query = Query {
            terms: vec![Term::image(picture)],
            ..Query::default()
        };
        ask(&session, &query).expect("finds")
    };
    let by_file = by_picture(path.clone().into());
    let by_bytes = by_picture(picture("wide.png").into());
    assert_eq!(by_file.hits, by_bytes.hits);
    assert_eq!(by_file.hits[0].photo.path, path);
    assert_eq!(by_file.reranked, 0);
    let name = path.display().to_string();
    let by_name = ask(&session, &Query::text(&name)).expect("finds");
    assert_eq!(by_name.reranked, 4, "words are words");

    let broken = Query {
        terms: vec![Term::image(b"no picture".to_vec())],
        ..Query::default()
    };
    assert!(matches!(ask(&session, &broken), Err(Error::Photo { .. })));
    let embedded = session
        .embed(&TermContent::Image(path.clone().into()))
        .expect("embeds");
    assert!(
        (embedded.cosine(
            &session
                .embed(&TermContent::Image(picture("wide.png").into()))
                .expect("embeds")
        ) - 1.0)
            .abs()
            < 1e-6
    );
    let score = session.score("a cat", &path.into()).expect("scores");
    let hit = by_name_of(&session, "a cat", "wide.png");
    // States are rounded where they may be kept.
    assert!((score.logits.match_probability() - hit).abs() < 0.01);
}

fn by_name_of(session: &Session, words: &str, name: &str) -> f32 {
    let found = ask(session, &Query::text(words)).expect("finds");
    let mut scores = scores(&found).into_iter();
    scores.find(|(photo, _)| photo == name).expect("is found").1
}

#[test]
fn an_empty_answer_says_why() {
    let world = several();
    let session = session(&world);
    let sure = Query {
        min_score: Some(1.0),
        filter: Filter {
            camera: Some("none such".into()),
            ..Filter::default()
        },
        ..Query::text("a cat")
    };
    let found = ask(&session, &sure).expect("searches");
    assert_eq!(
        found.nothing,
        [WhyNothing::Filtered {
            passing: 0,
            photos: 4
        }]
    );
    let found = ask(
        &session,
        &Query {
            filter: Filter::default(),
            ..sure.clone()
        },
    );
    let found = found.expect("searches");
    let least = 1.0;
    let candidates = 4;
    assert_eq!(
        found.nothing,
        [WhyNothing::BelowCutOff { candidates, least }]
    );
    let looks = Query {
        terms: vec![Term::image(picture("wide.png"))],
        filter: Filter::default(),
        ..sure
    };
    let found = ask(&session, &looks).expect("searches");
    assert_eq!(found.nothing, [WhyNothing::NoWords]);
}

#[test]
fn a_query_that_asks_for_nothing_is_refused() {
    let world = several();
    let session = session(&world);
    for terms in [
        vec![],
        vec![Term::text("  ")],
        vec![Term::text("a cat").weighed(f32::NAN)],
        vec![Term::text("a cat").weighed(0.0)],
    ] {
        let query = Query {
            terms: terms.clone(),
            ..Query::default()
        };
        assert!(ask(&session, &query).is_err(), "{terms:?}");
    }
}

#[test]
fn an_answer_is_one_json_document() {
    let world = several();
    let session = session(&world);
    let query = Query {
        top: 1,
        terms: vec![
            Term::text("a cat"),
            Term::image(PathBuf::from("tests/fixtures/pixels/wide.png")).weighed(0.1),
            Term::image(picture("gray.png")).negated(),
        ],
        ..Query::text("a cat")
    };
    let found = ask(&session, &query).expect("finds");
    let document = serde_json::to_value(&found).expect("serialises");
    let keys: Vec<_> = document.as_object().expect("an object").keys().collect();
    assert_eq!(
        keys,
        [
            "filters",
            "hits",
            "min_score",
            "model",
            "query",
            "reranked",
            "reranker",
            "terms",
            "warnings"
        ]
    );
    assert_eq!(
        document["terms"],
        serde_json::json!([
            {"text": "a cat", "weight": 1.0},
            {"image": "tests/fixtures/pixels/wide.png", "weight": 0.1},
            {"image": null, "image_bytes": picture("gray.png").len(), "weight": -1.0},
        ])
    );
    let hit = document["hits"][0].as_object().expect("a hit");
    let keys: Vec<_> = hit.keys().collect();
    assert_eq!(
        keys,
        [
            "bytes",
            "camera",
            "captured_at",
            "gps",
            "height",
            "match_probability",
            "path",
            "rank",
            "score",
            "similarity",
            "width"
        ]
    );
}
