//! `bt-index gc`.

use std::fs;
use std::path::PathBuf;

use bridgetower::index::{IndexReader, IndexWriter};

use crate::{World, json, refused};

/// What killed builds and compactions, and queries of old, leave.
fn litter(world: &World) -> Vec<(PathBuf, &'static str)> {
    let at = |name: &str| world.index().join(name);
    let litter = [
        ("current.tmp", "drafts"),
        ("snapshot.tmp", "drafts"),
        ("snapshot-00000000000000ff.bt", "snapshots"),
        ("store.old/db", "stores"),
        ("store.fresh/conf", "stores"),
        ("cache/0123456789abcdef/about.json", "other_models"),
    ];
    litter
        .map(|(name, kind)| {
            let path = at(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("creates");
            fs::write(&path, [0; 1000]).expect("writes");
            (path, kind)
        })
        .into()
}

#[test]
fn leftovers_go_and_nothing_else_does() {
    let world = World::new();
    refused(&mut world.bt_index(["gc"]), "no index", "bt-index build");
    assert!(!world.index().exists());
    world.build();
    let litter = litter(&world);
    let about = litter[5].0.clone();
    let other = r#"{"model": "m", "fingerprint": "f", "preprocessing": "p", "numbers": "f32", "level": "split"}"#;
    fs::write(&about, format!("{other:1000}")).expect("writes");
    fs::write(world.index().join("notes.txt"), "mine").expect("writes");

    let dry_run = json(
        &world
            .bt_index(["gc", "--dry-run", "--json"])
            .assert()
            .success(),
    );
    assert!(litter.iter().all(|(path, _)| path.exists()));
    let report = json(&world.bt_index(["gc", "--json"]).assert().success());
    assert!(!litter.iter().any(|(path, _)| path.exists()));
    assert_eq!(report["removed"], dry_run["removed"]);
    assert_eq!(report["bytes"], 6000);
    for kind in ["drafts", "stores"] {
        assert_eq!(report["removed"][kind]["files"], 2, "{kind}");
    }
    for kind in ["snapshots", "other_models"] {
        assert_eq!(report["removed"][kind]["files"], 1, "{kind}");
    }
    assert!(world.index().join("notes.txt").exists());
    world.bt_index(["verify"]).assert().success();
    assert_eq!(world.build()["unchanged"], 5);
    let again = json(&world.bt_index(["gc", "--json"]).assert().success());
    assert_eq!(again["bytes"], 0);
}

#[test]
fn another_builder_is_not_disturbed_and_open_snapshots_stay_readable() {
    let world = World::new();
    world.build();
    let reader = IndexReader::open(&world.index()).expect("opens");
    let snapshot = world.index().join("snapshot-00000000000000ff.bt");
    let writer = IndexWriter::open(&world.index(), reader.model()).expect("opens");
    fs::write(&snapshot, "old").expect("writes");
    let by_us = format!("by process {}", std::process::id());
    refused(&mut world.bt_index(["gc"]), &by_us, "queries work");
    assert!(snapshot.exists());
    drop(writer);
    world.bt_index(["gc"]).assert().success();
    assert!(!snapshot.exists());
    assert_eq!(reader.photos().flatten().count(), 5);
}
