//! `bt-index dedupe`: copies and look-alikes as people and programs see them.

use std::path::PathBuf;

use image::RgbImage;
use serde_json::Value;

use crate::{World, json, refused};

/// A picture as PNG, a copy of that, the same pixels as BMP, and another picture twice.
fn world() -> World {
    let world = World::new();
    let at = |name: &str| world.photos().join(name);
    let stripes = RgbImage::from_fn(96, 64, |x, y| {
        image::Rgb([(x * 2) as u8, (y * 3) as u8, 90])
    });
    stripes.save(at("stripes.png")).expect("saves");
    stripes.save(at("stripes.bmp")).expect("saves");
    std::fs::create_dir(at("backup")).expect("creates");
    for name in ["stripes.png", "square.png"] {
        std::fs::copy(at(name), at("backup").join(name)).expect("copies");
    }
    world.build();
    world
}

fn names(content: &Value) -> Vec<String> {
    let paths = content["paths"].as_array().expect("a list").iter();
    let names = paths.map(|path| {
        let path = PathBuf::from(path.as_str().expect("text"));
        let name = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let folder = path.parent().and_then(|folder| folder.file_name());
        format!("{}/{name}", folder.expect("a folder").to_string_lossy())
    });
    names.collect()
}

#[test]
fn copies_and_look_alikes_are_told_apart() {
    let world = world();
    // The similarity of this random model says little: only the very same pixels count.
    let mut dedupe = world.bt_index(["dedupe", "--json", "--similarity", "1"]);
    let found = json(&dedupe.assert().success());
    let groups = found["groups"].as_array().expect("a list");
    let of_kind = |kind: &str| {
        let mut groups = groups.iter().filter(|group| group["kind"] == kind);
        groups.next().expect(kind).clone()
    };
    let near = of_kind("near");
    let contents = near["contents"].as_array().expect("a list");
    assert_eq!(
        names(&contents[0]),
        ["photos/stripes.bmp"],
        "the larger file first"
    );
    assert_eq!(
        names(&contents[1]),
        ["backup/stripes.png", "photos/stripes.png"]
    );
    assert_eq!(
        (&contents[1]["width"], &contents[1]["height"]),
        (&96.into(), &64.into())
    );
    let png = std::fs::metadata(world.photos().join("stripes.png")).expect("is there");
    assert_eq!(near["waste_bytes"], 2 * png.len());
    let exact = of_kind("exact");
    assert_eq!(
        names(&exact["contents"][0]),
        ["backup/square.png", "photos/square.png"]
    );

    let exact_only = json(
        &world
            .bt_index(["dedupe", "--json", "--exact"])
            .assert()
            .success(),
    );
    let groups = exact_only["groups"].as_array().expect("a list");
    assert_eq!(groups.len(), 2);
    assert!(groups.iter().all(|group| group["kind"] == "exact"));
    let waste: Vec<u64> = groups
        .iter()
        .filter_map(|g| g["waste_bytes"].as_u64())
        .collect();
    assert!(waste[0] >= waste[1]);
    assert_eq!(exact_only["waste_bytes"], waste[0] + waste[1]);
}

#[test]
fn people_see_sizes_and_paths_and_no_file_is_touched() {
    let world = world();
    let mut dedupe = world.bt_index(["dedupe", "--similarity", "1"]);
    let output = dedupe.assert().success().get_output().clone();
    let stdout = String::from_utf8(output.stdout).expect("UTF-8");
    for part in [
        "2 exact copies",
        "3 alike",
        "96×64",
        "1.000",
        "exact copy",
        "stripes.bmp",
    ] {
        assert!(stdout.contains(part), "{part} in {stdout}");
    }
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(stderr.starts_with("2 groups, "), "{stderr}");
    assert_eq!(world.build()["unchanged"], 9);
}

#[test]
fn exit_codes_tell_nothing_found_from_failure() {
    let world = World::new();
    refused(
        &mut world.bt_index(["dedupe"]),
        "no index",
        "bt-index build",
    );
    world.build();
    let nothing = world
        .bt_index(["dedupe", "--exact", "--json"])
        .assert()
        .code(1);
    assert_eq!(json(&nothing)["groups"], Value::Array(Vec::new()));
    world
        .bt_index(["dedupe", "--similarity", "2"])
        .assert()
        .code(2);
}

/// Links are photos of their own to a search; to call them copies would invite to delete what they lead to.
#[cfg(unix)]
#[test]
fn links_are_no_copies() {
    let world = World::new();
    let photos = world.photos();
    std::os::unix::fs::symlink("gray.png", photos.join("a link.png")).expect("links");
    std::fs::hard_link(photos.join("gray.png"), photos.join("hard.png")).expect("links");
    assert_eq!(world.build()["recognised"], 2);
    let nothing = world
        .bt_index(["dedupe", "--exact", "--json"])
        .assert()
        .code(1);
    assert_eq!(json(&nothing)["left_out"], 2);
}
