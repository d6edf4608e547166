//! The record of a photo.

use std::fmt;
use std::fs::Metadata;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::civil::DateTime;
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::json::path_entry;

/// Names one photo of one index, for as long as it stays there. Never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PhotoId(pub u64);

/// BLAKE3 of a file's bytes: what tells a moved photo from a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ContentHash(pub [u8; 32]);

/// 64 hexadecimal digits, as `b3sum` prints them.
impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for ContentHash {
    type Err = Error;

    fn from_str(digits: &str) -> Result<Self> {
        let hash = blake3::Hash::from_hex(digits);
        hash.map(|hash| Self(*hash.as_bytes()))
            .map_err(|error| Error::Input {
                reason: format!("{digits:?} is no BLAKE3 hash: {error}"),
            })
    }
}

/// One photo's record: where it is, how to notice that it changed, and what its metadata says.
///
/// It serialises to the fields that people search and sort by:
///
/// ```
/// use bridgetower::Photo;
/// use bridgetower::photo::{ContentHash, PhotoMetadata};
///
/// let photo = Photo {
///     path: "/photos/cat.jpg".into(),
///     size: 7171,
///     mtime_ns: 0,
///     ctime_ns: None,
///     content_hash: ContentHash([0; 32]),
///     metadata: PhotoMetadata { width: 640, height: 480, ..PhotoMetadata::default() },
/// };
/// let fields = serde_json::to_value(&photo).expect("serialises");
/// assert_eq!((&fields["path"], &fields["width"]), (&"/photos/cat.jpg".into(), &640.into()));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Photo {
    /// Absolute path.
    pub path: PathBuf,
    /// File size, bytes.
    pub size: u64,
    /// Modification time, nanoseconds since 1970-01-01 UTC.
    pub mtime_ns: i64,
    /// When content or attributes of the file last changed, nanoseconds since 1970-01-01 UTC: no program can set it back,
    /// as it can the modification time. `None` where the system does not tell, or an earlier version made the record.
    pub ctime_ns: Option<i64>,
    /// BLAKE3 of the file.
    pub content_hash: ContentHash,
    /// The picture's own metadata.
    pub metadata: PhotoMetadata,
}

/// The fields that people search and sort by.
impl Serialize for Photo {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        self.entries(&mut object)?;
        object.end()
    }
}

impl Photo {
    /// Puts its fields into an object.
    pub(crate) fn entries<M: SerializeMap>(&self, object: &mut M) -> Result<(), M::Error> {
        let metadata = &self.metadata;
        path_entry(object, "path", &self.path)?;
        object.serialize_entry("bytes", &self.size)?;
        object.serialize_entry("width", &metadata.width)?;
        object.serialize_entry("height", &metadata.height)?;
        let captured_at = metadata.captured_at.map(|time| time.to_string());
        object.serialize_entry("captured_at", &captured_at)?;
        object.serialize_entry("gps", &metadata.gps)?;
        object.serialize_entry("camera", &metadata.camera)
    }

    /// Whether its file is the one that was recorded, as far as size and times tell.
    pub(crate) fn is_untouched(&self) -> Result<bool> {
        let failed = |error| Error::io(&self.path)(error);
        let file = std::fs::metadata(&self.path).map_err(failed)?;
        let modified = file.modified().map_err(failed)?;
        let times = self.ctime_ns.zip(ctime_ns(&file));
        Ok(file.is_file()
            && file.len() == self.size
            && nanoseconds(modified) == self.mtime_ns
            && times.is_none_or(|(then, now)| then == now))
    }
}

/// Nanoseconds since 1970-01-01 UTC, as [`Photo::mtime_ns`] counts them.
pub(crate) fn nanoseconds(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |ns| -ns),
    }
}

/// A file's change time, as [`Photo::ctime_ns`] counts it.
#[cfg(unix)]
pub(crate) fn ctime_ns(file: &Metadata) -> Option<i64> {
    use std::os::unix::fs::MetadataExt;
    let seconds = file.ctime().checked_mul(1_000_000_000)?;
    seconds.checked_add(file.ctime_nsec())
}

/// Windows has such a time, which the standard library does not tell.
#[cfg(not(unix))]
pub(crate) fn ctime_ns(_: &Metadata) -> Option<i64> {
    None
}

/// The metadata of a picture.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PhotoMetadata {
    /// Upright width, pixels.
    pub width: u32,
    /// Upright height, pixels.
    pub height: u32,
    /// Capture time, in the camera's local time.
    pub captured_at: Option<DateTime>,
    /// The place where the picture was taken.
    pub gps: Option<GpsPosition>,
    /// Make and model of the camera, such as `Apple iPhone 13`.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_hash_is_written_in_hexadecimal_and_read_back() {
        let hash = ContentHash(*blake3::hash(b"a photo").as_bytes());
        assert_eq!(hash.to_string(), blake3::hash(b"a photo").to_string());
        assert_eq!(hash.to_string().parse::<ContentHash>().unwrap(), hash);
        for nonsense in ["", "12ab", &"g".repeat(64), &"0".repeat(66)] {
            assert!(nonsense.parse::<ContentHash>().is_err(), "{nonsense}");
        }
    }
}
