//! What a build leaves out: `.btignore`, `--exclude`, hidden files.

use crate::{World, json, refused};

fn write_rules(world: &World, text: &str) {
    std::fs::write(world.photos().join(".btignore"), text).expect("writes");
}

#[test]
fn ignored_photos_leave_the_index_and_come_back() {
    let world = World::new();
    world.build();
    write_rules(&world, "gray.png\np*.png\n");
    let report = world.build();
    assert_eq!(
        (&report["found"], &report["removed"]),
        (&2.into(), &3.into())
    );
    assert_eq!(world.status()["photos"], 2);
    write_rules(&world, "gray.png\n");
    assert_eq!(world.build()["embedded"], 2);
    world.bt_index(["verify"]).assert().success();
}

#[test]
fn exclude_counts_for_one_build() {
    let world = World::new();
    let build = |patterns: &[&str]| {
        let mut command = world.bt_index(["build", "photos", "--json"]);
        for pattern in patterns {
            command.args(["--exclude", pattern]);
        }
        json(&command.assert().success())
    };
    assert_eq!(build(&["gray.*", "square.png"])["embedded"], 3);
    assert_eq!(build(&["gray.*"])["embedded"], 1);
    assert_eq!(build(&["p*"])["removed"], 2);
    assert_eq!(build(&[])["embedded"], 2);
}

#[test]
fn hidden_photos_are_taken_in_on_demand() {
    let world = World::new();
    let at = |name: &str| world.photos().join(name);
    std::fs::rename(at("gray.png"), at(".gray.png")).expect("renames");
    assert_eq!(world.build()["embedded"], 4);
    let mut with_hidden = world.bt_index(["build", "--hidden", "--json"]);
    assert_eq!(json(&with_hidden.assert().success())["embedded"], 1);
    assert_eq!(world.build()["removed"], 1);
}

#[test]
fn a_malformed_btignore_is_reported_and_stops_nothing() {
    let world = World::new();
    write_rules(&world, "gray.png\n[z-a]\n");
    let report = world.build();
    assert_eq!(report["embedded"], 4);
    let skipped = &report["skipped"][0];
    assert!(
        skipped["path"]
            .as_str()
            .is_some_and(|p| p.ends_with(".btignore"))
    );
    assert!(
        skipped["reason"]
            .as_str()
            .is_some_and(|r| r.contains("line 2"))
    );
}

#[test]
fn a_malformed_exclude_is_refused_before_any_work() {
    let world = World::new();
    let mut build = world.bt_index(["build", "photos", "--model", "./no/model"]);
    refused(
        build.args(["--exclude", "{a"]),
        "malformed pattern \"{a\"",
        ".gitignore",
    );
    assert!(!world.index().exists());
}

#[test]
fn leaving_everything_out_changes_nothing() {
    let world = World::new();
    world.build();
    refused(
        &mut world.bt_index(["build", "photos", "--exclude", "*.png"]),
        "are left out",
        "--exclude",
    );
    write_rules(&world, "*\n");
    refused(&mut world.bt_index(["build"]), "are left out", ".btignore");
    assert_eq!(world.status()["photos"], 5);
}
