//! The format of an export's files.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use jiff::civil::DateTime;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::identity::ModelIdentity;
use crate::index::codec::{Info, path_from_bytes, path_to_bytes};
use crate::photo::{GpsPosition, Photo, PhotoMetadata};

pub(super) const EMBEDDINGS: &str = "embeddings.npy";
pub(super) const PHOTOS: &str = "photos.jsonl";
/// An export in one file.
pub(super) const PARQUET: &str = "photos.parquet";
pub(super) const MANIFEST: &str = "index.json";

/// The mark that tells `index.json` from other files of that name.
const FORMAT: &str = "bridgetower-export";
const VERSION: u64 = 1;
/// More coordinates than any model gives, so that a damaged number does not ask for all memory.
const LARGEST_DIM: usize = 1 << 16;

/// `index.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    format: String,
    version: u64,
    created_by: String,
    model: Model,
    folders: Vec<PortablePath>,
    pub photos: u64,
    pub vectors: u64,
    /// Files made by hand may do without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blake3: Option<Checksums>,
}

/// BLAKE3 of whole files, hexadecimal.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Checksums {
    #[serde(rename = "embeddings.npy")]
    pub embeddings: String,
    #[serde(rename = "photos.jsonl")]
    pub photos: String,
}

/// The model of the index, under names that people understand.
#[derive(Debug, Serialize, Deserialize)]
struct Model {
    name: String,
    fingerprint: String,
    preprocessing: String,
    dim: usize,
}

#[derive(Debug, Serialize, Deserialize)]
struct PortablePath {
    path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path_hex: Option<String>,
}

/// A line of `photos.jsonl`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PhotoLine {
    /// Of `embeddings.npy`, counted from 0.
    pub row: u64,
    pub path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_hex: Option<String>,
    pub size: u64,
    pub mtime_ns: i64,
    pub content_hash: String,
    pub width: u32,
    pub height: u32,
    pub captured_at: Option<DateTime>,
    pub gps: Option<GpsPosition>,
    pub camera: Option<String>,
}

impl Manifest {
    pub fn new(info: &Info, photos: u64, vectors: u64, blake3: Option<Checksums>) -> Result<Self> {
        let ModelIdentity {
            name,
            fingerprint,
            preprocessing,
            dim,
        } = info.model.clone();
        let folders = info.roots.iter().map(|root| PortablePath::new(root));
        Ok(Self {
            format: FORMAT.into(),
            version: VERSION,
            created_by: concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")).into(),
            model: Model {
                name,
                fingerprint,
                preprocessing,
                dim,
            },
            folders: folders.collect::<Result<_>>()?,
            photos,
            vectors,
            blake3,
        })
    }

    /// Reads `index.json` of an export, and checks what can be checked without the other files.
    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(MANIFEST);
        let text = fs::read(&path).map_err(|source| match source.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => Error::Export {
                path: path.clone(),
                line: None,
                reason: "it is missing, so this is no finished export".into(),
            },
            _ => Error::io(&path)(source),
        })?;
        Self::parse(&text, &path)
    }

    /// The manifest in `text`, which was read from `path`.
    pub fn parse(text: &[u8], path: &Path) -> Result<Self> {
        let wrong = |reason: String| Error::Export {
            path: path.to_owned(),
            line: None,
            reason,
        };
        let value: Value = serde_json::from_slice(text).map_err(|e| wrong(e.to_string()))?;
        if value["format"] != FORMAT {
            return Err(wrong(format!("its \"format\" is not \"{FORMAT}\"")));
        }
        if value["version"] != VERSION {
            let found = &value["version"];
            return Err(wrong(format!(
                "it has version {found}; this program reads version {VERSION}"
            )));
        }
        let manifest: Self = serde_json::from_value(value).map_err(|e| wrong(e.to_string()))?;
        manifest.check().map_err(wrong)?;
        Ok(manifest)
    }

    /// Whether `dir` holds an export, of whatever version.
    pub fn is_in(dir: &Path) -> bool {
        fs::read(dir.join(MANIFEST))
            .ok()
            .and_then(|text| serde_json::from_slice::<Value>(&text).ok())
            .is_some_and(|value| value["format"] == FORMAT)
    }

    /// The model that the index was built with.
    pub fn model(&self) -> ModelIdentity {
        ModelIdentity {
            name: self.model.name.clone(),
            fingerprint: self.model.fingerprint.clone(),
            preprocessing: self.model.preprocessing.clone(),
            dim: self.model.dim,
        }
    }

    /// The photo folders. They were seen to be right when the manifest was read.
    pub fn roots(&self) -> Vec<PathBuf> {
        let roots = self.folders.iter();
        roots.filter_map(|folder| folder.to_path().ok()).collect()
    }

    fn check(&self) -> Result<(), String> {
        let model = [
            ("name", &self.model.name),
            ("fingerprint", &self.model.fingerprint),
            ("preprocessing", &self.model.preprocessing),
        ];
        if let Some((key, _)) = model.iter().find(|(_, pin)| pin.is_empty()) {
            return Err(format!("the model's \"{key}\" is empty"));
        }
        if !(1..=LARGEST_DIM).contains(&self.model.dim) {
            return Err(format!("{} is no number of coordinates", self.model.dim));
        }
        if u32::try_from(self.photos).is_err() || self.vectors > self.photos {
            return Err(format!(
                "there cannot be {} photos with {} vectors",
                self.photos, self.vectors
            ));
        }
        let roots = self.folders.iter();
        roots
            .map(PortablePath::to_path)
            .try_for_each(|root| root.map(drop))
    }
}

impl PortablePath {
    fn new(path: &Path) -> Result<Self> {
        let (path, path_hex) = portable(path)?;
        Ok(Self { path, path_hex })
    }

    fn to_path(&self) -> Result<PathBuf, String> {
        native(&self.path, self.path_hex.as_deref())
    }
}

impl PhotoLine {
    pub fn new(row: u64, photo: &Photo) -> Result<Self> {
        let (path, path_hex) = portable(&photo.path)?;
        let metadata = photo.metadata.clone();
        Ok(Self {
            row,
            path,
            path_hex,
            size: photo.size,
            mtime_ns: photo.mtime_ns,
            content_hash: photo.content_hash.to_string(),
            width: metadata.width,
            height: metadata.height,
            captured_at: metadata.captured_at,
            gps: metadata.gps,
            camera: metadata.camera,
        })
    }

    /// The photo that the line describes, or what is wrong with it.
    pub fn into_photo(self) -> Result<Photo, String> {
        let is_on_earth = |gps: &GpsPosition| {
            (-90.0..=90.0).contains(&gps.latitude) && (-180.0..=180.0).contains(&gps.longitude)
        };
        if let Some(gps) = self.gps.filter(|gps| !is_on_earth(gps)) {
            let (latitude, longitude) = (gps.latitude, gps.longitude);
            return Err(format!("{latitude}, {longitude} is no place on Earth"));
        }
        let content_hash = self.content_hash.parse();
        Ok(Photo {
            path: native(&self.path, self.path_hex.as_deref())?,
            size: self.size,
            mtime_ns: self.mtime_ns,
            // Says nothing of the file that this path may name on another machine.
            ctime_ns: None,
            content_hash: content_hash.map_err(|error: Error| error.to_string())?,
            metadata: PhotoMetadata {
                width: self.width,
                height: self.height,
                captured_at: self.captured_at,
                gps: self.gps,
                camera: self.camera,
            },
        })
    }
}

/// A path as text, and as the hexadecimal of its bytes where they are not UTF-8.
fn portable(path: &Path) -> Result<(String, Option<String>)> {
    if let Some(text) = path.to_str() {
        return Ok((text.to_owned(), None));
    }
    let bytes = path_to_bytes(path)?;
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    let digits = digits.filter_map(|digit| char::from_digit(digit.into(), 16));
    Ok((path.to_string_lossy().into_owned(), Some(digits.collect())))
}

/// The inverse of [`portable`].
fn native(text: &str, digits: Option<&str>) -> Result<PathBuf, String> {
    let path = match digits {
        None => PathBuf::from(text),
        Some(digits) => bytes_of_hex(digits)
            .and_then(|bytes| path_from_bytes(bytes).ok())
            .ok_or_else(|| format!("\"path_hex\" {digits:?} is no path of this system"))?,
    };
    if path.is_absolute() {
        return Ok(path);
    }
    Err(format!("the path {text:?} is not absolute"))
}

fn bytes_of_hex(digits: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let digit = |digit: u8| char::from(digit).to_digit(16);
    let byte = |pair: &[u8; 2]| Some(((digit(pair[0])? << 4) | digit(pair[1])?) as u8);
    let bytes = pairs.iter().map(byte).collect();
    if rest.is_empty() { bytes } else { None }
}

/// Counts and hashes what passes through.
pub(super) struct Hashing<T> {
    pub inner: T,
    pub bytes: u64,
    hasher: blake3::Hasher,
}

impl<T> Hashing<T> {
    pub fn new(inner: T) -> Self {
        Self {
            inner,
            bytes: 0,
            hasher: blake3::Hasher::new(),
        }
    }

    /// BLAKE3 of what passed so far, hexadecimal.
    pub fn digest(&self) -> String {
        self.hasher.finalize().to_string()
    }

    fn note(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.hasher.update(bytes);
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.note(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.note(&buffer[..read]);
        Ok(read)
    }
}
