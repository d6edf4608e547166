//! A TIFF as crate `tiff` (0.11.3) can read it.
//!
//! That crate decompresses strips and tiles well. But it refuses palettes and Lab, reads the bits of a byte in one
//! order only, ignores that colours are subsampled, and drops samples that are not colours *before* it undoes the
//! predictor, which then turns the rest into noise. So it is shown the wanted page as the first one, with samples that
//! are bands without a meaning, in the usual order of bits; [`super::page`] knows what they mean.

use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::ops::Range;

use super::directory::{Directory, tag};

/// Reads a file with some of its bytes replaced.
pub struct Disguise<'a> {
    file: Cursor<&'a [u8]>,
    /// Offsets of replaced bytes, with the new ones.
    patches: Vec<(u64, Vec<u8>)>,
    /// Ranges in which the bits of each byte are reversed, in order.
    turned: Vec<Range<u64>>,
}

impl<'a> Disguise<'a> {
    /// Shows `page` as the file's first, its samples as bands; reverses the bits of its data if they are in the other
    /// order.
    pub fn new(page: &Directory<'a>, data: &[Range<u64>]) -> Self {
        const BLACK_IS_ZERO: u64 = 1;
        const LOWEST_BIT_FIRST: u64 = 2;
        let patch = |(at, bytes): (u64, usize), value: u64| {
            let mut value = value.to_le_bytes()[..bytes].to_vec();
            if page.form.is_big_endian {
                value.reverse();
            }
            (at, value)
        };
        let meaning = page.place(tag::PHOTOMETRIC);
        let mut patches = vec![patch(page.form.first_offset(), page.at)];
        patches.extend(meaning.map(|place| patch(place, BLACK_IS_ZERO)));
        let mut turned = Vec::new();
        if page.number(tag::FILL_ORDER) == Some(LOWEST_BIT_FIRST) && is_turned(page) {
            turned = data.to_vec();
            turned.sort_by_key(|range| range.start);
        }
        Self {
            file: Cursor::new(page.form.file),
            patches,
            turned,
        }
    }

    fn mask(&self, start: u64, bytes: &mut [u8]) {
        let end = start + bytes.len() as u64;
        for (at, patch) in &self.patches {
            for (offset, byte) in (*at..).zip(patch) {
                if (start..end).contains(&offset) {
                    bytes[(offset - start) as usize] = *byte;
                }
            }
        }
        let first = self.turned.partition_point(|range| range.end <= start);
        for range in self.turned[first..]
            .iter()
            .take_while(|range| range.start < end)
        {
            let from = range.start.max(start) - start;
            let to = range.end.min(end) - start;
            for byte in &mut bytes[from as usize..to as usize] {
                *byte = byte.reverse_bits();
            }
        }
    }
}

/// Returns whether the bits of this page's data are reversed; JPEG has its own order.
fn is_turned(page: &Directory) -> bool {
    const JPEG: u64 = 7;
    page.number(tag::COMPRESSION) != Some(JPEG)
}

impl Read for Disguise<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let start = self.file.position();
        let read = self.file.read(bytes)?;
        self.mask(start, &mut bytes[..read]);
        Ok(read)
    }
}

impl Seek for Disguise<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}
