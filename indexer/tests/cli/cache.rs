//! `bt-index build --cache`: the image side of reranking, kept while it is at hand.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::SystemTime;

use bridgetower::cache::{CacheLevel, PhotoCache};
use bridgetower::engine::EngineOptions;
use bridgetower::index::IndexReader;
use bridgetower::search::Query;
use bridgetower::{Engine, Index, Session};

use super::{World, files_below, fixture, json};

/// The kept files, and when each was written or last served.
fn kept(world: &World) -> Vec<(PathBuf, SystemTime)> {
    let cache = Index::at(world.index()).cache_dir();
    let mut files = if cache.exists() {
        files_below(&cache)
    } else {
        Vec::new()
    };
    files.retain(|file| file.file_name() != Some("about.json".as_ref()));
    files.sort();
    let served = |path: PathBuf| {
        let metadata = path.metadata().expect("is there");
        (path, metadata.modified().expect("has a time"))
    };
    files.into_iter().map(served).collect()
}

#[test]
fn the_first_query_finds_what_the_build_kept() {
    for (typed, level) in [
        ("pixels", CacheLevel::Pixels),
        ("split", CacheLevel::Split),
        ("full", CacheLevel::Full),
    ] {
        let world = World::new();
        let mut build = world.bt_index(["build", "photos", "--json", "--cache", typed]);
        assert_eq!(json(&build.assert().success())["cached"], 5, "{typed}");
        let before = kept(&world);
        assert_eq!(before.len(), 5, "{typed}");

        let model = fixture("checkpoints/tiny-random");
        let options = EngineOptions::default();
        let engine = Engine::load(model.to_str().expect("UTF-8"), &options, &mut |_, _, _| {})
            .expect("loads");
        let engine = Arc::new(engine);
        let index = Arc::new(IndexReader::open(&world.index()).expect("opens"));
        let search = |root: PathBuf| {
            let cache = PhotoCache::new(&root, &engine, level, u64::MAX).expect("opens");
            let (index, engine) = (Arc::clone(&index), Arc::clone(&engine));
            let session = Session::new(index, Arc::clone(&engine), Some(engine), Some(cache));
            let cancel = AtomicBool::new(false);
            let session = session.expect("opens");
            let found = session.search(&Query::text("a cat"), &cancel, &mut |_| {});
            found.expect("finds").hits
        };
        let elsewhere = tempfile::tempdir().expect("tempdir");
        let computed = search(elsewhere.path().into());
        assert_eq!(
            search(Index::at(world.index()).cache_dir()),
            computed,
            "{typed}"
        );
        let after = kept(&world);
        for ((path, written), (same, served)) in before.iter().zip(&after) {
            assert_eq!(path, same, "{typed}");
            assert!(
                served > written,
                "{typed}: {} did not serve",
                path.display()
            );
        }
        assert_eq!(before.len(), after.len(), "{typed}");
    }
}

#[test]
fn a_build_keeps_nothing_unless_asked_to() {
    let world = World::new();
    assert_eq!(world.build()["cached"], 0);
    assert_eq!(kept(&world), []);
}

#[test]
fn a_full_or_faulty_cache_is_told_once_and_stops_no_build() {
    let build = |world: &World, limit: &str, what: &str| {
        let mut command = world.bt_index(["build", "photos", "--json", "--cache", "split"]);
        let assert = command
            .args(["--cache-limit", limit, "--batch", "1"])
            .assert()
            .success();
        let report = json(&assert);
        assert_eq!(
            (&report["embedded"], &report["cached"]),
            (&5.into(), &0.into())
        );
        let stderr = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
        assert_eq!(stderr.matches(what).count(), 1, "{stderr}");
    };
    let world = World::new();
    build(&world, "0", "the cache is full");
    assert_eq!(kept(&world), []);
    let world = World::new();
    std::fs::create_dir(world.index()).expect("creates");
    std::fs::write(Index::at(world.index()).cache_dir(), b"no folder").expect("writes");
    build(&world, "2048", "the cache cannot be written");
}
