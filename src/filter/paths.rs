//! Where a file lies, as glob patterns.

use std::path::Path;

use globset::{Glob, GlobBuilder, GlobSet};

use crate::error::{Error, Result};

const ACCEPTED: &str = "write \"*.jpg\", \"2023/**\", \"IMG_{1,2}*\", a folder's name, or a pattern of the whole path such as \"/photos/**/*.jpg\" (quoted, so that the shell leaves it alone)";

/// Glob patterns of which a path must match one.
///
/// A pattern that starts with `/` is one of the whole path, any other may match anywhere below: `*.jpg`,
/// `2023/**`. One without wildcards in its last part also stands for all that is in the folder of that
/// name. `*` and `?` stay within a part of the path, `**` goes over any number of them. Upper and lower
/// case are the same, since cameras write `IMG_0042.JPG`.
#[derive(Debug, Clone)]
pub struct PathPatterns(GlobSet);

impl PathPatterns {
    /// Reads patterns. Refuses those that are none, or that no path in an index can match: those are
    /// absolute and lead through no `.` or `..`.
    pub fn parse<P: AsRef<str>>(patterns: &[P]) -> Result<Self> {
        let mut globs = Vec::new();
        for pattern in patterns {
            let pattern = pattern.as_ref();
            for whole in whole_paths(pattern)? {
                globs.push(
                    glob(&whole).map_err(|error| refused(pattern, &error.kind().to_string()))?,
                );
            }
        }
        match GlobSet::new(globs) {
            Ok(set) => Ok(Self(set)),
            Err(error) => Err(refused(
                error.glob().unwrap_or_default(),
                &error.kind().to_string(),
            )),
        }
    }

    /// Whether an absolute path matches.
    pub fn matches(&self, path: &Path) -> bool {
        self.0.is_match(path)
    }
}

/// The patterns of whole paths that one as typed stands for.
fn whole_paths(typed: &str) -> Result<Vec<String>> {
    let pattern = typed.trim_end_matches('/');
    if pattern.is_empty() {
        return Err(refused(typed, "it names nothing"));
    }
    if pattern.split('/').any(|part| part == "." || part == "..") {
        return Err(refused(
            typed,
            "\".\" and \"..\" are no part of an indexed path",
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

fn glob(pattern: &str) -> Result<Glob, globset::Error> {
    GlobBuilder::new(pattern)
        .literal_separator(true)
        .case_insensitive(true)
        .build()
}

fn refused(pattern: &str, reason: &str) -> Error {
    Error::Filter {
        reason: format!("{pattern:?} is no pattern of a path: {reason}"),
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
    fn one_of_several_patterns_is_enough() {
        let patterns = PathPatterns::parse(&["*.png", "2023/**"]).unwrap();
        assert!(patterns.matches(Path::new("/x/a.png")));
        assert!(patterns.matches(Path::new("/x/2023/a.jpg")));
        assert!(!patterns.matches(Path::new("/x/2024/a.jpg")));
    }

    #[test]
    fn patterns_that_can_match_nothing_are_refused() {
        for (pattern, what) in [
            ("", "names nothing"),
            ("/", "names nothing"),
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
