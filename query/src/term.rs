//! Parses a term as people type it: words or the name of a photo, with an optional weight before it.

use std::io::ErrorKind;
use std::path::PathBuf;

use bridgetower::processor::Picture;
use bridgetower::search::TermContent;
use bridgetower::{Error, Term};
use bt_cli::Advised;

/// The advice about a term that names a photo, or looks as if it did.
const NAMES_A_PHOTO: &str = "a term that begins with ./, ../, /, ~/ or file:/// names a photo on this computer; begin with a word to search for words";

/// Parses one of several terms: `a cat`, `2:a cat`, `./photo.jpg`, `/photos/1.jpg`, `~/photos/1.jpg`,
/// `file:///photos/1.jpg`. A number and a colon before it are its weight.
pub fn parse(typed: &str) -> anyhow::Result<Term> {
    let (weight, rest) = split_weight(typed);
    let content = read(rest)?;
    if !(weight.is_finite() && weight > 0.0) {
        return Err(refused(
            format!("the weight in {typed:?} must be a positive number"),
            "a number and a colon before one of several terms weight it: \"2:a cat\"",
        ));
    }
    Ok(Term { weight, content })
}

/// Parses the only term of a query. A weight would have no effect, so `12:30 clock` and `3:2` are words; a weight
/// before a photo is ignored.
pub fn parse_alone(typed: &str) -> anyhow::Result<Term> {
    let (_, rest) = split_weight(typed);
    let content = match path_of_photo(rest.trim())? {
        Some(path) => TermContent::Image(path.into()),
        None => read(typed)?,
    };
    let weight = 1.0;
    Ok(Term { weight, content })
}

/// Refuses a photo that does not exist, before a model is loaded for it.
pub fn check(term: &Term) -> anyhow::Result<()> {
    let TermContent::Image(Picture::File(path)) = &term.content else {
        return Ok(());
    };
    match path.metadata() {
        Ok(found) if found.is_dir() => {
            let reason = format!("{} is a folder", path.display());
            Err(refused(reason, NAMES_A_PHOTO))
        }
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let reason = format!("{}: {error}", path.display());
            Err(refused(reason, NAMES_A_PHOTO))
        }
        Err(source) => {
            let path = path.clone();
            Err(Error::Io { path, source }.into())
        }
    }
}

fn refused(reason: String, advice: &'static str) -> anyhow::Error {
    Advised { reason, advice }.into()
}

/// Splits `2:a cat` into 2 and `a cat`; without a weight it is 1.
fn split_weight(typed: &str) -> (f32, &str) {
    typed
        .split_once(':')
        .and_then(|(number, rest)| Some((number.trim().parse().ok()?, rest)))
        .unwrap_or((1.0, typed))
}

fn read(text: &str) -> anyhow::Result<TermContent> {
    let text = text.trim();
    if text.is_empty() {
        return Err(Error::EmptyQuery.into());
    }
    Ok(match path_of_photo(text)? {
        Some(path) => TermContent::Image(path.into()),
        None => TermContent::Text(text.to_owned()),
    })
}

/// Returns the path of the photo that a term names, if it names one.
fn path_of_photo(text: &str) -> anyhow::Result<Option<PathBuf>> {
    if ["http://", "https://"]
        .iter()
        .any(|scheme| begins_with(text, scheme))
    {
        return Err(refused(
            format!("{text} is not a file on this computer"),
            "download the picture, and search by its file: bt-query ./picture.jpg",
        ));
    }
    if begins_with(text, "file:/") {
        return path_of_url(text).map(Some);
    }
    if let Some(below) = text.strip_prefix("~/") {
        let home = dirs::home_dir().ok_or_else(|| {
            let reason = format!("{text}: this system has no home folder");
            refused(reason, "write the path in full")
        })?;
        return Ok(Some(home.join(below)));
    }
    let is_path = ["./", "../", "/"].iter().any(|p| text.starts_with(p));
    Ok(is_path.then(|| text.into()))
}

/// Returns the path in a URL that begins with `file:/`, as file managers write it (RFC 8089).
fn path_of_url(url: &str) -> anyhow::Result<PathBuf> {
    let refused = |reason| refused(reason, NAMES_A_PHOTO);
    let rest = &url["file:".len()..];
    let path = match rest.strip_prefix("//") {
        None => rest,
        Some(rest) => {
            let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            if !(host.is_empty() || host.eq_ignore_ascii_case("localhost")) {
                return Err(refused(format!(
                    "{url} is on the computer {host:?}, not on this one"
                )));
            }
            path
        }
    };
    if path.trim_matches('/').is_empty() {
        return Err(refused(format!("{url} names no file")));
    }
    // file:///C:/photos is C:/photos.
    let path = if cfg!(windows) { &path[1..] } else { path };
    path_from(percent_decoded(path)).ok_or_else(|| refused(format!("{url} is not a path")))
}

/// Decodes `%20` as a space; a `%` that is not followed by two hexadecimal digits stays.
fn percent_decoded(text: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let mut bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    while let Some((&byte, rest)) = bytes.split_first() {
        let escaped = match rest {
            [high, low, ..] if byte == b'%' => digit(*high).zip(digit(*low)),
            _ => None,
        };
        let (byte, rest) = match escaped {
            Some((high, low)) => (high << 4 | low, &rest[2..]),
            None => (byte, rest),
        };
        decoded.push(byte);
        bytes = rest;
    }
    decoded
}

/// Makes a path of bytes. Unix paths are any bytes, others are text.
#[cfg(unix)]
#[expect(
    clippy::unnecessary_wraps,
    reason = "the other platforms' version fails"
)]
fn path_from(bytes: Vec<u8>) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    Some(std::ffi::OsString::from_vec(bytes).into())
}

#[cfg(not(unix))]
fn path_from(bytes: Vec<u8>) -> Option<PathBuf> {
    String::from_utf8(bytes).ok().map(PathBuf::from)
}

fn begins_with(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len())
        .is_some_and(|beginning| beginning.eq_ignore_ascii_case(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(weight: f32, words: &str) -> Term {
        Term {
            weight,
            content: TermContent::Text(words.into()),
        }
    }

    fn image(path: &str) -> TermContent {
        TermContent::Image(PathBuf::from(path).into())
    }

    #[test]
    fn terms_are_read_as_rclip_reads_them() {
        for (typed, expected) in [
            ("a cat", text(1.0, "a cat")),
            ("2:a cat", text(2.0, "a cat")),
            ("0.5: cat", text(0.5, "cat")),
            ("the score was 2:1", text(1.0, "the score was 2:1")),
            ("at 12:30", text(1.0, "at 12:30")),
        ] {
            assert_eq!(parse(typed).expect("a term"), expected, "{typed}");
        }
        for (typed, path) in [
            ("./cat.jpg", "./cat.jpg"),
            ("/photos/cat.jpg", "/photos/cat.jpg"),
            ("file:///photos/cat.jpg", "/photos/cat.jpg"),
            ("1.5:../cat.jpg", "../cat.jpg"),
        ] {
            let term = parse(typed).expect("a term");
            assert_eq!(term.content, image(path), "{typed}");
        }
    }

    #[test]
    fn empty_terms_and_senseless_weights_are_refused() {
        for typed in ["", "  ", "2:", "0:cat", "-1:cat", "nan:cat", "inf:cat"] {
            assert!(parse(typed).is_err(), "{typed:?}");
        }
    }

    #[test]
    fn numbers_before_a_colon_are_words_in_a_query_of_one_term() {
        for typed in [
            "12:30 clock",
            "3:2 aspect ratio photo",
            "2024: a cat",
            "2:a cat",
            "0:0",
            "nan:bread",
            "2:",
        ] {
            let alone = parse_alone(typed).expect("a term");
            assert_eq!(alone, text(1.0, typed), "{typed}");
        }
        let photo = parse_alone("2:./cat.jpg").expect("a term");
        assert_eq!(photo.content, image("./cat.jpg"));
        assert!(parse_alone(" ").is_err());
    }

    #[test]
    fn file_urls_are_decoded_and_other_computers_refused() {
        for (url, path) in [
            ("file:///a%20b.jpg", "/a b.jpg"),
            ("file://localhost/a.jpg", "/a.jpg"),
            ("file://LocalHost/a.jpg", "/a.jpg"),
            ("FILE:///a.jpg", "/a.jpg"),
            ("file:/a.jpg", "/a.jpg"),
            ("file:///100%.jpg", "/100%.jpg"),
            ("file:///caf%C3%A9%25.jpg", "/café%.jpg"),
            ("file:///a%2520b.jpg", "/a%20b.jpg"),
            ("2:file:///a%23b.jpg", "/a#b.jpg"),
        ] {
            let alone = parse_alone(url).expect("a term");
            assert_eq!(alone.content, image(path), "{url}");
            assert_eq!(parse(url).expect("a term").content, image(path));
        }
        for url in [
            "file://nas/photos/a.jpg",
            "file://a.jpg",
            "file:///",
            "https://example.org/cat.jpg",
            "HTTP://example.org/cat.jpg",
            "2:http://example.org/cat.jpg",
        ] {
            let error = parse_alone(url).expect_err(url);
            let advised = error.downcast_ref::<Advised>().expect(url);
            assert!(!advised.advice.is_empty(), "{url}: {error}");
            assert!(parse(url).is_err(), "{url}");
        }
        for words in ["file: a cabinet", "https is a protocol", "a file:///x"] {
            assert_eq!(parse_alone(words).expect("words"), text(1.0, words));
        }
    }

    #[cfg(unix)]
    #[test]
    fn file_urls_may_hold_bytes_that_are_no_text() {
        use std::os::unix::ffi::OsStrExt;
        let term = parse("file:///caf%e9.jpg").expect("a term");
        let path = std::ffi::OsStr::from_bytes(b"/caf\xe9.jpg");
        assert_eq!(term.content, TermContent::Image(PathBuf::from(path).into()));
    }

    #[test]
    fn a_path_below_the_home_folder_is_one() {
        let Some(home) = dirs::home_dir() else {
            return;
        };
        let term = parse("~/x.jpg").expect("a term");
        assert_eq!(term.content, TermContent::Image(home.join("x.jpg").into()));
        assert_eq!(parse("~ 5 cats").expect("words"), text(1.0, "~ 5 cats"));
    }
}
