//! `bt-index model`: packed weights in the user's cache folder.
#![cfg(target_os = "linux")] // Elsewhere no variable says where that is.

use bridgetower::model::Format;

use super::crash::content;
use super::{World, files_below};

#[test]
fn weights_are_packed_once_used_checked_and_cleared() {
    let world = World::new();
    let cache = tempfile::tempdir().expect("a folder");
    let run = |arguments: [&str; 2]| {
        let mut command = world.bt_index(arguments);
        command
            .env("XDG_CACHE_HOME", cache.path())
            .assert()
            .success();
    };
    let files = || {
        let mut files = files_below(cache.path());
        files.retain(|path| path.extension().is_some_and(|e| e == "bin"));
        files.sort();
        files
    };
    run(["build", "photos"]);
    assert!(
        files().is_empty(),
        "so small a model is packed anew each time"
    );

    run(["model", "prepare"]);
    if !Format::F32.is_supported() {
        assert!(files().is_empty());
        return;
    }
    let made = files();
    assert_eq!(made.len(), 5, "{made:?}");
    let read = || made.iter().map(|path| std::fs::read(path).expect("reads"));
    let contents: Vec<Vec<u8>> = read().collect();

    for (path, content) in made.iter().zip(&contents) {
        let mut damaged = content.clone();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 1;
        std::fs::write(path, damaged).expect("writes");
    }
    run(["model", "prepare"]);
    assert!(read().eq(contents.iter().cloned()), "damage is mended");

    let packed = content(&world);
    std::fs::remove_dir_all(world.index()).expect("removes");
    run(["build", "photos"]);
    assert_eq!(
        content(&world),
        packed,
        "mapped weights are the packed ones"
    );

    run(["model", "clear"]);
    assert!(files().is_empty());
}

#[test]
fn what_is_prepared_is_the_model_of_the_index() {
    let world = World::new();
    world.bt_index(["build", "photos"]).assert().success();
    let cache = tempfile::tempdir().expect("a folder");
    let mut command = world.bt_index(["model", "prepare", "--offline"]);
    command
        .env_remove("BT_MODEL")
        .env("XDG_CACHE_HOME", cache.path());
    command.assert().success();
}
