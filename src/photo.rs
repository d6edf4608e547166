//! What the index knows of a photo.

use std::path::PathBuf;

use jiff::civil::DateTime;
use serde::{Deserialize, Serialize};

/// Names one photo of one index, for as long as it stays there. Never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PhotoId(pub u64);

/// BLAKE3 of a file's bytes: what tells a moved photo from a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ContentHash(pub [u8; 32]);

/// One photo's record: where it is, how to notice that it changed, and what its EXIF data says.
#[derive(Debug, Clone, PartialEq)]
pub struct Photo {
    /// Absolute path.
    pub path: PathBuf,
    /// File size, bytes.
    pub size: u64,
    /// Modification time, nanoseconds since 1970-01-01 UTC.
    pub mtime_ns: i64,
    /// BLAKE3 of the file.
    pub content_hash: ContentHash,
    /// What the picture itself says.
    pub metadata: PhotoMetadata,
}

/// What a picture says of itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PhotoMetadata {
    /// Upright width, pixels.
    pub width: u32,
    /// Upright height, pixels.
    pub height: u32,
    /// EXIF capture time, in the camera's local time.
    pub captured_at: Option<DateTime>,
    /// EXIF position.
    pub gps: Option<GpsPosition>,
    /// EXIF make and model, such as `Apple iPhone 13`.
    pub camera: Option<String>,
}

/// A place on Earth, WGS 84.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct GpsPosition {
    /// Degrees north, −90..=90.
    pub latitude: f64,
    /// Degrees east, −180..=180.
    pub longitude: f64,
}
