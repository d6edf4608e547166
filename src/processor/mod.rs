//! From photos and words to what the model takes.
//!
//! A photo goes through [`Encoded`] (bytes of a file → upright RGB picture, [`DecodedPhoto`]) and
//! [`ImageProcessor`] (picture → [`Pixels`] → normalised values), a text through [`TextProcessor`]
//! (words → [`TokenIds`]). All of it gives what the model's reference implementation gives, pixel for pixel and
//! token for token, since the model was trained on exactly that; only JPEG decoders differ, by a few levels.

mod container;
mod decode;
mod heif;
mod image;
mod jpeg;
mod metadata;
mod resize;
mod text;

use std::path::Path;

pub use self::decode::{DecodedPhoto, Encoded, is_photo};
pub use self::image::{ImageProcessor, Pixels};
pub use self::text::{TextProcessor, TokenIds};
use crate::error::Result;
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

    /// The half for pictures.
    pub fn image(&self) -> &ImageProcessor {
        &self.image
    }

    /// The half for words.
    pub fn text(&self) -> &TextProcessor {
        &self.text
    }

    /// Reads a photo's file, decodes it, and makes the model's pixels of it.
    pub fn read_photo(&self, path: &Path) -> Result<(Pixels, PhotoMetadata)> {
        self.preprocess(&Encoded::read(path)?)
    }

    /// Decodes a photo and makes the model's pixels of it.
    pub fn preprocess(&self, encoded: &Encoded) -> Result<(Pixels, PhotoMetadata)> {
        let photo = encoded.decode()?;
        Ok((self.image.preprocess(&photo.rgb), photo.metadata))
    }
}

/// Reference data that is no part of this repository, in `$BT_SHARED` or beside the checkout. Tests that need it
/// pass where it is absent.
#[cfg(test)]
fn shared(path: &str) -> Option<std::path::PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let folder = std::env::var_os("BT_SHARED").map_or(beside, Into::into);
    Some(folder.join(path)).filter(|path| path.exists())
}
