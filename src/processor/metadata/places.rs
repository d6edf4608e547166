//! Coordinates as cameras and programs write them, as signed degrees.

use crate::photo::GpsPosition;

/// Latitude or longitude, with the letters for either side of zero.
#[derive(Clone, Copy)]
pub struct Axis {
    positive: char,
    negative: char,
}

pub const LATITUDE: Axis = Axis {
    positive: 'N',
    negative: 'S',
};
pub const LONGITUDE: Axis = Axis {
    positive: 'E',
    negative: 'W',
};

impl Axis {
    /// Returns the sign that a text gives: `S`, `south`, `48,51.5N`, `N48 51 30`. Letters of other words are ignored.
    pub fn sign(self, text: &str) -> Option<f64> {
        let side = text
            .split(|c: char| !c.is_ascii_alphabetic())
            .filter(|word| {
                const SIDES: [&str; 8] = ["n", "s", "e", "w", "north", "south", "east", "west"];
                SIDES.iter().any(|side| word.eq_ignore_ascii_case(side))
            })
            .find_map(|word| word.chars().next())?
            .to_ascii_uppercase();
        match side {
            side if side == self.positive => Some(1.0),
            side if side == self.negative => Some(-1.0),
            _ => None,
        }
    }

    /// Reads a coordinate in text: degrees, degrees and minutes, or all three, with a letter or a sign. `side` is a
    /// letter that is stored elsewhere.
    pub fn parse(self, text: &str, side: Option<&str>) -> Option<f64> {
        let sign = self.sign(text).or_else(|| self.sign(side?));
        degrees(&numbers(text)?, sign)
    }
}

/// Combines one to three numbers: degrees, minutes and seconds, any of them with decimals.
///
/// A minus overrides the letter: a program that writes −33.9 and always N means the south. Unlike in exiftool, a minus
/// also applies to minutes and seconds. An undefined number (0/0, as cameras without a fix write) makes the whole
/// coordinate undefined.
pub fn degrees(parts: &[f64], sign: Option<f64>) -> Option<f64> {
    let parts = parts.get(..3).unwrap_or(parts);
    if parts.is_empty() || !parts.iter().all(|part| part.is_finite()) {
        return None;
    }
    let magnitude: f64 = parts
        .iter()
        .zip([1.0, 60.0, 3600.0])
        .map(|(part, unit)| part.abs() / unit)
        .sum();
    let minus = parts.iter().any(|part| part.is_sign_negative());
    Some(magnitude * if minus { -1.0 } else { sign.unwrap_or(1.0) })
}

/// Returns the position, unless it is impossible.
///
/// 0° N, 0° E counts as impossible too: it nearly always comes from programs that do not know the place, rather than
/// from a photo of that piece of ocean. (exiftool shows it; photo managers such as immich drop it too.)
pub fn position(latitude: f64, longitude: f64) -> Option<GpsPosition> {
    let possible = (-90.0..=90.0).contains(&latitude)
        && (-180.0..=180.0).contains(&longitude)
        && (latitude != 0.0 || longitude != 0.0);
    possible.then_some(GpsPosition {
        latitude,
        longitude,
    })
}

/// Returns the numbers in a text; each may be a fraction, as in `48/1, 51/1, 299/10`.
fn numbers(text: &str) -> Option<Vec<f64>> {
    let part = |c: char| c.is_ascii_digit() || ".+-/eE".contains(c);
    text.replace('\u{2212}', "-")
        .split(|c| !part(c))
        // The letters of east and of `deg`.
        .map(|word| word.trim_matches(['e', 'E', '.']))
        .filter(|word| word.contains(|c: char| c.is_ascii_digit()))
        .take(3)
        .map(|word| match word.split_once('/') {
            Some((n, d)) => Some(n.parse::<f64>().ok()? / d.parse::<f64>().ok()?),
            None => word.parse().ok(),
        })
        .collect()
}
