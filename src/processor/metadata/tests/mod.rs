//! Tables of the forms in which metadata is found in the field, each in every kind of file that can hold it.
//!
//! Right answers are exiftool's (12.57, `-d %Y-%m-%dT%H:%M:%S`, `-n`), which was shown all these files; where we
//! differ, the tables say why. It does not yet know values of type UTF-8, XMP in UTF-16 or HEIC's `idat`.

mod cameras;
mod dates;
mod files;
mod hostile;
mod orientations;
mod places;
mod sources;

use super::EmbeddedMetadata;

fn captured_at(file: &[u8]) -> String {
    let captured_at = EmbeddedMetadata::read(file).captured_at;
    captured_at.map_or_else(String::new, |time| time.to_string())
}

/// Latitude and longitude to about ten metres.
fn place(file: &[u8]) -> Option<(f64, f64)> {
    let rounded = |degrees: f64| (degrees * 1e4).round() / 1e4;
    let gps = EmbeddedMetadata::read(file).gps?;
    Some((rounded(gps.latitude), rounded(gps.longitude)))
}

/// As EXIF numbers it.
fn orientation(file: &[u8]) -> u8 {
    EmbeddedMetadata::read(file).orientation.to_exif()
}

fn camera(file: &[u8]) -> Option<String> {
    EmbeddedMetadata::read(file).camera
}
