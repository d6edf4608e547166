//! Indexes that were begun before colour profiles and transparency were read.

use std::fs;
use std::path::Path;

use crate::{World, fixture, json};

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("creates");
    for entry in fs::read_dir(from).expect("lists") {
        let path = entry.expect("lists").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy_dir(&path, &target);
        } else {
            fs::copy(&path, &target).expect("copies");
        }
    }
}

#[test]
fn an_old_index_goes_on_working_and_says_that_a_rebuild_sees_better() {
    let world = World::new();
    copy_dir(&fixture("indexes/2/index"), &world.index());
    assert_eq!(world.status()["earlier_reading"], true);
    let built = world
        .bt_index(["build", "photos", "--json"])
        .assert()
        .success();
    let said = String::from_utf8_lossy(&built.get_output().stderr).into_owned();
    assert_eq!(
        said.matches("bt-index build --rebuild").count(),
        1,
        "{said}"
    );
    assert_eq!(json(&built)["recognised"], 4);
    assert_eq!(world.status()["earlier_reading"], true);

    let rebuild = ["build", "photos", "--rebuild", "--json"];
    let rebuilt = world.bt_index(rebuild).assert().success();
    assert!(rebuilt.get_output().stderr.is_empty());
    assert_eq!(world.status()["earlier_reading"], false);
}
