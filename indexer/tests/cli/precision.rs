//! `bt-index check-precision`: on a CPU without AVX-512 there is nothing to compare, and it says so.

use bridgetower::model::Format;
use serde_json::{Value, json};

use super::{World, json};

/// The report of `bt-index check-precision ARGUMENTS --json`; none where the CPU has f32 only.
fn check<const N: usize>(world: &World, arguments: [&str; N]) -> Option<Value> {
    let mut command = world.bt_index(["check-precision", "--json"]);
    let assert = command.args(arguments).assert();
    if Format::Bf16.beats_f32() || Format::Int8.is_supported() {
        return Some(json(&assert.success()));
    }
    let stderr = String::from_utf8_lossy(&assert.code(2).get_output().stderr).into_owned();
    assert!(stderr.contains("nothing to compare"), "{stderr}");
    None
}

#[test]
fn the_photos_of_a_folder_are_asked_in_every_format() {
    let world = World::new();
    std::fs::write(world.photos().join("broken.png"), b"no picture").expect("writes");
    let Some(report) = check(&world, ["photos"]) else {
        return;
    };
    assert_eq!(report["photos"], 5);
    let unreadable = report["unreadable"].as_array().expect("a list");
    assert_eq!(unreadable.len(), 1);
    assert!(unreadable[0]["path"].to_string().contains("broken.png"));
    assert_eq!(report["are_texts_built_in"], true);
    assert_eq!(report["exact"]["precision"], "f32");
    // The default format, if it is not f32, and int8.
    let is_default = Format::Bf16.beats_f32();
    let mut expected = Vec::from_iter(is_default.then_some("bf16"));
    expected.extend(Format::Int8.is_supported().then_some("int8"));
    let formats = report["formats"].as_array().expect("a list");
    let names: Vec<&str> = formats
        .iter()
        .filter_map(|f| f["precision"].as_str())
        .collect();
    assert_eq!(names, expected);
    for format in formats {
        let cosine = format["embeddings"]["lowest_cosine"].as_f64();
        assert!(
            cosine.is_some_and(|c| c > 0.95 && c < 1.000_001),
            "{format}"
        );
        let tau = format["matches"]["mean_tau"].as_f64();
        assert!(
            tau.is_some_and(|tau| (-1.0..=1.0).contains(&tau)),
            "{format}"
        );
        assert!(format["matches"]["largest_difference"].as_f64() > Some(0.0));
        assert!(format["speed"]["pairs"].as_f64() > Some(0.0));
        assert!(format["is_faithful"].is_boolean());
    }
    assert!(!world.index().exists());
}

#[test]
fn photos_and_texts_come_from_the_index_or_from_files() {
    let world = World::new();
    world.build();
    let path = |name: &str| world.photos().with_file_name(name);
    std::fs::write(path("texts.txt"), "a cat\n\n  two dogs \n").expect("writes");
    let records = [
        json!({"image": "photos/gray.png", "captions": ["a river", "a lake"]}),
        json!({"image": "photos/square.png", "caption": "a tree"}),
        json!({"image": null, "caption": "a submarine"}),
    ];
    let records: Vec<String> = records.iter().map(Value::to_string).collect();
    std::fs::write(path("set.jsonl"), records.join("\n")).expect("writes");

    let Some(report) = check(&world, ["--texts", "texts.txt", "--photos", "3"]) else {
        return;
    };
    assert_eq!(report["photos"], 3);
    assert_eq!(report["texts"], json!(["a cat", "two dogs"]));
    assert_eq!(report["are_texts_built_in"], false);

    let report = check(&world, ["--texts", "set.jsonl", "--queries", "2"]).expect("as before");
    assert_eq!(report["photos"], 2);
    assert_eq!(report["texts"], json!(["a river", "a tree"]));
}

#[test]
fn a_table_ends_in_a_verdict() {
    let world = World::new();
    if check(&world, ["photos"]).is_none() {
        return;
    }
    let output = world
        .bt_index(["check-precision", "photos"])
        .assert()
        .success();
    let table = String::from_utf8_lossy(&output.get_output().stdout).into_owned();
    for line in [
        "built in (--texts FILE",
        "Kendall's τ",
        " your order: use --precision ",
        "wanted",
    ] {
        assert!(table.contains(line), "{line} is not in\n{table}");
    }
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let world = World::new();
    let refused = |arguments: &[&str], what: &str| {
        let output = world
            .bt_index(["check-precision"])
            .args(arguments)
            .assert()
            .code(2);
        let stderr = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
        assert!(
            stderr.starts_with("error: ") && stderr.contains(what),
            "{stderr}"
        );
    };
    refused(&["photos", "--precision", "f32"], "--precision bf16");
    refused(&[], "no index");
    refused(&["photos", "--texts", "nowhere.txt"], "nowhere.txt");
    std::fs::write(world.photos().with_file_name("empty.txt"), "\n").expect("writes");
    refused(&["photos", "--texts", "empty.txt"], "holds no text");
    refused(&["photos", "--photos", "1"], "invalid value");
}
