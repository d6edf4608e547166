//! The format of a file, and its decoder.

use image::{ImageFormat, RgbImage};

use super::color::{Colors, Inks};
use super::header::Header;
use super::jpeg::{self, Layout};
use super::paint::{Alpha, Painter};
use super::{heif, other, png, tiff};
use crate::error::{Error, Result};

/// Formats, by their decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Container {
    /// zune-jpeg or libjpeg.
    Jpeg,
    /// Row by row.
    Png,
    /// Strip by strip, or tile by tile.
    Tiff,
    /// Crate `image`.
    Other(ImageFormat),
    /// libheif: HEIC and AVIF.
    Heif,
}

impl Container {
    /// Recognises the format by the content, since names can be wrong.
    pub fn of(file: &[u8]) -> Result<Self> {
        if is_heif(file) {
            return Ok(Self::Heif);
        }
        if tiff::is_tiff(file) {
            return Ok(Self::Tiff);
        }
        let reason = match image::guess_format(file) {
            Ok(ImageFormat::Jpeg) => return Ok(Self::Jpeg),
            Ok(ImageFormat::Png) => return Ok(Self::Png),
            Ok(format) if format.reading_enabled() => return Ok(Self::Other(format)),
            Ok(format) => format!("{} files are not supported", format.to_mime_type()),
            Err(_) if file.is_empty() => "the file is empty".to_owned(),
            Err(_) => "not a picture: the content has no known image format".to_owned(),
        };
        Err(Error::Photo { reason })
    }

    /// Reads what comes before the pixels.
    pub fn header(self, file: &[u8]) -> Result<Header> {
        match self {
            Self::Jpeg => jpeg_header(file),
            Self::Png => png::header(file),
            Self::Tiff => tiff::header(file),
            Self::Other(format) => other::header(file, format),
            Self::Heif => heif::header(file),
        }
    }

    /// Decodes the picture, as it is stored.
    pub fn decode(self, file: &[u8]) -> Result<RgbImage> {
        match self {
            Self::Jpeg => decode_jpeg(file),
            Self::Png => png::decode(file),
            Self::Tiff => tiff::decode(file),
            Self::Other(format) => other::decode(file, format),
            Self::Heif => heif::decode(file),
        }
    }
}

fn jpeg_header(file: &[u8]) -> Result<Header> {
    const RGB: u64 = 3;
    let header = jpeg::header(file)?;
    Ok(Header::new(header.width, header.height, |pixels| {
        // Gray is painted beside itself, all else where it lies.
        header.peak_bytes.max((1 + RGB) * pixels)
    }))
}

fn decode_jpeg(file: &[u8]) -> Result<RgbImage> {
    let jpeg = jpeg::decode(file)?;
    let inks = match jpeg.layout {
        Layout::Gray => Inks::Gray,
        Layout::Rgb => Inks::Rgb,
        Layout::Cmyk => Inks::Cmyk,
    };
    let colors = jpeg.icc.map_or(Colors::Srgb, Colors::Icc);
    Painter::new(inks, Alpha::Opaque, &colors).paint_all(jpeg.width, jpeg.height, jpeg.samples)
}

/// Returns whether a file is HEIC or AVIF. These are ISO media files, whose first box, `ftyp`, lists the formats.
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
