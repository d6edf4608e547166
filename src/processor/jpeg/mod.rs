//! JPEG files: decoded correctly, or refused.
//!
//! Two decoders share the work. zune-jpeg is twice as fast as libjpeg without assembly, and correct for the files that
//! cameras and programs write. libjpeg (mozjpeg's, which decodes as libjpeg-turbo does) takes the rest: scans for each
//! component in a baseline file, unusual sampling, CMYK, arithmetic coding, and files that are truncated or damaged.
//! The markers decide which one gets a file; `tests` compares both with the pictures before they were encoded.

mod markers;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::io;
use std::panic::catch_unwind;

use mozjpeg::{ColorSpace, Decompress};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace as ZuneColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use self::markers::{Frame, Headers, SOF_PROGRESSIVE, Scans, refused};
use crate::error::{Error, Result};

/// Decoders walk through all blocks of a component in each of its scans, even if the scan holds only a few bytes.
/// The largest picture that is decoded can have 21 scans of all components; smaller ones more.
const MAX_BLOCKS: u64 = 1 << 28;

/// A JPEG's headers.
pub(super) struct JpegHeader {
    /// Pixels.
    pub(super) width: u32,
    pub(super) height: u32,
    /// The most memory that [`decode`] holds at once, bytes, beside the file.
    pub(super) peak_bytes: u64,
}

/// Samples as stored, before their colours become sRGB.
pub(super) struct JpegPicture {
    pub(super) width: u32,
    pub(super) height: u32,
    /// Row by row, the channels of a pixel together.
    pub(super) samples: Vec<u8>,
    pub(super) layout: Layout,
    /// The ICC profile, which gives the samples their meaning.
    pub(super) icc: Option<Vec<u8>>,
}

/// The channels of a pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    Gray,
    Rgb,
    /// 0 is no ink, 255 full ink.
    Cmyk,
}

/// Reads the headers, up to the first scan.
pub(super) fn header(bytes: &[u8]) -> Result<JpegHeader> {
    let headers = Headers::read(bytes)?;
    let frame = &headers.frame;
    Ok(JpegHeader {
        width: frame.width,
        height: frame.height,
        peak_bytes: peak_bytes(&headers, bytes.len() as u64),
    })
}

/// Decodes the first picture of the file. In a truncated file, the missing part is gray, or blurred if the file is
/// progressive.
pub(super) fn decode(bytes: &[u8]) -> Result<JpegPicture> {
    let headers = Headers::read(bytes)?;
    let scans = Scans::read(bytes, &headers);
    if scans.blocks > MAX_BLOCKS {
        return refused(format!(
            "{} scans are too many for a picture of this size",
            scans.count
        ));
    }
    let frame = &headers.frame;
    let layout = Layout::of(frame);
    let bytes = &bytes[..scans.end];
    let swift = suits_zune(&headers, &scans)
        .then(|| by_zune(bytes, layout, frame.is_progressive()))
        .flatten();
    let samples = match swift {
        Some(samples) => samples,
        None => by_libjpeg(&with_height(bytes, frame), layout)?,
    };
    Ok(JpegPicture {
        width: frame.width,
        height: frame.height,
        samples,
        layout,
        icc: headers.profile(),
    })
}

impl Layout {
    fn of(frame: &Frame) -> Self {
        match frame.components.len() {
            1 => Self::Gray,
            4 => Self::Cmyk,
            _ => Self::Rgb,
        }
    }

    /// Returns the bytes of a pixel.
    pub(super) fn channels(self) -> usize {
        match self {
            Self::Gray => 1,
            Self::Rgb => 3,
            Self::Cmyk => 4,
        }
    }
}

/// Returns whether zune-jpeg 0.5.15 decodes the file correctly: whole files, gray or YCbCr, whose luma is sampled most
/// finely and chroma at most twice as coarsely in each direction, and which have one scan or are progressive.
///
/// It turns others into garbage without an error: several baseline scans with vertical subsampling or restart markers,
/// luma coarser than chroma, truncated progressive files.
fn suits_zune(headers: &Headers, scans: &Scans) -> bool {
    let frame = &headers.frame;
    let has_usual_scans = frame.process == SOF_PROGRESSIVE
        || frame.process < SOF_PROGRESSIVE && headers.first_scan_has_all && scans.count == 1;
    let (horizontal, vertical) = frame.finest();
    let luma = &frame.components[0];
    let has_usual_sampling = horizontal <= 2
        && vertical <= 2
        && (luma.horizontal, luma.vertical) == (horizontal, vertical);
    let is_ycc = headers
        .adobe_transform
        .is_none_or(|transform| transform == 1);
    let has_usual_colours = match Layout::of(frame) {
        Layout::Gray => true,
        Layout::Rgb => is_ycc,
        Layout::Cmyk => false,
    };
    scans.is_regular && has_usual_scans && has_usual_sampling && has_usual_colours
}

/// Decodes with zune-jpeg; none if anything about the file is not as it should be.
///
/// If a scan's data end too early, zune-jpeg invents the rest if a marker follows, and reports it only at the end of
/// the file. So the end marker of a file with one scan is hidden from it; a progressive file whose later scans are
/// missing does not come here.
fn by_zune(bytes: &[u8], layout: Layout, is_progressive: bool) -> Option<Vec<u8>> {
    let (stored, wanted) = match layout {
        Layout::Gray => (ZuneColorSpace::Luma, ZuneColorSpace::Luma),
        _ => (ZuneColorSpace::YCbCr, ZuneColorSpace::RGB),
    };
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX)
        .jpeg_set_max_scans(usize::MAX)
        .jpeg_set_out_colorspace(wanted);
    let data = if is_progressive {
        bytes
    } else {
        &bytes[..bytes.len() - 2]
    };
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(data), options);
    decoder.decode_headers().ok()?;
    if decoder.input_colorspace() != Some(stored) {
        return None;
    }
    decoder.decode().ok()
}

fn by_libjpeg(bytes: &[u8], layout: Layout) -> Result<Vec<u8>> {
    let wanted = match layout {
        Layout::Gray => ColorSpace::JCS_GRAYSCALE,
        Layout::Rgb => ColorSpace::JCS_RGB,
        Layout::Cmyk => ColorSpace::JCS_CMYK,
    };
    let decode = || -> io::Result<Vec<u8>> {
        Decompress::new_mem(bytes)?
            .to_colorspace(wanted)?
            .read_scanlines()
    };
    // Where libjpeg gives up, mozjpeg 0.10 unwinds to here with the reason.
    let mut samples = match catch_unwind(decode) {
        Ok(samples) => samples.map_err(|error| unreadable(&error.to_string()))?,
        Err(reason) => {
            let reason = reason.downcast::<String>().unwrap_or_default();
            return Err(unreadable(
                reason.trim_start_matches("libjpeg fatal error: "),
            ));
        }
    };
    if layout == Layout::Cmyk {
        // Ink is stored inverted: by Adobe, and by all who follow. As in Pillow, so it is read without Adobe's marker too.
        for sample in &mut samples {
            *sample = 255 - *sample;
        }
    }
    Ok(samples)
}

/// Returns the memory for the output and, if scans add to each other, all coefficients. Both decoders hold the same.
fn peak_bytes(headers: &Headers, file_bytes: u64) -> u64 {
    let frame = &headers.frame;
    let pixels = u64::from(frame.width) * u64::from(frame.height);
    let output = Layout::of(frame).channels() as u64 * pixels;
    let blocks: u64 = frame
        .components
        .iter()
        .map(|component| frame.blocks(component))
        .sum();
    let coefficients = if frame.is_progressive() || !headers.first_scan_has_all {
        2 * 64 * blocks
    } else {
        0
    };
    // Some rows of MCUs on their way: as stored, upsampled, converted.
    let (_, vertical) = frame.finest();
    let row = 8 * u64::from(vertical) * u64::from(frame.width + 32) * frame.components.len() as u64;
    let mended_file = if frame.height_is_late { file_bytes } else { 0 };
    output + coefficients + 8 * row + mended_file + (1 << 20)
}

/// Returns the file with its height in the frame header, since libjpeg does not look for one after the first scan.
fn with_height<'a>(bytes: &'a [u8], frame: &Frame) -> Cow<'a, [u8]> {
    if !frame.height_is_late {
        return Cow::Borrowed(bytes);
    }
    let mut bytes = bytes.to_vec();
    bytes[frame.height_at..][..2].copy_from_slice(&(frame.height as u16).to_be_bytes());
    Cow::Owned(bytes)
}

/// Returns libjpeg's reason, or our own words if the file is correct but of a kind that libjpeg does not read.
fn unreadable(reason: &str) -> Error {
    let reason = match reason {
        "Fractional sampling not implemented yet"
        | "Sampling factors too large for interleaved scan" => {
            "the sampling ratio of its channels is not supported".to_owned()
        }
        _ => format!("the JPEG is damaged: {reason}"),
    };
    Error::Photo { reason }
}
