//! What a person sees: the program on a terminal of the test's own.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use vt100::Parser;

use super::{World, fixture, program};

/// A terminal, and what the program wrote to it.
pub(crate) struct Seen {
    bytes: Vec<u8>,
    rows: u16,
    columns: u16,
}

/// What kind of terminal it is.
#[derive(Clone, Copy)]
pub(crate) struct Kind<'a> {
    pub rows: u16,
    pub columns: u16,
    /// Its variables, TERM among them.
    pub variables: &'a [(&'a str, &'a str)],
    /// What it says when it is asked what it is.
    pub answer: &'a [u8],
}

impl Seen {
    /// Runs `bt-query ARGUMENTS` on a terminal of that size, stdout and stderr both.
    fn of(world: &World, rows: u16, columns: u16, term: &str, arguments: &[&str]) -> Self {
        let kind = Kind {
            rows,
            columns,
            variables: &[("TERM", term)],
            answer: b"",
        };
        Self::on(world, kind, arguments)
    }

    /// Runs `bt-query ARGUMENTS` on a terminal of that kind.
    pub(crate) fn on(world: &World, kind: Kind, arguments: &[&str]) -> Self {
        let Kind { rows, columns, .. } = kind;
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
        for name in [
            "COLORTERM",
            "KITTY_WINDOW_ID",
            "KONSOLE_VERSION",
            "LC_TERMINAL",
            "TERM_PROGRAM",
            "TMUX",
        ] {
            command.env_remove(name);
        }
        command
            .current_dir(world.dir.path())
            .env("BT_INDEX", world.index())
            .envs(kind.variables.iter().copied())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(end.try_clone().expect("a second handle"))
            .stderr(end);
        let mut child = command.spawn().expect("starts");
        // The command holds the terminal open, and so the test would wait for more.
        drop(command);
        let (mut bytes, mut part) = (Vec::new(), [0; 4096]);
        let mut master = File::from(master);
        let mut answer = Some(kind.answer);
        // When the last program leaves a terminal, Linux says that as an error.
        while let Ok(length @ 1..) = master.read(&mut part) {
            bytes.extend(&part[..length]);
            if bytes.windows(3).any(|bytes| bytes == b"\x1b[c") {
                let answer = answer.take().unwrap_or_default();
                master.write_all(answer).expect("takes it");
            }
        }
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

    /// All that was written.
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.bytes.clone()).expect("UTF-8")
    }

    /// The screen at the end.
    pub(crate) fn screen(&self) -> vt100::Screen {
        let mut parser = Parser::new(self.rows, self.columns, 0);
        parser.process(&self.bytes);
        parser.screen().clone()
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
        let shown = line.trim_end().rsplit("  ").next().expect("a path");
        let shown = shown.strip_prefix('…').unwrap_or(shown);
        assert!(photo.ends_with(shown), "{line}, not {photo}");
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
    for (rows, columns) in [(24, 40), (6, 200), (6, 40), (2, 40), (24, 30)] {
        let seen = Seen::of(&world, rows, columns, "xterm-256color", &[QUERY]);
        let last = seen.last();
        let lines: Vec<&str> = last.lines().collect();
        assert!(!last.contains(UNREAD), "{rows} × {columns}:\n{last}");
        // A line each, at whose end the name is.
        assert_eq!(
            lines.len(),
            reranked.len() + 1,
            "{rows} × {columns}:\n{last}"
        );
        for (line, photo) in lines[1..].iter().zip(&reranked) {
            let (_, name) = photo.rsplit_once('/').expect("a path");
            assert!(
                line.trim_end().ends_with(name),
                "{rows} × {columns}:\n{last}"
            );
            assert_eq!(line.contains(photo), columns == 200, "{line}");
        }
        if (rows, columns) == (6, 40) {
            let screens = seen.screens();
            let first = screens.iter().rfind(|screen| screen.contains(UNREAD));
            let first: Vec<&str> = first.expect("hits on the way").lines().collect();
            let shown = first[1..4].iter().zip(&nearest);
            for (line, photo) in shown {
                let (_, name) = photo.rsplit_once('/').expect("a path");
                assert!(line.trim_end().ends_with(name), "{first:#?}");
            }
        }
    }
    let tiny = Seen::of(&world, 24, 10, "xterm-256color", &[QUERY]).last();
    assert_eq!(tiny.lines().count(), reranked.len() + 1, "{tiny}");
    assert!(
        tiny.lines()
            .all(|line| line.trim_end().chars().count() <= 10),
        "{tiny}"
    );
    assert!(
        tiny.contains("…/gray.png") && tiny.contains("land…e.png"),
        "{tiny}"
    );
}

fn one_photo(name: &str) -> World {
    World::of(|photos| {
        std::fs::copy(fixture("pixels/gray.png"), photos.join(name)).expect("copies");
    })
}

#[test]
fn wide_letters_do_not_break_the_line() {
    let name = "三毛猫の昼寝と日曜日の午後の窓辺で見た夢.png";
    let world = one_photo(name);
    for columns in [30, 40, 50, 60] {
        let last = Seen::of(&world, 24, columns, "xterm", &[QUERY]).last();
        assert_eq!(last.lines().count(), 2, "{columns}: {last}");
        assert!(last.contains("夢.png"), "{columns}: {last}");
    }
    let last = Seen::of(&world, 24, 200, "xterm", &[QUERY]).last();
    assert!(last.contains(name), "{last}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_name_gives_the_terminal_no_orders() {
    let world = one_photo("a\u{1b}]0;owned\u{7}\u{1b}[2J\n\u{9b}31m\u{202e}gnp.png");
    let shown = r"a\x1b]0;owned\x07\x1b[2J\n\u{9b}31m\u{202e}gnp.png";
    std::fs::copy(
        fixture("pixels/wide.png"),
        world.dir.path().join("photos/x"),
    )
    .expect("copies");
    for arguments in [
        &[QUERY][..],
        &[QUERY, "-f"],
        &[QUERY, "-0"],
        &[QUERY, "--csv"],
    ] {
        let seen = Seen::of(&world, 24, 200, "xterm", arguments);
        let text = String::from_utf8(seen.bytes.clone()).expect("UTF-8");
        assert!(text.contains(shown), "{arguments:?}: {text:?}");
        for order in ["\u{1b}]0", "\u{1b}[2J", "\u{9b}", "\u{202e}"] {
            assert!(!text.contains(order), "{arguments:?}: {text:?}");
        }
    }
    // As JSON writes it, it is the same name again.
    let seen = Seen::of(&world, 24, 200, "xterm", &[QUERY, "--jsonl"]);
    let text = String::from_utf8(seen.bytes).expect("UTF-8");
    assert!(text.contains(r"\u009b31m\u202egnp"), "{text:?}");
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
