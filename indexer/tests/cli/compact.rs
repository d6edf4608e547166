//! `bt-index compact`.

use crate::{World, json, refused};

#[test]
fn an_index_is_compacted_and_stays_what_it_is() {
    let world = World::new();
    refused(
        &mut world.bt_index(["compact"]),
        "no index",
        "bt-index build",
    );
    world.build();
    std::fs::remove_file(world.photos().join("gray.png")).expect("deletes");
    world.build();
    let before = world.status();
    let report = json(&world.bt_index(["compact", "--json"]).assert().success());
    assert_eq!(report["bytes_before"], before["bytes"]);
    let after = world.status();
    assert_eq!(report["bytes_after"], after["bytes"]);
    assert_eq!(
        (&after["photos"], &after["vectors"]),
        (&4.into(), &4.into())
    );
    world.bt_index(["verify"]).assert().success();
    assert_eq!(world.build()["unchanged"], 4);
    let output = world
        .bt_index(["compact"])
        .assert()
        .success()
        .get_output()
        .clone();
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(
        stderr.contains("before, ") && stderr.contains("needed nothing"),
        "{stderr}"
    );
}
