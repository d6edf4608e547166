//! What is typed, and what it means.

use serde_json::{Value, json};

use crate::{World, bt_query, fixture, json as answer, refused};

/// The answer to a query by embeddings alone.
fn ask(world: &World, arguments: &[&str]) -> Value {
    let mut command = world.bt_query(["--no-rerank", "--json"]);
    answer(&mut command.args(arguments).assert().success())
}

fn stderr(world: &World, arguments: &[&str]) -> String {
    let mut command = world.bt_query(["--no-rerank"]);
    let output = command
        .args(arguments)
        .assert()
        .success()
        .get_output()
        .clone();
    String::from_utf8(output.stderr).expect("UTF-8")
}

fn words(words: &str, weight: f64) -> Value {
    json!({"text": words, "weight": weight})
}

#[test]
fn a_time_or_a_ratio_is_no_weight_in_a_query_of_one_term() {
    let world = World::new();
    for typed in [
        "12:30 clock",
        "3:2 aspect ratio photo",
        "2024: a cat",
        "2:cat",
    ] {
        assert_eq!(
            ask(&world, &[typed])["terms"],
            json!([words(typed, 1.0)]),
            "{typed}"
        );
    }
    assert!(stderr(&world, &["2:cat", "-v"]).contains("is the only term"));
    assert!(!stderr(&world, &["a 2:1 score", "-v"]).contains("is the only term"));
    let both = ask(&world, &["2:cat", "-a", "0.1:dog"])["terms"].clone();
    assert_eq!(both, json!([words("cat", 2.0), words("dog", 0.1)]));
    let photo = ask(&world, &["2:./photos/square.png"])["terms"].clone();
    assert_eq!(
        photo,
        json!([{"image": "./photos/square.png", "weight": 1.0}])
    );
}

#[test]
fn json_says_all_that_was_asked() {
    let world = World::new();
    let photo = "./photos/wide.png";
    let asked = [
        "a beach",
        "-a",
        photo,
        "-s",
        "2:people",
        "--after",
        "2001",
        "--near",
        "1,2,3",
        "--camera",
        "eos",
        "--path",
        "*.png",
        "--path",
        "x/**",
        "--min-size",
        "1MP",
    ];
    let mut command = world.bt_query(["--json", "--min-score", "0.3"]);
    let found = answer(&mut command.args(asked).assert().code(1));
    assert_eq!(found["query"], "a beach");
    assert_eq!(
        found["terms"],
        json!([words("a beach", 1.0), {"image": photo, "weight": 1.0}, words("people", -2.0)])
    );
    assert_eq!(
        found["filters"],
        json!({
            "after": "2001-01-01T00:00:00",
            "near": {"latitude": 1.0, "longitude": 2.0, "km": 3.0},
            "camera": "eos",
            "path": ["*.png", "x/**"],
            "min_size": "1MP",
        })
    );
    assert_eq!(found["min_score"], 0.3);
    let plain = ask(&world, &["a cat"]);
    assert_eq!(
        (&plain["filters"], &plain["min_score"]),
        (&json!({}), &Value::Null)
    );
}

#[test]
fn signs_between_terms_add_and_subtract_as_in_rclip() {
    let world = World::new();
    let photo = "./photos/wide.png";
    let signed = ask(
        &world,
        &["horse", "+", "2:stripes", "+", "a zoo", "-", photo],
    );
    assert_eq!(
        signed["query"],
        "horse + 2:stripes + a zoo - ./photos/wide.png"
    );
    assert_eq!(
        signed["terms"],
        json!([
            words("horse", 1.0),
            words("stripes", 2.0),
            words("a zoo", 1.0),
            {"image": photo, "weight": -1.0},
        ])
    );
    let flags = ask(
        &world,
        &["horse", "-s", photo, "-a", "2:stripes", "-a", "a zoo"],
    );
    assert_eq!(signed["hits"], flags["hits"]);
    let subtracted = ask(&world, &["horse", "-", photo, "+", "a zoo"]);
    assert_eq!(subtracted["terms"][1]["weight"], -1.0);
    assert_eq!(
        ask(&world, &["a horse", "-s", "a cow", "--add", "a zoo"])["terms"],
        json!([
            words("a horse", 1.0),
            words("a zoo", 1.0),
            words("a cow", -1.0)
        ])
    );

    let quote = |arguments: &[&str], advice: &str| {
        let stderr = refused(bt_query().args(arguments), "quote the query");
        assert!(stderr.contains(advice), "{stderr}");
    };
    quote(&["a", "horse"], r#"bt-query "a horse""#);
    quote(
        &["horse", "+", "two", "stripes"],
        r#"bt-query "horse" + "two stripes""#,
    );
    quote(&["a", "b", "-", "c"], r#"bt-query "a b" - "c""#);
    refused(bt_query().args(["horse", "+"]), "missing after +");
    refused(
        bt_query().args(["horse", "+", "-", "x"]),
        "missing before -",
    );
}

#[test]
fn what_shall_not_be_shown_may_be_all_that_is_asked() {
    let world = World::new();
    for arguments in [&["-s", "people"][..], &["-", "people"]] {
        let mut command = world.bt_query(["--json"]);
        let found = answer(&mut command.args(arguments).assert().success());
        assert_eq!(found["terms"], json!([words("people", -1.0)]));
        let hits = found["hits"].as_array().expect("a list");
        let likeness = world.hits(["people"]);
        assert_eq!(hits.len(), likeness.len());
        // A photo shows people or it does not.
        for hit in hits {
            let same = likeness.iter().find(|other| other["path"] == hit["path"]);
            let p = |hit: &Value| hit["match_probability"].as_f64().expect("a number");
            assert!((p(hit) + p(same.expect("is there")) - 1.0).abs() < 1e-3);
        }
    }
}

#[test]
fn file_urls_are_read_as_file_managers_write_them() {
    let world = World::new();
    let photos = world.dir.path().join("photos");
    std::fs::rename(photos.join("square.png"), photos.join("a b%20é.png")).expect("renames");
    let folder = photos.to_str().expect("UTF-8");
    for url in [
        format!("file://{folder}/a%20b%2520%C3%A9.png"),
        format!("file://localhost{folder}/a%20b%2520é.png"),
    ] {
        let terms = ask(&world, &[&url])["terms"].clone();
        assert_eq!(terms[0]["image"], format!("{folder}/a b%20é.png"), "{url}");
    }
    let stderr = refused(&mut world.bt_query(["file://nas/photos/a.png"]), "\"nas\"");
    assert!(stderr.contains("hint: "), "{stderr}");
}

#[test]
fn what_looks_like_a_photo_and_is_none_is_not_taken_for_words() {
    let world = World::new();
    let stderr_of = |query: &str| stderr(&world, &[query]);
    assert!(stderr_of("photos/square.png").contains("./photos/square.png searches by the photo"));
    assert_eq!(stderr_of("photos/no-such.png"), "");
    assert_eq!(stderr_of("photos"), "");

    let url = "https://example.org/cat.jpg";
    let stderr = refused(&mut world.bt_query([url]), url);
    assert!(stderr.contains("hint: download the picture"), "{stderr}");
    for query in ["./no-such.png", "/r/aww cats", "2:./no-such.png"] {
        let stderr = refused(&mut world.bt_query([query]), "No such file");
        assert!(stderr.contains("begin with a word"), "{stderr}");
    }
    refused(&mut world.bt_query(["./photos"]), "./photos is a folder");
    // Which of them is broken?
    let broken = world.dir.path().join("broken.png");
    std::fs::write(broken, b"no picture").expect("writes");
    refused(
        &mut world.bt_query(["a cat", "-a", "./broken.png"]),
        "./broken.png",
    );
}

#[cfg(unix)]
#[test]
fn a_path_below_the_home_folder_is_found() {
    let world = World::new();
    let mut command = world.bt_query(["~/photos/square.png", "--json"]);
    let home = world.dir.path().canonicalize().expect("is there");
    command
        .env("HOME", &home)
        .env("XDG_CACHE_HOME", home.join("cache"))
        .env("BT_MODEL", fixture("checkpoints/tiny-random"));
    let found = answer(&mut command.assert().success());
    let path = home.join("photos/square.png");
    assert_eq!(found["terms"][0]["image"], path.to_str().expect("UTF-8"));
    assert!(
        found["hits"][0]["path"]
            .as_str()
            .is_some_and(|p| p.ends_with("square.png"))
    );
}
