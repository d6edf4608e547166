//! Glob patterns for paths.

use std::path::Path;

use globset::GlobBuilder;
use regex::{Regex, RegexBuilder};

use super::fold::folded;
use crate::error::{Error, Result};

/// An expression that matches no text.
const NOTHING: &str = r"[^\s\S]";

const ACCEPTED: &str = "write \"*.jpg\", \"2023/**\", \"IMG_{1,2}*\", a folder's name, or a pattern for the whole path such as \"/photos/**/*.jpg\" (quoted, so that the shell does not expand it)";

/// Glob patterns, one of which a path must match.
///
/// A pattern that starts with `/` must match the whole path, any other may match anywhere below: `*.jpg`, `2023/**`.
/// One without wildcards in its last part also stands for everything in the folder of that name. `*` and `?` match
/// within a part of the path, `**` matches any number of parts. Case is ignored, since cameras write `IMG_0042.JPG`,
/// and so is the way in which accents are stored, since macOS has its own.
#[derive(Debug, Clone)]
pub struct PathPatterns {
    /// As typed.
    patterns: Vec<String>,
    any: Regex,
}

/// Equal if the patterns are the same, in the same order.
impl PartialEq for PathPatterns {
    fn eq(&self, other: &Self) -> bool {
        self.patterns == other.patterns
    }
}

impl PathPatterns {
    /// Parses patterns. Refuses malformed ones and those that no path in an index can match: such paths are absolute
    /// and hold no `.` or `..`.
    pub fn parse<P: AsRef<str>>(patterns: &[P]) -> Result<Self> {
        let mut any = Vec::new();
        for pattern in patterns {
            let pattern = pattern.as_ref();
            for whole in whole_paths(pattern)? {
                let expression = expression(&folded(&whole));
                any.push(expression.map_err(|reason| refused(pattern, &reason))?);
            }
        }
        if any.is_empty() {
            any.push(NOTHING.to_owned());
        }
        let any = any.join("|");
        // A name may hold line ends.
        let built = RegexBuilder::new(&any).dot_matches_new_line(true).build();
        let any = built.map_err(|_| Error::Filter {
            reason: "these path patterns are too complex".to_owned(),
            accepted: ACCEPTED,
        })?;
        let patterns = patterns.iter().map(|pattern| pattern.as_ref().to_owned());
        Ok(Self {
            patterns: patterns.collect(),
            any,
        })
    }

    /// Returns the patterns as they were given.
    pub fn patterns(&self) -> &[String] {
        &self.patterns
    }

    /// Returns whether an absolute path matches.
    pub fn matches(&self, path: &Path) -> bool {
        self.any.is_match(&folded(&path.to_string_lossy()))
    }
}

/// Returns the patterns of whole paths that a typed one stands for.
fn whole_paths(typed: &str) -> Result<Vec<String>> {
    let pattern = typed.trim_end_matches('/');
    if pattern.is_empty() {
        return Err(refused(typed, "it is empty"));
    }
    if pattern.split('/').any(|part| part == "." || part == "..") {
        return Err(refused(
            typed,
            "indexed paths do not contain \".\" or \"..\"",
        ));
    }
    let is_whole = pattern.starts_with('/') || Path::new(pattern).is_absolute();
    let whole = if is_whole || pattern.starts_with("**") {
        pattern.to_owned()
    } else {
        format!("**/{pattern}")
    };
    let last = pattern.rsplit('/').next().unwrap_or(pattern);
    let mut all = vec![whole];
    if typed.ends_with('/') || !last.contains(['*', '?', '[', '{', '}', '\\']) {
        all.push(format!("{}/**", all[0]));
    }
    Ok(all)
}

/// Turns a glob into a regular expression over characters. globset 0.4 makes one over bytes, in which `?` is half an é
/// and `[éè]` four single bytes.
fn expression(glob: &str) -> Result<String, String> {
    let glob = GlobBuilder::new(glob).literal_separator(true).build();
    let glob = glob.map_err(|error| error.kind().to_string())?;
    let bytes = glob.regex();
    let escaped = bytes.strip_prefix("(?-u)").unwrap_or(bytes);
    // One character is what is seen as one: some have no code point of their own, and end in marks.
    Ok(with_characters(escaped).replace("[^/]", r"(?:[^/]\p{M}*)"))
}

/// Replaces bytes, which globset escapes, with their characters: `\xc3\xa9`.
fn with_characters(escaped: &str) -> String {
    let mut bytes = Vec::with_capacity(escaped.len());
    let mut rest = escaped.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let byte = match rest {
            [b'\\', b'x', high, low, ..] => {
                let digits = [*high, *low];
                let digits = str::from_utf8(&digits).ok();
                digits.and_then(|digits| u8::from_str_radix(digits, 16).ok())
            }
            _ => None,
        };
        if let Some(byte) = byte {
            bytes.push(byte);
            rest = &rest[4..];
        } else if let [b'\\', escaped, after @ ..] = rest {
            bytes.extend([b'\\', *escaped]);
            rest = after;
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn refused(pattern: &str, reason: &str) -> Error {
    Error::Filter {
        reason: format!("{pattern:?} is not a path pattern: {reason}"),
        accepted: ACCEPTED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PHOTO: &str = "/home/a/Pictures/2023/paris/IMG_0042.JPG";

    fn matches(pattern: &str, path: &str) -> bool {
        PathPatterns::parse(&[pattern])
            .unwrap()
            .matches(Path::new(path))
    }

    #[test]
    fn patterns_match_anywhere_below_or_the_whole_path() {
        for pattern in [
            "*.jpg",
            "IMG_0042.JPG",
            "img_00??.*",
            "IMG_{0042,0043}.jpg",
            "IMG_[0-9]*.jpg",
            "2023/**",
            "2023/*/*.jpg",
            "**/paris/*",
            "/home/**/*.jpg",
            "/home/a/Pictures/2023/paris/IMG_0042.JPG",
            // Folders.
            "2023",
            "20??/",
            "paris/",
            "pictures/2023",
            "/home/a/Pictures",
            "/home/a/Pictures/",
        ] {
            assert!(matches(pattern, PHOTO), "{pattern}");
        }
        for pattern in [
            "*.png",
            "IMG_0042",
            "202",
            "2024/**",
            "2023/*.jpg",
            "2023/*",
            "20??",
            "/2023/**",
            "/home/*.jpg",
            "/home/b",
            "aris",
        ] {
            assert!(!matches(pattern, PHOTO), "{pattern}");
        }
    }

    #[test]
    fn accents_and_case_are_the_same_in_every_script_and_in_both_normal_forms() {
        for (pattern, path) in [
            ("Été/**", "/photos/ÉTÉ/1.jpg"),
            ("*ÉTÉ*", "/photos/e\u{301}te\u{301}.jpg"),
            ("e\u{301}te\u{301}.jpg", "/photos/Été.JPG"),
            ("ΟΔΟΣ.jpg", "/photos/οδος.jpg"),
            ("istanbul", "/photos/ISTANBUL/1.jpg"),
            ("*İSTANBUL*", "/photos/i\u{307}stanbul.jpg"),
            ("straße", "/photos/STRASSE/1.jpg"),
            ("журнал", "/photos/ЖУРНАЛ/1.jpg"),
            // One character is one.
            ("caf?.jpg", "/photos/café.jpg"),
            ("caf?.jpg", "/photos/cafe\u{301}.jpg"),
            ("?stanbul.jpg", "/photos/İstanbul.jpg"),
            ("??.jpg", "/photos/日本.jpg"),
            ("caf[éè].jpg", "/photos/CAFÈ.jpg"),
            ("[а-я]*.jpg", "/photos/Ж1.jpg"),
            ("{é,ö}.jpg", "/photos/O\u{308}.jpg"),
            ("[!é].jpg", "/photos/ö.jpg"),
        ] {
            assert!(matches(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in [
            ("ete.jpg", "/photos/été.jpg"),
            ("?.jpg", "/photos/日本.jpg"),
            ("caf[éè].jpg", "/photos/cafe.jpg"),
            ("[!é].jpg", "/photos/É.jpg"),
            ("*é*", "/photos/e/1.jpg"),
        ] {
            assert!(!matches(pattern, path), "{pattern} {path}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn odd_names_match_too() {
        use std::os::unix::ffi::OsStrExt;
        let patterns = PathPatterns::parse(&["*.jpg"]).unwrap();
        for name in [&b"/x/caf\xe9.jpg"[..], b"/x/a\nb.jpg", b"/x/\\x80.jpg"] {
            assert!(patterns.matches(Path::new(std::ffi::OsStr::from_bytes(name))));
        }
        assert!(matches(r"\\x80é.jpg", r"/x/\x80É.jpg"));
    }

    #[test]
    fn one_of_several_patterns_is_enough() {
        let patterns = PathPatterns::parse(&["*.png", "2023/**"]).unwrap();
        assert!(patterns.matches(Path::new("/x/a.png")));
        assert!(patterns.matches(Path::new("/x/2023/a.jpg")));
        assert!(!patterns.matches(Path::new("/x/2024/a.jpg")));
    }

    #[test]
    fn patterns_that_can_match_nothing_are_refused() {
        for (pattern, what) in [
            ("", "it is empty"),
            ("/", "it is empty"),
            ("./2023/*", "\"..\""),
            ("../x.jpg", "\"..\""),
            ("IMG_[0-9", "unclosed"),
            ("{a,b", "unclosed"),
            ("[z-a]", "invalid range"),
        ] {
            let error = PathPatterns::parse(&["*.jpg", pattern]).expect_err(pattern);
            assert!(error.to_string().contains(what), "{error}");
            assert!(!error.to_string().contains('\n'));
            assert!(error.hint().contains("*.jpg"));
        }
    }
}
