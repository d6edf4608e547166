//! JSON output; names of files are not always valid text.

use std::io::Write;
use std::path::Path;

use bridgetower::json::path_hex;
use serde::Serialize;
use serde_json::Value;

use crate::output::print;
use crate::text::is_misleading;

/// Prints `value` on one line.
pub fn print_json(value: &Value) -> anyhow::Result<()> {
    print(|out| writeln!(out, "{}", json_line(value)))
}

/// Returns `value` as JSON without line breaks.
pub fn json_line(value: &Value) -> String {
    plain(value.to_string())
}

/// Prints `value` on several lines.
pub fn print_pretty_json(value: &impl Serialize) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(value)?;
    print(|out| writeln!(out, "{}", plain(text)))
}

/// Escapes what a terminal would obey. The document stays the same, since such characters occur only in strings.
fn plain(json: String) -> String {
    let is_risky = |letter: char| letter != '\n' && is_misleading(letter);
    if !json.contains(is_risky) {
        return json;
    }
    let escaped = |letter: char| match letter {
        _ if is_risky(letter) => format!(r"\u{:04x}", u32::from(letter)),
        _ => letter.to_string(),
    };
    json.chars().map(escaped).collect()
}

/// Puts a path into a JSON object: its text, and if it is not UTF-8 also its bytes, as `<key>_hex`. An export names
/// photos in the same way.
pub fn add_path(object: &mut Value, key: &str, path: &Path) {
    object[key] = path.to_string_lossy().into();
    if let Some(digits) = path_hex(path) {
        object[format!("{key}_hex")] = digits.into();
    }
}

/// Puts a list of paths into a JSON object. If any is not UTF-8, adds a second list, `<key>_hex`, with null for those
/// that are.
pub fn add_paths<'p>(object: &mut Value, key: &str, paths: impl IntoIterator<Item = &'p Path>) {
    let paths: Vec<&Path> = paths.into_iter().collect();
    let hex: Vec<_> = paths.iter().map(|path| path_hex(path)).collect();
    object[key] = paths.iter().map(|path| path.to_string_lossy()).collect();
    if hex.iter().any(Option::is_some) {
        object[format!("{key}_hex")] = hex.into();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_name_that_is_no_text_is_not_lost_in_json() {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;
        let broken = Path::new(OsStr::from_bytes(b"/a\xff.jpg"));
        let mut object = json!({});
        add_path(&mut object, "path", broken);
        add_path(&mut object, "index", Path::new("/é"));
        add_paths(&mut object, "paths", [Path::new("/b"), broken]);
        add_paths(&mut object, "folders", [Path::new("/c")]);
        let expected = json!({
            "path": "/a\u{fffd}.jpg",
            "path_hex": "2f61ff2e6a7067",
            "index": "/é",
            "paths": ["/b", "/a\u{fffd}.jpg"],
            "paths_hex": [null, "2f61ff2e6a7067"],
            "folders": ["/c"],
        });
        assert_eq!(object, expected);
    }

    #[test]
    fn json_on_a_terminal_gives_no_orders() {
        let value = json!({"path": "a\u{9b}2J\u{202e}\u{7f}\u{1b}é\n"});
        let text = plain(serde_json::to_string(&value).unwrap());
        assert_eq!(text, r#"{"path":"a\u009b2J\u202e\u007f\u001bé\n"}"#);
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }
}
