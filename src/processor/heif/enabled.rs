//! With libheif.

use image::RgbImage;
use libheif_rs::{ColorSpace, HeifContext, HeifError, LibHeif, RgbChroma};

use crate::error::{Error, Result};

/// Width and height of the main picture, pixels, after the container's own rotation.
pub fn size(file: &[u8]) -> Result<(u32, u32)> {
    let context = HeifContext::read_from_bytes(file)?;
    let handle = context.primary_image_handle()?;
    Ok((handle.width(), handle.height()))
}

/// Decodes the main picture to 8-bit RGB, turned as its container says.
pub fn decode(file: &[u8]) -> Result<RgbImage> {
    let context = HeifContext::read_from_bytes(file)?;
    let handle = context.primary_image_handle()?;
    let picture = LibHeif::new().decode(&handle, ColorSpace::Rgb(RgbChroma::Rgb), None)?;
    let plane = picture.planes().interleaved.ok_or_else(no_pixels)?;
    let row_bytes = 3 * plane.width as usize;
    let mut pixels = Vec::with_capacity(row_bytes * plane.height as usize);
    for row in plane.data.chunks(plane.stride).take(plane.height as usize) {
        pixels.extend_from_slice(row.get(..row_bytes).ok_or_else(no_pixels)?);
    }
    RgbImage::from_raw(plane.width, plane.height, pixels).ok_or_else(no_pixels)
}

impl From<HeifError> for Error {
    fn from(error: HeifError) -> Self {
        Self::Photo {
            reason: error.to_string(),
        }
    }
}

fn no_pixels() -> Error {
    Error::Photo {
        reason: "the file holds no decodable picture".to_owned(),
    }
}
