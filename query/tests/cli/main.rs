//! `bt-query` as its users run it, on a small random-weight checkpoint.

#![cfg_attr(
    not(target_os = "linux"),
    allow(
        dead_code,
        unused_imports,
        reason = "some tests, and what they need, are for Linux or Unix"
    )
)]

mod cache;
mod contact_sheet;
mod demo;
mod eval;
mod filters;
mod hub;
mod manners;
mod models;
#[cfg(unix)]
mod preview;
mod queries;
#[cfg(unix)]
mod terminal;
mod terms;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use assert_cmd::Command;
use bridgetower::Engine;
use bridgetower::engine::EngineOptions;
use bridgetower::index::IndexWriter;
use bridgetower::ingest::{BuildOptions, build};
use serde_json::Value;

const PHOTOS: [&str; 6] = [
    "landscape.png",
    "portrait.png",
    "square.png",
    "palette.png",
    "gray.png",
    "wide.png",
];

/// The folder `tests/fixtures/<path>` of the workspace.
pub(crate) fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/fixtures")
        .join(path)
}

/// An index of a few pictures.
struct World {
    dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self::of(|photos| {
            for name in PHOTOS {
                std::fs::copy(fixture("pixels").join(name), photos.join(name)).expect("copies");
            }
        })
    }

    /// An index of what `fill` puts into a folder, by the small random-weight checkpoint.
    fn of(fill: impl Fn(&Path)) -> Self {
        let model = fixture("checkpoints/tiny-random");
        Self::by(model.to_str().expect("UTF-8"), fill)
    }

    /// An index by `model` of what `fill` puts into a folder.
    fn by(model: &str, fill: impl Fn(&Path)) -> Self {
        let world = Self {
            dir: tempfile::tempdir().expect("tempdir"),
        };
        let photos = world.dir.path().join("photos");
        std::fs::create_dir(&photos).expect("creates");
        fill(&photos);
        let engine =
            Engine::load(model, &EngineOptions::default(), &mut |_, _, _| {}).expect("loads");
        let mut writer =
            IndexWriter::open(&world.index(), &engine.identity().expect("ITC")).expect("opens");
        let (options, cancel) = (BuildOptions::default(), AtomicBool::new(false));
        build(
            &mut writer,
            &engine,
            &[photos],
            &options,
            &cancel,
            &mut |_| {},
        )
        .expect("builds");
        world
    }

    fn index(&self) -> PathBuf {
        self.dir.path().join("index")
    }

    fn bt_query<const N: usize>(&self, arguments: [&str; N]) -> Command {
        let mut command = bt_query();
        command
            .current_dir(self.dir.path())
            .env("BT_INDEX", self.index())
            .args(arguments);
        command
    }

    /// The hits of a search as JSON documents.
    fn hits<const N: usize>(&self, arguments: [&str; N]) -> Vec<Value> {
        let answer = json(&mut self.bt_query(arguments).arg("--json").assert().success());
        answer["hits"].as_array().expect("a list").clone()
    }
}

fn bt_query() -> Command {
    Command::from_std(program())
}

/// The program, with nothing of the caller's environment that could matter.
fn program() -> std::process::Command {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_bt-query"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("BT_")) {
        command.env_remove(name);
    }
    command.env("HF_HUB_OFFLINE", "1");
    command
}

fn json(assert: &mut assert_cmd::assert::Assert) -> Value {
    serde_json::from_slice(&assert.get_output().stdout).expect("JSON on stdout")
}

fn stdout(command: &mut Command) -> String {
    let output = command.assert().success().get_output().clone();
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Runs a command that must fail as users want it: exit 2, one line that says what.
fn refused(command: &mut Command, what: &str) -> String {
    let output = command.assert().code(2).get_output().clone();
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(stderr.starts_with("error: "), "{stderr}");
    assert!(
        stderr
            .lines()
            .next()
            .is_some_and(|line| line.contains(what)),
        "{stderr}"
    );
    assert!(output.stdout.is_empty());
    stderr
}

fn paths(hits: &[Value]) -> Vec<&str> {
    hits.iter()
        .map(|hit| hit["path"].as_str().expect("a path"))
        .collect()
}

#[test]
fn reranked_hits_come_first_and_best_first() {
    let world = World::new();
    let hits = world.hits(["a cat by a window", "--rerank", "4"]);
    assert_eq!(hits.len(), PHOTOS.len());
    let probability = |hit: &Value| hit["match_probability"].as_f64();
    let (reranked, rest) = hits.split_at(4);
    assert!(reranked.is_sorted_by(|a, b| probability(a) >= probability(b)));
    assert!(rest.iter().all(|hit| probability(hit).is_none()));
    assert!(rest.is_sorted_by(|a, b| a["similarity"].as_f64() >= b["similarity"].as_f64()));
    // Reranking changes the order of the best candidates, not which ones they are.
    let plain = world.hits(["a cat by a window", "--no-rerank"]);
    let (mut best, mut reranked) = (paths(&plain[..4]), paths(reranked));
    best.sort_unstable();
    reranked.sort_unstable();
    assert_eq!(best, reranked);
}

#[test]
fn a_photo_finds_itself() {
    let world = World::new();
    for query in [
        "./photos/square.png".to_owned(),
        format!("file://{}/photos/square.png", world.dir.path().display()),
    ] {
        let hits = world.hits([&query]);
        assert!(
            hits[0]["path"]
                .as_str()
                .is_some_and(|path| path.ends_with("square.png"))
        );
        assert!(
            hits[0]["similarity"]
                .as_f64()
                .is_some_and(|similarity| similarity > 0.9999)
        );
        assert!(hits[0]["match_probability"].is_null());
    }
}

#[test]
fn terms_are_added_weighted_and_subtracted() {
    let world = World::new();
    let similarities = |hits: Vec<Value>| -> Vec<(String, String)> {
        let mut rows: Vec<_> = hits
            .iter()
            .map(|hit| {
                (
                    hit["path"].to_string(),
                    format!("{:.4}", hit["similarity"].as_f64().expect("a number")),
                )
            })
            .collect();
        rows.sort();
        rows
    };
    let alone = similarities(world.hits(["a cat", "--no-rerank"]));
    let doubled = similarities(world.hits(["2:a cat", "-a", "2:a cat", "--no-rerank"]));
    let cancelled = similarities(world.hits(["2:a cat", "-s", "a cat", "--no-rerank"]));
    let added = similarities(world.hits(["a cat", "-a", "./photos/wide.png", "--no-rerank"]));
    assert_eq!(alone, doubled);
    assert_eq!(alone, cancelled);
    assert_ne!(alone, added);
    refused(
        &mut world.bt_query(["a cat", "-s", "a cat"]),
        "no direction",
    );

    // What must not be shown turns its match probability round.
    let shown = world.hits(["a cat"]);
    let both = world.hits(["a cat", "-s", "a red house"]);
    assert!(
        shown
            .iter()
            .chain(&both)
            .all(|hit| hit["match_probability"].is_f64())
    );
    assert_ne!(paths(&shown).len(), 0);
}

#[test]
fn a_cut_off_ends_the_results_and_finding_nothing_is_exit_1() {
    let world = World::new();
    let all = world.hits(["a cat"]);
    let middle = all[2]["match_probability"].as_f64().expect("reranked");
    let cut = world.hits(["a cat", "--min-score", &middle.to_string()]);
    assert_eq!(cut.len(), 3);
    let none = world
        .bt_query(["a cat", "--min-score", "1"])
        .assert()
        .code(1)
        .get_output()
        .clone();
    assert!(none.stdout.is_empty());
}

#[test]
fn every_output_form_lists_the_same_photos() {
    let world = World::new();
    let hits = world.hits(["a cat", "--top", "3"]);
    let expected = paths(&hits);
    assert_eq!(expected.len(), 3);

    let form = |flag: &str| stdout(&mut world.bt_query(["a cat", "--top", "3", flag]));
    assert_eq!(form("-f").lines().collect::<Vec<_>>(), expected);
    assert_eq!(
        form("-0").split_terminator('\0').collect::<Vec<_>>(),
        expected
    );
    let jsonl: Vec<Value> = form("--jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(jsonl, hits);
    let csv = form("--csv");
    assert_eq!(
        csv.lines().next(),
        Some("rank,score,match_probability,similarity,path,path_hex")
    );
    assert_eq!(csv.lines().count(), 4);
    let piped = stdout(&mut world.bt_query(["a cat", "--top", "3"]));
    for (line, hit) in piped.lines().zip(&hits) {
        let (score, path) = line.split_once('\t').expect("score, tab, path");
        assert_eq!(path, hit["path"]);
        let score: f64 = score.parse().expect("a number");
        assert!((score - hit["score"].as_f64().expect("a number")).abs() < 1e-4);
    }
}

#[test]
fn photos_that_went_away_are_left_out_and_said_so() {
    let world = World::new();
    std::fs::remove_file(world.dir.path().join("photos/gray.png")).expect("deletes");
    let output = world
        .bt_query(["a cat", "-f"])
        .assert()
        .success()
        .get_output()
        .clone();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).lines().count(),
        PHOTOS.len() - 1
    );
    assert!(String::from_utf8_lossy(&output.stderr).contains("gray.png"));
}

#[test]
fn bad_queries_are_refused() {
    let world = World::new();
    let stderr = refused(&mut world.bt_query([""]), "the query is empty");
    assert!(stderr.contains("hint: describe"), "{stderr}");
    refused(&mut world.bt_query(["   "]), "empty");
    refused(&mut world.bt_query(["a", "cat"]), "quote the query");
    refused(&mut world.bt_query(["-1:cat"]), "unexpected argument");
    refused(
        &mut world.bt_query(["./no-such-photo.jpg"]),
        "no-such-photo.jpg",
    );
    refused(
        &mut world.bt_query(["cat", "--min-score", "2"]),
        "invalid value",
    );
    refused(
        &mut world.bt_query(["cat", "--device", "tpu"]),
        "invalid value",
    );
    refused(
        &mut world.bt_query(["cat", "--precision", "f16", "--device", "cpu"]),
        "f32, bf16 or int8",
    );
    let other = fixture("checkpoints/sharded-safetensors");
    let other = other.to_str().expect("UTF-8");
    let stderr = refused(
        &mut world.bt_query(["cat", "--no-rerank", "--model", other]),
        "was built with",
    );
    assert!(stderr.contains("hint: "), "{stderr}");

    let nowhere = tempfile::tempdir().expect("tempdir");
    let stderr = refused(
        bt_query().arg("cat").env("BT_INDEX", nowhere.path()),
        "no index",
    );
    assert!(stderr.contains("hint: build one first"), "{stderr}");
}

/// An embedding checkpoint without a matching head reranks with a second one.
#[test]
fn a_second_checkpoint_reranks() {
    let world = World::new();
    let gaudi_like = fixture("checkpoints/old-bin");
    let answer = json(
        &mut world
            .bt_query(["a cat", "--json", "--rerank-model"])
            .arg(&gaudi_like)
            .assert()
            .success(),
    );
    assert!(
        answer["reranker"]
            .as_str()
            .is_some_and(|name| name.ends_with("old-bin"))
    );
    assert_eq!(answer["reranked"], PHOTOS.len());
}

#[test]
fn a_long_text_is_cut_and_said_so() {
    let world = World::new();
    let long = "a cat and ".repeat(100);
    let output = world
        .bt_query([&long, "-f"])
        .assert()
        .success()
        .get_output()
        .clone();
    assert!(String::from_utf8_lossy(&output.stderr).contains("longer than"));
    let quiet = world
        .bt_query([&long, "-f", "--quiet"])
        .assert()
        .success()
        .get_output()
        .clone();
    assert!(quiet.stderr.is_empty());
}

#[test]
fn a_closed_pipe_is_success() {
    use std::process::Stdio;
    let world = World::new();
    let mut query = std::process::Command::new(assert_cmd::cargo::cargo_bin("bt-query"))
        .args(["a cat", "--json", "--index"])
        .arg(world.index())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    drop(query.stdout.take());
    assert!(query.wait().expect("ends").success());
}

/// The numbers of `transformers` for the same picture and words (`tests/fixtures/make_pipeline.py`).
#[test]
fn the_models_other_uses_answer_as_the_reference() {
    let folder = fixture("checkpoints/tiny-random");
    let expected: Value = serde_json::from_str(
        &std::fs::read_to_string(folder.join("pipeline.json")).expect("reads"),
    )
    .expect("parses");
    let caption = &expected["captions"][0];
    let text = caption["text"].as_str().expect("a text");
    let run = |arguments: &[&str]| {
        let mut command = bt_query();
        command
            .args(arguments)
            .args(["--json", "--precision", "f32"])
            .env("BT_MODEL", &folder);
        command.arg("--image").arg(folder.join("picture.png"));
        json(&mut command.assert().success())
    };
    let close = |found: &Value, expected: &Value| {
        let (found, expected) = (found.as_f64().expect("a number"), expected.as_f64());
        assert!(
            (found - expected.expect("a number")).abs() < 2e-4,
            "{found}"
        );
    };

    let matched = run(&["match", "--text", text]);
    close(&matched["similarity"], &caption["similarity"]);
    close(&matched["match_probability"], &caption["match_probability"]);
    close(&matched["itm_logits"][1], &caption["match_logits"][1]);

    let filled = run(&[
        "fill",
        "--text",
        expected["fill"]["text"].as_str().expect("a text"),
    ]);
    assert_eq!(filled["token_ids"], expected["fill"]["argmax_ids"]);
    assert_eq!(
        filled["masks"][0]["position"],
        expected["fill"]["mask_position"]
    );
    assert_eq!(
        filled["masks"][0]["candidates"][0]["token"],
        expected["fill"]["mask_best_words"][0]
    );

    let embedded = run(&["embed", "--text", text]);
    assert_eq!(embedded["embeddings"][0]["kind"], "text");
    assert_eq!(embedded["embeddings"][1]["kind"], "image");
    assert_eq!(
        embedded["embeddings"][1]["embedding"]
            .as_array()
            .map(Vec::len),
        Some(32)
    );

    let contrast = run(&["contrast", "--text", text]);
    close(&contrast["loss"], &0.0.into());
    assert_eq!(
        contrast["text_embeds"][0],
        embedded["embeddings"][0]["embedding"]
    );
}

#[test]
fn a_checkpoint_without_the_head_says_which() {
    let run = |task: &str, model: &str, text: &str| {
        let mut command = bt_query();
        command
            .args([task, "--text", text, "--image"])
            .arg(fixture("pixels/square.png"));
        command.env("BT_MODEL", fixture("checkpoints").join(model));
        refused(&mut command, "has no")
    };
    assert!(run("match", "sharded-safetensors", "a cat").contains("matching (ITM)"));
    assert!(run("fill", "sharded-safetensors", "a <mask>").contains("masked-word (MLM)"));
    assert!(run("embed", "old-bin", "a cat").contains("contrastive (ITC)"));
    assert!(run("contrast", "old-bin", "a cat").contains("contrastive (ITC)"));
}

#[test]
fn completions_and_manual_pages_are_written() {
    for what in ["bash", "zsh", "fish", "man"] {
        assert!(
            stdout(bt_query().args(["generate", what])).contains("bt-query"),
            "{what}"
        );
    }
}
