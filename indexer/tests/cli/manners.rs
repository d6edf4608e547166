//! What the program says, to whom, and how it ends where nobody listens.

use std::process::{Output, Stdio};

use assert_cmd::Command;
use serde_json::{Value, json};

use super::{World, fixture, json, refused};

/// Every command that writes to stdout.
const TELLING: [&[&str]; 18] = [
    &["--help"],
    &["build", "--help"],
    &["help", "watch"],
    &["--version"],
    &["build", "--json"],
    &["watch", "--json", "--no-events"],
    &["status"],
    &["status", "--json"],
    &["verify"],
    &["verify", "--json"],
    &["verify", "--repair"],
    &["verify", "--repair", "--json"],
    &["dedupe"],
    &["dedupe", "--json"],
    &["compact", "--json"],
    &["gc", "--json"],
    &["generate", "zsh"],
    &["generate", "man"],
];

/// An index with a photo that is there twice.
fn world() -> World {
    let world = World::new();
    let twin = world.photos().join("twin.png");
    std::fs::copy(fixture("pixels/gray.png"), twin).expect("copies");
    world.build();
    world
}

fn run(world: &World, arguments: &[&str], stdout: Stdio, stderr: Stdio) -> Output {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_bt-index"));
    let command = command
        .args(arguments)
        .current_dir(world.dir.path())
        .env("HF_HUB_OFFLINE", "1")
        .env("BT_INDEX", world.index())
        .env("BT_MODEL", fixture("checkpoints/tiny-random"))
        .stdout(stdout)
        .stderr(stderr);
    let child = command.spawn().expect("starts");
    child.wait_with_output().expect("ends")
}

/// A pipe that nobody reads any more.
fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    writer.into()
}

#[cfg(target_os = "linux")]
fn full() -> Stdio {
    let device = std::fs::File::options().write(true).open("/dev/full");
    device.expect("opens").into()
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_device_is_an_error_in_one_line_and_no_panic() {
    let world = world();
    let precision = ["check-precision", "--photos", "2", "--queries", "1"];
    for arguments in TELLING.into_iter().chain([&precision[..]]) {
        let output = run(&world, arguments, full(), Stdio::piped());
        let stderr = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        let reason = "error: cannot write to stdout: No space left on device (os error 28)\n";
        assert_eq!(stderr, reason, "{arguments:?}");
    }
}

#[test]
fn a_closed_pipe_ends_every_command_quietly() {
    let world = world();
    let precision = ["check-precision", "--photos", "2", "--queries", "1"];
    for arguments in TELLING.into_iter().chain([&precision[..]]) {
        let output = run(&world, arguments, closed(), Stdio::piped());
        let stderr = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {stderr}");
        assert_eq!(stderr, "", "{arguments:?}");
    }
}

#[test]
fn a_closed_stderr_does_no_harm() {
    let world = world();
    std::fs::write(world.photos().join("broken.jpg"), b"no picture").expect("writes");
    let export = world.dir.path().join("export");
    let export = export.to_str().expect("UTF-8");
    let commands: [(&[&str], i32); 8] = [
        (&["build", "--verbose"], 0),
        (&["compact"], 0),
        (&["gc"], 0),
        (&["export", export], 0),
        (&["dedupe", "--exact"], 0),
        (&["remove", "nowhere"], 1),
        (&["build", "nowhere"], 2),
        (&["no-such-command"], 2),
    ];
    for (arguments, code) in commands {
        let output = run(&world, arguments, Stdio::piped(), closed());
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
    }
}

/// A name may hold all but a slash and NUL, and a terminal obeys what it is shown.
#[cfg(target_os = "linux")]
#[test]
fn file_names_give_the_terminal_no_orders() {
    const NAME: &str = "a\u{1b}]0;owned\u{7}\n\u{9b}2J\u{202e}gpj";
    const SHOWN: &str = r"a\x1b]0;owned\x07\n\u{9b}2J\u{202e}gpj";
    let world = World::new();
    let photos = world.photos().join(NAME);
    std::fs::create_dir(&photos).expect("creates");
    for twin in ["one.png", "two.png"] {
        std::fs::copy(fixture("pixels/gray.png"), photos.join(twin)).expect("copies");
    }
    std::fs::write(photos.join("broken.jpg"), b"no picture").expect("writes");
    let name = format!("photos/{NAME}");
    let commands: [&[&str]; 6] = [
        &["build", &name],
        &["status"],
        &["dedupe"],
        &["build", &format!("{name}/nowhere")],
        &["check-precision", &name],
        &["generate", "man", NAME],
    ];
    for arguments in commands {
        let output = run(&world, arguments, Stdio::piped(), Stdio::piped());
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        let text = text.concat();
        let orders = |letter: char| letter != '\n' && letter.is_control() || letter == '\u{202e}';
        assert!(!text.contains(orders), "{arguments:?}: {text:?}");
        assert!(text.contains(SHOWN), "{arguments:?}: {text}");
        assert!(!text.lines().any(|line| line.starts_with('\u{9b}')));
    }
}

/// Two digits for each byte.
#[cfg(target_os = "linux")]
fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    let digits = digits.filter_map(|digit| char::from_digit(digit.into(), 16));
    digits.collect()
}

#[cfg(target_os = "linux")]
#[test]
fn json_keeps_names_that_are_no_text() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let world = World::new();
    let folder = world.photos().join(OsStr::from_bytes(b"caf\xe9"));
    std::fs::create_dir(&folder).expect("creates");
    for name in ["one.png", "two.png"] {
        std::fs::copy(fixture("pixels/gray.png"), folder.join(name)).expect("copies");
    }
    let broken = folder.join("broken.jpg");
    std::fs::write(&broken, b"no picture").expect("writes");
    let folder = folder.canonicalize().expect("is there");
    let of = |path: &std::path::Path| hex(path.as_os_str().as_bytes());

    let built = json(
        &world
            .bt_index(["build", "--json"])
            .arg(&folder)
            .assert()
            .success(),
    );
    let broken = broken.canonicalize().expect("is there");
    assert_eq!(built["skipped"][0]["path_hex"], of(&broken));
    assert_eq!(
        built["skipped"][0]["path"],
        broken.to_string_lossy().as_ref()
    );
    let status = world.status();
    assert_eq!(status["folders_hex"], json!([of(&folder)]));
    assert_eq!(status["index_hex"], Value::Null);
    let found = json(&world.bt_index(["dedupe", "--json"]).assert().success());
    let paths = &found["groups"][0]["contents"][0]["paths_hex"];
    let expected = ["one.png", "two.png"].map(|name| of(&folder.join(name)));
    assert_eq!(*paths, json!(expected));
}

#[test]
fn a_reason_is_said_once() {
    let world = world();
    let output = world
        .bt_index(["model", "--model", "/dev/null/x", "prepare"])
        .output();
    let stderr = String::from_utf8(output.expect("runs").stderr).expect("UTF-8");
    assert_eq!(stderr.matches("/dev/null/x").count(), 1, "{stderr}");
    let blocked = world.dir.path().join("file");
    std::fs::write(&blocked, b"no folder").expect("writes");
    let output = world.bt_index(["export"]).arg(blocked.join("x")).output();
    let stderr = String::from_utf8(output.expect("runs").stderr).expect("UTF-8");
    assert!(stderr.contains("os error"), "{stderr}");
    assert_eq!(stderr.matches("os error").count(), 1, "{stderr}");
}

#[test]
fn one_photo_is_not_photos() {
    let world = World::new();
    for name in ["portrait.png", "square.png", "palette.png", "gray.png"] {
        std::fs::remove_file(world.photos().join(name)).expect("deletes");
    }
    let said = |arguments: &[&str]| {
        let output = run(&world, arguments, Stdio::piped(), Stdio::piped());
        let texts = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        texts.concat()
    };
    let built = said(&["build", "photos"]);
    assert!(
        built.starts_with("1 photo in the index (1 embedded) after"),
        "{built}"
    );
    let verified = said(&["verify"]);
    assert!(
        verified.starts_with("all is well: 1 photo, 1 vector"),
        "{verified}"
    );
    assert_eq!(
        said(&["remove", "photos"]),
        "1 photo left the index, 0 remain\n"
    );
}

/// The command with `name=value` in its environment.
fn with(world: &World, name: &str, value: &str, arguments: &[&str]) -> Command {
    let mut command = world.bt_index([]);
    command.args(arguments).env(name, value);
    command
}

#[test]
fn switches_in_the_environment_take_what_people_write() {
    let world = World::new();
    for yes in ["1", "true", "yes", "on", "TRUE"] {
        let output = with(&world, "BT_QUIET", yes, &["build", "photos"])
            .assert()
            .success();
        assert!(output.get_output().stderr.is_empty(), "{yes}");
    }
    for no in ["0", "false", "no", "off", ""] {
        let output = with(&world, "BT_QUIET", no, &["build", "photos"])
            .assert()
            .success();
        assert!(!output.get_output().stderr.is_empty(), "{no}");
    }
    for (name, command) in [
        ("BT_OFFLINE", "build"),
        ("BT_HIDDEN", "build"),
        ("BT_EXACT", "dedupe"),
    ] {
        let _ = with(&world, name, "1", &[command]).assert();
    }
    refused(
        &mut with(&world, "BT_QUIET", "maybe", &["build", "photos"]),
        "BT_QUIET=maybe: value was not a boolean",
        "--quiet",
    );
}

#[test]
fn an_empty_variable_is_none() {
    let world = World::new();
    for name in [
        "BT_BATCH",
        "BT_THREADS",
        "BT_CACHE",
        "BT_COMMIT_EVERY",
        "BT_DEVICE",
    ] {
        with(&world, name, "", &["build", "photos"])
            .assert()
            .success();
    }
}

/// It may be meant for queries, which rerank with another checkpoint.
#[test]
fn a_cache_in_the_environment_does_not_stop_a_build_that_cannot_fill_it() {
    let world = World::new();
    let mut build = with(&world, "BT_CACHE", "split", &["build", "photos"]);
    build.env("BT_MODEL", fixture("checkpoints/sharded-safetensors"));
    let output = build.assert().success().get_output().clone();
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(stderr.contains("--cache keeps nothing"), "{stderr}");
    assert!(stderr.contains("5 photos in the index"), "{stderr}");
}

#[test]
fn a_wrong_variable_is_named_and_a_flag_overrides_it() {
    let world = World::new();
    refused(
        &mut with(&world, "BT_BATCH", "many", &["build", "photos"]),
        "BT_BATCH=many: invalid digit found in string",
        "--batch",
    );
    refused(
        &mut with(&world, "BT_CACHE", "big", &["build", "photos"]),
        "BT_CACHE=big: not one of none, pixels, split, full",
        "--cache",
    );
    with(
        &world,
        "BT_BATCH",
        "many",
        &["build", "photos", "--batch", "2"],
    )
    .assert()
    .success();
    // A variable of another command does not matter.
    with(&world, "BT_SIMILARITY", "2", &["status"])
        .assert()
        .success();
    refused(
        &mut with(&world, "BT_SIMILARITY", "2", &["dedupe"]),
        "BT_SIMILARITY=2: must be a number from 0 to 1",
        "--similarity",
    );
    refused(
        &mut with(&world, "BT_MODEL", "./nowhere", &["build", "photos"]),
        "no such folder",
        "the environment has BT_MODEL=./nowhere",
    );
}

/// The options of a help text, each with what is said of it.
fn options(help: &str) -> Vec<(String, String)> {
    let mut options: Vec<(String, String)> = Vec::new();
    for line in help.lines() {
        let is_option =
            line.trim_start().starts_with('-') && line.len() - line.trim_start().len() < 8;
        match line.split_once("--").filter(|_| is_option) {
            Some((_, rest)) => {
                let name = rest.split([' ', '[', '=']).next().expect("a name");
                options.push((name.into(), rest.into()));
            }
            None => {
                if let Some((_, said)) = options.last_mut() {
                    said.extend([" ", line.trim()]);
                }
            }
        }
    }
    options
}

#[test]
fn every_setting_has_a_variable() {
    // What one run shall do, rather than how all of them should.
    let without = [
        "help", "version", "json", "rebuild", "exclude", "repair", "force", "out",
    ];
    let world = World::new();
    let commands = [
        "build", "watch", "status", "verify", "remove", "dedupe", "compact", "gc",
    ];
    let others = ["export", "import", "check-precision", "model", "generate"];
    for command in commands.into_iter().chain(others) {
        let output = world.bt_index([command, "--help"]).output().expect("runs");
        let options = options(&String::from_utf8(output.stdout).expect("UTF-8"));
        assert!(options.len() > 3, "{command}");
        for (name, said) in options {
            let has_variable = said.contains("[env: BT_");
            assert_ne!(
                has_variable,
                without.contains(&name.as_str()),
                "{command} --{name}: {said}"
            );
        }
    }
}

#[test]
fn every_command_has_a_manual_page() {
    let world = World::new();
    let pages = world.dir.path().join("man");
    world
        .bt_index(["generate", "man", "--out"])
        .arg(&pages)
        .assert()
        .success();
    for name in [
        "bt-index",
        "bt-index-build",
        "bt-index-watch",
        "bt-index-check-precision",
        "bt-index-model-prepare",
    ] {
        let page = std::fs::read_to_string(pages.join(format!("{name}.1"))).expect(name);
        let title = format!(".TH {} 1  \"bt-index ", name.to_uppercase());
        assert!(page.contains(&title), "{name}: {page}");
    }
    let page = |command: &[&str]| {
        let mut generate = world.bt_index(["generate", "man"]);
        let output = generate
            .args(command)
            .assert()
            .success()
            .get_output()
            .clone();
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let build = page(&["build"]);
    assert!(build.contains(".TH BT-INDEX-BUILD 1"), "{build}");
    assert!(build.contains("BT_BATCH"), "{build}");
    assert!(page(&["model", "prepare"]).contains(".TH BT-INDEX-MODEL-PREPARE 1"));
    assert!(page(&[]).contains(".TH BT-INDEX 1"));
    let mut none = world.bt_index(["generate", "man", "paint"]);
    let output = none.assert().code(2).get_output().clone();
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(stderr, "error: bt-index has no command paint\n");
}
