//! PNG, decoded row by row straight into the picture.
//!
//! Uses crate `png` rather than `image`'s decoder on top of it, which holds the whole picture as it is stored: 2.1 GB
//! for one of 268 megapixels with 16 bits and transparency, which a file of two megabytes can describe.

use std::io::Cursor;

use image::RgbImage;
use png::{BitDepth, ColorType, Decoder, DecodingError, InterlaceInfo, Limits, Transformations};

use super::color::{Colors, Inks};
use super::header::Header;
use super::paint::{Alpha, Painter, RGB, canvas, picture};
use super::sample::Sample;
use crate::error::{Error, Result};

/// The most that a profile, and whatever else comes before the pixels, may take.
const MAX_CHUNK_BYTES: usize = 64 << 20;

type Reader<'a> = png::Reader<Cursor<&'a [u8]>>;

/// Reads the first chunk.
pub fn header(file: &[u8]) -> Result<Header> {
    let mut decoder = decoder(file);
    let info = decoder.read_header_info()?;
    // Whatever is stored leaves the decoder as up to four numbers of at least 8 bits.
    let depth = if info.bit_depth == BitDepth::Sixteen {
        2
    } else {
        1
    };
    let row_bytes = u64::from(info.width) * 4 * depth;
    Ok(Header::new(info.width, info.height, |pixels| {
        // The decoder keeps four rows or more before it moves them back, and grows by doubling.
        RGB as u64 * pixels + 12 * row_bytes
    }))
}

/// Decodes the picture; of an animation, its default image.
pub fn decode(file: &[u8]) -> Result<RgbImage> {
    let mut reader = decoder(file).read_info()?;
    match reader.output_color_type().1 {
        BitDepth::Sixteen => paint(&mut reader, |row: &[u8], samples: &mut Vec<u16>| {
            let words = row.as_chunks().0.iter();
            samples.extend(words.map(|word| u16::from_be_bytes(*word)));
        }),
        _ => paint(&mut reader, |row: &[u8], samples: &mut Vec<u8>| {
            samples.extend_from_slice(row);
        }),
    }
}

fn decoder(file: &[u8]) -> Decoder<Cursor<&[u8]>> {
    let limits = Limits {
        bytes: MAX_CHUNK_BYTES,
    };
    let mut decoder = Decoder::new_with_limits(Cursor::new(file), limits);
    decoder.set_ignore_text_chunk(true);
    decoder.set_transformations(Transformations::EXPAND);
    decoder
}

fn paint<S: Sample>(reader: &mut Reader, read: impl Fn(&[u8], &mut Vec<S>)) -> Result<RgbImage> {
    let (width, height) = reader.info().size();
    let (inks, alpha) = meaning(reader.output_color_type().0)?;
    let mut painter = Painter::new(inks, alpha, &colors(reader.info()));
    let mut samples = Vec::new();
    let mut rgb = canvas(width, height)?;
    let row_bytes = RGB * width as usize;
    let mut interlaced = Vec::new();
    while let Some(row) = reader.next_interlaced_row()? {
        samples.clear();
        read(row.data(), &mut samples);
        let pixels = samples.len() / painter.channels();
        match row.interlace() {
            InterlaceInfo::Null(_) => {
                let start = rgb.len();
                rgb.resize(start + row_bytes, u8::MAX);
                painter.paint(&samples, &mut rgb[start..]);
            }
            InterlaceInfo::Adam7(pass) => {
                rgb.resize(row_bytes * height as usize, u8::MAX);
                interlaced.resize(RGB * pixels, 0);
                painter.paint(&samples, &mut interlaced);
                png::expand_interlaced_row(&mut rgb, row_bytes, &interlaced, pass, 8 * RGB as u8);
            }
        }
    }
    rgb.resize(row_bytes * height as usize, u8::MAX);
    picture(width, height, rgb)
}

fn meaning(color: ColorType) -> Result<(Inks, Alpha)> {
    match color {
        ColorType::Grayscale => Ok((Inks::Gray, Alpha::Opaque)),
        ColorType::GrayscaleAlpha => Ok((Inks::Gray, Alpha::Straight)),
        ColorType::Rgb => Ok((Inks::Rgb, Alpha::Opaque)),
        ColorType::Rgba => Ok((Inks::Rgb, Alpha::Straight)),
        ColorType::Indexed => Err(Error::Photo {
            reason: "the PNG has no palette".to_owned(),
        }),
    }
}

/// Returns the colours, in the specification's order: later chunks are for programs that do not know the earlier ones.
fn colors(info: &png::Info) -> Colors {
    if let Some(points) = info.coding_independent_code_points {
        return Colors::Video {
            primaries: points.color_primaries,
            transfer: points.transfer_function,
        };
    }
    if let Some(profile) = &info.icc_profile {
        return Colors::Icc(profile.to_vec());
    }
    match (info.srgb, info.gama_chunk) {
        (None, Some(gamma)) => Colors::Measured {
            gamma: gamma.into_value(),
            chromaticities: info.chrm_chunk.map(|points| {
                [points.white, points.red, points.green, points.blue]
                    .map(|(x, y)| (x.into_value(), y.into_value()))
            }),
        },
        _ => Colors::Srgb,
    }
}

impl From<DecodingError> for Error {
    fn from(error: DecodingError) -> Self {
        let reason = match error {
            DecodingError::LimitsExceeded => {
                "it asks for more memory than a photo of its size needs".to_owned()
            }
            other => format!("the PNG is damaged: {other}"),
        };
        Self::Photo { reason }
    }
}
