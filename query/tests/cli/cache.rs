//! What reranking keeps for the next query.

use std::fs;
use std::path::{Path, PathBuf};

use super::World;

/// The kept files.
fn kept(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(kept(&path));
        } else if path.file_name() != Some("about.json".as_ref()) {
            files.push(path);
        }
    }
    files.sort();
    files
}

#[test]
fn the_second_query_answers_the_same_from_what_the_first_kept() {
    for level in ["pixels", "split", "full"] {
        let world = World::new();
        let cache = world.index().join("cache");
        let ask = || world.hits(["a cat by a window", "--rerank", "3", "--cache", level]);
        let first = ask();
        let files = kept(&cache);
        assert_eq!(files.len(), 3, "{level}");
        let contents: Vec<_> = files
            .iter()
            .map(|file| fs::read(file).expect("reads"))
            .collect();
        assert_eq!(ask(), first, "{level}");
        assert_eq!(kept(&cache), files, "{level}");

        // Damage is mended, and changes nothing.
        for file in &files {
            fs::write(file, b"BTKEPT01 but no more").expect("writes");
        }
        assert_eq!(ask(), first, "{level}");
        let mended: Vec<_> = files
            .iter()
            .map(|file| fs::read(file).expect("reads"))
            .collect();
        assert_eq!(mended, contents, "{level}");
    }
}

#[test]
fn nothing_is_kept_where_none_is_asked_for_or_there_is_no_room() {
    let world = World::new();
    let cache = world.index().join("cache");
    world.hits(["a cat", "--rerank", "3", "--cache", "none"]);
    world.hits(["a cat", "--no-rerank"]);
    assert!(!cache.exists());
    world.hits(["a cat", "--rerank", "3", "--cache-limit", "0"]);
    assert_eq!(kept(&cache).len(), 0);
}

#[test]
fn a_photo_that_is_gone_is_no_hit_though_it_was_kept() {
    let world = World::new();
    let ask = || world.hits(["a cat", "--rerank", "10"]);
    let gone = ask()[0]["path"].as_str().expect("a path").to_owned();
    fs::remove_file(&gone).expect("removes");
    assert!(ask().iter().all(|hit| hit["path"] != gone.as_str()));
}

#[test]
fn a_cache_that_cannot_be_written_is_a_warning() {
    let world = World::new();
    fs::write(world.index().join("cache"), b"no folder").expect("writes");
    let assert = world
        .bt_query(["a cat", "--rerank", "3"])
        .assert()
        .success();
    let stderr = String::from_utf8_lossy(&assert.get_output().stderr);
    assert_eq!(
        stderr.matches("the cache cannot be written").count(),
        1,
        "{stderr}"
    );
}

#[test]
fn a_photo_that_was_edited_is_neither_scored_nor_drawn_as_the_one_that_was_indexed() {
    let world = World::new();
    let photos = world.dir.path().join("photos");
    let (path, copy) = (photos.join("square.png"), photos.join("wide.png"));
    let ask = || world.hits(["a cat", "--rerank", "10"]);
    let right = ask();
    let old = fs::read(&path).expect("reads");
    fs::copy(&copy, &path).expect("edits");
    for _ in 0..2 {
        let mut command = world.bt_query(["a cat", "--rerank", "10", "--json"]);
        let assert = command
            .args(["--contact-sheet", "hits.png"])
            .assert()
            .success();
        let answer: serde_json::Value =
            serde_json::from_slice(&assert.get_output().stdout).expect("JSON");
        let hits = answer["hits"].as_array().expect("a list");
        assert_eq!(hits.len(), right.len() - 1);
        assert!(hits.iter().all(|hit| {
            !hit["path"]
                .as_str()
                .expect("a path")
                .ends_with("square.png")
        }));
        let stderr = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
        assert_eq!(stderr.matches("square.png").count(), 1, "{stderr}");
        assert!(stderr.contains("bt-index build"), "{stderr}");
    }
    fs::write(&path, old).expect("puts back");
    assert_eq!(ask(), right);
}
