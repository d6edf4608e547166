//! Text as people see it: case is ignored, and so is the way in which an accent is stored.

use std::borrow::Cow;

use icu_normalizer::{ComposingNormalizerBorrowed, DecomposingNormalizerBorrowed};

/// Returns a form that is equal for two texts that differ only in case, or in how their accents are stored: macOS
/// writes é as e and an accent (NFD), other systems as one letter (NFC).
///
/// This is Unicode's canonical caseless matching, and folds ı and I to i as well. Converting to upper case first
/// matches what lower case alone does not: ς and σ, ß and SS.
pub(super) fn folded(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(text.to_ascii_lowercase())
        } else {
            Cow::Borrowed(text)
        };
    }
    let decomposed = DecomposingNormalizerBorrowed::new_nfd().normalize(text);
    let cases = decomposed.chars().flat_map(char::to_lowercase);
    let cases = cases.flat_map(char::to_uppercase);
    let lower: String = cases.flat_map(char::to_lowercase).collect();
    let composed = ComposingNormalizerBorrowed::new_nfc().normalize(&lower);
    Cow::Owned(composed.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `unicodedata.normalize` and `str.casefold` of Python 3 say.
    #[test]
    fn case_and_the_way_accents_are_stored_do_not_matter() {
        for (one, other) in [
            ("É.JPG", "é.jpg"),
            ("\u{c9}", "e\u{301}"),
            ("ΟΔΟΣ", "οδος"),
            ("ΟΔΟΣ", "οδοσ"),
            ("İstanbul", "i\u{307}stanbul"),
            ("I\u{307}stanbul", "i\u{307}stanbul"),
            ("STRASSE", "straße"),
            ("STRAẞE", "straße"),
            ("ЖУРНАЛ", "журнал"),
            ("ÅNGSTRÖM", "a\u{30a}ngstro\u{308}m"),
            ("\u{212b}", "å"),
            ("ﬁsch", "FISCH"),
            ("Ⴀ", "ⴀ"),
            // Two marks in either order.
            ("a\u{323}\u{302}", "Ậ"),
            ("가", "\u{1100}\u{1161}"),
        ] {
            assert_eq!(folded(one), folded(other), "{one} {other}");
        }
        for (one, other) in [("é", "e"), ("ö", "o"), ("ж", "з"), ("日", "目")] {
            assert_ne!(folded(one), folded(other), "{one} {other}");
        }
    }
}
