//! What the program says, to whom, and how it ends where nobody listens.

use std::path::Path;
use std::process::{Output, Stdio};

use assert_cmd::Command;

use super::{World, fixture, json, program, refused, stdout};

/// Every way to write to stdout.
const TELLING: [&[&str]; 14] = [
    &["--help"],
    &["help", "embed"],
    &["--version"],
    &["a cat"],
    &["a cat", "--json"],
    &["a cat", "--jsonl"],
    &["a cat", "--csv"],
    &["a cat", "-f"],
    &["a cat", "-0"],
    &["embed", "--text", "a cat"],
    &["embed", "--text", "a cat", "--json"],
    &["eval", "captions.jsonl", "-k", "2"],
    &["eval", "captions.jsonl", "-k", "2", "--json"],
    &["generate", "fish"],
];

/// Tasks that look at a photo.
const LOOKING: [&[&str]; 3] = [
    &["match", "--text", "a cat"],
    &["fill", "--text", "a <mask>"],
    &["contrast", "--text", "a cat"],
];

fn run(world: &World, arguments: &[&str], stdout: Stdio, stderr: Stdio) -> Output {
    let mut command = program();
    let command = command
        .args(arguments)
        .current_dir(world.dir.path())
        .env("BT_INDEX", world.index())
        .env("BT_MODEL", fixture("checkpoints/tiny-random"))
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr);
    let child = command.spawn().expect("starts");
    child.wait_with_output().expect("ends")
}

/// What comes of each command, with stdout as `stdout` makes it.
fn run_all(stdout: impl Fn() -> Stdio, holds: impl Fn(&[&str], Output)) {
    let world = World::new();
    let captions = [
        r#"{"image": "photos/gray.png", "caption": "a cat"}"#,
        r#"{"image": "photos/wide.png", "caption": "two dogs"}"#,
    ];
    let file = world.dir.path().join("captions.jsonl");
    std::fs::write(file, captions.join("\n")).expect("writes");
    for arguments in TELLING {
        holds(arguments, run(&world, arguments, stdout(), Stdio::piped()));
    }
    for task in LOOKING {
        for json in [&[][..], &["--json"]] {
            let arguments = [task, &["--image", "photos/gray.png"], json].concat();
            holds(
                &arguments,
                run(&world, &arguments, stdout(), Stdio::piped()),
            );
        }
    }
}

/// A pipe that nobody reads any more.
fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    writer.into()
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_device_is_an_error_in_one_line_and_no_panic() {
    let full = || {
        let device = std::fs::File::options().write(true).open("/dev/full");
        device.expect("opens").into()
    };
    run_all(full, |arguments, output| {
        let stderr = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        let reason = "error: cannot write to stdout: No space left on device (os error 28)\n";
        assert_eq!(stderr, reason, "{arguments:?}");
    });
}

#[test]
fn a_closed_pipe_ends_every_task_quietly() {
    run_all(closed, |arguments, output| {
        let stderr = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {stderr}");
        assert_eq!(stderr, "", "{arguments:?}");
    });
}

#[test]
fn a_closed_stderr_does_no_harm() {
    let world = World::new();
    std::fs::remove_file(world.dir.path().join("photos/gray.png")).expect("deletes");
    let long = "a cat and ".repeat(100);
    for (arguments, code) in [
        (&["a cat", "--verbose"][..], 0),
        (&[&long], 0),
        (&["a cat", "--min-score", "1"], 1),
        (&["./nowhere.jpg"], 2),
        (&["--no-such-flag"], 2),
    ] {
        let output = run(&world, arguments, Stdio::piped(), closed());
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
    }
}

/// A world with one photo in it, of that name.
#[cfg(target_os = "linux")]
fn named(name: &[u8]) -> World {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    World::of(|photos| {
        let photo = photos.join(OsStr::from_bytes(name));
        std::fs::copy(fixture("pixels/gray.png"), photo).expect("copies");
    })
}

#[cfg(target_os = "linux")]
#[test]
fn names_that_are_no_text_are_kept_in_every_form_for_programs() {
    use std::os::unix::ffi::OsStrExt;
    const NAME: &[u8] = b"a\xff,\"b\n.png";
    let world = named(NAME);
    let photos = world
        .dir
        .path()
        .canonicalize()
        .expect("is there")
        .join("photos");
    let bytes = [photos.as_os_str().as_bytes(), b"/", NAME].concat();
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    let digits = digits.filter_map(|digit| char::from_digit(digit.into(), 16));
    let hex: String = digits.collect();

    let hits = world.hits(["a cat"]);
    assert_eq!(hits[0]["path_hex"], hex.as_str());
    let form = |flag: &str| {
        let output = world.bt_query(["a cat", flag]).assert().success();
        output.get_output().stdout.clone()
    };
    let line: serde_json::Value = serde_json::from_slice(&form("--jsonl")).expect("JSON");
    assert_eq!(line["path_hex"], hex.as_str());
    let csv = String::from_utf8(form("--csv")).expect("UTF-8");
    let (heading, row) = csv.split_once('\n').expect("two lines");
    assert_eq!(
        heading,
        "rank,score,match_probability,similarity,path,path_hex"
    );
    let shown = String::from_utf8_lossy(&bytes).replace('"', "\"\"");
    assert!(row.ends_with(&format!(",\"{shown}\",{hex}\n")), "{row}");
    assert_eq!(form("-f"), [&bytes[..], b"\n"].concat());
    assert_eq!(form("-0"), [&bytes[..], b"\0"].concat());
    assert!(form("-q").ends_with(&[b"\t", &bytes[..], b"\n"].concat()));
}

#[test]
fn a_name_that_is_text_has_no_bytes_beside_it() {
    let world = World::new();
    assert!(world.hits(["a cat"])[0].get("path_hex").is_none());
    let csv = stdout(&mut world.bt_query(["a cat", "--csv", "--top", "1"]));
    assert!(csv.ends_with(".png\",\n"), "{csv}");
}

#[test]
fn the_reason_for_an_unreadable_picture_is_said_once() {
    let world = World::new();
    for arguments in [
        &["./nowhere.jpg"][..],
        &["match", "--text", "a cat", "--image", "./nowhere.jpg"],
        &["eval", "./nowhere.jpg"],
    ] {
        let output = run(&world, arguments, Stdio::piped(), Stdio::piped());
        let stderr = String::from_utf8(output.stderr).expect("UTF-8");
        let line = stderr.lines().next().expect("a line");
        assert_eq!(line.matches("nowhere.jpg").count(), 1, "{stderr}");
        assert_eq!(line.matches("No such file").count(), 1, "{stderr}");
    }
}

/// `bt-query ARGUMENTS` with `name=value` in its environment.
fn with<const N: usize>(world: &World, name: &str, value: &str, arguments: [&str; N]) -> Command {
    let mut command = world.bt_query(arguments);
    command.env(name, value);
    command
}

#[test]
fn a_flag_beats_what_the_environment_says_of_another() {
    let world = World::new();
    for (name, value) in [
        ("BT_RERANK", "20"),
        ("BT_MIN_SCORE", "0.9"),
        ("BT_CACHE", "full"),
    ] {
        let answer = json(
            &mut with(&world, name, value, ["a cat", "--no-rerank", "--json"])
                .assert()
                .success(),
        );
        assert_eq!(answer["reranked"], 0, "{name}");
        assert_eq!(answer["hits"].as_array().map(Vec::len), Some(6), "{name}");
    }
    let mut three = with(&world, "BT_TOP", "2", ["a cat", "-f", "--top", "3"]);
    assert_eq!(stdout(&mut three).lines().count(), 3);
    let mut two = with(&world, "BT_TOP", "2", ["a cat", "-f"]);
    assert_eq!(stdout(&mut two).lines().count(), 2);
    // On the command line they still exclude each other.
    refused(
        &mut world.bt_query(["a cat", "--rerank", "20", "--no-rerank"]),
        "cannot be used with",
    );
}

#[test]
fn switches_and_empty_variables_are_read_as_people_write_them() {
    let world = World::new();
    let long = "a cat and ".repeat(100);
    for (value, is_quiet) in [("1", true), ("yes", true), ("0", false), ("", false)] {
        let output = with(&world, "BT_QUIET", value, [&long]).assert().success();
        assert_eq!(output.get_output().stderr.is_empty(), is_quiet, "{value}");
    }
    for name in [
        "BT_TOP",
        "BT_RERANK",
        "BT_AFTER",
        "BT_NEAR",
        "BT_PATH",
        "BT_MODEL",
        "BT_MIN_SCORE",
    ] {
        with(&world, name, "", ["a cat"]).assert().success();
    }
    for value in ["1", "true", "yes"] {
        let mut offline = with(
            &world,
            "BT_OFFLINE",
            value,
            ["a cat", "--model", "some/model"],
        );
        offline.env_remove("HF_HUB_OFFLINE");
        refused(&mut offline, "downloads are off");
    }
}

#[test]
fn a_wrong_variable_is_named() {
    let world = World::new();
    for (name, value, message) in [
        (
            "BT_TOP",
            "abc",
            "error: BT_TOP=abc: invalid digit found in string",
        ),
        ("BT_TOP", "0", "error: BT_TOP=0: 0 is not in 1.."),
        (
            "BT_MIN_SCORE",
            "2",
            "error: BT_MIN_SCORE=2: must be a probability, from 0 to 1",
        ),
        (
            "BT_CACHE",
            "big",
            "error: BT_CACHE=big: not one of none, pixels, split, full",
        ),
        (
            "BT_OFFLINE",
            "maybe",
            "error: BT_OFFLINE=maybe: value was not a boolean",
        ),
        ("BT_AFTER", "some day", "error: BT_AFTER: "),
        ("BT_NEAR", "here", "error: BT_NEAR: "),
    ] {
        let stderr = refused(&mut with(&world, name, value, ["a cat"]), name);
        assert!(stderr.starts_with(message), "{stderr}");
        assert!(
            !stderr
                .lines()
                .next()
                .is_some_and(|line| line.contains("--")),
            "{stderr}"
        );
        assert!(stderr.contains("\nhint: "), "{stderr}");
    }
    let stderr = refused(
        &mut with(&world, "BT_MODEL", "./nowhere", ["a cat"]),
        "no model",
    );
    assert!(stderr.contains("BT_MODEL=./nowhere"), "{stderr}");
    // What was typed is still called by its flag.
    refused(
        &mut world.bt_query(["a cat", "--after", "some day"]),
        "--after: ",
    );
    with(&world, "BT_TOP", "abc", ["a cat", "--top", "1"])
        .assert()
        .success();
}

/// A bare word cannot be told from another program's option by its letter.
#[test]
fn habits_from_rclip_work() {
    let world = World::new();
    let paths = stdout(&mut world.bt_query(["a cat", "-f", "-0", "-n", "-t", "2"]));
    assert_eq!(paths.matches('\0').count(), 2);
    assert!(!paths.contains('\n'));
    assert!(
        paths
            .split_terminator('\0')
            .all(|path| Path::new(path).is_file())
    );
    for flag in ["--no-indexing", "--skip-index", "--skip-indexing"] {
        world.bt_query(["a cat", flag]).assert().success();
    }
    for other in ["--json", "--csv"] {
        refused(
            &mut world.bt_query(["a cat", "-0", other]),
            "cannot be used with",
        );
    }
}

#[test]
fn every_task_has_a_manual_page() {
    let world = World::new();
    let pages = world.dir.path().join("man");
    world
        .bt_query(["generate", "man", "--out"])
        .arg(&pages)
        .assert()
        .success();
    for name in ["bt-query", "bt-query-embed", "bt-query-eval"] {
        let page = std::fs::read_to_string(pages.join(format!("{name}.1"))).expect(name);
        let title = format!(".TH {} 1  \"bt-query ", name.to_uppercase());
        assert!(page.contains(&title), "{name}: {page}");
    }
    let page = stdout(&mut world.bt_query(["generate", "man", "match"]));
    assert!(page.contains(".TH BT-QUERY-MATCH 1"), "{page}");
}
