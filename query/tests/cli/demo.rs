//! `--model demo`: the checkpoint in the box, on the gallery beside it.

use std::path::Path;

use super::{World, bt_query, json, stdout};

/// An index of the gallery's first pictures.
fn gallery() -> World {
    let gallery = Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo/gallery");
    World::by("demo", |photos| {
        for number in 1..=40 {
            let name = format!("{number:04}.jpg");
            std::fs::copy(gallery.join(&name), photos.join(&name)).expect("copies");
        }
    })
}

#[test]
fn an_index_remembers_the_demo_model_by_its_name() {
    let index = bridgetower::index::IndexReader::open(&gallery().index()).expect("opens");
    assert_eq!(index.model().name, "demo");
}

#[test]
fn words_find_the_picture_that_shows_them() {
    let world = gallery();
    for (query, picture) in [
        ("a cat by a window", "0001.jpg"),
        ("a birthday cake", "0009.jpg"),
        ("a house in the mountains", "0010.jpg"),
        ("a bicycle on the beach", "0011.jpg"),
    ] {
        let hits = stdout(&mut world.bt_query([query, "-f"]));
        let first = hits.lines().next().unwrap_or_default();
        assert!(first.ends_with(picture), "{query}: {hits}");
    }
}

#[test]
fn results_end_where_the_calibration_says() {
    let world = gallery();
    let options = bridgetower::engine::EngineOptions::default();
    let engine = bridgetower::Engine::load("demo", &options, &mut |_, _, _| {}).expect("loads");
    let least = f64::from(engine.min_score().expect("is calibrated"));
    let scores = |arguments: &[&str]| -> Vec<f64> {
        let mut command = world.bt_query(["a birthday cake", "--json", "--top", "40"]);
        let answer = json(&mut command.args(arguments).assert().success());
        let hits = answer["hits"].as_array().expect("a list");
        let score = |hit: &serde_json::Value| hit["match_probability"].as_f64().expect("a score");
        hits.iter().map(score).collect()
    };
    let all = scores(&["--min-score", "0"]);
    assert_eq!(all.len(), 40);
    let kept: Vec<f64> = all.into_iter().filter(|score| *score >= least).collect();
    assert!(kept.len() < 40 && !kept.is_empty());
    assert_eq!(scores(&[]), kept);
}

#[test]
fn a_damaged_unpacked_file_is_written_again() {
    let cache = tempfile::tempdir().expect("tempdir");
    let embed = || {
        let mut command = bt_query();
        command
            .env("XDG_CACHE_HOME", cache.path())
            .env("HOME", cache.path());
        command.args(["embed", "--model", "demo", "--text", "a cat", "--json"]);
        stdout(&mut command)
    };
    let whole = embed();
    let unpacked = walk(cache.path(), "model.safetensors");
    std::fs::write(&unpacked, b"damaged").expect("writes");
    assert_eq!(embed(), whole);
    assert!(std::fs::metadata(&unpacked).expect("there").len() > 1_000_000);
}

/// The file `name` somewhere below `dir`.
fn walk(dir: &Path, name: &str) -> std::path::PathBuf {
    let mut folders = vec![dir.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("reads") {
            let path = entry.expect("reads").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().is_some_and(|n| n == name) {
                return path;
            }
        }
    }
    panic!("no {name} below {}", dir.display());
}
