//! Which files a build takes for changed.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bridgetower::Photo;
use bridgetower::index::{Changes, IndexReader, IndexWriter};
use serde_json::Value;

use crate::{World, fixture, json};

/// Two pictures of one size and one time, of which the first lies among the photos.
struct Pair {
    world: World,
    photo: PathBuf,
    other: Vec<u8>,
}

impl Pair {
    fn new() -> Self {
        let world = World::new();
        let read = |name: &str| fs::read(fixture("pixels").join(name)).expect("reads");
        let (mut one, mut other) = (read("odd.png"), read("wide.png"));
        // What follows the end of a PNG is no part of the picture.
        let len = one.len().max(other.len());
        one.resize(len, 0);
        other.resize(len, 0);
        let photo = world.photos().join("pair.png");
        write(&photo, &one);
        world.build();
        Self {
            world,
            photo,
            other,
        }
    }
}

fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("writes");
    let file = File::options().write(true).open(path).expect("opens");
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    file.set_modified(time).expect("sets");
}

fn counts<const N: usize>(report: &Value, names: [&str; N]) -> [u64; N] {
    names.map(|name| report[name].as_u64().expect("a number"))
}

fn build(world: &World, flag: &str) -> Value {
    json(
        &world
            .bt_index(["build", "photos", "--json", flag])
            .assert()
            .success(),
    )
}

/// Changes what the index holds of all photos.
fn edit(world: &World, edit: impl Fn(&mut Photo)) {
    let identity = IndexReader::open(&world.index()).expect("opens");
    let mut writer = IndexWriter::open(&world.index(), identity.model()).expect("opens");
    let update = writer.photos().map(|(id, photo)| {
        let mut photo = photo.clone();
        edit(&mut photo);
        (id, photo)
    });
    let changes = Changes {
        update: update.collect(),
        ..Changes::default()
    };
    writer.commit(changes).expect("commits");
    writer.publish().expect("publishes");
}

#[test]
fn a_photo_overwritten_by_one_of_the_same_size_and_time_is_noticed() {
    let Pair {
        world,
        photo,
        other,
    } = Pair::new();
    write(&photo, &other);
    let report = world.build();
    assert_eq!(counts(&report, ["embedded", "unchanged"]), [1, 5]);
    assert_eq!(world.build()["unchanged"], 6);
}

#[test]
fn a_photo_replaced_by_a_file_of_the_same_size_and_time_is_noticed() {
    let Pair {
        world,
        photo,
        other,
    } = Pair::new();
    let beside = world.photos().join("beside");
    write(&beside, &other);
    fs::rename(&beside, &photo).expect("renames");
    let report = world.build();
    assert_eq!(counts(&report, ["embedded", "unchanged"]), [1, 5]);
}

#[test]
fn a_photo_whose_mode_changed_is_read_and_not_embedded() {
    let world = World::new();
    world.build();
    let mode = |mode| {
        let photo = world.photos().join("gray.png");
        fs::set_permissions(photo, Permissions::from_mode(mode)).expect("sets");
    };
    mode(0o600);
    let report = build(&world, "--ignore-ctime");
    assert_eq!(counts(&report, ["recognised", "unchanged"]), [0, 5]);
    let report = world.build();
    assert_eq!(
        counts(&report, ["embedded", "recognised", "unchanged"]),
        [0, 1, 4]
    );
    assert_eq!(world.build()["unchanged"], 5);
}

/// As on a file system that tells nothing of a change.
#[test]
fn checksum_finds_a_change_that_no_time_tells() {
    let Pair {
        world,
        photo,
        other,
    } = Pair::new();
    write(&photo, &other);
    edit(&world, |known| known.ctime_ns = None);
    assert_eq!(world.build()["unchanged"], 6);
    let report = build(&world, "--checksum");
    assert_eq!(
        counts(&report, ["embedded", "recognised", "unchanged"]),
        [1, 0, 5]
    );
    let before = world.status()["generation"].clone();
    assert_eq!(build(&world, "--checksum")["unchanged"], 6);
    let after = &world.status()["generation"];
    let roots = 1;
    assert!(after.as_u64() <= before.as_u64().map(|g| g + roots));
}

/// Imported ones neither: an export says nothing of the files of another machine.
#[test]
fn records_of_earlier_formats_learn_the_change_time_without_reading() {
    let Pair {
        world,
        photo,
        other,
    } = Pair::new();
    edit(&world, |known| known.ctime_ns = None);
    let dated = || {
        let index = IndexReader::open(&world.index()).expect("opens");
        let photos = index.photos().map(|entry| entry.expect("reads").1);
        photos.filter(|photo| photo.ctime_ns.is_some()).count()
    };
    assert_eq!(dated(), 0);
    let report = world.build();
    assert_eq!(
        counts(&report, ["embedded", "recognised", "unchanged"]),
        [0, 0, 6]
    );
    assert_eq!(dated(), 6);
    world.bt_index(["verify"]).assert().success();
    write(&photo, &other);
    assert_eq!(world.build()["embedded"], 1);
}
