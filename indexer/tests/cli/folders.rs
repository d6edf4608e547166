//! Photo folders that come, go, are renamed, and are full of other things.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::Output;

use serde_json::Value;

use crate::{World, fixture, json, refused};

/// `photos`, and beside it `more` with one photo of its own; both in the index.
fn two_folders() -> (World, PathBuf) {
    let world = World::new();
    let more = world.photos().with_file_name("more");
    fs::create_dir(&more).expect("creates");
    fs::copy(fixture("pixels/odd.png"), more.join("odd.png")).expect("copies");
    world
        .bt_index(["build", "photos", "more"])
        .assert()
        .success();
    (world, more)
}

fn run<const N: usize>(world: &World, arguments: [&str; N]) -> (Value, String) {
    let done = world.bt_index(arguments).assert().success();
    let Output { stderr, .. } = done.get_output();
    let words = String::from_utf8(stderr.clone()).expect("UTF-8");
    (json(&done), words)
}

fn folders(world: &World) -> Vec<String> {
    let status = world.status();
    let folders = status["folders"].as_array().expect("a list");
    let name = |folder: &Value| {
        let path = PathBuf::from(folder.as_str().expect("text"));
        path.file_name().expect("a name").display().to_string()
    };
    folders.iter().map(name).collect()
}

#[test]
fn a_missing_folder_does_not_stop_the_others() {
    let (world, more) = two_folders();
    fs::rename(&more, more.with_extension("unmounted")).expect("moves");
    fs::copy(fixture("pixels/wide.png"), world.photos().join("new.png")).expect("copies");
    let (report, words) = run(&world, ["build", "--json"]);
    assert_eq!(report["embedded"], 1);
    assert_eq!(report["removed"], 0);
    let away = &report["away"][0];
    assert_eq!(away["photos"], 1);
    assert!(
        away["folder"]
            .as_str()
            .is_some_and(|it| it.ends_with("/more"))
    );
    assert_eq!(world.status()["photos"], 7);
    for said in ["no such folder", "renamed", "bt-index remove /"] {
        assert!(words.contains(said), "{words}");
    }
    // Neither does one that is empty, as a mount point is.
    fs::create_dir(&more).expect("creates");
    let (report, words) = run(&world, ["build", "photos", "more", "--json"]);
    assert_eq!(
        (&report["unchanged"], &report["removed"]),
        (&6.into(), &0.into())
    );
    assert!(words.contains("no photos found in"), "{words}");
    fs::remove_dir(&more).expect("removes");
    fs::rename(more.with_extension("unmounted"), &more).expect("moves");
    assert_eq!(world.build()["away"], Value::Array(Vec::new()));
    assert_eq!(folders(&world), ["more", "photos"]);
}

#[test]
fn the_advice_about_a_missing_folder_works() {
    let (world, more) = two_folders();
    fs::remove_dir_all(&more).expect("removes");
    world.bt_index(["remove", "more"]).assert().success();
    assert_eq!(world.status()["photos"], 5);
    let (report, words) = run(&world, ["build", "--json"]);
    assert_eq!((&report["unchanged"], words.as_str()), (&5.into(), ""));
}

#[test]
fn a_folder_that_nobody_knows_must_be_there() {
    let (world, _) = two_folders();
    let mut build = world.bt_index(["build", "photos", "moer"]);
    refused(&mut build, "no such folder: moer", "spelling");
    let (world, more) = two_folders();
    fs::rename(&more, more.with_extension("unmounted")).expect("moves");
    let mut rebuild = world.bt_index(["build", "--rebuild"]);
    refused(&mut rebuild, "no such folder", "mounted");
    assert_eq!(world.status()["photos"], 6);
}

#[test]
fn a_renamed_folder_takes_its_photos_along() {
    let (world, more) = two_folders();
    fs::rename(&more, more.with_file_name("renamed")).expect("moves");
    let (report, words) = run(&world, ["build", "renamed", "--json"]);
    assert_eq!(
        (&report["embedded"], &report["recognised"]),
        (&0.into(), &1.into())
    );
    assert!(words.contains("it was renamed"), "{words}");
    assert_eq!(world.status()["photos"], 6);
    assert_eq!(folders(&world), ["photos", "renamed"]);
    let (report, words) = run(&world, ["build", "--json"]);
    assert_eq!((&report["unchanged"], words.as_str()), (&6.into(), ""));
    world.bt_index(["verify"]).assert().success();
}

/// The only folder, so that a build without it would have nothing to do.
#[test]
fn the_only_folder_may_be_renamed() {
    let world = World::new();
    world.build();
    fs::rename(world.photos(), world.photos().with_file_name("renamed")).expect("moves");
    let mut build = world.bt_index(["build"]);
    refused(&mut build, "no such folder", "bt-index build NEW-NAME");
    let (report, _) = run(&world, ["build", "renamed", "--json"]);
    assert_eq!(
        (&report["embedded"], &report["recognised"]),
        (&0.into(), &5.into())
    );
    assert_eq!(world.status()["photos"], 5);
    assert_eq!(folders(&world), ["renamed"]);
}

#[test]
fn photos_that_a_renamed_folder_lost_stay_until_they_are_removed() {
    let world = World::new();
    world.build();
    let renamed = world.photos().with_file_name("renamed");
    fs::rename(world.photos(), &renamed).expect("moves");
    fs::rename(renamed.join("gray.png"), renamed.with_file_name("gray.png")).expect("moves");
    fs::copy(renamed.join("square.png"), renamed.join("twin.png")).expect("copies");
    let (report, words) = run(&world, ["build", "renamed", "--json"]);
    assert_eq!(
        (&report["embedded"], &report["recognised"]),
        (&0.into(), &5.into())
    );
    assert_eq!(report["away"][0]["photos"], 1);
    assert!(words.contains("bt-index remove /"), "{words}");
    assert_eq!(world.status()["photos"], 6);
    world.bt_index(["remove", "photos"]).assert().success();
    assert_eq!(world.status()["photos"], 5);
    assert_eq!(folders(&world), ["renamed"]);
}

/// As when a collection outgrows its disk.
#[test]
fn a_folder_that_a_link_has_replaced_keeps_its_vectors() {
    let (world, more) = two_folders();
    let larger = more.with_file_name("larger");
    fs::rename(&more, &larger).expect("moves");
    symlink(&larger, &more).expect("links");
    fs::copy(fixture("pixels/wide.png"), larger.join("new.png")).expect("copies");
    let (report, words) = run(&world, ["build", "--json"]);
    assert_eq!(
        (&report["embedded"], &report["recognised"]),
        (&1.into(), &1.into())
    );
    assert_eq!(words, "");
    assert_eq!(world.status()["photos"], 7);
    assert_eq!(folders(&world), ["larger", "photos"]);
}

#[test]
fn folders_behind_links_are_told_and_followed_on_demand() {
    let world = World::new();
    let album = world.photos().with_file_name("album");
    fs::create_dir(&album).expect("creates");
    fs::copy(fixture("pixels/odd.png"), album.join("odd.png")).expect("copies");
    for link in ["one", "two"] {
        symlink(&album, world.photos().join(link)).expect("links");
    }
    symlink(".", world.photos().join("loop")).expect("links");
    let (report, words) = run(&world, ["build", "photos", "--json"]);
    assert_eq!(report["embedded"], 5);
    assert_eq!(report["links"].as_array().map(Vec::len), Some(2));
    assert!(
        words.contains("not followed: 2") && words.contains("--follow"),
        "{words}"
    );
    let (report, words) = run(&world, ["build", "--follow", "--json"]);
    assert_eq!((&report["embedded"], words.as_str()), (&1.into(), ""));
    // The drive with the album is not there.
    fs::rename(&album, album.with_extension("unmounted")).expect("moves");
    let (report, words) = run(&world, ["build", "--follow", "--json"]);
    assert_eq!(
        (&report["removed"], &report["unchanged"]),
        (&0.into(), &5.into())
    );
    assert!(words.contains("leads to no photo"), "{words}");
    fs::rename(album.with_extension("unmounted"), &album).expect("moves");
    assert_eq!(
        run(&world, ["build", "--follow", "--json"]).0["unchanged"],
        6
    );
    assert_eq!(world.build()["removed"], 1);
}

#[test]
fn what_a_server_keeps_beside_photos_is_not_indexed() {
    let world = World::new();
    let thumb = world.photos().join("@eaDir/gray.png");
    fs::create_dir_all(&thumb).expect("creates");
    fs::copy(
        fixture("pixels/odd.png"),
        thumb.join("SYNOPHOTO_THUMB_M.png"),
    )
    .expect("copies");
    assert_eq!(world.build()["embedded"], 5);
    let mut back = world.bt_index(["build", "photos", "--exclude", "!@eaDir/", "--json"]);
    assert_eq!(json(&back.assert().success())["embedded"], 1);
    assert_eq!(world.build()["removed"], 1);
    // Nothing else is there.
    let mut only = world.bt_index(["build", "photos/@eaDir/gray.png", "--json"]);
    assert_eq!(json(&only.assert().success())["embedded"], 1);
}

#[test]
fn pipes_and_sockets_named_like_photos_block_nothing() {
    let world = World::new();
    let at = |name: &str| world.photos().join(name);
    world.build();
    fs::remove_file(at("gray.png")).expect("removes");
    for pipe in ["gray.png", "new.jpg"] {
        let made = std::process::Command::new("mkfifo").arg(at(pipe)).status();
        assert!(made.expect("runs").success());
    }
    let _socket = UnixListener::bind(at("socket.jpg")).expect("binds");
    let mut build = world.bt_index(["build", "photos", "--json"]);
    let report = json(&build.timeout(crate::LONG).assert().success());
    assert_eq!(report["skipped"].as_array().map(Vec::len), Some(3));
    assert_eq!(report["removed"], 1, "a pipe has taken its place");
    assert_eq!(world.status()["photos"], 4);
}

#[test]
fn a_photo_may_give_way_to_a_folder_of_its_name_and_be_built_alone() {
    let world = World::new();
    world.build();
    let gray = world.photos().join("gray.png");
    fs::rename(&gray, gray.with_extension("aside")).expect("moves");
    fs::create_dir(&gray).expect("creates");
    fs::rename(gray.with_extension("aside"), gray.join("gray.png")).expect("moves");
    let report = world.build();
    assert_eq!(
        (&report["recognised"], &report["removed"]),
        (&1.into(), &0.into())
    );
    let alone = world.photos().with_file_name("alone.png");
    fs::copy(fixture("pixels/odd.png"), alone).expect("copies");
    let mut build = world.bt_index(["build", "alone.png", "--json"]);
    assert_eq!(json(&build.assert().success())["embedded"], 1);
    assert_eq!(folders(&world), ["alone.png", "photos"]);
    let (report, _) = run(&world, ["build", "--json"]);
    assert_eq!(report["unchanged"], 6);
}
