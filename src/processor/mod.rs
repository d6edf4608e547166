//! Turns photos and words into the model's inputs.
//!
//! A photo goes through [`Encoded`] (bytes of a file → upright RGB picture, [`DecodedPhoto`]) and [`ImageProcessor`]
//! (picture → [`Pixels`] → normalised values), a text through [`TextProcessor`] (words → [`TokenIds`]). The results
//! equal those of the model's reference implementation, pixel for pixel and token for token, since the model was
//! trained on exactly that. There are two exceptions: JPEG decoders differ by a few levels, and colours other than sRGB
//! and transparency are read as a viewer shows them.

mod color;
mod container;
mod decode;
mod header;
mod heif;
mod image;
mod jpeg;
mod metadata;
mod other;
mod paint;
mod picture;
mod png;
mod resize;
mod sample;
#[cfg(test)]
mod tests;
mod text;
mod tiff;
mod upright;

use std::path::Path;

use self::decode::refuse_large_picture;
pub use self::decode::{DecodedPhoto, Encoded, is_photo};
pub(crate) use self::decode::{MAX_DECODING_BYTES, MAX_FILE_BYTES};
pub(crate) use self::image::READING;
pub use self::image::{ImageProcessor, Pixels};
use self::paint::RGB;
pub use self::picture::Picture;
pub use self::text::{TextProcessor, TokenIds};
use self::upright::Upright;
use crate::error::{Error, Result};
use crate::photo::PhotoMetadata;

/// Both halves of a checkpoint's processor.
#[derive(Debug, Clone)]
pub struct Processor {
    image: ImageProcessor,
    text: TextProcessor,
}

impl Processor {
    /// Reads the processor's files of the checkpoint in `dir`, for a model that takes pictures of
    /// `image_side` × `image_side` pixels and texts of up to `max_tokens`; see [`ImageProcessor::from_dir`]
    /// and [`TextProcessor::from_dir`].
    pub fn from_dir(dir: &Path, image_side: u32, max_tokens: usize) -> Result<Self> {
        Ok(Self {
            image: ImageProcessor::from_dir(dir, image_side)?,
            text: TextProcessor::from_dir(dir, max_tokens)?,
        })
    }

    /// Returns the half for pictures.
    pub fn image(&self) -> &ImageProcessor {
        &self.image
    }

    /// Returns the half for words.
    pub fn text(&self) -> &TextProcessor {
        &self.text
    }

    /// Reads and decodes a picture, and makes the model's pixels of it. Errors name the file, if it is one.
    pub fn read(&self, picture: &Picture) -> Result<(Pixels, PhotoMetadata)> {
        let read = picture
            .encoded()
            .and_then(|encoded| self.preprocess(&encoded));
        match (read, picture) {
            (Err(Error::Photo { reason }), Picture::File(path)) => Err(Error::Photo {
                reason: format!("{}: {reason}", path.display()),
            }),
            (read, _) => read,
        }
    }

    /// Reads a photo's file, decodes it, and turns it into the model's pixels.
    pub fn read_photo(&self, path: &Path) -> Result<(Pixels, PhotoMetadata)> {
        self.preprocess(&Encoded::read(path)?)
    }

    /// Decodes a photo and turns it into the model's pixels.
    pub fn preprocess(&self, encoded: &Encoded) -> Result<(Pixels, PhotoMetadata)> {
        refuse_large_picture(self.peak_bytes(encoded)?)?;
        let photo = encoded.decode_stored()?;
        let upright = Upright::new(&photo.rgb, photo.orientation);
        let metadata = PhotoMetadata {
            width: upright.width(),
            height: upright.height(),
            ..photo.metadata
        };
        Ok((self.image.preprocess_turned(upright), metadata))
    }

    /// Returns the most memory that [`Self::preprocess`] holds at once, bytes, not counting the file itself. Reads only
    /// what comes before the pixels.
    pub fn peak_bytes(&self, encoded: &Encoded) -> Result<u64> {
        let header = encoded.header()?;
        let (width, height) = (header.width, header.height);
        // Which way up it is, is not known yet.
        let lying = self.image.working_bytes(width, height);
        let standing = self.image.working_bytes(height, width);
        let picture = RGB as u64 * u64::from(width) * u64::from(height);
        Ok(header.peak_bytes.max(picture + lying.max(standing)))
    }
}

/// Returns the path of reference data outside of this repository, in `$BT_SHARED` or beside the checkout. Tests that
/// need it pass if it is absent.
#[cfg(test)]
fn shared(path: &str) -> Option<std::path::PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let folder = std::env::var_os("BT_SHARED").map_or(beside, Into::into);
    Some(folder.join(path)).filter(|path| path.exists())
}
