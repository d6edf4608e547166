//! What a person sees: the program on a terminal of the test's own.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use vt100::Parser;

use super::{World, program};

/// A terminal, and what the program wrote to it.
struct Seen {
    bytes: Vec<u8>,
    rows: u16,
    columns: u16,
}

impl Seen {
    /// Runs `bt-query ARGUMENTS` on a terminal of that size, stdout and stderr both.
    fn of(world: &World, rows: u16, columns: u16, term: &str, arguments: &[&str]) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&master).expect("is ours");
        unlockpt(&master).expect("unlocks");
        let size = Winsize {
            ws_row: rows,
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
        let mut command = program();
        command
            .current_dir(world.dir.path())
            .env("BT_INDEX", world.index())
            .env("TERM", term)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(end.try_clone().expect("a second handle"))
            .stderr(end);
        let mut child = command.spawn().expect("starts");
        // The command holds the terminal open, and so the test would wait for more.
        drop(command);
        let mut bytes = Vec::new();
        // When the last program leaves a terminal, Linux says that as an error.
        let _ = File::from(master).read_to_end(&mut bytes);
        assert!(child.wait().expect("ends").success());
        Self {
            bytes,
            rows,
            columns,
        }
    }

    /// What was on the screen after each byte.
    fn screens(&self) -> Vec<String> {
        let mut parser = Parser::new(self.rows, self.columns, 1000);
        let mut screens = Vec::new();
        for byte in &self.bytes {
            parser.process(&[*byte]);
            screens.push(parser.screen().contents());
        }
        screens
    }

    /// What is there at the end, with what has left the screen at its top.
    fn last(&self) -> String {
        let mut parser = Parser::new(self.rows, self.columns, 1000);
        parser.process(&self.bytes);
        let mut lines = Vec::new();
        parser.screen_mut().set_scrollback(usize::MAX);
        let gone = parser.screen().scrollback();
        for above in (1..=gone).rev() {
            parser.screen_mut().set_scrollback(above);
            lines.extend(parser.screen().rows(0, self.columns).next());
        }
        parser.screen_mut().set_scrollback(0);
        lines.extend(parser.screen().rows(0, self.columns));
        lines.join("\n").trim_end().to_owned()
    }
}

const QUERY: &str = "a cat by a window";
/// Where a match probability will be.
const UNREAD: &str = "      …  ";

/// The paths of the hits, with and without reranking.
fn paths(world: &World) -> [Vec<String>; 2] {
    [world.hits([QUERY]), world.hits([QUERY, "--no-rerank"])].map(|hits| {
        let path = |hit: &serde_json::Value| hit["path"].as_str().expect("a path").to_owned();
        hits.iter().map(path).collect()
    })
}

/// Fails unless `lines` are a table of `photos`, in this order; lines may be cut.
fn is_table(lines: &[&str], photos: &[String]) {
    assert!(lines[0].contains("similarity"), "{lines:#?}");
    assert_eq!(lines.len(), photos.len() + 1, "{lines:#?}");
    for (line, photo) in lines[1..].iter().zip(photos) {
        let shown = line[line.find('/').expect("a path")..].trim_end();
        let shown = shown.strip_suffix('…').unwrap_or(shown);
        assert!(photo.starts_with(shown), "{line}, not {photo}");
    }
}

#[test]
fn the_nearest_come_first_and_the_reranked_take_their_place() {
    let world = World::new();
    let [reranked, nearest] = paths(&world);
    let seen = Seen::of(&world, 24, 200, "xterm-256color", &[QUERY]);
    let screens = seen.screens();
    let first = screens.iter().rfind(|screen| screen.contains(UNREAD));
    let first: Vec<&str> = first.expect("hits on the way").lines().collect();
    is_table(&first[..=nearest.len()], &nearest);
    let last = seen.last();
    is_table(&last.lines().collect::<Vec<_>>(), &reranked);
    assert!(!last.contains('…'), "{last}");
}

/// The paths are longer than these lines, and the table than these screens.
#[test]
fn narrow_and_low_terminals_are_left_clean() {
    let world = World::new();
    let [reranked, nearest] = paths(&world);
    for (rows, columns) in [(24, 40), (6, 200), (6, 40), (2, 40), (24, 10)] {
        let seen = Seen::of(&world, rows, columns, "xterm-256color", &[QUERY]);
        let last = seen.last();
        assert!(!last.contains('…'), "{rows} × {columns}:\n{last}");
        // What wrapped is one line again.
        let width = usize::from(columns);
        let full = last.lines().map(|line| format!("{line:width$}"));
        let joined = full.collect::<Vec<_>>().concat();
        assert_eq!(joined.matches("similarity").count(), 1, "{last}");
        let mut place = 0;
        for photo in &reranked {
            let found = joined[place..].find(photo.as_str());
            place += found.unwrap_or_else(|| panic!("{rows} × {columns}, {photo}:\n{last}"));
        }
        if (rows, columns) == (6, 40) {
            let screens = seen.screens();
            let first = screens.iter().rfind(|screen| screen.contains(UNREAD));
            let first: Vec<&str> = first.expect("hits on the way").lines().collect();
            is_table(&first[..4], &nearest[..3]);
        }
    }
}

#[test]
fn nothing_is_replaced_where_that_is_not_wanted() {
    let world = World::new();
    for (term, arguments) in [
        ("dumb", &[QUERY][..]),
        ("xterm", &[QUERY, "--quiet"]),
        ("xterm", &[QUERY, "--no-rerank"]),
        ("xterm", &["./photos/gray.png"]),
        ("xterm", &[QUERY, "--filepath-only"]),
        ("xterm", &[QUERY, "--json"]),
    ] {
        let seen = Seen::of(&world, 24, 200, term, arguments);
        let unread = |screen: &String| screen.contains(UNREAD);
        assert!(!seen.screens().iter().any(unread), "{term} {arguments:?}");
        assert!(seen.last().contains("gray.png"), "{term} {arguments:?}");
    }
}
