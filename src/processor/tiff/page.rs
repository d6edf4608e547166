//! The parts of a picture in a TIFF, and the choice of the picture that is the photo.

use std::ops::Range;

use super::directory::{Directory, Form, MOST_NUMBERS, tag};
use crate::error::{Error, Result};
use crate::processor::color::{Colors, Inks};
use crate::processor::paint::Alpha;

/// The meaning of samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    WhiteIsZero,
    BlackIsZero,
    Rgb,
    Palette,
    Cmyk,
    YCbCr,
    /// CIE L*a*b*; a and b signed, or shifted to be positive, as ICC has them.
    Lab {
        is_shifted: bool,
    },
}

/// The number format of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Unsigned,
    Signed,
    Float,
}

/// One picture.
pub struct Page<'a> {
    pub directory: Directory<'a>,
    pub width: u32,
    pub height: u32,
    pub meaning: Meaning,
    pub bits: usize,
    pub format: Format,
    /// Samples of a pixel that are stored.
    pub samples: usize,
    /// The relation of the opacity to the colours, and its sample's index.
    pub alpha: Option<(Alpha, usize)>,
    /// True if each sample has chunks of its own.
    pub is_planar: bool,
    pub compression: u64,
    /// Sides of a strip or tile.
    pub chunk_width: u32,
    pub chunk_height: u32,
    /// The strips' or tiles' places in the file.
    pub chunks: Vec<Range<u64>>,
    is_reduced: bool,
}

/// Compressions that need special treatment here.
pub const UNCOMPRESSED: u64 = 1;
pub const JPEG: u64 = 7;

impl Meaning {
    /// Returns the samples of a colour as stored.
    pub fn samples(self) -> usize {
        match self {
            Self::WhiteIsZero | Self::BlackIsZero | Self::Palette => 1,
            Self::Rgb | Self::YCbCr | Self::Lab { .. } => 3,
            Self::Cmyk => 4,
        }
    }

    /// Returns the inks to paint it with.
    pub fn inks(self) -> Inks {
        match self {
            Self::WhiteIsZero | Self::BlackIsZero => Inks::Gray,
            Self::Rgb | Self::Palette | Self::YCbCr | Self::Lab { .. } => Inks::Rgb,
            Self::Cmyk => Inks::Cmyk,
        }
    }
}

impl<'a> Page<'a> {
    /// Returns the photo among the pictures of a file: the first, unless that is a small copy of another; then the
    /// largest that is not a copy. A picture that this program cannot read, such as a camera's raw data, counts only if
    /// no other can be read.
    pub fn main(form: Form<'a>) -> Result<Self> {
        let mut pages: Vec<_> = form.directories().into_iter().map(Self::new).collect();
        let is_first = matches!(pages.first(), Some(Ok(first)) if !first.is_reduced);
        let best = if is_first {
            Some(pages.swap_remove(0))
        } else {
            pages.into_iter().reduce(|best, page| match (&best, &page) {
                (Ok(other), Ok(this)) if this.rank() > other.rank() => page,
                (Err(_), Ok(_)) => page,
                _ => best,
            })
        };
        best.unwrap_or_else(|| Err("the TIFF has no picture".to_owned()))
            .and_then(Self::with_chunks)
            .map_err(|reason| Error::Photo { reason })
    }

    fn rank(&self) -> (bool, u64) {
        (
            !self.is_reduced,
            u64::from(self.width) * u64::from(self.height),
        )
    }

    fn new(directory: Directory<'a>) -> Result<Self, String> {
        let number = |tag, default| directory.number(tag).unwrap_or(default);
        let side = |tag| u32::try_from(number(tag, 0)).unwrap_or(u32::MAX);
        let (width, height) = (side(tag::WIDTH), side(tag::LENGTH));
        let meaning = meaning(&directory)?;
        let samples = number(tag::SAMPLES_PER_PIXEL, 1) as usize;
        if samples < meaning.samples() || samples > MOST_SAMPLES {
            return Err(format!(
                "a pixel of this TIFF cannot have {samples} samples"
            ));
        }
        let is_tiled = directory.number(tag::TILE_OFFSETS).is_some();
        let (chunk_width, chunk_height) = if is_tiled {
            (side(tag::TILE_WIDTH), side(tag::TILE_LENGTH))
        } else {
            let rows = number(tag::ROWS_PER_STRIP, u64::MAX).min(u64::from(height));
            (width, rows as u32)
        };
        if width == 0 || height == 0 || chunk_width == 0 || chunk_height == 0 {
            return Err(format!("the picture has no pixels: {width}x{height}"));
        }
        let page = Self {
            width,
            height,
            meaning,
            bits: bits(&directory)?,
            format: format(&directory, meaning)?,
            samples,
            alpha: alpha(&directory, meaning, samples),
            is_planar: number(tag::PLANAR_CONFIGURATION, 1) == 2 && samples > 1,
            compression: number(tag::COMPRESSION, UNCOMPRESSED),
            chunk_width,
            chunk_height,
            chunks: Vec::new(),
            is_reduced: is_reduced(&directory),
            directory,
        };
        page.check()?;
        Ok(page)
    }

    fn check(&self) -> Result<(), String> {
        let bits = match (self.meaning, self.format) {
            (Meaning::Palette, Format::Unsigned) => 1..=16,
            (Meaning::YCbCr, Format::Unsigned) => 8..=8,
            (Meaning::Lab { .. }, Format::Unsigned) => 8..=16,
            (Meaning::Palette | Meaning::YCbCr | Meaning::Lab { .. }, _) => 0..=0,
            (_, Format::Unsigned | Format::Signed) => 1..=64,
            (_, Format::Float) => 16..=64,
        };
        let is_whole = match self.meaning {
            Meaning::Lab { .. } => matches!(self.bits, 8 | 16),
            _ => self.bits <= 16 || matches!(self.bits, 32 | 64),
        };
        let is_number =
            self.format == Format::Unsigned || self.bits.is_multiple_of(8) && self.bits != 24;
        if !bits.contains(&self.bits) || !is_whole || !is_number {
            return Err(format!(
                "TIFF samples of {} bits are not supported",
                self.bits
            ));
        }
        let is_sampled_coarsely = self.meaning == Meaning::YCbCr
            && self.compression != JPEG
            && self.directory.numbers(tag::YCBCR_SUBSAMPLING) != [1, 1];
        if is_sampled_coarsely {
            return Err(
                "TIFFs with subsampled colour outside of JPEG are not supported".to_owned(),
            );
        }
        Ok(())
    }

    fn with_chunks(mut self) -> Result<Self, String> {
        let planes = if self.is_planar { self.samples } else { 1 };
        let expected = u64::from(self.across()) * u64::from(self.down()) * planes as u64;
        if expected > MOST_NUMBERS as u64 {
            return Err(format!("TIFFs in {expected} pieces are not supported"));
        }
        let is_tiled = self.directory.number(tag::TILE_OFFSETS).is_some();
        self.chunks = chunks(&self.directory, is_tiled);
        if (self.chunks.len() as u64) < expected {
            return Err("the TIFF is truncated: strips are missing".to_owned());
        }
        Ok(self)
    }

    /// Returns the number of tiles side by side.
    pub fn across(&self) -> u32 {
        self.width.div_ceil(self.chunk_width)
    }

    /// Returns the number of strips or tiles below each other.
    pub fn down(&self) -> u32 {
        self.height.div_ceil(self.chunk_height)
    }

    /// Returns the samples that a chunk has of each pixel.
    pub fn samples_in_chunk(&self) -> usize {
        if self.is_planar { 1 } else { self.samples }
    }

    /// Returns the bytes of a row of a chunk.
    pub fn row_bytes(&self) -> usize {
        (self.chunk_width as usize * self.samples_in_chunk() * self.bits).div_ceil(8)
    }

    /// Returns the colours that it declares.
    pub fn colors(&self) -> Colors {
        match self.directory.bytes(tag::ICC_PROFILE) {
            Some(profile) if !matches!(self.meaning, Meaning::Lab { .. }) => {
                Colors::Icc(profile.to_vec())
            }
            _ => Colors::Srgb,
        }
    }
}

const MOST_SAMPLES: usize = 64;

fn meaning(directory: &Directory) -> Result<Meaning, String> {
    const INKS_OF_PRINT: u64 = 1;
    match directory.number(tag::PHOTOMETRIC) {
        Some(0) => Ok(Meaning::WhiteIsZero),
        Some(1) => Ok(Meaning::BlackIsZero),
        Some(2) => Ok(Meaning::Rgb),
        Some(3) => Ok(Meaning::Palette),
        Some(5) if directory.number(tag::INK_SET).unwrap_or(INKS_OF_PRINT) == INKS_OF_PRINT => {
            Ok(Meaning::Cmyk)
        }
        Some(5) => Err(
            "TIFFs with inks other than cyan, magenta, yellow and black are not supported".into(),
        ),
        Some(6) => Ok(Meaning::YCbCr),
        Some(8) => Ok(Meaning::Lab { is_shifted: false }),
        Some(9) => Ok(Meaning::Lab { is_shifted: true }),
        Some(32803 | 34892) => Err("raw camera data is not supported".into()),
        Some(other) => Err(format!(
            "TIFFs with colours of kind {other} are not supported"
        )),
        None => Err("the TIFF does not say what its samples mean".into()),
    }
}

fn bits(directory: &Directory) -> Result<usize, String> {
    let bits = directory.numbers(tag::BITS_PER_SAMPLE);
    match bits.split_first() {
        None => Ok(1),
        Some((first, rest)) if rest.iter().all(|bits| bits == first) => Ok(*first as usize),
        Some(_) => Err("TIFFs whose samples differ in size are not supported".to_owned()),
    }
}

fn format(directory: &Directory, meaning: Meaning) -> Result<Format, String> {
    let formats = directory.numbers(tag::SAMPLE_FORMAT);
    if matches!(meaning, Meaning::Lab { .. }) {
        return Ok(Format::Unsigned);
    }
    if formats.iter().any(|format| *format != formats[0]) {
        return Err("TIFFs whose samples differ in kind are not supported".to_owned());
    }
    match formats.first() {
        // 4 says that nobody knows.
        None | Some(1 | 4) => Ok(Format::Unsigned),
        Some(2) => Ok(Format::Signed),
        Some(3) => Ok(Format::Float),
        Some(_) => Err("TIFFs of complex numbers are not supported".to_owned()),
    }
}

/// Returns the opacity sample, if any: a sample beside the colours is opacity only if the file says so.
fn alpha(directory: &Directory, meaning: Meaning, samples: usize) -> Option<(Alpha, usize)> {
    const ASSOCIATED: u64 = 1;
    const UNASSOCIATED: u64 = 2;
    if meaning == Meaning::Palette {
        return None;
    }
    let extra = directory.numbers(tag::EXTRA_SAMPLES);
    // Before TIFF 6 there was no such entry; a fourth sample beside red, green and blue is taken for it everywhere.
    if extra.is_empty() && meaning == Meaning::Rgb && samples == 4 {
        return Some((Alpha::Straight, 3));
    }
    let known = extra
        .iter()
        .enumerate()
        .find_map(|(index, kind)| match *kind {
            ASSOCIATED => Some((Alpha::Premultiplied, index)),
            UNASSOCIATED => Some((Alpha::Straight, index)),
            _ => None,
        });
    let (alpha, index) = known?;
    let sample = meaning.samples() + index;
    (sample < samples).then_some((alpha, sample))
}

fn is_reduced(directory: &Directory) -> bool {
    const REDUCED: u64 = 1;
    const MASK: u64 = 4;
    const OLD_REDUCED: u64 = 2;
    let kind = directory.number(tag::NEW_SUBFILE_TYPE).unwrap_or(0);
    kind & (REDUCED | MASK) != 0 || directory.number(tag::SUBFILE_TYPE) == Some(OLD_REDUCED)
}

fn chunks(directory: &Directory, is_tiled: bool) -> Vec<Range<u64>> {
    let (offsets, bytes) = if is_tiled {
        (tag::TILE_OFFSETS, tag::TILE_BYTES)
    } else {
        (tag::STRIP_OFFSETS, tag::STRIP_BYTES)
    };
    // Where the file does not say how long they are, only its end is a bound.
    let bytes = directory.numbers(bytes).into_iter();
    let bytes = bytes.chain(std::iter::repeat(u64::MAX));
    let chunks = directory.numbers(offsets).into_iter().zip(bytes);
    chunks
        .map(|(start, bytes)| start..start.saturating_add(bytes))
        .collect()
}
