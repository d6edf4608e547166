//! WebP, GIF and BMP, through crate `image`.

use std::io::Cursor;

use image::{ColorType, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, RgbImage};

use super::color::{Colors, Inks};
use super::header::Header;
use super::paint::{Alpha, Painter};
use crate::error::{Error, Result};

/// The most that reading a header may allocate.
const MAX_HEADER_BYTES: u64 = 64 << 20;

/// Reads what comes before the pixels.
pub fn header(file: &[u8], format: ImageFormat) -> Result<Header> {
    const RGB: u64 = 3;
    let decoder = decoder(file, format, MAX_HEADER_BYTES)?;
    let (width, height) = decoder.dimensions();
    let output = u64::from(decoder.color_type().bytes_per_pixel());
    // What a decoder holds beside its output, per pixel.
    let working = match format {
        // Canvas and frame of an animation, RGBA each; the planes of a still picture take less.
        ImageFormat::WebP => 8,
        // A frame smaller than the screen, RGBA.
        ImageFormat::Gif => 4,
        _ => 0,
    };
    // Gray is painted beside itself, all else where it lies. Some decoders copy the file.
    let peak = (output + working).max(output + RGB);
    Ok(Header::new(width, height, |pixels| {
        peak * pixels + file.len() as u64
    }))
}

/// Decodes the picture, or the first frame of an animation.
pub fn decode(file: &[u8], format: ImageFormat) -> Result<RgbImage> {
    let mut decoder = decoder(file, format, u64::MAX)?;
    let (width, height) = decoder.dimensions();
    let (inks, alpha) = match decoder.color_type() {
        ColorType::L8 => (Inks::Gray, Alpha::Opaque),
        ColorType::La8 => (Inks::Gray, Alpha::Straight),
        ColorType::Rgb8 => (Inks::Rgb, Alpha::Opaque),
        ColorType::Rgba8 => (Inks::Rgb, Alpha::Straight),
        other => {
            return Err(Error::Photo {
                reason: format!(
                    "pixels of {} bits are not supported",
                    other.bits_per_pixel()
                ),
            });
        }
    };
    // A damaged profile is no damage to the picture.
    let profile = decoder.icc_profile().ok().flatten();
    let mut samples = room(decoder.total_bytes())?;
    decoder.read_image(&mut samples)?;
    if format == ImageFormat::Bmp && alpha == Alpha::Straight {
        mend_opacity(&mut samples);
    }
    let colors = profile.map_or(Colors::Srgb, Colors::Icc);
    Painter::new(inks, alpha, &colors).paint_all(width, height, samples)
}

fn decoder(file: &[u8], format: ImageFormat, max_alloc: u64) -> Result<impl ImageDecoder> {
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(max_alloc);
    let mut reader = ImageReader::with_format(Cursor::new(file), format);
    reader.limits(limits);
    Ok(reader.into_decoder()?)
}

/// Makes a BMP opaque if all its opacities are zero: programs that leave the fourth byte at zero mean nothing by it.
fn mend_opacity(samples: &mut [u8]) {
    let pixels = samples.as_chunks_mut::<4>().0;
    if pixels.iter().all(|pixel| pixel[3] == 0) {
        for pixel in pixels {
            pixel[3] = u8::MAX;
        }
    }
}

/// Returns zeros, unless the system has no memory for them.
fn room(bytes: u64) -> Result<Vec<u8>> {
    let mut samples = Vec::new();
    if samples.try_reserve_exact(bytes as usize).is_err() {
        return Err(Error::Photo {
            reason: format!(
                "not enough memory to decode it: {} MB",
                bytes.div_ceil(1_000_000)
            ),
        });
    }
    samples.resize(bytes as usize, 0);
    Ok(samples)
}

impl From<ImageError> for Error {
    fn from(error: ImageError) -> Self {
        let reason = match error {
            ImageError::Limits(_) => {
                "it asks for more memory than a photo of its size needs".to_owned()
            }
            other => other.to_string(),
        };
        Self::Photo { reason }
    }
}
