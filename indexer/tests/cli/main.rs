//! `bt-index` as its users run it, on a small random-weight checkpoint.

#![cfg_attr(
    not(target_os = "linux"),
    allow(
        dead_code,
        unused_imports,
        reason = "some tests, and what they need, are for Linux or Unix"
    )
)]

mod cache;
#[cfg(unix)]
mod changes;
mod compact;
mod concurrency;
mod crash;
mod damage;
mod dedupe;
#[cfg(target_os = "linux")]
mod faults;
#[cfg(unix)]
mod folders;
mod gc;
mod ignore;
mod manners;
mod memory;
mod model;
mod precision;
mod reading;
mod rebuild;
mod repair;
#[cfg(target_os = "linux")]
mod terminal;
mod transfer;
mod watch;

use std::path::{Path, PathBuf};
use std::time::Duration;

use assert_cmd::Command;
use bridgetower::index::{IndexReader, SearchOptions};
use serde_json::Value;

/// What has not come by then never comes.
pub(crate) const LONG: Duration = Duration::from_mins(2);

/// The folder `tests/fixtures/<path>` of the workspace.
pub(crate) fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/fixtures")
        .join(path)
}

/// A folder of photos, an empty place for an index, and the program to bring them together.
pub(crate) struct World {
    dir: tempfile::TempDir,
}

impl World {
    /// With the pictures that the pixel fixtures are made of.
    pub(crate) fn new() -> Self {
        let world = Self {
            dir: tempfile::tempdir().expect("tempdir"),
        };
        std::fs::create_dir(world.photos()).expect("creates");
        for name in [
            "landscape.png",
            "portrait.png",
            "square.png",
            "palette.png",
            "gray.png",
        ] {
            std::fs::copy(fixture("pixels").join(name), world.photos().join(name)).expect("copies");
        }
        world
    }

    /// The folder of photos.
    pub(crate) fn photos(&self) -> PathBuf {
        self.dir.path().join("photos")
    }

    /// The index folder.
    pub(crate) fn index(&self) -> PathBuf {
        self.dir.path().join("index")
    }

    /// `bt-index --index … ARGUMENTS`, with nothing of the caller's environment that could matter.
    pub(crate) fn bt_index<const N: usize>(&self, arguments: [&str; N]) -> Command {
        let mut command = Command::cargo_bin("bt-index").expect("is built");
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("BT_")) {
            command.env_remove(name);
        }
        command
            .env("HF_HUB_OFFLINE", "1")
            .env("BT_MODEL", fixture("checkpoints/tiny-random"))
            .current_dir(self.dir.path())
            .arg("--index")
            .arg(self.index())
            .args(arguments);
        command
    }

    /// The report of `bt-index build photos`.
    pub(crate) fn build(&self) -> Value {
        json(
            &self
                .bt_index(["build", "photos", "--json"])
                .assert()
                .success(),
        )
    }

    /// The report of `bt-index status`.
    pub(crate) fn status(&self) -> Value {
        json(&self.bt_index(["status", "--json"]).assert().success())
    }
}

/// A number from the environment.
pub(crate) fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |value| value.parse().unwrap_or(default))
}

pub(crate) fn json(assert: &assert_cmd::assert::Assert) -> Value {
    serde_json::from_slice(&assert.get_output().stdout).expect("JSON on stdout")
}

/// Runs a command that must fail as users want it: exit 2, one line that says what, one that helps.
pub(crate) fn refused(command: &mut Command, what: &str, hint: &str) {
    let output = command.assert().code(2).get_output().clone();
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    let lines: Vec<&str> = stderr.lines().collect();
    assert!(
        lines[0].starts_with("error: ") && lines[0].contains(what),
        "{stderr}"
    );
    assert!(
        lines[1].starts_with("hint: ") && lines[1].contains(hint),
        "{stderr}"
    );
    assert_eq!(lines.len(), 2, "{stderr}");
    assert!(output.stdout.is_empty());
}

#[test]
fn a_second_build_embeds_only_what_is_new_or_changed() {
    let world = World::new();
    assert_eq!(world.build()["embedded"], 5);
    let again = world.build();
    assert_eq!(
        (&again["embedded"], &again["unchanged"]),
        (&0.into(), &5.into())
    );

    let photos = world.photos();
    std::fs::copy(fixture("pixels/wide.png"), photos.join("new.png")).expect("copies");
    std::fs::copy(fixture("pixels/odd.png"), photos.join("gray.png")).expect("overwrites");
    let third = world.build();
    assert_eq!(
        (&third["embedded"], &third["unchanged"]),
        (&2.into(), &4.into())
    );
    assert_eq!(world.status()["photos"], 6);
}

#[test]
fn moved_photos_keep_their_vectors_and_deleted_ones_leave() {
    let world = World::new();
    world.build();
    let photos = world.photos();
    std::fs::create_dir(photos.join("2024")).expect("creates");
    std::fs::rename(photos.join("square.png"), photos.join("2024/renamed.png")).expect("moves");
    std::fs::remove_file(photos.join("gray.png")).expect("deletes");
    std::fs::copy(photos.join("landscape.png"), photos.join("copy.png")).expect("copies");
    let report = world.build();
    assert_eq!(report["embedded"], 0);
    assert_eq!(report["recognised"], 2);
    assert_eq!(report["removed"], 1);
    assert_eq!(world.status()["photos"], 5);
}

/// Two photos that exchange their names, and a third that takes the name of a deleted one.
#[test]
fn photos_may_exchange_their_names() {
    let world = World::new();
    world.build();
    let at = |name: &str| world.photos().join(name);
    std::fs::rename(at("square.png"), at("swap")).expect("moves");
    std::fs::rename(at("portrait.png"), at("square.png")).expect("moves");
    std::fs::rename(at("swap"), at("portrait.png")).expect("moves");
    std::fs::rename(at("palette.png"), at("gray.png")).expect("moves");
    world.build();
    assert_eq!(world.status()["photos"], 4);
    assert_eq!(world.build()["unchanged"], 4);
    world.bt_index(["verify"]).assert().success();
}

#[test]
fn twins_are_embedded_once() {
    let world = World::new();
    for i in 0..20 {
        let twin = world.photos().join(format!("twin{i}.png"));
        std::fs::copy(fixture("pixels/odd.png"), twin).expect("copies");
    }
    let report = world.build();
    assert_eq!(
        (&report["embedded"], &report["recognised"]),
        (&6.into(), &19.into())
    );
    assert_eq!(world.status()["photos"], 25);
}

#[test]
fn broken_files_are_skipped_with_their_reason() {
    let world = World::new();
    std::fs::write(world.photos().join("empty.jpg"), b"").expect("writes");
    std::fs::write(world.photos().join("text.jpg"), b"not a picture").expect("writes");
    let png = std::fs::read(fixture("pixels/landscape.png")).expect("reads");
    std::fs::write(world.photos().join("cut.png"), &png[..png.len() / 2]).expect("writes");
    let report = world.build();
    assert_eq!(report["embedded"], 5);
    let skipped = report["skipped"].as_array().expect("a list");
    assert_eq!(skipped.len(), 3);
    assert!(skipped.iter().all(|s| {
        s["reason"]
            .as_str()
            .is_some_and(|reason| !reason.is_empty())
    }));
}

/// The photos of a drive that is not mounted must not vanish from the index.
#[test]
fn an_empty_or_missing_folder_changes_nothing() {
    let world = World::new();
    world.build();
    std::fs::rename(world.photos(), world.photos().with_extension("unmounted")).expect("moves");
    refused(
        &mut world.bt_index(["build", "photos"]),
        "no such folder",
        "mounted",
    );
    refused(&mut world.bt_index(["build"]), "no such folder", "mounted");
    std::fs::create_dir(world.photos()).expect("creates");
    refused(
        &mut world.bt_index(["build", "photos"]),
        "no photos found",
        "nothing was changed",
    );
    assert_eq!(world.status()["photos"], 5);
}

#[test]
fn building_without_a_folder_refreshes_the_known_ones() {
    let world = World::new();
    refused(
        &mut world.bt_index(["build"]),
        "no folder",
        "bt-index build",
    );
    world.build();
    std::fs::remove_file(world.photos().join("gray.png")).expect("deletes");
    let report = json(&world.bt_index(["build", "--json"]).assert().success());
    assert_eq!(report["removed"], 1);
}

#[test]
fn removed_photos_are_gone_and_folders_go_whole() {
    let world = World::new();
    world.build();
    world
        .bt_index(["remove", "photos/gray.png"])
        .assert()
        .success();
    assert_eq!(world.status()["photos"], 4);
    world.bt_index(["remove", "photos"]).assert().success();
    assert_eq!(world.status()["photos"], 0);
    world.bt_index(["remove", "photos"]).assert().code(1);
    assert_eq!(world.build()["embedded"], 5);
}

#[test]
fn a_model_that_cannot_index_is_refused_before_anything_is_written() {
    let world = World::new();
    let build = |model: &str| {
        let mut command = world.bt_index(["build", "photos", "--model"]);
        command.arg(model);
        command
    };
    refused(&mut build("./no/model"), "no such folder", "--model");
    refused(
        &mut build("Some/checkpoint"),
        "downloads are off",
        "--model",
    );
    let without_itc = fixture("checkpoints/old-bin");
    refused(
        &mut build(without_itc.to_str().expect("UTF-8")),
        "contrastive (ITC)",
        "bridgetower-large-itm-mlm-itc",
    );
    assert!(!world.index().exists());
}

#[test]
fn another_model_is_refused_and_rebuild_takes_it() {
    let world = World::new();
    world.build();
    let other = fixture("checkpoints/sharded-safetensors");
    let other = other.to_str().expect("UTF-8");
    let mut build = world.bt_index(["build", "photos", "--model"]);
    refused(build.arg(other), "was built with", "--rebuild");
    assert_eq!(world.status()["photos"], 5);
    world
        .bt_index(["build", "photos", "--rebuild", "--model"])
        .arg(other)
        .assert()
        .success();
    assert_eq!(world.status()["photos"], 5);
    assert_eq!(world.status()["dim"], 32);
}

#[test]
fn status_and_verify_need_an_index() {
    let world = World::new();
    refused(
        &mut world.bt_index(["status"]),
        "no index",
        "bt-index build",
    );
    refused(
        &mut world.bt_index(["verify"]),
        "no index",
        "bt-index build",
    );
    refused(
        &mut world.bt_index(["remove", "photos"]),
        "no index",
        "bt-index build",
    );
}

#[test]
fn a_damaged_index_is_refused_and_rebuilding_mends_it() {
    let world = World::new();
    world.build();
    let mut damaged = 0;
    for file in files_below(&world.index()) {
        // sled replaces its table of pages whenever it is opened.
        let Some(bytes) = std::fs::read(&file).ok().filter(|bytes| bytes.len() >= 512) else {
            continue;
        };
        let mut broken = bytes.clone();
        let middle = bytes.len() / 3;
        broken[middle..middle + 64].fill(0xA5);
        std::fs::write(&file, &broken).expect("writes");
        let output = world.bt_index(["verify"]).assert().get_output().clone();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!stderr.contains("panicked"), "{stderr}");
        damaged += usize::from(!output.status.success());
        std::fs::write(&file, &bytes).expect("writes");
    }
    assert!(damaged > 0, "no damage was noticed");
    world.bt_index(["verify"]).assert().success();
    world
        .bt_index(["build", "photos", "--rebuild"])
        .assert()
        .success();
    assert_eq!(world.status()["photos"], 5);
}

pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("lists") {
        let path = entry.expect("lists").path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files
}

#[test]
fn queries_work_while_a_build_runs_and_a_second_builder_is_refused() {
    let world = World::new();
    crash::draw_many(&world);
    let mut build = crash::start_build(&world);
    let index = loop {
        assert!(
            build.try_wait().expect("can be asked").is_none(),
            "ended before it published"
        );
        if let Ok(index) = IndexReader::open(&world.index()) {
            break index;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let (id, _) = index.photos().next().expect("a photo").expect("reads");
    let query = index.embedding(id).expect("reads").expect("has a vector");
    let found = index
        .search(&query, 1, &SearchOptions::default())
        .expect("searches");
    assert_eq!(found[0].id, id);
    let pid = build.id();
    assert_eq!(world.status()["builder"], pid);
    refused(
        &mut world.bt_index(["build", "photos"]),
        &format!("by process {pid}"),
        "queries work",
    );
    assert!(build.wait().expect("ends").success());
    assert_eq!(world.status()["builder"], Value::Null);
}

/// Queries of a damaged snapshot are refused, and the next build publishes it anew without the model.
#[test]
fn a_damaged_snapshot_is_mended_from_the_store() {
    let world = World::new();
    world.build();
    let is_snapshot = |path: &PathBuf| path.extension().is_some_and(|e| e == "bt");
    let snapshot = files_below(&world.index())
        .into_iter()
        .find(is_snapshot)
        .expect("one");
    let mut bytes = std::fs::read(&snapshot).expect("reads");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    std::fs::write(&snapshot, bytes).expect("writes");
    refused(
        &mut world.bt_index(["status"]),
        "damaged",
        "bt-index verify --repair",
    );
    let report = world.build();
    assert_eq!(
        (&report["embedded"], &report["unchanged"]),
        (&0.into(), &5.into())
    );
    world.bt_index(["verify"]).assert().success();
}

#[test]
fn completions_and_manual_pages_are_written() {
    let world = World::new();
    for what in ["bash", "zsh", "fish", "man"] {
        let output = world
            .bt_index(["generate", what])
            .assert()
            .success()
            .get_output()
            .clone();
        assert!(
            String::from_utf8_lossy(&output.stdout).contains("bt-index"),
            "{what}"
        );
    }
}

#[test]
fn a_model_that_was_moved_is_asked_for_and_remembered_at_its_new_place() {
    let world = World::new();
    let (old, new) = (world.dir.path().join("old"), world.dir.path().join("new"));
    std::fs::create_dir(&old).expect("creates");
    for entry in std::fs::read_dir(fixture("checkpoints/tiny-random")).expect("lists") {
        let path = entry.expect("reads").path();
        let name = path.file_name().expect("a name");
        std::fs::copy(&path, old.join(name)).expect("copies");
    }
    let build = |arguments: [&str; 3]| {
        let mut command = world.bt_index(arguments);
        command.env_remove("BT_MODEL");
        command
    };
    build(["build", "photos", "--model=old"]).assert().success();
    std::fs::rename(&old, &new).expect("moves");
    let place = old.to_str().expect("UTF-8");
    refused(&mut build(["build", "photos", "--json"]), place, "--model");
    let mut moved = build(["build", "--model=new", "--json"]);
    assert_eq!(json(&moved.assert().success())["unchanged"], 5);
    assert_eq!(world.status()["model"], new.to_str().expect("UTF-8"));
    let again = json(&build(["build", "photos", "--json"]).assert().success());
    assert_eq!(again["unchanged"], 5);
}
