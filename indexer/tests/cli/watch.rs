//! `bt-index watch`: what happens to its folders, it notices. Waiting has generous limits; what has not come by then
//! never comes.

#![cfg(unix)]

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant, SystemTime};

use bridgetower::index::{IndexReader, IndexWriter};
use serde_json::Value;

use crate::{LONG, World, crash, fixture, refused};

/// A running `bt-index watch photos --json`.
struct Watch {
    process: Child,
    lines: Receiver<Value>,
}

impl Watch {
    /// Of all folders of the index.
    fn of_known_folders(world: &World, arguments: &[&str]) -> Self {
        Self::run(world, &[], arguments)
    }

    /// Without a scan that no event asks for.
    fn start(world: &World) -> Self {
        Self::start_with(world, &["--settle", "1", "--rescan", "3600"])
    }

    fn start_with(world: &World, arguments: &[&str]) -> Self {
        Self::run(world, &["photos"], arguments)
    }

    fn run(world: &World, folders: &[&str], arguments: &[&str]) -> Self {
        let mut process = Command::new(assert_cmd::cargo::cargo_bin("bt-index"))
            .arg("watch")
            .args(folders)
            .args(["--json", "--index"])
            .arg(world.index())
            .args(arguments)
            .current_dir(world.photos().parent().expect("the world"))
            .env("BT_MODEL", fixture("checkpoints/tiny-random"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("starts");
        let stdout = BufReader::new(process.stdout.take().expect("is piped"));
        let (send, lines) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines() {
                let line = serde_json::from_str(&line.expect("UTF-8")).expect("JSON");
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        Self { process, lines }
    }

    /// The next line; it must be about `event`.
    fn next(&self, event: &str) -> Value {
        let line = self.lines.recv_timeout(LONG).expect(event);
        assert_eq!(line["event"], event, "{line}");
        line
    }

    /// Waits for builds that have `count` of `what` together. None may embed more than that asks for.
    fn built(&self, what: &str, count: u64) {
        let mut seen = 0;
        while seen < count {
            let line = self.next("built");
            seen += line[what].as_u64().expect("a number");
            assert!(
                what == "embedded" || line["embedded"] == 0,
                "{what}: {line}"
            );
        }
        assert_eq!(seen, count, "{what}");
    }

    /// Ctrl-C; the watch ends well, and nothing else happened before.
    fn stop(mut self) -> Value {
        self.interrupt();
        let stopped = self.next("stopped");
        assert!(self.process.wait().expect("ends").success());
        stopped
    }

    fn interrupt(&self) {
        let kill = format!("kill -INT {}", self.process.id());
        let status = Command::new("sh").args(["-c", &kill]).status();
        assert!(status.expect("runs").success());
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < LONG, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// With photos that have lain there for long.
fn settled() -> World {
    let world = World::new();
    settle(&world);
    world
}

fn settle(world: &World) {
    for entry in fs::read_dir(world.photos()).expect("lists") {
        let name = entry.expect("lists").file_name();
        set_age(world, name.to_str().expect("UTF-8"), 1000);
    }
}

fn add(world: &World, name: &str) {
    fs::copy(fixture("pixels/odd.png"), world.photos().join(name)).expect("copies");
}

fn set_age(world: &World, name: &str, seconds: u64) {
    let file = File::options()
        .write(true)
        .open(world.photos().join(name))
        .expect("opens");
    let time = SystemTime::now() - Duration::from_secs(seconds);
    file.set_modified(time).expect("sets");
}

#[test]
fn what_comes_moves_and_goes_is_followed() {
    let world = settled();
    let at = |name: &str| world.photos().join(name);
    let watch = Watch::start(&world);
    assert_eq!(watch.next("built")["embedded"], 5);
    assert_eq!(watch.next("watching")["photos"], 5);

    add(&world, "new.png");
    watch.built("embedded", 1);
    fs::create_dir(at("trip")).expect("creates");
    fs::rename(at("new.png"), at("trip/new.png")).expect("moves");
    fs::rename(at("gray.png"), at("trip/gray.png")).expect("moves");
    watch.built("recognised", 2);
    fs::rename(at("trip"), at("holiday")).expect("moves");
    watch.built("recognised", 2);
    add(&world, "holiday/twin.png");
    watch.built("recognised", 1);
    set_age(&world, "square.png", 2000);
    watch.built("recognised", 1);
    fs::remove_dir_all(at("holiday")).expect("removes");
    watch.built("removed", 3);
    fs::write(at(".btignore"), "square.png\n").expect("writes");
    watch.built("removed", 1);

    // Nobody has the index meanwhile.
    assert_eq!(world.status()["builder"], Value::Null);
    world.bt_index(["compact"]).assert().success();
    assert_eq!(world.build()["unchanged"], 3);
    world.bt_index(["verify"]).assert().success();
    assert_eq!(watch.stop()["photos"], 3);
}

#[test]
fn a_burst_takes_few_builds() {
    let world = settled();
    let watch = Watch::start(&world);
    watch.next("built");
    watch.next("watching");
    for round in 0..3 {
        crash::change_photos(&world, round);
    }
    let mut builds = 0;
    until("all photos are in the index", || {
        world.status()["photos"] == 125
    });
    watch.interrupt();
    while watch.lines.recv_timeout(LONG).expect("ends")["event"] == "built" {
        builds += 1;
    }
    assert!((1..=10).contains(&builds), "{builds} builds");
    assert_eq!(world.build()["unchanged"], 125);
}

#[test]
fn a_file_that_is_still_being_written_is_tried_again() {
    let world = settled();
    let at = world.photos().join("slow.png");
    let png = fs::read(fixture("pixels/odd.png")).expect("reads");
    let watch = Watch::start_with(&world, &["--settle", "3"]);
    watch.next("built");
    watch.next("watching");
    fs::write(&at, &png[..png.len() / 2]).expect("writes");
    // Long enough to have been looked at, too short to be given up.
    std::thread::sleep(Duration::from_secs(5));
    fs::write(&at, &png).expect("writes");
    let built = watch.next("built");
    assert_eq!(
        (&built["embedded"], &built["skipped"]),
        (&1.into(), &Value::Array(Vec::new()))
    );
    watch.stop();
}

#[test]
fn a_broken_file_is_told_once_and_taken_in_when_it_is_mended() {
    let world = settled();
    let at = world.photos().join("broken.png");
    let png = fs::read(fixture("pixels/odd.png")).expect("reads");
    let watch = Watch::start_with(&world, &["--settle", "1", "--rescan", "1"]);
    watch.next("built");
    watch.next("watching");
    fs::write(&at, &png[..png.len() / 2]).expect("writes");
    set_age(&world, "broken.png", 1000);
    let built = watch.next("built");
    assert_eq!(built["skipped"].as_array().expect("a list").len(), 1);
    std::thread::sleep(Duration::from_secs(3));
    fs::write(&at, &png).expect("writes");
    watch.built("embedded", 1);
    watch.stop();
}

#[test]
fn a_folder_that_goes_is_waited_for() {
    let world = settled();
    let away = world.photos().with_extension("unmounted");
    let watch = Watch::start(&world);
    watch.next("built");
    watch.next("watching");
    fs::rename(world.photos(), &away).expect("moves");
    watch.next("away");
    assert_eq!(world.status()["photos"], 5);
    // As an empty mount point.
    fs::create_dir(world.photos()).expect("creates");
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(world.status()["photos"], 5);
    fs::remove_dir(world.photos()).expect("removes");
    fs::rename(&away, world.photos()).expect("moves");
    watch.next("back");
    add(&world, "new.png");
    watch.built("embedded", 1);
    watch.stop();
}

#[test]
fn a_folder_that_was_emptied_is_waited_for_and_the_others_are_followed() {
    let world = settled();
    let more = world.photos().with_file_name("more");
    fs::create_dir(&more).expect("creates");
    fs::copy(fixture("pixels/wide.png"), more.join("wide.png")).expect("copies");
    let both = ["build", "photos", "more"];
    world.bt_index(both).assert().success();
    let watch = Watch::of_known_folders(&world, &["--settle", "1", "--rescan", "3600"]);
    assert_eq!(watch.next("watching")["photos"], 6);
    let aside = more.with_extension("aside");
    fs::rename(more.join("wide.png"), &aside).expect("moves");
    watch.next("away");
    add(&world, "new.png");
    watch.built("embedded", 1);
    assert_eq!(world.status()["photos"], 7);
    fs::rename(&aside, more.join("wide.png")).expect("moves");
    watch.built("recognised", 1);
    watch.next("back");
    assert_eq!(watch.stop()["photos"], 7);
}

#[test]
fn what_is_behind_links_is_followed_on_demand() {
    let world = settled();
    let album = world.photos().with_file_name("album");
    fs::create_dir(&album).expect("creates");
    std::os::unix::fs::symlink(&album, world.photos().join("link")).expect("links");
    fs::copy(fixture("pixels/wide.png"), album.join("wide.png")).expect("copies");
    set_age(&world, "link/wide.png", 1000);
    let watch = Watch::start_with(&world, &["--settle", "1", "--rescan", "3600", "--follow"]);
    assert_eq!(watch.next("built")["embedded"], 6);
    watch.next("watching");
    fs::copy(fixture("pixels/odd.png"), album.join("odd.png")).expect("copies");
    watch.built("embedded", 1);
    watch.stop();
}

#[test]
fn a_photo_overwritten_by_one_of_the_same_size_and_time_is_noticed() {
    let world = settled();
    let at = world.photos().join("pair.png");
    let read = |name: &str| fs::read(fixture("pixels").join(name)).expect("reads");
    let (mut one, mut other) = (read("odd.png"), read("wide.png"));
    let len = one.len().max(other.len());
    one.resize(len, 0);
    other.resize(len, 0);
    let write = |bytes: &[u8]| {
        fs::write(&at, bytes).expect("writes");
        let file = File::options().write(true).open(&at).expect("opens");
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        file.set_modified(time).expect("sets");
    };
    write(&one);
    let watch = Watch::start(&world);
    assert_eq!(watch.next("built")["embedded"], 6);
    watch.next("watching");
    write(&other);
    watch.built("embedded", 1);
    watch.stop();
}

/// As one may start the watch before a drive is mounted.
#[test]
fn a_known_folder_may_come_later_and_an_unknown_one_must_be_there() {
    let world = settled();
    let mut unknown = world.bt_index(["watch", "photo"]);
    refused(&mut unknown, "no such folder", "spelling");
    refused(&mut world.bt_index(["watch"]), "no folder", "bt-index");
    world.build();
    let away = world.photos().with_extension("unmounted");
    fs::rename(world.photos(), &away).expect("moves");
    let watch = Watch::start(&world);
    watch.next("away");
    watch.next("watching");
    fs::rename(&away, world.photos()).expect("moves");
    watch.next("back");
    assert_eq!(watch.stop()["photos"], 5);
}

#[test]
fn a_scan_finds_what_no_event_tells() {
    let world = settled();
    let watch = Watch::start_with(&world, &["--settle", "1", "--no-events", "--rescan", "1"]);
    watch.next("built");
    watch.next("watching");
    add(&world, "new.png");
    watch.built("embedded", 1);
    fs::remove_file(world.photos().join("new.png")).expect("removes");
    watch.built("removed", 1);
    watch.stop();
}

#[test]
fn another_builder_is_waited_for() {
    let world = settled();
    world.build();
    let identity = IndexReader::open(&world.index())
        .expect("opens")
        .model()
        .clone();
    let other = IndexWriter::open(&world.index(), &identity).expect("opens");
    add(&world, "new.png");
    set_age(&world, "new.png", 1000);
    let watch = Watch::start(&world);
    assert_eq!(watch.next("busy")["pid"], std::process::id());
    drop(other);
    watch.built("embedded", 1);
    watch.next("watching");
    watch.stop();
}

#[test]
fn ctrl_c_keeps_what_was_built_by_then() {
    let world = settled();
    for round in 0..10 {
        crash::change_photos(&world, round);
    }
    settle(&world);
    let mut watch = Watch::start_with(&world, &["--batch", "1", "--commit-every", "0"]);
    until("something is published", || {
        IndexReader::open(&world.index()).is_ok()
    });
    watch.interrupt();
    // Where it was quicker than we were, it has more to tell.
    let stopped = loop {
        let line = watch.lines.recv_timeout(LONG).expect("ends");
        if line["event"] == "stopped" {
            break line;
        }
    };
    assert!(watch.process.wait().expect("ends").success());
    assert_eq!(world.status()["photos"], stopped["photos"]);
    world.bt_index(["verify"]).assert().success();
}
