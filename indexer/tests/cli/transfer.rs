//! `bt-index export` and `import`, from one index to another and back into use.

use std::path::Path;

use serde_json::Value;

use crate::{World, crash, json, refused};

/// `bt-index ARGUMENTS` on another index than the world's own.
fn other(world: &World, arguments: &[&str]) -> assert_cmd::Command {
    let mut command = assert_cmd::Command::cargo_bin("bt-index").expect("is built");
    command
        .current_dir(world.photos().parent().expect("the world"))
        .env("BT_INDEX", "other")
        .args(arguments);
    command
}

/// An export is searched and kept up to date as the index that it came from.
#[test]
fn an_imported_index_takes_the_place_of_the_exported_one() {
    let world = World::new();
    let twin = world.photos().join("twin.png");
    std::fs::copy(world.photos().join("gray.png"), twin).expect("copies");
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        let name = std::ffi::OsStr::from_bytes(b"caf\xe9.png");
        std::fs::copy(world.photos().join("gray.png"), world.photos().join(name)).expect("copies");
    }
    let photos = world.build()["photos"].clone();
    let before = world.status();
    world.bt_index(["export", "out"]).assert().success();
    let read = |name: &str| {
        std::fs::read_to_string(world.photos().with_file_name("out").join(name)).expect("reads")
    };
    let manifest: Value = serde_json::from_str(&read("index.json")).expect("JSON");
    assert_eq!(
        (&manifest["photos"], &manifest["vectors"]),
        (&photos, &5.into())
    );
    assert_eq!(
        manifest["model"]["fingerprint"],
        before["model_fingerprint"]
    );
    assert_eq!(
        Some(read("photos.jsonl").lines().count() as u64),
        photos.as_u64()
    );

    std::fs::rename(world.index(), world.index().with_extension("old")).expect("moves");
    world.bt_index(["import", "out"]).assert().success();
    let after = world.status();
    for key in [
        "photos",
        "vectors",
        "model",
        "model_fingerprint",
        "dim",
        "folders",
    ] {
        assert_eq!(after[key], before[key], "{key}");
    }
    world.bt_index(["verify"]).assert().success();
    let report = json(&world.bt_index(["build", "--json"]).assert().success());
    assert_eq!(
        (&report["unchanged"], &report["removed"]),
        (&photos, &0.into())
    );
}

#[test]
fn an_export_works_while_a_build_runs() {
    let world = World::new();
    world.build();
    crash::draw_many(&world);
    let mut build = crash::start_build(&world);
    while world.status()["builder"].is_null() {
        assert!(
            build.try_wait().expect("can be asked").is_none(),
            "ended too soon"
        );
    }
    world.bt_index(["export", "out"]).assert().success();
    build.kill().expect("kills");
    build.wait().expect("is dead");
}

#[test]
fn exports_and_imports_overwrite_nothing() {
    let world = World::new();
    refused(
        &mut world.bt_index(["export", "out"]),
        "no index",
        "bt-index build",
    );
    world.build();
    refused(
        &mut world.bt_index(["export", "photos"]),
        "neither empty nor an earlier export",
        "--force",
    );
    for _ in 0..2 {
        world.bt_index(["export", "out"]).assert().success();
    }
    world
        .bt_index(["export", "photos", "--force"])
        .assert()
        .success();
    assert_eq!(world.build()["unchanged"], 5);
    refused(
        &mut world.bt_index(["import", "out"]),
        "there is already an index at",
        "--index",
    );
    refused(
        &mut other(&world, &["import", "photos/none"]),
        "no finished export",
        "bt-index export",
    );
    other(&world, &["import", "photos"]).assert().success();
}

#[test]
fn a_wrong_line_is_named() {
    let world = World::new();
    world.build();
    world.bt_index(["export", "out"]).assert().success();
    let path = world.photos().with_file_name("out").join("photos.jsonl");
    let text = std::fs::read_to_string(&path).expect("reads");
    let mut lines: Vec<&str> = text.lines().collect();
    lines[3] = lines[1];
    std::fs::write(&path, lines.join("\n")).expect("writes");
    refused(
        &mut other(&world, &["import", "out"]),
        "photos.jsonl, line 4: ",
        "nothing was imported",
    );
    assert!(!Path::new(&world.photos().with_file_name("other")).exists());
}
