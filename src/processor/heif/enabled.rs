//! With libheif.

use image::RgbImage;
use libheif_rs::{ColorSpace, HeifContext, HeifError, ImageHandle, LibHeif, RgbChroma};

use crate::error::{Error, Result};
use crate::processor::color::{Colors, Inks};
use crate::processor::header::Header;
use crate::processor::paint::{Alpha, Painter};

/// Reads what comes before the pixels; width and height are those after the container's own rotation.
pub fn header(file: &[u8]) -> Result<Header> {
    let context = HeifContext::read_from_bytes(file)?;
    let handle = context.primary_image_handle()?;
    let channels = if handle.has_alpha_channel() { 4 } else { 3 };
    Ok(Header::new(handle.width(), handle.height(), |pixels| {
        // Planes of up to 16 bits, libheif's picture, and its copy.
        (2 * channels + 2 * channels) * pixels + file.len() as u64
    }))
}

/// Decodes the main picture, turned as its container says.
pub fn decode(file: &[u8]) -> Result<RgbImage> {
    let context = HeifContext::read_from_bytes(file)?;
    let handle = context.primary_image_handle()?;
    let (chroma, channels, alpha) = if !handle.has_alpha_channel() {
        (RgbChroma::Rgb, 3, Alpha::Opaque)
    } else if handle.is_premultiplied_alpha() {
        (RgbChroma::Rgba, 4, Alpha::Premultiplied)
    } else {
        (RgbChroma::Rgba, 4, Alpha::Straight)
    };
    let picture = LibHeif::new().decode(&handle, ColorSpace::Rgb(chroma), None)?;
    let plane = picture.planes().interleaved.ok_or_else(no_pixels)?;
    let row_bytes = channels * plane.width as usize;
    let mut samples = Vec::with_capacity(row_bytes * plane.height as usize);
    for row in plane.data.chunks(plane.stride).take(plane.height as usize) {
        samples.extend_from_slice(row.get(..row_bytes).ok_or_else(no_pixels)?);
    }
    let (width, height) = (plane.width, plane.height);
    drop(picture);
    Painter::new(Inks::Rgb, alpha, &colors(&handle)).paint_all(width, height, samples)
}

/// Returns the file's colours. libheif converts to RGB, but keeps the stored primaries and curve.
fn colors(handle: &ImageHandle) -> Colors {
    if let Some(profile) = handle.color_profile_raw() {
        return Colors::Icc(profile.data);
    }
    match handle.color_profile_nclx() {
        Some(points) => Colors::Video {
            primaries: points.color_primaries() as u8,
            transfer: points.transfer_characteristics() as u8,
        },
        None => Colors::Srgb,
    }
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
        reason: "the file has no picture that can be decoded".to_owned(),
    }
}
