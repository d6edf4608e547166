//! EXIF fields, of any type and in any directory in which programs write them.

use std::borrow::Cow;

use jiff::civil::DateTime;

use super::block::Block;
use super::dates;
use super::facts::{Facts, name, orientation};
use super::ifd::{Directories, Directory, Field, Value};
use super::places::{self, Axis, LATITUDE, LONGITUDE};
use crate::photo::GpsPosition;

mod tag {
    pub const MAKE: u16 = 0x010f;
    pub const MODEL: u16 = 0x0110;
    pub const ORIENTATION: u16 = 0x0112;
    pub const DATE_TIME: u16 = 0x0132;
    pub const XMP: u16 = 0x02bc;
    pub const IPTC: u16 = 0x83bb;
    pub const PHOTOSHOP: u16 = 0x8649;
    pub const DATE_TIME_ORIGINAL: u16 = 0x9003;
    pub const DATE_TIME_DIGITIZED: u16 = 0x9004;
    // These count only in the GPS directory.
    pub const LATITUDE_REF: u16 = 1;
    pub const LATITUDE: u16 = 2;
    pub const LONGITUDE_REF: u16 = 3;
    pub const LONGITUDE: u16 = 4;
    pub const TIME_STAMP: u16 = 7;
    pub const STATUS: u16 = 9;
    pub const DATE_STAMP: u16 = 29;

    pub const ALL: [u16; 16] = [
        MAKE,
        MODEL,
        ORIENTATION,
        DATE_TIME,
        XMP,
        IPTC,
        PHOTOSHOP,
        DATE_TIME_ORIGINAL,
        DATE_TIME_DIGITIZED,
        LATITUDE_REF,
        LATITUDE,
        LONGITUDE_REF,
        LONGITUDE,
        TIME_STAMP,
        STATUS,
        DATE_STAMP,
    ];
}

/// Parsed EXIF data.
pub struct Exif<'a> {
    /// The fields: those of the picture first, and among its directories EXIF's first.
    fields: Vec<Field<'a>>,
    /// The picture that the file shows; the others are thumbnails or further pages.
    picture: usize,
}

impl<'a> Exif<'a> {
    /// Reads a block in another file. Its first picture is that file's; the next is the thumbnail.
    pub fn of_block(block: &'a [u8]) -> Self {
        let block = strip_prefix(block).unwrap_or(block);
        Self::new(Directories::read(block, &tag::ALL), 0)
    }

    /// Reads a TIFF file.
    pub fn of_tiff(file: &'a [u8]) -> Self {
        let directories = Directories::read(file, &tag::ALL);
        let picture = directories.full_picture();
        Self::new(directories, picture)
    }

    fn new(directories: Directories<'a>, picture: usize) -> Self {
        let mut fields = directories.fields;
        fields.sort_by_key(|field| (field.picture != picture, field.directory != Directory::Exif));
        Self { fields, picture }
    }

    pub fn facts(&self) -> Facts {
        Facts {
            orientation: self.orientation(),
            taken: self.date(tag::DATE_TIME_ORIGINAL),
            created: self.date(tag::DATE_TIME_DIGITIZED),
            modified: self.date(tag::DATE_TIME),
            utc: self.satellite_time(),
            place: self.place(),
            make: self
                .values(tag::MAKE)
                .find_map(|value| name(&value.text()?)),
            model: self
                .values(tag::MODEL)
                .find_map(|value| name(&value.text()?)),
        }
    }

    /// Returns blocks of other kinds, which TIFF files have as fields.
    pub fn blocks(&self) -> Vec<Block<'a>> {
        let block = |field: &Field<'a>| match field.tag {
            tag::XMP => Some(Block::Xmp(field.value.bytes.into())),
            tag::PHOTOSHOP => Some(Block::Photoshop(field.value.bytes.into())),
            tag::IPTC => Some(Block::Iptc(iptc_bytes(&field.value))),
            _ => None,
        };
        self.fields.iter().filter_map(block).collect()
    }

    /// Returns the picture's orientation; a thumbnail's does not count.
    fn orientation(&self) -> Option<image::metadata::Orientation> {
        let field = self.fields.iter().find(|field| {
            (field.picture, field.directory, field.tag)
                == (self.picture, Directory::Main, tag::ORIENTATION)
        })?;
        let in_text = || {
            field
                .value
                .text()?
                .trim_end_matches('\0')
                .trim()
                .parse()
                .ok()
        };
        orientation(field.value.uint().or_else(in_text)?)
    }

    fn date(&self, tag: u16) -> Option<DateTime> {
        self.values(tag).find_map(|value| date(&value))
    }

    fn place(&self) -> Option<GpsPosition> {
        let status = self.gps(tag::STATUS).and_then(|status| status.text());
        // Void: what is there is from before the receiver lost its satellites, or nothing at all.
        if status.is_some_and(|status| status.trim_start().starts_with(['V', 'v'])) {
            return None;
        }
        places::position(
            self.coordinate(LATITUDE, tag::LATITUDE, tag::LATITUDE_REF)?,
            self.coordinate(LONGITUDE, tag::LONGITUDE, tag::LONGITUDE_REF)?,
        )
    }

    fn coordinate(&self, axis: Axis, tag: u16, side: u16) -> Option<f64> {
        let value = self.gps(tag)?;
        let side = self.gps(side).and_then(|side| side.text());
        if value.is_text() {
            return axis.parse(&value.text()?, side.as_deref());
        }
        let sign = side.and_then(|side| axis.sign(&side));
        // Without its letter, a number that cannot be negative may lie on either side.
        if sign.is_none() && !value.is_signed() {
            return None;
        }
        places::degrees(&value.numbers(), sign)
    }

    fn satellite_time(&self) -> Option<DateTime> {
        let day = self.gps(tag::DATE_STAMP)?.text()?;
        let [hour, minute, second] = self.gps(tag::TIME_STAMP)?.numbers()[..] else {
            return None;
        };
        dates::parse(&format!(
            "{day} {hour:02.0}:{minute:02.0}:{:02}",
            second.floor()
        ))
    }

    fn gps(&self, tag: u16) -> Option<Value<'a>> {
        let gps = |field: &&Field| field.directory == Directory::Gps && field.tag == tag;
        Some(self.fields.iter().find(gps)?.value)
    }

    fn values(&self, tag: u16) -> impl Iterator<Item = Value<'a>> {
        self.fields
            .iter()
            .filter(move |field| field.tag == tag)
            .map(|field| field.value)
    }
}

/// Removes the prefix of EXIF data in a JPEG, if it is there. Some programs copy it into PNG, WebP and HEIC files,
/// where it does not belong; some write other bytes for its zeros.
pub fn strip_prefix(block: &[u8]) -> Option<&[u8]> {
    let (prefix, rest) = block.split_first_chunk::<6>()?;
    prefix[..5].eq_ignore_ascii_case(b"Exif\0").then_some(rest)
}

/// Reads a date in text, or in numbers: 2014, 3, 5, 7, 5, 9.
fn date(value: &Value) -> Option<DateTime> {
    if let Some(text) = value.text() {
        return dates::parse(&text);
    }
    let numbers: Vec<String> = value.numbers().iter().map(f64::to_string).collect();
    dates::parse(&numbers.join(" "))
}

/// Returns records, which begin with 0x1c. If they are stored as numbers of 32 bits, programs of the other byte order
/// have swapped their bytes.
fn iptc_bytes<'a>(value: &Value<'a>) -> Cow<'a, [u8]> {
    if !value.is_long() || value.bytes.first() == Some(&0x1c) {
        return value.bytes.into();
    }
    let turned = value
        .bytes
        .as_chunks::<4>()
        .0
        .iter()
        .flat_map(|[a, b, c, d]| [*d, *c, *b, *a]);
    turned.collect::<Vec<u8>>().into()
}
