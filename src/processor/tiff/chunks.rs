//! The strips or tiles of a picture, decompressed.

use std::borrow::Cow;

use tiff::decoder::{Decoder, Limits};
use tiff::{TiffError, TiffUnsupportedError};

use super::directory::tag;
use super::disguise::Disguise;
use super::page::{Page, UNCOMPRESSED};
use crate::error::{Error, Result};

/// A chunk's place in the picture, without the part beyond the picture's sides.
pub struct Area {
    index: usize,
    pub x: u32,
    pub y: u32,
    pub width: u32,
    pub height: u32,
}

/// A chunk's bytes.
pub struct Plane<'a> {
    bytes: Cow<'a, [u8]>,
    row_bytes: usize,
    /// The byte order of numbers.
    pub is_big_endian: bool,
}

/// Reads chunks.
pub enum Chunks<'a> {
    /// In place.
    Plain,
    /// Decompressed by crate `tiff`.
    Compressed(Box<Decoder<Disguise<'a>>>),
}

/// Returns all chunks of one plane.
pub fn areas(page: &Page) -> impl Iterator<Item = Area> + use<> {
    let (width, height) = (page.width, page.height);
    let (chunk_width, chunk_height) = (page.chunk_width, page.chunk_height);
    let across = page.across();
    (0..page.down()).flat_map(move |down| {
        (0..across).map(move |right| {
            let (x, y) = (right * chunk_width, down * chunk_height);
            Area {
                index: down as usize * across as usize + right as usize,
                x,
                y,
                width: chunk_width.min(width - x),
                height: chunk_height.min(height - y),
            }
        })
    })
}

impl<'a> Chunks<'a> {
    pub fn open(page: &Page<'a>) -> Result<Self> {
        if page.compression == UNCOMPRESSED {
            return Ok(Self::Plain);
        }
        // What may be allocated has been seen to by the header.
        let limits = Limits::unlimited();
        let decoder = Decoder::new(Disguise::new(&page.directory, &page.chunks))?;
        Ok(Self::Compressed(Box::new(decoder.with_limits(limits))))
    }

    /// Reads the chunks of all planes at `area`.
    pub fn read(&mut self, page: &Page<'a>, area: &Area) -> Result<Vec<Plane<'a>>> {
        let planes = if page.is_planar { page.samples } else { 1 };
        let chunks_of_plane = page.across() as usize * page.down() as usize;
        let indices = (0..planes).map(|plane| area.index + plane * chunks_of_plane);
        match self {
            Self::Plain => indices.map(|index| plain(page, area, index)).collect(),
            Self::Compressed(decoder) => indices
                .map(|index| decompressed(decoder, index as u32))
                .collect(),
        }
    }
}

impl Plane<'_> {
    /// Returns the bytes of a row.
    pub fn row(&self, row: u32) -> Result<&[u8]> {
        let start = row as usize * self.row_bytes;
        let bytes = self.bytes.get(start..start + self.row_bytes);
        bytes.ok_or_else(ends_early)
    }
}

fn plain<'a>(page: &Page<'a>, area: &Area, index: usize) -> Result<Plane<'a>> {
    const LOWEST_BIT_FIRST: u64 = 2;
    let form = page.directory.form;
    let chunk = page.chunks.get(index).ok_or_else(ends_early)?;
    let bytes = page.row_bytes() as u64 * u64::from(area.height);
    let end = chunk.start.saturating_add(bytes);
    let bytes = form.file.get(chunk.start as usize..end as usize);
    let bytes = bytes.filter(|_| end <= chunk.end).ok_or_else(ends_early)?;
    let bytes = if page.directory.number(tag::FILL_ORDER) == Some(LOWEST_BIT_FIRST) {
        Cow::Owned(bytes.iter().map(|byte| byte.reverse_bits()).collect())
    } else {
        Cow::Borrowed(bytes)
    };
    Ok(Plane {
        bytes,
        row_bytes: page.row_bytes(),
        is_big_endian: form.is_big_endian,
    })
}

fn decompressed<'a>(decoder: &mut Decoder<Disguise>, index: u32) -> Result<Plane<'a>> {
    let layout = decoder.image_chunk_buffer_layout(index)?;
    let mut bytes = vec![0; layout.len];
    decoder.read_chunk_bytes(index, &mut bytes)?;
    Ok(Plane {
        bytes: bytes.into(),
        row_bytes: layout.row_stride.map_or(0, usize::from),
        is_big_endian: cfg!(target_endian = "big"),
    })
}

fn ends_early() -> Error {
    Error::Photo {
        reason: "the TIFF is truncated".to_owned(),
    }
}

impl From<TiffError> for Error {
    fn from(error: TiffError) -> Self {
        let reason = match error {
            TiffError::UnsupportedError(TiffUnsupportedError::UnsupportedCompressionMethod(
                method,
            )) => format!("TIFFs compressed by {method:?} are not supported"),
            TiffError::UnsupportedError(error) => {
                format!("TIFFs of this kind are not supported: {error}")
            }
            other => format!("the TIFF is damaged: {other}"),
        };
        Self::Photo { reason }
    }
}
