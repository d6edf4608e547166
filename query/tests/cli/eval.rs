//! `bt-query eval` on generated pictures.

use std::path::Path;

use assert_cmd::Command;
use image::{Rgb, RgbImage};
use serde_json::{Value, json};

use super::{bt_query, fixture, json, refused, stdout};

const COLOURS: [(&str, [u8; 3]); 4] = [
    ("red", [200, 40, 40]),
    ("green", [40, 160, 70]),
    ("blue", [50, 80, 200]),
    ("yellow", [230, 200, 50]),
];

/// A folder of pictures with their captions, and a query that none of them shows.
fn world() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("tempdir");
    let mut lines = String::new();
    for (i, (name, colour)) in COLOURS.iter().enumerate() {
        let picture = RgbImage::from_fn(80, 60, |x, y| {
            let inside = (20..50).contains(&x) && (10 + i as u32 * 8..40).contains(&y);
            Rgb(if inside { *colour } else { [240, 240, 240] })
        });
        picture
            .save(dir.path().join(format!("{name}.png")))
            .expect("saves");
        let record = json!({
            "image": format!("{name}.png"),
            "caption": format!("a {name} square"),
            "foils": [format!("a square {name}")],
            "cloze": [{"text": format!("a {name} <mask>"), "answer": "square"}],
        });
        lines.push_str(&record.to_string());
        lines.push('\n');
    }
    lines += "{\"image\": null, \"caption\": \"a submarine\"}\n";
    std::fs::write(dir.path().join("set.jsonl"), lines).expect("writes");
    dir
}

fn eval(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = bt_query();
    command
        .current_dir(dir)
        .env("BT_MODEL", fixture("checkpoints/tiny-random"))
        .arg("eval")
        .args(arguments);
    command
}

fn keys(value: &Value) -> Vec<&str> {
    let object = value.as_object().expect("an object");
    object.keys().map(String::as_str).collect()
}

#[test]
fn a_report_has_every_section() {
    let dir = world();
    let report = json(
        &mut eval(dir.path(), &["set.jsonl", "--json", "--k", "2,3"])
            .assert()
            .success(),
    );
    assert_eq!(
        keys(&report),
        [
            "authors",
            "cloze",
            "counts",
            "cut_offs",
            "device",
            "foils",
            "itc",
            "k",
            "latency",
            "model",
            "model_fingerprint",
            "precision",
            "reliability",
            "reranker",
            "search",
            "skipped",
            "threads",
            "unreadable",
            "work"
        ]
    );
    assert_eq!(report["counts"]["photos"], 4);
    assert_eq!(report["counts"]["absent_queries"], 1);
    assert_eq!(report["k"], json!([2, 3]));
    assert_eq!(report["skipped"], json!([]));
    for recall in [
        &report["itc"]["text_to_image"]["recall_at_5"],
        &report["search"][1]["recall_at_5"],
        &report["authors"][0]["image_to_text"]["recall_at_10"],
    ] {
        assert_eq!(recall.as_f64(), Some(1.0), "there are but four photos");
    }
    assert_eq!(report["search"][1]["k"], 3);
    // Three photos are read for each of four captions and the absent query.
    assert_eq!(report["reliability"]["pairs"], 15);
    assert_eq!(
        report["reliability"]["bins"].as_array().map(Vec::len),
        Some(10)
    );
    assert_eq!(report["foils"]["pairs"], 4);
    assert_eq!(report["cloze"]["items"], 4);
    let latency = &report["latency"];
    assert!(latency["pair_ms"]["p50"].as_f64().is_some_and(|p| p > 0.0));
    assert_eq!(latency["rerank"][0]["k"], 2);

    let table = stdout(&mut eval(dir.path(), &["set.jsonl", "--k", "2,3"]));
    for line in [
        "search, 3 read (ITM)",
        "authors' protocol, k = 2",
        "expected calibration error",
        "--min-score",
        "first guess",
        "pair: cross-modal layers",
    ] {
        assert!(table.contains(line), "{line} is not in\n{table}");
    }
}

#[test]
fn embeddings_alone_can_be_measured() {
    let dir = world();
    let report = json(
        &mut eval(
            dir.path(),
            &["set.jsonl", "--json", "--no-match", "--limit", "2"],
        )
        .assert()
        .success(),
    );
    assert_eq!(report["counts"]["photos"], 2);
    assert_eq!(report["counts"]["captions"], 2);
    assert!(report["itc"].is_object());
    assert!(report.get("search").is_none() && report.get("cloze").is_none());
    assert_eq!(report["foils"]["itm"], Value::Null);
    assert!(
        report["skipped"]
            .as_array()
            .is_some_and(|s| s.iter().any(|s| s["section"] == "search"))
    );
}

#[test]
fn an_unreadable_picture_is_left_out_and_counted() {
    let dir = world();
    std::fs::write(dir.path().join("green.png"), "no picture").expect("writes");
    let mut assert = eval(dir.path(), &["set.jsonl", "--json", "--k", "4"])
        .assert()
        .success();
    let report = json(&mut assert);
    assert_eq!(report["counts"]["photos"], 3);
    assert_eq!(report["counts"]["unreadable"], 1);
    assert_eq!(report["counts"]["captions"], 3);
    assert!(
        report["unreadable"][0]["path"]
            .to_string()
            .contains("green")
    );
    let stderr = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    assert!(stderr.contains("green.png left out"), "{stderr}");
}

#[test]
fn karpathys_split_file_is_read() {
    let dir = world();
    let images: Vec<Value> = COLOURS
        .iter()
        .map(|(name, _)| {
            json!({
                "filename": format!("{name}.png"),
                "split": if *name == "red" { "val" } else { "test" },
                "sentences": (0..6).map(|i| json!({"raw": format!("{name} {i}")})).collect::<Vec<_>>(),
            })
        })
        .collect();
    let captions = tempfile::tempdir().expect("tempdir");
    let file = captions.path().join("dataset_flickr30k.json");
    std::fs::write(&file, json!({"images": images}).to_string()).expect("writes");
    let file = file.to_str().expect("UTF-8");
    let arguments = [file, "--images", ".", "--json", "--no-match"];
    let report = json(&mut eval(dir.path(), &arguments).assert().success());
    assert_eq!(report["counts"]["photos"], 3);
    assert_eq!(report["counts"]["captions"], 15);
    let split = [file, "--images", ".", "--split", "train"];
    let stderr = refused(&mut eval(dir.path(), &split), "it has test, val");
    assert!(stderr.contains("hint: "), "{stderr}");
}

#[test]
fn faulty_files_are_refused() {
    let dir = world();
    refused(&mut eval(dir.path(), &["nowhere.jsonl"]), "nowhere.jsonl");
    for (content, what) in [
        ("", "lists no pictures"),
        (
            "{\"image\": \"red.png\", \"caption\": \"x\"}\n{\"image\"\n",
            "line 2",
        ),
        (
            "{\"image\": \"pink.png\", \"caption\": \"x\"}\n",
            "pink.png",
        ),
    ] {
        std::fs::write(dir.path().join("bad.jsonl"), content).expect("writes");
        let stderr = refused(&mut eval(dir.path(), &["bad.jsonl"]), what);
        assert!(stderr.contains("hint: each line is a record"), "{stderr}");
    }
    refused(
        &mut eval(dir.path(), &["set.jsonl", "--k", "0"]),
        "invalid value",
    );
}
