//! Results as JSON, of names that are not always text.
//!
//! [`Photo`](crate::Photo), [`Found`](crate::search::Found), [`Filter`](crate::Filter) and all reports serialise to what
//! the programs print with `--json`. A path is a string, and where it is not UTF-8 its bytes are in hexadecimal under
//! the same key with `_hex` behind it. An export names photos in the same way.

use std::path::Path;

use serde::ser::SerializeMap;

/// Returns the bytes of a path that is not UTF-8, in hexadecimal; `None` where its text says it all.
pub fn path_hex(path: &Path) -> Option<String> {
    if path.to_str().is_some() {
        return None;
    }
    let bytes = path.as_os_str().as_encoded_bytes().iter();
    let digits = bytes.flat_map(|byte| [byte >> 4, byte & 15]);
    let digits = digits.filter_map(|digit| char::from_digit(digit.into(), 16));
    Some(digits.collect())
}

/// Puts a path into an object.
pub(crate) fn path_entry<M: SerializeMap>(
    object: &mut M,
    key: &str,
    path: &Path,
) -> Result<(), M::Error> {
    object.serialize_entry(key, &path.to_string_lossy())?;
    match path_hex(path) {
        Some(digits) => object.serialize_entry(&format!("{key}_hex"), &digits),
        None => Ok(()),
    }
}

/// Puts a list of paths into an object. Where one is not UTF-8 there is a second list, `<key>_hex`, with null for
/// those that are.
pub(crate) fn paths_entry<M: SerializeMap>(
    object: &mut M,
    key: &str,
    paths: &[impl AsRef<Path>],
) -> Result<(), M::Error> {
    let paths = paths.iter().map(AsRef::as_ref);
    let texts: Vec<_> = paths.clone().map(Path::to_string_lossy).collect();
    object.serialize_entry(key, &texts)?;
    let hex: Vec<_> = paths.map(path_hex).collect();
    if hex.iter().any(Option::is_some) {
        object.serialize_entry(&format!("{key}_hex"), &hex)?;
    }
    Ok(())
}

/// A number with the few digits that it was typed with: 0.1, and not the nearest 32 bits.
pub(crate) fn decimal(number: f32) -> f64 {
    number.to_string().parse().unwrap_or(number.into())
}
