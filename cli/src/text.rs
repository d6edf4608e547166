//! Text for a terminal: without anything that it would obey, and no longer than a line.

use std::borrow::Cow;
use std::fmt::Write;
use std::path::Path;

use indicatif::HumanCount;
use unicode_width::UnicodeWidthChar;

/// Returns `text` with everything escaped that a terminal would obey or be misled by: `\n`, `\x1b`, `\u{202e}`. Names
/// of files and texts in photos come from other people.
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(is_misleading) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for letter in text.chars() {
        // Writing to a string cannot fail.
        let _ = match letter {
            '\n' => shown.write_str(r"\n"),
            '\r' => shown.write_str(r"\r"),
            '\t' => shown.write_str(r"\t"),
            _ if letter.is_ascii_control() => write!(shown, r"\x{:02x}", u32::from(letter)),
            _ if is_misleading(letter) => write!(shown, r"\u{{{:x}}}", u32::from(letter)),
            _ => shown.write_char(letter),
        };
    }
    Cow::Owned(shown)
}

/// Returns [`visible`] of a path; bytes that are not text are shown as `�`.
pub fn visible_path(path: &Path) -> String {
    visible(&path.to_string_lossy()).into_owned()
}

/// Returns whether a character is a control character (C0, DEL, C1), changes the direction of writing, or breaks a line
/// or annotates it invisibly.
pub(crate) fn is_misleading(letter: char) -> bool {
    letter.is_control()
        || matches!(
            letter,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
        )
        || matches!(letter, '\u{2066}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

/// Returns a number with its unit: `1 photo`, `2,345 photos`.
pub fn counted(count: usize, thing: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {thing}{plural}", HumanCount(count as u64))
}

/// Returns the columns that `text` takes at most. Terminals differ on symbols made of several characters, as many emoji
/// are; this is their width where each character is shown by itself.
pub fn width(text: &str) -> usize {
    text.chars().map(columns).sum()
}

fn columns(letter: char) -> usize {
    match letter {
        // Makes an emoji, two columns, of the letter before.
        '\u{fe0f}' => 1,
        _ => letter.width().unwrap_or(0),
    }
}

/// Returns `text`, or as much of its beginning as fits into `most` columns.
pub fn cut_right(text: &str, most: usize) -> Cow<'_, str> {
    if width(text) <= most {
        return Cow::Borrowed(text);
    }
    Cow::Owned(match most.checked_sub(1) {
        Some(room) => format!("{}…", beginning(text, room)),
        None => String::new(),
    })
}

/// Returns `path`, or as much of it as fits into `most` columns: the end, since folders have much in common; and of a
/// longer file name, its beginning and its end.
pub fn cut_path(path: &str, most: usize) -> Cow<'_, str> {
    if width(path) <= most {
        return Cow::Borrowed(path);
    }
    let name = path.rfind('/').map_or(path, |slash| &path[slash + 1..]);
    let Some(room) = most.checked_sub(1) else {
        return Cow::Borrowed("");
    };
    Cow::Owned(if width(name) <= room {
        format!("…{}", end(path, room))
    } else {
        format!(
            "{}…{}",
            beginning(name, room / 2),
            end(name, room.div_ceil(2))
        )
    })
}

fn beginning(text: &str, most: usize) -> &str {
    let mut taken = 0;
    let past = text.char_indices().find(|(_, letter)| {
        taken += columns(*letter);
        taken > most
    });
    past.map_or(text, |(at, _)| &text[..at])
}

fn end(text: &str, most: usize) -> &str {
    let mut taken = 0;
    let past = text.char_indices().rev().find(|(_, letter)| {
        taken += columns(*letter);
        taken > most
    });
    let end = past.map_or(text, |(at, letter)| &text[at + letter.len_utf8()..]);
    // Accents and joiners of a letter that is not there any more.
    end.trim_start_matches(|letter| columns(letter) == 0 || letter == '\u{fe0f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_give_the_terminal_orders() {
        for (name, shown) in [
            ("a\nb\tc\r.jpg", r"a\nb\tc\r.jpg"),
            ("\u{1b}[2J.jpg", r"\x1b[2J.jpg"),
            ("\u{1b}]0;title\u{7}", r"\x1b]0;title\x07"),
            ("\u{9b}31m\u{7f}", r"\u{9b}31m\x7f"),
            ("gpj.\u{202e}exe", r"gpj.\u{202e}exe"),
            ("\u{2067}a\u{2069}", r"\u{2067}a\u{2069}"),
            ("Füße 猫 👩‍👩‍👧.jpg", "Füße 猫 👩‍👩‍👧.jpg"),
        ] {
            assert_eq!(visible(name), shown);
        }
    }

    #[test]
    fn one_photo_is_no_photos() {
        assert_eq!(counted(0, "photo"), "0 photos");
        assert_eq!(counted(1, "photo"), "1 photo");
        assert_eq!(counted(12_345, "vector"), "12,345 vectors");
    }

    #[test]
    fn a_long_path_keeps_its_file_name() {
        let path = "/home/ada/Pictures/2024/kitten.jpg";
        assert_eq!(cut_path(path, 34), path);
        assert_eq!(cut_path(path, 20), "…res/2024/kitten.jpg");
        assert_eq!(cut_path(path, 11), "…kitten.jpg");
        assert_eq!(cut_path(path, 9), "kitt….jpg");
        assert_eq!(cut_path(path, 1), "…");
        assert_eq!(cut_path(path, 0), "");
    }

    /// Two columns for each of these letters, none for an accent of its own.
    #[test]
    fn wide_letters_are_cut_by_what_they_take() {
        assert_eq!(width("猫.jpg"), 6);
        assert_eq!(width("e\u{301}"), 1);
        assert_eq!(cut_path("/写真/三毛猫.jpg", 12), "…/三毛猫.jpg");
        assert_eq!(cut_path("/写真/三毛猫.jpg", 11), "…三毛猫.jpg");
        assert_eq!(cut_path("/写真/三毛猫の昼寝.jpg", 10), "三毛….jpg");
        assert_eq!(cut_right("三毛猫", 5), "三毛…");
        for most in 0..30 {
            for path in [
                "/写真/三毛猫の昼寝.jpg",
                "/a/e\u{301}e\u{301}e\u{301}.png",
                "👩‍👩‍👧❤️.gif",
            ] {
                assert!(width(&cut_path(path, most)) <= most, "{path} {most}");
            }
        }
    }
}
