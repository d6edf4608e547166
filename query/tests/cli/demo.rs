//! `--model demo`: the checkpoint in the box, on the gallery beside it.

use std::path::Path;

use assert_cmd::Command;

use super::{bt_query, json, stdout};

/// An index of the gallery's first pictures, made by the library from the folder that the program embeds.
fn index_of_gallery(dir: &Path) {
    let gallery = Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo/gallery");
    let photos = dir.join("photos");
    std::fs::create_dir(&photos).expect("creates");
    for number in 1..=40 {
        let name = format!("{number:04}.jpg");
        std::fs::copy(gallery.join(&name), photos.join(&name)).expect("copies");
    }
    let options = bridgetower::EngineOptions::default();
    let engine = bridgetower::Engine::load("demo", &options, &mut |_, _, _| {}).expect("loads");
    let pins = engine.pins().expect("ITC");
    assert_eq!(pins.model_name, "demo");
    let mut writer = bridgetower::IndexWriter::open(&dir.join("index"), &pins).expect("opens");
    let cancel = std::sync::atomic::AtomicBool::new(false);
    let options = bridgetower::BuildOptions::default();
    bridgetower::build(
        &mut writer,
        &engine,
        &[photos],
        &options,
        &cancel,
        &mut |_| {},
    )
    .expect("builds");
}

fn asked(dir: &Path, query: &str) -> Command {
    let mut command = bt_query();
    command
        .current_dir(dir)
        .env("BT_INDEX", dir.join("index"))
        .arg(query);
    command
}

#[test]
fn words_find_the_picture_that_shows_them() {
    let dir = tempfile::tempdir().expect("tempdir");
    index_of_gallery(dir.path());
    for (query, picture) in [
        ("a cat by a window", "0001.jpg"),
        ("a birthday cake", "0009.jpg"),
        ("a house in the mountains", "0010.jpg"),
        ("a bicycle on the beach", "0011.jpg"),
    ] {
        let hits = stdout(asked(dir.path(), query).arg("-f"));
        let first = hits.lines().next().unwrap_or_default();
        assert!(first.ends_with(picture), "{query}: {hits}");
    }
}

#[test]
fn results_end_where_the_calibration_says() {
    let dir = tempfile::tempdir().expect("tempdir");
    index_of_gallery(dir.path());
    let options = bridgetower::EngineOptions::default();
    let engine = bridgetower::Engine::load("demo", &options, &mut |_, _, _| {}).expect("loads");
    let least = f64::from(engine.min_score().expect("is calibrated"));
    let scores = |arguments: &[&str]| -> Vec<f64> {
        let answer = json(
            &mut asked(dir.path(), "a birthday cake")
                .args(["--json", "--top", "40"])
                .args(arguments)
                .assert()
                .success(),
        );
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
