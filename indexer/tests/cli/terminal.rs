//! What a build shows a person: the program with its stderr on a terminal of the test's own.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::{World, fixture};

/// What `bt-index build photos` writes to a terminal with so many columns.
fn seen(world: &World, columns: u16) -> String {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&master).expect("is ours");
    unlockpt(&master).expect("unlocks");
    let size = Winsize {
        ws_row: 24,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&master, size).expect("has a size");
    let name = ptsname(&master, Vec::new()).expect("has a name");
    let end = File::options()
        .read(true)
        .write(true)
        .open(OsStr::from_bytes(name.as_bytes()))
        .expect("opens");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_bt-index"));
    command
        .args(["build", "photos", "--batch", "1"])
        .current_dir(world.dir.path())
        .env("BT_INDEX", world.index())
        .env("BT_MODEL", fixture("checkpoints/tiny-random"))
        .env("TERM", "xterm-256color")
        .stdout(Stdio::null())
        .stderr(end);
    let mut child = command.spawn().expect("starts");
    // The command holds the terminal open, and so the test would wait for more.
    drop(command);
    let mut bytes = Vec::new();
    // When the last program leaves a terminal, Linux says that as an error.
    let _ = File::from(master).read_to_end(&mut bytes);
    assert!(child.wait().expect("ends").success());
    String::from_utf8(bytes).expect("UTF-8")
}

#[test]
fn a_build_says_what_it_is_doing() {
    let text = seen(&World::new(), 200);
    let stages = ["scanning", "embedding  ", "publishing"];
    let places = stages.map(|stage| {
        text.find(stage)
            .unwrap_or_else(|| panic!("{stage}: {text:?}"))
    });
    assert!(places.is_sorted(), "{text:?}");
    assert!(text.contains("/5 photos  "), "{text:?}");
}

#[test]
fn a_narrow_terminal_does_not_break_the_progress_bar() {
    for columns in [20, 30, 45, 60] {
        let text = seen(&World::new(), columns);
        let plain = console::strip_ansi_codes(&text).into_owned();
        let lines = plain
            .split(['\r', '\n'])
            .filter(|line| line.contains("embedding"));
        let widths: Vec<usize> = lines
            .map(|line| console::measure_text_width(line.trim_end()))
            .collect();
        assert!(!widths.is_empty(), "{text:?}");
        assert!(
            widths.iter().all(|width| *width < columns.into()),
            "{columns}: {text:?}"
        );
    }
}
