//! The directories (IFDs) of a TIFF file, which is also the form of EXIF data.
//!
//! Reads TIFF and `BigTIFF`, in either byte order and in place, and skips what is malformed. The crates for this
//! (kamadak-exif 0.6.2, nom-exif 3.8) copy the whole TIFF file, and support neither `BigTIFF` nor values of type UTF-8.

/// The most directories to read in one file, which limits the cost of a hostile one.
const MAX_DIRECTORIES: usize = 32;

/// The longest text, bytes; longer ones are cut.
const MAX_TEXT: usize = 256;

/// The most numbers of a field; those that are read have no more.
const MAX_NUMBERS: usize = 64;

const SUBFILE_TYPE: u16 = 0x00fe;
const EXIF_POINTER: u16 = 0x8769;
const GPS_POINTER: u16 = 0x8825;

/// Types of values, as TIFF numbers them; 129 is EXIF 3's.
mod kind {
    pub const BYTE: u16 = 1;
    pub const ASCII: u16 = 2;
    pub const SHORT: u16 = 3;
    pub const LONG: u16 = 4;
    pub const RATIONAL: u16 = 5;
    pub const SBYTE: u16 = 6;
    pub const UNDEFINED: u16 = 7;
    pub const SSHORT: u16 = 8;
    pub const SLONG: u16 = 9;
    pub const SRATIONAL: u16 = 10;
    pub const FLOAT: u16 = 11;
    pub const DOUBLE: u16 = 12;
    pub const IFD: u16 = 13;
    pub const LONG8: u16 = 16;
    pub const SLONG8: u16 = 17;
    pub const IFD8: u16 = 18;
    pub const UTF8: u16 = 129;
}

/// The directories of a file.
#[derive(Debug, Default)]
pub struct Directories<'a> {
    pub fields: Vec<Field<'a>>,
    /// Number of pictures that they describe.
    pictures: usize,
}

/// One field of a directory.
#[derive(Debug, Clone, Copy)]
pub struct Field<'a> {
    /// Number of the picture that it belongs to.
    pub picture: usize,
    pub directory: Directory,
    pub tag: u16,
    pub value: Value<'a>,
}

/// One of a picture's directories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Directory {
    /// The picture's own: IFD0, IFD1, …
    Main,
    Exif,
    Gps,
}

/// A value as it is stored.
#[derive(Debug, Clone, Copy)]
pub struct Value<'a> {
    pub bytes: &'a [u8],
    kind: u16,
    little_endian: bool,
}

impl<'a> Directories<'a> {
    /// Reads the fields that have one of these tags. Anything but a TIFF file has none.
    pub fn read(data: &'a [u8], tags: &[u16]) -> Self {
        let Some((mut walk, mut next)) = Walk::new(data, tags) else {
            return Self::default();
        };
        let mut pictures = 0;
        while let Some(after) = walk.directory(next, Directory::Main, pictures) {
            next = after;
            pictures += 1;
        }
        Self {
            fields: walk.fields,
            pictures,
        }
    }

    /// Returns the first picture that is not marked as a smaller copy of another one: in a TIFF file, the one to look
    /// at.
    pub fn full_picture(&self) -> usize {
        let reduced = |picture: usize| {
            self.fields.iter().any(|field| {
                (field.picture, field.directory, field.tag)
                    == (picture, Directory::Main, SUBFILE_TYPE)
                    && field.value.uint().is_some_and(|flags| flags & 1 != 0)
            })
        };
        (0..self.pictures).find(|p| !reduced(*p)).unwrap_or(0)
    }
}

struct Walk<'a, 't> {
    data: &'a [u8],
    tags: &'t [u16],
    little_endian: bool,
    big_tiff: bool,
    /// Offsets of the directories that have been read, since some files form circles.
    seen: Vec<u64>,
    fields: Vec<Field<'a>>,
}

impl<'a, 't> Walk<'a, 't> {
    /// Opens the data; also returns the offset of the first directory.
    fn new(data: &'a [u8], tags: &'t [u16]) -> Option<(Self, u64)> {
        let little_endian = match data.get(..2)? {
            b"II" => true,
            b"MM" => false,
            _ => return None,
        };
        let mut walk = Self {
            data,
            tags,
            little_endian,
            big_tiff: false,
            seen: Vec::new(),
            fields: Vec::new(),
        };
        // Else it should be 42, but is not everywhere.
        walk.big_tiff = walk.number(2, 2)? == 43;
        let first = if walk.big_tiff {
            walk.number(8, 8)?
        } else {
            walk.number(4, 4)?
        };
        Some((walk, first))
    }

    /// Reads the directory at `offset` and those below it. Returns the offset of the next one.
    fn directory(&mut self, offset: u64, directory: Directory, picture: usize) -> Option<u64> {
        let new = offset != 0 && !self.seen.contains(&offset) && self.seen.len() < MAX_DIRECTORIES;
        if !new {
            return None;
        }
        self.seen.push(offset);
        let (count_bytes, entry_bytes, offset_bytes) = if self.big_tiff {
            (8, 20, 8)
        } else {
            (2, 12, 4)
        };
        let count = self.number(offset, count_bytes)?;
        let first = offset + count_bytes;
        let whole = (self.data.len() as u64).saturating_sub(first) / entry_bytes;
        for entry in 0..count.min(whole) {
            let _ = self.entry(first + entry * entry_bytes, directory, picture);
        }
        let end = count.checked_mul(entry_bytes)?.checked_add(first)?;
        Some(self.number(end, offset_bytes).unwrap_or(0))
    }

    fn entry(&mut self, at: u64, directory: Directory, picture: usize) -> Option<()> {
        let tag = self.number(at, 2)? as u16;
        let below = match tag {
            EXIF_POINTER => Some(Directory::Exif),
            GPS_POINTER => Some(Directory::Gps),
            _ => None,
        };
        if below.is_none() && tag != SUBFILE_TYPE && !self.tags.contains(&tag) {
            return None;
        }
        let value = self.value(at)?;
        if let Some(below) = below {
            self.directory(value.uint()?, below, picture);
        }
        let known = self
            .fields
            .iter()
            .any(|field| (field.picture, field.directory, field.tag) == (picture, directory, tag));
        if below.is_none() && !known {
            self.fields.push(Field {
                picture,
                directory,
                tag,
                value,
            });
        }
        Some(())
    }

    fn value(&self, at: u64) -> Option<Value<'a>> {
        let kind = self.number(at + 2, 2)? as u16;
        let (count, room) = if self.big_tiff { (8, 8) } else { (4, 4) };
        let bytes = self.number(at + 4, count)?.checked_mul(size(kind)?)?;
        let inside = at + 4 + count;
        let start = if bytes <= room {
            inside
        } else {
            self.number(inside, room)?
        };
        Some(Value {
            bytes: self.slice(start, bytes)?,
            kind,
            little_endian: self.little_endian,
        })
    }

    fn number(&self, at: u64, bytes: u64) -> Option<u64> {
        Some(number(self.slice(at, bytes)?, self.little_endian))
    }

    fn slice(&self, at: u64, bytes: u64) -> Option<&'a [u8]> {
        let end = at.checked_add(bytes)?;
        self.data
            .get(usize::try_from(at).ok()?..usize::try_from(end).ok()?)
    }
}

impl Value<'_> {
    /// Returns the value as text, if it can be one; also numbers that are all letters.
    pub fn text(&self) -> Option<String> {
        if self.is_text() {
            return Some(text(self.bytes));
        }
        let letters = self.numbers().into_iter().map(|number| {
            let letter = (0.0..256.0).contains(&number) && number.fract() == 0.0;
            letter.then_some(number as u8)
        });
        let letters: Vec<u8> = letters.collect::<Option<_>>()?;
        (!letters.is_empty()).then(|| text(&letters))
    }

    /// Returns the first number, if it is a whole one.
    pub fn uint(&self) -> Option<u64> {
        let number = *self.numbers().first()?;
        (number >= 0.0 && number.fract() == 0.0).then_some(number as u64)
    }

    /// Returns the numbers; none for text. A fraction with denominator 0 is NaN or infinite.
    pub fn numbers(&self) -> Vec<f64> {
        let step = match self.kind {
            kind::ASCII | kind::UTF8 => return Vec::new(),
            kind => size(kind).unwrap_or(1) as usize,
        };
        let values = self.bytes.chunks_exact(step).take(MAX_NUMBERS);
        values.map(|bytes| self.one(bytes)).collect()
    }

    /// Returns whether its bytes are characters, or can be.
    pub fn is_text(&self) -> bool {
        use kind::{ASCII, BYTE, SBYTE, UNDEFINED, UTF8};
        matches!(self.kind, ASCII | UTF8 | BYTE | SBYTE | UNDEFINED)
    }

    /// Returns whether a number has a sign.
    pub fn is_signed(&self) -> bool {
        use kind::{DOUBLE, FLOAT, SBYTE, SLONG, SLONG8, SRATIONAL, SSHORT};
        matches!(
            self.kind,
            SBYTE | SSHORT | SLONG | SLONG8 | SRATIONAL | FLOAT | DOUBLE
        )
    }

    /// Returns whether these are numbers of 32 bits, whose bytes readers of the other byte order must swap.
    pub fn is_long(&self) -> bool {
        self.kind == kind::LONG
    }

    fn one(&self, bytes: &[u8]) -> f64 {
        let integer = |bytes: &[u8]| number(bytes, self.little_endian);
        let (first, second) = bytes.split_at(bytes.len() / 2);
        match self.kind {
            kind::SBYTE => f64::from(integer(bytes) as i8),
            kind::SSHORT => f64::from(integer(bytes) as i16),
            kind::SLONG => f64::from(integer(bytes) as i32),
            kind::SLONG8 => integer(bytes) as i64 as f64,
            kind::RATIONAL => integer(first) as f64 / integer(second) as f64,
            kind::SRATIONAL => f64::from(integer(first) as i32) / f64::from(integer(second) as i32),
            kind::FLOAT => f64::from(f32::from_bits(integer(bytes) as u32)),
            kind::DOUBLE => f64::from_bits(integer(bytes)),
            _ => integer(bytes) as f64,
        }
    }
}

/// Returns the bytes of one value of a type.
fn size(kind: u16) -> Option<u64> {
    Some(match kind {
        kind::BYTE | kind::ASCII | kind::SBYTE | kind::UNDEFINED | kind::UTF8 => 1,
        kind::SHORT | kind::SSHORT => 2,
        kind::LONG | kind::SLONG | kind::FLOAT | kind::IFD => 4,
        kind::RATIONAL
        | kind::SRATIONAL
        | kind::DOUBLE
        | kind::LONG8
        | kind::SLONG8
        | kind::IFD8 => 8,
        _ => return None,
    })
}

fn number(bytes: &[u8], little_endian: bool) -> u64 {
    let join = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
    if little_endian {
        bytes.iter().rev().fold(0, join)
    } else {
        bytes.iter().fold(0, join)
    }
}

/// Returns the start of a text; bytes that are not UTF-8 are read as Latin-1.
fn text(bytes: &[u8]) -> String {
    let bytes = bytes.get(..MAX_TEXT).unwrap_or(bytes);
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        // A character that the cut took apart.
        Err(error) if error.error_len().is_none() => {
            String::from_utf8_lossy(&bytes[..error.valid_up_to()]).into_owned()
        }
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
    }
}
