//! The directories of a TIFF: one for each picture in it.
//!
//! Crate `tiff` (0.11.3) has them too, but does not reveal where their entries lie; see [`super::disguise`].

use std::collections::HashSet;

/// Tags of entries.
pub mod tag {
    pub const NEW_SUBFILE_TYPE: u16 = 254;
    pub const SUBFILE_TYPE: u16 = 255;
    pub const WIDTH: u16 = 256;
    pub const LENGTH: u16 = 257;
    pub const BITS_PER_SAMPLE: u16 = 258;
    pub const COMPRESSION: u16 = 259;
    pub const PHOTOMETRIC: u16 = 262;
    pub const FILL_ORDER: u16 = 266;
    pub const STRIP_OFFSETS: u16 = 273;
    pub const ORIENTATION: u16 = 274;
    pub const SAMPLES_PER_PIXEL: u16 = 277;
    pub const ROWS_PER_STRIP: u16 = 278;
    pub const STRIP_BYTES: u16 = 279;
    pub const PLANAR_CONFIGURATION: u16 = 284;
    pub const COLOR_MAP: u16 = 320;
    pub const TILE_WIDTH: u16 = 322;
    pub const TILE_LENGTH: u16 = 323;
    pub const TILE_OFFSETS: u16 = 324;
    pub const TILE_BYTES: u16 = 325;
    pub const SUB_IFDS: u16 = 330;
    pub const INK_SET: u16 = 332;
    pub const EXTRA_SAMPLES: u16 = 338;
    pub const SAMPLE_FORMAT: u16 = 339;
    pub const YCBCR_COEFFICIENTS: u16 = 529;
    pub const YCBCR_SUBSAMPLING: u16 = 530;
    pub const ICC_PROFILE: u16 = 34675;
}

/// The most pictures, entries of a picture, and numbers of an entry to read; hostile files have more.
const MOST_PAGES: usize = 256;
const MOST_ENTRIES: u64 = 1024;
pub const MOST_NUMBERS: usize = 1 << 20;

/// The way in which a file writes its numbers.
#[derive(Debug, Clone, Copy)]
pub struct Form<'a> {
    pub file: &'a [u8],
    pub is_big_endian: bool,
    /// Offsets of 64 bits: `BigTIFF`.
    pub is_big: bool,
}

/// One picture's entries.
#[derive(Debug, Clone)]
pub struct Directory<'a> {
    pub form: Form<'a>,
    /// Its offset in the file.
    pub at: u64,
    entries: Vec<Entry>,
    sub_ifds: Vec<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    tag: u16,
    kind: u16,
    count: u64,
    /// The offset of its values.
    at: u64,
}

impl<'a> Form<'a> {
    /// Reads the first bytes; `None` if the file is not a TIFF.
    pub fn of(file: &'a [u8]) -> Option<Self> {
        let form = |is_big_endian, is_big| {
            Some(Self {
                file,
                is_big_endian,
                is_big,
            })
        };
        match file.get(..4)? {
            b"II*\0" => form(false, false),
            b"MM\0*" => form(true, false),
            b"II+\0" => form(false, true),
            b"MM\0+" => form(true, true),
            _ => None,
        }
    }

    /// Returns the place of the offset of the first directory, and its size in bytes.
    pub fn first_offset(self) -> (u64, usize) {
        if self.is_big { (8, 8) } else { (4, 4) }
    }

    /// Returns all directories: each of the chain, followed by those below it.
    pub fn directories(self) -> Vec<Directory<'a>> {
        let mut found = Vec::new();
        let mut seen = HashSet::new();
        let (at, bytes) = self.first_offset();
        let mut next = self.number(at, bytes);
        while let Some(at) = next.filter(|at| *at != 0) {
            let Some((directory, following)) = self.directory(at, &mut seen) else {
                break;
            };
            let below = directory.sub_ifds.clone();
            found.push(directory);
            let below = below
                .into_iter()
                .map_while(|at| self.directory(at, &mut seen));
            found.extend(below.map(|(directory, _)| directory));
            if found.len() > MOST_PAGES {
                break;
            }
            next = following;
        }
        found
    }

    /// Returns the directory at `at`, and the offset of the next one; `None` if there is none, or it was seen before.
    fn directory(self, at: u64, seen: &mut HashSet<u64>) -> Option<(Directory<'a>, Option<u64>)> {
        if !seen.insert(at) {
            return None;
        }
        let (count_bytes, entry_bytes, offset_bytes) =
            if self.is_big { (8, 20, 8) } else { (2, 12, 4) };
        let count = self.number(at, count_bytes)?;
        let first = at.checked_add(count_bytes as u64)?;
        let end = first.checked_add(count.checked_mul(entry_bytes)?)?;
        if end > self.file.len() as u64 {
            return None;
        }
        let starts = (0..count.min(MOST_ENTRIES)).map(|index| first + index * entry_bytes);
        let entries = starts.filter_map(|at| self.entry(at, offset_bytes));
        let mut directory = Directory {
            form: self,
            at,
            entries: entries.collect(),
            sub_ifds: Vec::new(),
        };
        directory.sub_ifds = directory.numbers(tag::SUB_IFDS);
        directory.sub_ifds.truncate(MOST_PAGES);
        Some((directory, self.number(end, offset_bytes)))
    }

    fn entry(self, at: u64, offset_bytes: usize) -> Option<Entry> {
        let kind = self.number(at + 2, 2)? as u16;
        let count = self.number(at + 4, offset_bytes)?;
        let bytes = count.checked_mul(size_of_kind(kind)? as u64)?;
        let inline = at + 4 + offset_bytes as u64;
        let values = if bytes <= offset_bytes as u64 {
            inline
        } else {
            self.number(inline, offset_bytes)?
        };
        let is_in_file = values.checked_add(bytes)? <= self.file.len() as u64;
        is_in_file.then_some(Entry {
            tag: self.number(at, 2)? as u16,
            kind,
            count,
            at: values,
        })
    }

    /// Reads an unsigned number of up to 8 bytes.
    fn number(self, at: u64, bytes: usize) -> Option<u64> {
        let at = usize::try_from(at).ok()?;
        let bytes = self.file.get(at..at.checked_add(bytes)?)?;
        let add = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        Some(if self.is_big_endian {
            bytes.iter().fold(0, add)
        } else {
            bytes.iter().rev().fold(0, add)
        })
    }
}

impl<'a> Directory<'a> {
    /// Returns an entry's first number.
    pub fn number(&self, tag: u16) -> Option<u64> {
        let entry = self.entry(tag)?;
        let bytes = size_of_kind(entry.kind)?;
        (entry.count > 0).then(|| self.form.number(entry.at, bytes))?
    }

    /// Returns all numbers of an entry; none if there is no such entry.
    pub fn numbers(&self, tag: u16) -> Vec<u64> {
        let Some(entry) = self.entry(tag) else {
            return Vec::new();
        };
        let bytes = size_of_kind(entry.kind).unwrap_or(1);
        let at = (0..entry.count).map(|index| entry.at + index * bytes as u64);
        let at = at.take(MOST_NUMBERS);
        at.map_while(|at| self.form.number(at, bytes)).collect()
    }

    /// Returns the fractions of an entry.
    pub fn fractions(&self, tag: u16) -> Vec<f64> {
        let Some(entry) = self.entry(tag).filter(|entry| entry.kind == RATIONAL) else {
            return Vec::new();
        };
        let at = (0..entry.count).map(|index| entry.at + index * 8);
        let fraction =
            |at| Some(self.form.number(at, 4)? as f64 / self.form.number(at + 4, 4)? as f64);
        at.map_while(fraction).collect()
    }

    /// Returns an entry's bytes.
    pub fn bytes(&self, tag: u16) -> Option<&'a [u8]> {
        let entry = self.entry(tag)?;
        let bytes = entry.count as usize * size_of_kind(entry.kind)?;
        self.form.file.get(entry.at as usize..)?.get(..bytes)
    }

    /// Returns the offset of an entry's first number, and its size in bytes.
    pub fn place(&self, tag: u16) -> Option<(u64, usize)> {
        let entry = self.entry(tag)?;
        Some((entry.at, size_of_kind(entry.kind)?))
    }

    fn entry(&self, tag: u16) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.tag == tag)
    }
}

const RATIONAL: u16 = 5;

/// Returns the bytes of one value.
fn size_of_kind(kind: u16) -> Option<usize> {
    match kind {
        1 | 2 | 6 | 7 => Some(1),
        3 | 8 => Some(2),
        4 | 9 | 11 | 13 => Some(4),
        RATIONAL | 10 | 12 | 16 | 17 | 18 => Some(8),
        _ => None,
    }
}
