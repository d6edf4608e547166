//! `bt-index verify --repair`: what it mends, what it says, and what the next build has to embed.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{World, files_below, fixture, json, refused};

fn repair(world: &World) -> Value {
    json(
        &world
            .bt_index(["verify", "--repair", "--json"])
            .assert()
            .success(),
    )
}

/// The snapshot, and the file that names it.
fn published(world: &World) -> Vec<PathBuf> {
    let mut files = files_below(&world.index());
    files.retain(|path| path.extension().is_some_and(|e| e == "bt") || path.ends_with("current"));
    files
}

fn garble(path: &Path) {
    let len = std::fs::metadata(path).expect("is there").len();
    std::fs::write(path, vec![0xa5; len as usize]).expect("writes");
}

#[test]
fn a_damaged_store_is_replaced_and_nothing_is_embedded_again() {
    let world = World::new();
    world.build();
    garble(&world.index().join("store.sled/db"));
    refused(
        &mut world.bt_index(["build", "photos"]),
        "damaged",
        "verify --repair",
    );
    world.bt_index(["verify"]).assert().code(2);
    let output = world.bt_index(["verify", "--repair"]).assert().success();
    let text = String::from_utf8_lossy(&output.get_output().stdout).into_owned();
    assert!(
        text.contains("was damaged: ") && text.contains("repaired: 5 photos"),
        "{text}"
    );
    let kept = world.index().join("store.damaged-1");
    assert!(
        text.contains(kept.to_str().expect("UTF-8")) && kept.is_dir(),
        "{text}"
    );
    world.bt_index(["verify"]).assert().success();
    assert_eq!(world.build()["embedded"], 0);
    assert_eq!(repair(&world)["problems"], Value::Array(vec![]));
}

/// What came after the published state is lost with the store, and is all that the next build embeds.
#[test]
fn a_build_after_a_repair_embeds_what_was_lost() {
    let world = World::new();
    world.build();
    let earlier: Vec<_> = published(&world)
        .into_iter()
        .map(|path| (std::fs::read(&path).expect("reads"), path))
        .collect();
    for name in ["wide.png", "odd.png"] {
        let photo = world.photos().join(name);
        std::fs::copy(fixture("pixels").join(name), photo).expect("copies");
    }
    assert_eq!(world.build()["embedded"], 2);
    for path in published(&world) {
        std::fs::remove_file(path).expect("removes");
    }
    for (bytes, path) in earlier {
        std::fs::write(path, bytes).expect("writes");
    }
    garble(&world.index().join("store.sled/db"));
    let report = repair(&world);
    assert_eq!(
        (&report["photos"], &report["lost"]),
        (&5.into(), &Value::Null)
    );
    let report = world.build();
    assert_eq!(
        (&report["embedded"], &report["unchanged"]),
        (&2.into(), &5.into())
    );
    world.bt_index(["verify"]).assert().success();
}

/// Folders and model of a build without arguments come from what was published.
#[test]
fn a_build_that_needs_the_damaged_snapshot_says_how_to_mend_it() {
    let world = World::new();
    world.build();
    for path in published(&world) {
        garble(&path);
    }
    refused(&mut world.bt_index(["build"]), "damaged", "verify --repair");
    let report = repair(&world);
    assert_eq!(
        (&report["lost"], &report["put_aside"]),
        (&0.into(), &Value::Null)
    );
    world.bt_index(["build"]).assert().success();
}

#[test]
fn an_index_of_which_nothing_is_left_is_built_anew() {
    let world = World::new();
    world.build();
    garble(&world.index().join("store.sled/db"));
    for path in published(&world) {
        garble(&path);
    }
    refused(
        &mut world.bt_index(["verify", "--repair"]),
        "beyond repair",
        "--rebuild",
    );
    world
        .bt_index(["build", "photos", "--rebuild"])
        .assert()
        .success();
    assert_eq!(world.status()["photos"], 5);
}
