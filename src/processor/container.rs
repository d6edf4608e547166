//! Which format a file has, who decodes it, and what that takes.

use image::{ColorType, ImageFormat};

use crate::error::{Error, Result};

/// Who decodes a file.
#[derive(Clone, Copy)]
pub enum Container {
    /// [`jpeg`](super::jpeg).
    Jpeg,
    /// Crate `image`.
    Native(ImageFormat),
    /// libheif: HEIC and AVIF.
    Heif,
}

impl Container {
    /// Told from the content; names lie.
    pub fn of(bytes: &[u8]) -> Result<Self> {
        if is_heif(bytes) {
            return Ok(Self::Heif);
        }
        let reason = match image::guess_format(bytes) {
            Ok(ImageFormat::Jpeg) => return Ok(Self::Jpeg),
            Ok(format) if format.reading_enabled() => return Ok(Self::Native(format)),
            Ok(format) => format!("{} files are not read", format.to_mime_type()),
            Err(_) if bytes.is_empty() => "the file is empty".to_owned(),
            Err(_) => "not a picture: the content has no known image format".to_owned(),
        };
        Err(Error::Photo { reason })
    }

    /// The most memory held at once while decoding a picture, converting it to RGB, or turning it upright,
    /// bytes; `color` is what the decoder gives.
    pub fn peak_bytes(self, pixels: u64, color: ColorType, file_bytes: u64) -> u64 {
        const RGB: u64 = 3;
        let output = u64::from(color.bytes_per_pixel());
        // What a decoder holds beside its output, per pixel.
        let working = match self {
            // Canvas and frame of an animation, RGBA each; the planes of a still picture take less.
            Self::Native(ImageFormat::WebP) => 8,
            // A frame smaller than the screen, RGBA.
            Self::Native(ImageFormat::Gif) => 4,
            // The file's own samples; CMYK has one more than RGB.
            Self::Native(ImageFormat::Tiff) => output + output.div_ceil(RGB),
            Self::Native(_) | Self::Jpeg => 0,
            // Planes of up to 16 bits, and libheif's RGB before it is copied.
            Self::Heif => 3 * RGB,
        };
        let decoding = (output + working) * pixels;
        let converting = (output + RGB) * pixels;
        let turning = 2 * RGB * pixels;
        // Some decoders copy the file; all have tables of fixed size.
        decoding.max(converting).max(turning) + file_bytes + (1 << 20)
    }
}

/// HEIC and AVIF are ISO media files; their first box, `ftyp`, lists who can read them.
fn is_heif(bytes: &[u8]) -> bool {
    const BRANDS: [&[u8; 4]; 8] = [
        b"mif1", b"msf1", b"heic", b"heix", b"hevc", b"hevx", b"avif", b"avis",
    ];
    let [length, [b'f', b't', b'y', b'p'], brands @ ..] = bytes.as_chunks::<4>().0 else {
        return false;
    };
    let brands_in_box = (u32::from_be_bytes(*length) as usize / 4).saturating_sub(2);
    brands
        .iter()
        .take(brands_in_box)
        .any(|brand| BRANDS.contains(&brand))
}
