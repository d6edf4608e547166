//! Samples of every size and kind as numbers of 8 or 16 bits.

use super::chunks::{Area, Chunks, Plane, areas};
use super::page::{Format, Meaning, Page};
use crate::error::Result;
use crate::processor::sample::Sample;

/// Reads samples.
pub struct Numbers {
    /// The sample that becomes the largest number; unused for unsigned samples of up to 16 bits.
    scale: f64,
}

/// A number that samples can become.
pub trait Stored: Sample {
    /// Appends the samples of a row; except for entries of a palette, they are scaled to the full range.
    fn unpack(row: &[u8], kind: Kind, count: usize, into: &mut Vec<Self>);
}

/// The layout of samples in a row.
#[derive(Clone, Copy)]
pub struct Kind {
    bits: usize,
    format: Format,
    is_big_endian: bool,
    is_index: bool,
    scale: f64,
}

impl Numbers {
    /// Prepares to read samples; looks at all of them if their size does not tell the largest.
    pub fn new<'a>(page: &Page<'a>, chunks: &mut Chunks<'a>) -> Result<Self> {
        let full = match page.format {
            Format::Float => 1.0,
            Format::Unsigned => 2f64.powi(page.bits as i32) - 1.0,
            Format::Signed => 2f64.powi(page.bits as i32 - 1) - 1.0,
        };
        let is_open = page.format == Format::Float || page.bits > 16;
        let scale = if is_open {
            scale(page, full, &Extent::of(page, chunks)?)
        } else {
            full
        };
        Ok(Self { scale })
    }

    /// Returns all samples of a row, pixel by pixel.
    pub fn row<S: Stored>(
        &self,
        page: &Page,
        area: &Area,
        planes: &[Plane],
        row: u32,
    ) -> Result<Vec<S>> {
        let count = area.width as usize * page.samples_in_chunk();
        let mut samples = Vec::with_capacity(count * planes.len());
        for plane in planes {
            let kind = self.kind(page, plane);
            S::unpack(plane.row(row)?, kind, count, &mut samples);
        }
        if planes.len() == 1 {
            return Ok(samples);
        }
        let pixel = |x: usize| samples.iter().skip(x).step_by(count).copied();
        Ok((0..count).flat_map(pixel).collect())
    }

    fn kind(&self, page: &Page, plane: &Plane) -> Kind {
        Kind {
            bits: page.bits,
            format: page.format,
            is_big_endian: plane.is_big_endian,
            is_index: page.meaning == Meaning::Palette,
            scale: self.scale,
        }
    }
}

/// The range of the samples.
#[derive(Default)]
struct Extent {
    largest: f64,
    sum: f64,
    count: u64,
}

/// Returns the sample that becomes white. Programs that keep 8 or 16 bits in wider samples leave the rest empty, so the
/// range of whole numbers is that of as many bytes as the largest has. Floats range to 1, and beyond for light brighter
/// than white, unless on average they are such whole numbers.
fn scale(page: &Page, full: f64, extent: &Extent) -> f64 {
    const BYTES: [f64; 3] = [255.0, 65535.0, 16_777_215.0];
    let is_up_to_one = extent.largest <= 1.0 || extent.sum <= extent.count as f64;
    if page.format == Format::Float && is_up_to_one {
        return 1.0;
    }
    let enough = BYTES.into_iter().find(|bytes| *bytes >= extent.largest);
    let full = if page.format == Format::Float {
        extent.largest
    } else {
        full
    };
    enough.unwrap_or(full)
}

impl Extent {
    fn of<'a>(page: &Page<'a>, chunks: &mut Chunks<'a>) -> Result<Self> {
        let mut extent = Self::default();
        let colors = page.meaning.samples();
        for area in areas(page) {
            let planes = chunks.read(page, &area)?;
            let planes = planes.iter().take(if page.is_planar { colors } else { 1 });
            for plane in planes {
                let kind = Kind {
                    bits: page.bits,
                    format: page.format,
                    is_big_endian: plane.is_big_endian,
                    is_index: false,
                    scale: 1.0,
                };
                for row in 0..area.height {
                    extent.take(page, kind, &area, plane.row(row)?);
                }
            }
        }
        Ok(extent)
    }

    fn take(&mut self, page: &Page, kind: Kind, area: &Area, row: &[u8]) {
        let samples = page.samples_in_chunk();
        let colors = if page.is_planar {
            1
        } else {
            page.meaning.samples()
        };
        for x in 0..area.width as usize {
            for sample in 0..colors {
                let value = kind.value(row, x * samples + sample);
                if value.is_finite() {
                    self.largest = self.largest.max(value);
                    self.sum += value.max(0.0);
                    self.count += 1;
                }
            }
        }
    }
}

impl Kind {
    /// Returns the bits of a sample, not yet as a number.
    fn raw(self, row: &[u8], index: usize) -> u64 {
        let first = index * self.bits;
        if self.bits.is_multiple_of(8) {
            let bytes = row.get(first / 8..(first + self.bits) / 8).unwrap_or(&[]);
            let add = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
            return if self.is_big_endian {
                bytes.iter().fold(0, add)
            } else {
                bytes.iter().rev().fold(0, add)
            };
        }
        let bit = |at: usize| u64::from(row.get(at / 8).unwrap_or(&0) >> (7 - at % 8) & 1);
        (first..first + self.bits).fold(0, |sum, at| sum << 1 | bit(at))
    }

    fn value(self, row: &[u8], index: usize) -> f64 {
        let raw = self.raw(row, index);
        match (self.format, self.bits) {
            (Format::Unsigned, _) => raw as f64,
            (Format::Signed, 8) => f64::from(raw as i8),
            (Format::Signed, 16) => f64::from(raw as i16),
            (Format::Signed, 32) => f64::from(raw as i32),
            (Format::Signed, _) => raw as i64 as f64,
            (Format::Float, 16) => half(raw as u16),
            (Format::Float, 32) => f32::from_bits(raw as u32).into(),
            (Format::Float, _) => f64::from_bits(raw),
        }
    }

    /// Returns a sample as a part of the largest.
    fn part(self, row: &[u8], index: usize) -> f64 {
        (self.value(row, index) / self.scale).clamp(0.0, 1.0)
    }
}

/// Converts a float of 16 bits.
fn half(bits: u16) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let fraction = f64::from(bits & 0x3ff);
    sign * match i32::from(bits >> 10 & 0x1f) {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        exponent => (1024.0 + fraction) * 2f64.powi(exponent - 25),
    }
}

impl Stored for u8 {
    fn unpack(row: &[u8], kind: Kind, count: usize, into: &mut Vec<Self>) {
        if kind.bits == 8 {
            into.extend(row.iter().take(count));
            return;
        }
        let factor = if kind.is_index {
            1
        } else {
            255 / ((1 << kind.bits) - 1)
        };
        let is_even = kind.is_index || 8 % kind.bits == 0;
        into.extend((0..count).map(|index| {
            if is_even {
                kind.raw(row, index) as u8 * factor
            } else {
                (kind.part(row, index) * 255.0).round() as u8
            }
        }));
    }
}

impl Stored for u16 {
    fn unpack(row: &[u8], kind: Kind, count: usize, into: &mut Vec<Self>) {
        let is_whole = kind.bits == 16 && kind.format == Format::Unsigned;
        let words = row.as_chunks().0.iter().take(count);
        match (is_whole, kind.is_big_endian) {
            (true, true) => into.extend(words.map(|word| u16::from_be_bytes(*word))),
            (true, false) => into.extend(words.map(|word| u16::from_le_bytes(*word))),
            (false, _) if kind.is_index => {
                into.extend((0..count).map(|index| kind.raw(row, index) as u16));
            }
            (false, _) => into
                .extend((0..count).map(|index| (kind.part(row, index) * 65535.0).round() as u16)),
        }
    }
}
