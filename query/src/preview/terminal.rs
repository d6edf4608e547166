//! The terminal's abilities and size.

use super::protocol::Protocol;

/// The size of the terminal.
#[derive(Debug, Clone, Copy)]
pub struct Screen {
    /// Columns and lines.
    pub cells: (u32, u32),
    /// Pixels of a letter, from left to right and from top to bottom.
    pub cell: (u32, u32),
}

/// The usual size of a letter, for terminals that do not report it.
const USUAL_CELL: (u32, u32) = (10, 20);

impl Screen {
    pub fn of_stdout() -> Self {
        let (lines, columns) = console::Term::stdout().size();
        let cells = (u32::from(columns).max(1), u32::from(lines).max(1));
        Self {
            cells,
            cell: system::pixels().map_or(USUAL_CELL, |(width, height)| {
                match (width / cells.0, height / cells.1) {
                    (0, _) | (_, 0) => USUAL_CELL,
                    cell => cell,
                }
            }),
        }
    }
}

/// Returns the protocol that the terminal supports, by its name, or else by its answer. None if it has no colours
/// either.
pub fn protocol() -> Option<Protocol> {
    let term = variable("TERM");
    if term == "dumb" {
        return None;
    }
    // Variables of the terminal outside of it say nothing.
    let is_inside_other = ["screen", "tmux"].iter().any(|name| term.starts_with(name));
    let is_inside_other = is_inside_other || !variable("TMUX").is_empty();
    let by_name = by_name(&term).filter(|_| !is_inside_other);
    by_name
        .or_else(|| by_answer(&system::ask(QUESTIONS)))
        .or_else(|| (has_true_colour() || term.contains("256color")).then_some(Protocol::Blocks))
}

/// Returns whether colours are not limited to a table of 256.
pub fn has_true_colour() -> bool {
    ["truecolor", "24bit"].contains(&variable("COLORTERM").as_str())
}

fn by_name(term: &str) -> Option<Protocol> {
    let program = variable("TERM_PROGRAM");
    let is_kitty = ["xterm-kitty", "xterm-ghostty"].contains(&term)
        || program == "ghostty"
        || !variable("KITTY_WINDOW_ID").is_empty();
    // Konsole shows pictures since version 22.04.
    let konsole: u32 = variable("KONSOLE_VERSION").parse().unwrap_or(0);
    let is_iterm2 = ["iTerm.app", "WezTerm", "mintty"].contains(&program.as_str())
        || variable("LC_TERMINAL") == "iTerm2"
        || term == "mlterm"
        || konsole >= 220_400;
    match (is_kitty, is_iterm2) {
        (true, _) => Some(Protocol::Kitty),
        (_, true) => Some(Protocol::Iterm2),
        _ => None,
    }
}

/// Asks whether a picture of one pixel could be shown by kitty's protocol, and what kind of terminal this is, a
/// question that all of them answer.
const QUESTIONS: &[u8] = b"\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\\x1b[c";

fn by_answer(answer: &[u8]) -> Option<Protocol> {
    if String::from_utf8_lossy(answer).contains("_Gi=31;OK") {
        return Some(Protocol::Kitty);
    }
    // The first number is the kind, the others are what it has; 4 is sixels.
    let attributes = attributes(answer)?;
    let mut has = attributes.split(';').skip(1);
    has.any(|has| has == "4").then_some(Protocol::Sixel)
}

/// Returns the answer to the second question: `ESC [ ? 62 ; 4 c`.
fn attributes(answer: &[u8]) -> Option<String> {
    let answer = String::from_utf8_lossy(answer);
    let (_, attributes) = answer.split_once("\x1b[?")?;
    let (attributes, _) = attributes.split_once('c')?;
    Some(attributes.to_owned())
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

#[cfg(unix)]
mod system {
    use std::io::stdout;

    use rustix::io::{read, write};
    use rustix::termios::{OptionalActions, SpecialCodeIndex, tcgetattr, tcgetwinsize, tcsetattr};

    /// Returns the size of the whole terminal in pixels.
    pub fn pixels() -> Option<(u32, u32)> {
        let size = tcgetwinsize(stdout()).ok()?;
        Some((size.ws_xpixel.into(), size.ws_ypixel.into()))
    }

    /// Tenths of a second to wait for an answer.
    const PATIENCE: u8 = 3;

    /// Returns the terminal's answer; empty if there is none.
    pub fn ask(questions: &[u8]) -> Vec<u8> {
        let mut answer = Vec::new();
        let Ok(usual) = tcgetattr(stdout()) else {
            return answer;
        };
        let mut raw = usual.clone();
        raw.make_raw();
        // A read ends when there is something, or after a time.
        raw.special_codes[SpecialCodeIndex::VMIN] = 0;
        raw.special_codes[SpecialCodeIndex::VTIME] = PATIENCE;
        if tcsetattr(stdout(), OptionalActions::Drain, &raw).is_err() {
            return answer;
        }
        if write(stdout(), questions).is_ok_and(|written| written == questions.len()) {
            let mut part = [0; 64];
            // Longer than any answer: something else is being typed.
            while answer.len() < 1024 && super::attributes(&answer).is_none() {
                match read(stdout(), &mut part) {
                    Ok(0) | Err(_) => break,
                    Ok(length) => answer.extend(&part[..length]),
                }
            }
        }
        // Nothing can be done if that fails, and nothing was seen that would make it.
        let _ = tcsetattr(stdout(), OptionalActions::Drain, &usual);
        answer
    }
}

#[cfg(not(unix))]
mod system {
    pub fn pixels() -> Option<(u32, u32)> {
        None
    }

    pub fn ask(_: &[u8]) -> Vec<u8> {
        Vec::new()
    }
}
