//! `bt-index build --rebuild`: queries see the old index, whole, until the new one is.

use std::collections::HashSet;
use std::process::Child;
use std::time::{Duration, Instant};

use bridgetower::index::IndexReader;

use crate::crash::{draw_many, start_rebuild};
use crate::{World, fixture, refused};

/// Asks until the process ends, or so many commits of it were seen; every answer must be a whole index.
fn ask_during(world: &World, rebuild: &mut Child, photos: usize, commits: usize) -> usize {
    let started = Instant::now();
    let (mut asked, mut seen) = (0, HashSet::new());
    while rebuild.try_wait().expect("can be asked").is_none() && seen.len() < commits {
        let index = IndexReader::open(&world.index()).expect("there is an index at any time");
        assert_eq!(index.len(), photos);
        asked += 1;
        let log = world.index().join("store.rebuild/db").metadata();
        seen.extend(log.and_then(|log| log.modified()));
        assert!(started.elapsed() < Duration::from_mins(5), "it hangs");
        std::thread::sleep(Duration::from_millis(5));
    }
    asked
}

/// 242 of 249 queries failed during a rebuild.
#[test]
fn queries_find_an_index_all_through_a_rebuild() {
    let world = World::new();
    draw_many(&world);
    world.build();
    let before = world.status()["generation"].as_u64().expect("a number");
    let mut rebuild = start_rebuild(&world);
    let asked = ask_during(&world, &mut rebuild, 405, usize::MAX);
    assert!(rebuild.wait().expect("ends").success());
    assert!(asked > 10, "asked {asked} times");
    let status = world.status();
    assert_eq!(
        (&status["photos"], &status["rebuild_bytes"]),
        (&405.into(), &0.into())
    );
    assert!(status["generation"].as_u64() > Some(before));
    world.bt_index(["verify"]).assert().success();
}

#[test]
fn a_killed_rebuild_leaves_the_old_index_and_goes_on() {
    let world = World::new();
    draw_many(&world);
    world.build();
    let mut rebuild = start_rebuild(&world);
    ask_during(&world, &mut rebuild, 405, 10);
    let was_running = rebuild.try_wait().expect("can be asked").is_none();
    rebuild.kill().expect("kills");
    rebuild.wait().expect("is dead");
    assert!(was_running, "it ended too soon");

    assert_eq!(world.status()["photos"], 405);
    assert!(world.status()["rebuild_bytes"].as_u64() > Some(0));
    world.bt_index(["verify"]).assert().success();
    // A build without --rebuild is one of the old index, and says so.
    let build = world
        .bt_index(["build", "photos", "--json"])
        .assert()
        .success();
    let report = crate::json(&build);
    assert_eq!(
        (&report["embedded"], &report["unchanged"]),
        (&0.into(), &405.into())
    );
    let stderr = String::from_utf8_lossy(&build.get_output().stderr).into_owned();
    assert!(
        stderr.contains("bt-index build --rebuild continues it"),
        "{stderr}"
    );
    world.bt_index(["compact"]).assert().success();
    world.bt_index(["gc"]).assert().success();

    let report = crate::json(
        &world
            .bt_index(["build", "photos", "--rebuild", "--json"])
            .assert()
            .success(),
    );
    assert!(report["unchanged"].as_u64() > Some(0), "{report}");
    assert!(report["embedded"].as_u64() < Some(405), "{report}");
    assert_eq!(world.status()["photos"], 405);
    assert_eq!(world.status()["rebuild_bytes"], 0);
    world.bt_index(["verify"]).assert().success();
}

/// What fails before the new index is complete costs nothing.
#[test]
fn a_rebuild_that_cannot_be_done_leaves_the_old_index() {
    let world = World::new();
    world.build();
    std::fs::create_dir(world.photos().with_file_name("empty")).expect("creates");
    refused(
        &mut world.bt_index(["build", "empty", "--rebuild"]),
        "no photos found",
        "nothing was changed",
    );
    assert_eq!(world.status()["photos"], 5);
    // For another model the new one is begun anew, and photos from elsewhere are not in it.
    let other = fixture("checkpoints/sharded-safetensors");
    std::fs::rename(world.photos(), world.photos().with_file_name("elsewhere")).expect("moves");
    std::fs::create_dir(world.photos()).expect("creates");
    let one = world.photos().with_file_name("elsewhere/square.png");
    std::fs::copy(one, world.photos().join("one.png")).expect("copies");
    world
        .bt_index(["build", "photos", "--rebuild", "--model"])
        .arg(other)
        .assert()
        .success();
    assert_eq!(world.status()["photos"], 1);
}
