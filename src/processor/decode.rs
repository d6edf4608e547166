//! Decodes the bytes of a file to an upright RGB picture.
//!
//! Every file that is not a readable photo gives [`Error::Photo`] with the reason in plain words, whatever is wrong
//! with it: every large collection holds broken files, and one must not stop a build.
//!
//! Colours become sRGB, and transparent areas become white, as in a viewer: see [`color`](super::color) and
//! [`paint`](super::paint).

use std::fs::{File, Metadata};
use std::io::{ErrorKind, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, RgbImage};

use super::container::Container;
use super::header::Header;
use super::metadata::EmbeddedMetadata;
use super::tiff;
use crate::error::{Error, Result};
use crate::photo::{ContentHash, Photo, PhotoMetadata};

/// Larger files are not read.
pub const MAX_FILE_BYTES: u64 = 512 << 20;

/// Pictures with more pixels are not decoded: phones make 200 million, decompression bombs billions.
const MAX_PIXELS: u64 = 1 << 28;

/// Pictures whose decoding would hold more memory than this are not decoded.
pub const MAX_DECODING_BYTES: u64 = 768 << 20;

/// Returns whether a file's name says that it is a picture. Its content later decides the format.
pub fn is_photo(path: &Path) -> bool {
    const EXTENSIONS: [&str; 17] = [
        "jpg", "jpeg", "jpe", "jfif", "mpo", "png", "apng", "webp", "gif", "tif", "tiff", "bmp",
        "dib", "avif", "heic", "heif", "hif",
    ];
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|e| EXTENSIONS.iter().any(|known| e.eq_ignore_ascii_case(known)))
}

/// The bytes of an image file.
#[derive(Debug, Clone)]
pub struct Encoded {
    bytes: Vec<u8>,
}

/// A decoded photo.
#[derive(Debug, Clone)]
pub struct DecodedPhoto {
    /// The upright picture.
    pub rgb: RgbImage,
    /// Its size and metadata.
    pub metadata: PhotoMetadata,
}

/// A photo as its file holds it.
pub(super) struct StoredPhoto {
    /// Not turned yet.
    pub rgb: RgbImage,
    /// The way to turn it upright.
    pub orientation: Orientation,
    /// All but the size.
    pub metadata: PhotoMetadata,
}

impl Encoded {
    /// Takes the bytes of a file of any format; the content tells which.
    pub fn new(bytes: Vec<u8>) -> Result<Self> {
        refuse_large_file(bytes.len() as u64)?;
        Ok(Self { bytes })
    }

    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self> {
        let file = open(path)?;
        refuse_large_file(file.metadata().map_err(Error::io(path))?.len())?;
        let mut bytes = Vec::new();
        // A file may grow between the two looks at it.
        file.take(MAX_FILE_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(Error::io(path))?;
        Self::new(bytes)
    }

    /// Reads the file of an indexed photo; [`Error::Changed`] if it holds something else by now.
    pub fn of(photo: &Photo) -> Result<Self> {
        let encoded = Self::read(&photo.path)?;
        if encoded.content_hash() == photo.content_hash {
            Ok(encoded)
        } else {
            Err(Error::Changed {
                path: photo.path.clone(),
            })
        }
    }

    /// Returns the BLAKE3 of the file's bytes.
    pub fn content_hash(&self) -> ContentHash {
        ContentHash(*blake3::hash(&self.bytes).as_bytes())
    }

    /// Returns the file's bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the most memory that [`Self::decode`] holds at once, bytes, not counting the file itself and a copy to
    /// turn the picture upright. Reads only what comes before the pixels, so that a caller can schedule decodes under a
    /// memory budget.
    ///
    /// It is an upper bound: every WebP counts as an animated one.
    pub fn decoded_bytes(&self) -> Result<u64> {
        Ok(self.header()?.peak_bytes)
    }

    /// Decodes the picture and turns it upright.
    ///
    /// For an animation this is the first frame, for a multi-picture file the main picture. A truncated JPEG is decoded
    /// as far as it goes: most of a photo is still that photo.
    ///
    /// # Errors
    /// [`Error::Photo`] if it is no picture, is damaged, or would take more than 768 MB of memory.
    pub fn decode(&self) -> Result<DecodedPhoto> {
        let stored = self.decode_stored()?;
        let mut metadata = stored.metadata;
        let rgb = upright(stored.rgb, stored.orientation);
        (metadata.width, metadata.height) = rgb.dimensions();
        Ok(DecodedPhoto { rgb, metadata })
    }

    /// Decodes the picture as it is stored, and finds the way to turn it.
    pub(super) fn decode_stored(&self) -> Result<StoredPhoto> {
        self.header()?;
        shielded(|| {
            let container = Container::of(&self.bytes)?;
            let embedded = EmbeddedMetadata::read(&self.bytes);
            let rgb = container.decode(&self.bytes)?;
            let orientation = match container {
                // libheif applies the container's own rotation, which the metadata only repeats.
                Container::Heif => Orientation::NoTransforms,
                // The photo need not be the file's first picture.
                Container::Tiff => tiff::orientation(&self.bytes)
                    .and_then(Orientation::from_exif)
                    .unwrap_or(embedded.orientation),
                _ => embedded.orientation,
            };
            Ok(StoredPhoto {
                orientation,
                metadata: PhotoMetadata {
                    width: 0,
                    height: 0,
                    captured_at: embedded.captured_at,
                    gps: embedded.gps,
                    camera: embedded.camera,
                },
                rgb,
            })
        })
    }

    /// Returns what comes before the pixels, if they may be decoded.
    pub(super) fn header(&self) -> Result<Header> {
        let header = shielded(|| Container::of(&self.bytes)?.header(&self.bytes))?;
        let Header { width, height, .. } = header;
        let pixels = u64::from(width) * u64::from(height);
        if pixels == 0 {
            return refused(format!("the picture has no pixels: {width}x{height}"));
        }
        if pixels > MAX_PIXELS {
            return refused(format!(
                "the picture has {pixels} pixels ({width}x{height}); the limit is {MAX_PIXELS}"
            ));
        }
        refuse_large_picture(header.peak_bytes)?;
        Ok(header)
    }
}

/// Refuses a picture that takes too much memory.
pub(super) fn refuse_large_picture(bytes: u64) -> Result<()> {
    if bytes > MAX_DECODING_BYTES {
        let megabytes = |bytes: u64| bytes.div_ceil(1 << 20);
        return refused(format!(
            "decoding takes {} MB of memory; the limit is {} MB",
            megabytes(bytes),
            megabytes(MAX_DECODING_BYTES)
        ));
    }
    Ok(())
}

/// Opens a file, and neither opens nor waits for anything else: opening a pipe would wait for a writer.
fn open(path: &Path) -> Result<File> {
    // Pipes that the shell has opened for us: `bt-query <(curl …)`.
    let handed = ["/dev/fd", "/dev/stdin", "/proc/self/fd"];
    if handed.iter().any(|handed| path.starts_with(handed)) {
        return File::open(path).map_err(Error::io(path));
    }
    refuse_other(path, &path.metadata().map_err(Error::io(path))?)?;
    let mut options = File::options();
    options.read(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK);
    let file = options.open(path).map_err(Error::io(path))?;
    // It may have been replaced since it was looked at.
    refuse_other(path, &file.metadata().map_err(Error::io(path))?)?;
    Ok(file)
}

fn refuse_other(path: &Path, found: &Metadata) -> Result<()> {
    if found.is_dir() {
        return Err(Error::io(path)(ErrorKind::IsADirectory.into()));
    }
    if !found.is_file() {
        return refused("not a file but a pipe, a socket or a device");
    }
    Ok(())
}

fn refuse_large_file(bytes: u64) -> Result<()> {
    if bytes > MAX_FILE_BYTES {
        return refused(format!(
            "the file has {bytes} bytes; the limit is {MAX_FILE_BYTES}"
        ));
    }
    Ok(())
}

fn upright(picture: RgbImage, orientation: Orientation) -> RgbImage {
    let mut picture = DynamicImage::ImageRgb8(picture);
    picture.apply_orientation(orientation);
    picture.into_rgb8()
}

/// Runs a decoder. Decoders meet hostile files, and a panic in one means a broken photo, not a broken build.
fn shielded<T>(decode: impl FnOnce() -> Result<T>) -> Result<T> {
    // Unwind safe: after a panic nothing that `decode` touched is looked at again.
    catch_unwind(AssertUnwindSafe(decode))
        .unwrap_or_else(|_| refused("the picture is damaged: its decoder failed"))
}

fn refused<T>(reason: impl Into<String>) -> Result<T> {
    Err(Error::Photo {
        reason: reason.into(),
    })
}

#[cfg(test)]
mod tests;
