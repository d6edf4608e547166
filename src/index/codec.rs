//! The bytes of stored values: the only place that knows `bincode`.
//!
//! Every value is sealed: `format (1 byte) · body · xxh3-64 of both (8 bytes, little-endian)`. A body is
//! bincode of one of the private types below, or raw little-endian numbers.

use std::path::{Path, PathBuf};

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::{Decode, Encode};
use jiff::civil::DateTime;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::error::{Error, Result};
use crate::identity::ModelIdentity;
use crate::photo::{ContentHash, GpsPosition, Photo, PhotoId, PhotoMetadata};

/// The format in which everything on disk is written, store and snapshot alike.
///
/// | format | what is new |
/// |---|---|
/// | 1 | |
/// | 2 | `meta` holds the sum over all records and vectors |
/// | 3 | a record holds when the file's entry last changed |
pub(crate) const FORMAT: u32 = 3;
/// The earliest format that is read. A layout that changes stays here under its old format.
pub(crate) const OLDEST_FORMAT: u32 = 1;

/// No sealed bincode value comes near this; a damaged length may not ask for more.
const LARGEST_BODY: usize = 1 << 20;
const BINCODE: Configuration<LittleEndian, Varint, Limit<LARGEST_BODY>> =
    bincode::config::standard().with_limit::<LARGEST_BODY>();
const CHECKSUM_LEN: usize = 8;

/// The description of a store and its snapshots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Info {
    pub model: ModelIdentity,
    /// The photo folders, absolute.
    pub roots: Vec<PathBuf>,
    /// Name and version of the program that made the index.
    pub created_by: String,
}

/// Names one stored vector. Never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct VectorId(pub u64);

/// A photo and the vector that its content got.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PhotoRecord {
    pub vector: VectorId,
    pub photo: Photo,
}

/// The counters that say what else the store has to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Meta {
    pub info: Info,
    /// Grows with every change.
    pub generation: u64,
    pub next_photo: u64,
    pub next_vector: u64,
    pub photos: u64,
    pub vectors: u64,
    /// The sum of the digests of all records and vectors: counts do not notice one that is out of date.
    /// `None` in format 1.
    pub sum: Option<u64>,
    pub graph: Option<GraphStamp>,
}

/// Names one stored graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) struct GraphStamp {
    /// The generation that it was stored under.
    pub generation: u64,
    /// Its length, bytes.
    pub len: u64,
    /// Xxh3-64 of its bytes.
    pub checksum: u64,
}

/// Why bytes could not be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// Written by another version of this software.
    Format(u32),
    /// Damaged, and how.
    Damaged(String),
}

impl Unreadable {
    pub fn at(self, path: &Path) -> Error {
        let path = path.to_owned();
        match self {
            Self::Format(found) => Error::IndexFormat {
                path,
                found,
                supported: FORMAT,
            },
            Self::Damaged(reason) => Error::Corrupt { path, reason },
        }
    }
}

/// Adds format and checksum to a body.
pub(crate) fn seal(body: impl IntoIterator<Item = u8>) -> Vec<u8> {
    seal_as(FORMAT, body)
}

pub(crate) fn seal_as(format: u32, body: impl IntoIterator<Item = u8>) -> Vec<u8> {
    let mut sealed = vec![format as u8];
    sealed.extend(body);
    let checksum = xxh3_64(&sealed);
    sealed.extend(checksum.to_le_bytes());
    sealed
}

/// Puts the checksum of a changed value right.
#[cfg(any(test, fuzzing))]
pub(crate) fn reseal(sealed: &mut [u8]) {
    if let Some((content, checksum)) = sealed.split_last_chunk_mut::<CHECKSUM_LEN>() {
        *checksum = xxh3_64(content).to_le_bytes();
    }
}

/// The body of a sealed value whose layout is the same in all formats, once checksum and format are seen to be
/// right.
pub(crate) fn unseal(sealed: &[u8]) -> Result<&[u8], Unreadable> {
    open_seal(sealed).map(|(_, body)| body)
}

/// The format of a sealed value, and its body.
fn open_seal(sealed: &[u8]) -> Result<(u32, &[u8]), Unreadable> {
    let content = sealed
        .split_last_chunk::<CHECKSUM_LEN>()
        .filter(|(content, checksum)| xxh3_64(content) == u64::from_le_bytes(**checksum))
        .map(|(content, _)| content)
        .ok_or_else(|| Unreadable::Damaged("a stored value fails its checksum".into()))?;
    match content.split_first() {
        Some((&format, body)) if is_readable(format.into()) => Ok((format.into(), body)),
        Some((&format, _)) => Err(Unreadable::Format(format.into())),
        None => Err(Unreadable::Damaged("a stored value is empty".into())),
    }
}

pub(crate) fn is_readable(format: u64) -> bool {
    (u64::from(OLDEST_FORMAT)..=u64::from(FORMAT)).contains(&format)
}

/// The digest that a record adds to [`Meta::sum`]; the same whatever the format it is stored in.
pub(crate) fn photo_digest(id: PhotoId, record: &PhotoRecord) -> u64 {
    // A path that cannot be stored cannot be in the sum of what is stored.
    store_photo(record).map_or(0, |stored| {
        // One without a change time may be stored in format 2, and counts as it did there.
        let body = match stored.ctime_ns {
            None => body_of(&stored.photo),
            Some(_) => body_of(&stored),
        };
        xxh3_64_with_seed(&body, id.0)
    })
}

/// The digest that a vector adds to [`Meta::sum`].
pub(crate) fn vector_digest(id: VectorId, hash: u128) -> u64 {
    xxh3_64_with_seed(&hash.to_le_bytes(), id.0)
}

pub(crate) fn encode_photo(record: &PhotoRecord) -> Result<Vec<u8>> {
    store_photo(record).map(|stored| encode(&stored))
}

fn store_photo(record: &PhotoRecord) -> Result<StoredPhoto> {
    let PhotoRecord { vector, photo } = record;
    let PhotoMetadata {
        width,
        height,
        captured_at,
        gps,
        camera,
    } = photo.metadata.clone();
    Ok(StoredPhoto {
        ctime_ns: photo.ctime_ns,
        photo: StoredPhoto2 {
            vector: vector.0,
            path: path_to_bytes(&photo.path)?,
            size: photo.size,
            mtime_ns: photo.mtime_ns,
            content_hash: photo.content_hash.0,
            width,
            height,
            captured_at: captured_at.map(StoredDateTime::from),
            gps: gps.map(|gps| (gps.latitude, gps.longitude)),
            camera,
        },
    })
}

pub(crate) fn decode_photo(sealed: &[u8]) -> Result<PhotoRecord, Unreadable> {
    let (stored, ctime_ns) = match open_seal(sealed)? {
        (1 | 2, body) => (decode_body(body)?, None),
        (_, body) => {
            let StoredPhoto { photo, ctime_ns } = decode_body(body)?;
            (photo, ctime_ns)
        }
    };
    let gps = stored.gps.map(|(latitude, longitude)| GpsPosition {
        latitude,
        longitude,
    });
    let captured_at = stored.captured_at.map(DateTime::try_from).transpose();
    let captured_at =
        captured_at.map_err(|e| Unreadable::Damaged(format!("a photo's time: {e}")))?;
    Ok(PhotoRecord {
        vector: VectorId(stored.vector),
        photo: Photo {
            path: path_from_bytes(stored.path)?,
            size: stored.size,
            mtime_ns: stored.mtime_ns,
            ctime_ns,
            content_hash: ContentHash(stored.content_hash),
            metadata: PhotoMetadata {
                width: stored.width,
                height: stored.height,
                captured_at,
                gps,
                camera: stored.camera,
            },
        },
    })
}

pub(crate) fn encode_info(info: &Info) -> Result<Vec<u8>> {
    StoredInfo::new(info).map(|stored| encode(&stored))
}

pub(crate) fn decode_info(sealed: &[u8]) -> Result<Info, Unreadable> {
    decode::<StoredInfo>(sealed)?.into_info()
}

pub(crate) fn encode_meta(meta: &Meta) -> Result<Vec<u8>> {
    let counters = StoredMeta1 {
        info: StoredInfo::new(&meta.info)?,
        generation: meta.generation,
        next_photo: meta.next_photo,
        next_vector: meta.next_vector,
        photos: meta.photos,
        vectors: meta.vectors,
        graph: meta.graph,
    };
    Ok(encode(&StoredMeta {
        counters,
        sum: meta.sum,
    }))
}

pub(crate) fn decode_meta(sealed: &[u8]) -> Result<Meta, Unreadable> {
    let (stored, sum) = match open_seal(sealed)? {
        (1, body) => (decode_body(body)?, None),
        (_, body) => {
            let StoredMeta { counters, sum } = decode_body(body)?;
            (counters, sum)
        }
    };
    Ok(Meta {
        sum,
        info: stored.info.into_info()?,
        generation: stored.generation,
        next_photo: stored.next_photo,
        next_vector: stored.next_vector,
        photos: stored.photos,
        vectors: stored.vectors,
        graph: stored.graph,
    })
}

#[derive(Encode, Decode)]
struct StoredPhoto {
    photo: StoredPhoto2,
    ctime_ns: Option<i64>,
}

/// All of it in formats 1 and 2.
#[derive(Encode, Decode)]
struct StoredPhoto2 {
    vector: u64,
    path: Vec<u8>,
    size: u64,
    mtime_ns: i64,
    content_hash: [u8; 32],
    width: u32,
    height: u32,
    captured_at: Option<StoredDateTime>,
    gps: Option<(f64, f64)>,
    camera: Option<String>,
}

#[derive(Encode, Decode)]
struct StoredInfo {
    model: StoredIdentity,
    roots: Vec<Vec<u8>>,
    created_by: String,
}

#[derive(Encode, Decode)]
struct StoredIdentity {
    name: String,
    fingerprint: String,
    preprocessing: String,
    dim: usize,
}

#[derive(Encode, Decode)]
struct StoredMeta {
    counters: StoredMeta1,
    sum: Option<u64>,
}

/// All of it in format 1.
#[derive(Encode, Decode)]
struct StoredMeta1 {
    info: StoredInfo,
    generation: u64,
    next_photo: u64,
    next_vector: u64,
    photos: u64,
    vectors: u64,
    graph: Option<GraphStamp>,
}

#[derive(Encode, Decode)]
struct StoredDateTime {
    year: i16,
    month: i8,
    day: i8,
    hour: i8,
    minute: i8,
    second: i8,
    nanosecond: i32,
}

impl From<DateTime> for StoredDateTime {
    fn from(t: DateTime) -> Self {
        Self {
            year: t.year(),
            month: t.month(),
            day: t.day(),
            hour: t.hour(),
            minute: t.minute(),
            second: t.second(),
            nanosecond: t.subsec_nanosecond(),
        }
    }
}

impl TryFrom<StoredDateTime> for DateTime {
    type Error = jiff::Error;

    fn try_from(t: StoredDateTime) -> Result<Self, jiff::Error> {
        Self::new(
            t.year,
            t.month,
            t.day,
            t.hour,
            t.minute,
            t.second,
            t.nanosecond,
        )
    }
}

impl From<ModelIdentity> for StoredIdentity {
    fn from(model: ModelIdentity) -> Self {
        let ModelIdentity {
            name,
            fingerprint,
            preprocessing,
            dim,
        } = model;
        Self {
            name,
            fingerprint,
            preprocessing,
            dim,
        }
    }
}

impl From<StoredIdentity> for ModelIdentity {
    fn from(stored: StoredIdentity) -> Self {
        let StoredIdentity {
            name,
            fingerprint,
            preprocessing,
            dim,
        } = stored;
        Self {
            name,
            fingerprint,
            preprocessing,
            dim,
        }
    }
}

impl StoredInfo {
    fn new(info: &Info) -> Result<Self> {
        Ok(Self {
            model: info.model.clone().into(),
            roots: info
                .roots
                .iter()
                .map(|root| path_to_bytes(root))
                .collect::<Result<_>>()?,
            created_by: info.created_by.clone(),
        })
    }

    fn into_info(self) -> Result<Info, Unreadable> {
        Ok(Info {
            model: self.model.into(),
            roots: self
                .roots
                .into_iter()
                .map(path_from_bytes)
                .collect::<Result<_, _>>()?,
            created_by: self.created_by,
        })
    }
}

fn encode(value: &impl Encode) -> Vec<u8> {
    seal(body_of(value))
}

fn body_of(value: &impl Encode) -> Vec<u8> {
    bincode::encode_to_vec(value, BINCODE).expect("plain structs encode")
}

fn decode<T: Decode<()>>(sealed: &[u8]) -> Result<T, Unreadable> {
    decode_body(unseal(sealed)?)
}

fn decode_body<T: Decode<()>>(body: &[u8]) -> Result<T, Unreadable> {
    let damaged =
        |reason: String| Unreadable::Damaged(format!("a stored value does not decode: {reason}"));
    let (value, len) =
        bincode::decode_from_slice(body, BINCODE).map_err(|error| damaged(error.to_string()))?;
    if len != body.len() {
        return Err(damaged("it is too long".into()));
    }
    Ok(value)
}

#[cfg(unix)]
#[expect(
    clippy::unnecessary_wraps,
    reason = "the other platforms' version fails"
)]
pub(crate) fn path_to_bytes(path: &Path) -> Result<Vec<u8>> {
    use std::os::unix::ffi::OsStrExt;
    Ok(path.as_os_str().as_bytes().to_vec())
}

#[cfg(not(unix))]
pub(crate) fn path_to_bytes(path: &Path) -> Result<Vec<u8>> {
    let text = path.to_str().ok_or_else(|| Error::Input {
        reason: format!("the path {} is not valid Unicode", path.display()),
    })?;
    Ok(text.as_bytes().to_vec())
}

#[cfg(unix)]
#[expect(
    clippy::unnecessary_wraps,
    reason = "the other platforms' version fails"
)]
pub(crate) fn path_from_bytes(bytes: Vec<u8>) -> Result<PathBuf, Unreadable> {
    use std::os::unix::ffi::OsStringExt;
    Ok(std::ffi::OsString::from_vec(bytes).into())
}

#[cfg(not(unix))]
pub(crate) fn path_from_bytes(bytes: Vec<u8>) -> Result<PathBuf, Unreadable> {
    let text = String::from_utf8(bytes);
    text.map(PathBuf::from)
        .map_err(|_| Unreadable::Damaged("a stored path is not UTF-8".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> PhotoRecord {
        PhotoRecord {
            vector: VectorId(7),
            photo: Photo {
                path: "/photos/a.jpg".into(),
                size: 3_000_000,
                mtime_ns: -5,
                ctime_ns: Some(1_700_000_000_123_456_789),
                content_hash: ContentHash([9; 32]),
                metadata: PhotoMetadata {
                    width: 4000,
                    height: 3000,
                    captured_at: Some(jiff::civil::date(2021, 7, 3).at(18, 30, 5, 250_000_000)),
                    gps: Some(GpsPosition {
                        latitude: 48.8,
                        longitude: -2.3,
                    }),
                    camera: Some("Apple iPhone 13".into()),
                },
            },
        }
    }

    #[test]
    fn photos_round_trip() {
        let record = record();
        assert_eq!(
            decode_photo(&encode_photo(&record).unwrap()).unwrap(),
            record
        );
    }

    /// What was committed in format 2 has to add up as it did then.
    #[test]
    fn a_photo_of_format_2_counts_as_it_did_and_has_no_change_time() {
        let mut record = record();
        let stored = store_photo(&record).unwrap().photo;
        let sealed = seal_as(2, body_of(&stored));
        record.photo.ctime_ns = None;
        assert_eq!(decode_photo(&sealed).unwrap(), record);
        let digest = xxh3_64_with_seed(&body_of(&stored), 5);
        assert_eq!(photo_digest(PhotoId(5), &record), digest);
        record.photo.ctime_ns = Some(0);
        assert_ne!(photo_digest(PhotoId(5), &record), digest);
    }

    #[cfg(unix)]
    #[test]
    fn paths_need_not_be_utf8() {
        use std::os::unix::ffi::OsStrExt;
        let mut record = record();
        record.photo.path = std::ffi::OsStr::from_bytes(b"/photos/caf\xe9.jpg").into();
        assert_eq!(
            decode_photo(&encode_photo(&record).unwrap()).unwrap(),
            record
        );
    }

    #[test]
    fn any_changed_or_missing_byte_is_noticed() {
        let sealed = encode_photo(&record()).unwrap();
        for position in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[position] ^= 0x10;
            assert!(
                matches!(decode_photo(&damaged), Err(Unreadable::Damaged(_))),
                "byte {position}"
            );
            assert!(
                decode_photo(&sealed[..position]).is_err(),
                "cut to {position} bytes"
            );
        }
    }

    #[test]
    fn nonsense_with_a_right_checksum_is_damage() {
        for body in [vec![], vec![0xff; 3], vec![0xff; 200]] {
            assert!(matches!(
                decode_photo(&seal(body)),
                Err(Unreadable::Damaged(_))
            ));
        }
    }

    #[test]
    fn another_format_is_named() {
        let mut sealed = vec![9, 1, 2, 3];
        sealed.extend(xxh3_64(&sealed).to_le_bytes());
        assert_eq!(unseal(&sealed), Err(Unreadable::Format(9)));
    }
}
