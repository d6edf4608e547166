//! IPTC records (IIM), the oldest of the kinds, and Photoshop's image resources, in which they usually lie.

use super::block::Block;
use super::dates;
use super::facts::Facts;

/// Kinds of blocks among the resources.
const IPTC: u16 = 0x0404;
const EXIF: u16 = 0x0422;
const XMP: u16 = 0x0424;

/// The most to read, which limits the cost of a hostile file.
const MAX_RESOURCES: usize = 10_000;
const MAX_RECORDS: usize = 10_000;

/// Reads times from records.
pub fn facts(records: &[u8]) -> Facts {
    const DATE_CREATED: u8 = 55;
    const TIME_CREATED: u8 = 60;
    const DIGITAL_CREATION_DATE: u8 = 62;
    const DIGITAL_CREATION_TIME: u8 = 63;

    let records: Vec<_> = Records(records).take(MAX_RECORDS).collect();
    let text = |number: u8| {
        let (_, value) = records.iter().find(|(found, _)| *found == number)?;
        Some(String::from_utf8_lossy(value.get(..64).unwrap_or(value)))
    };
    let date = |day: u8, time: u8| {
        let day = text(day)?;
        // 00 is the standard's word for a month or a day that nobody knows.
        match (day.get(..4), day.get(4..6), day.get(6..)) {
            (Some(year), Some("00"), Some("00")) => dates::parse(year),
            (Some(year), Some(month), Some("00")) => dates::parse(&format!("{year}-{month}")),
            _ => dates::parse(&format!("{day} {}", text(time).unwrap_or_default())),
        }
    };
    Facts {
        taken: date(DATE_CREATED, TIME_CREATED),
        created: date(DIGITAL_CREATION_DATE, DIGITAL_CREATION_TIME),
        ..Facts::default()
    }
}

/// Returns the blocks among Photoshop's resources.
pub fn blocks(resources: &[u8]) -> Vec<Block<'_>> {
    let resources = Resources(resources).take(MAX_RESOURCES);
    let blocks = resources.filter_map(|(kind, data)| match kind {
        IPTC => Some(Block::Iptc(data.into())),
        EXIF => Some(Block::Exif(data.into())),
        XMP => Some(Block::Xmp(data.into())),
        _ => None,
    });
    blocks.collect()
}

/// Number and value of each data set of record 2, which is about the picture.
struct Records<'a>(&'a [u8]);

impl<'a> Iterator for Records<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (&[0x1c, record, number, high, low], rest) = self.0.split_first_chunk()? else {
                return None;
            };
            let length = usize::from(u16::from_be_bytes([high, low]));
            // A length with the highest bit is that of the length which follows.
            let (length, rest) = match length & 0x7fff {
                bytes if length != bytes => {
                    let (length, rest) = rest.split_at_checked(bytes.min(rest.len()))?;
                    let join = |number: usize, byte: &u8| number << 8 | usize::from(*byte);
                    (length.iter().fold(0, join), rest)
                }
                length => (length, rest),
            };
            let (value, rest) = rest.split_at_checked(length)?;
            self.0 = rest;
            if record == 2 {
                return Some((number, value));
            }
        }
    }
}

/// Kind and data of each resource.
struct Resources<'a>(&'a [u8]);

impl<'a> Iterator for Resources<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        // Photoshop's own signature, and those of others, which exiftool knows.
        const SIGNATURES: [&[u8; 4]; 5] = [b"8BIM", b"PHUT", b"DCSR", b"AgHg", b"MeSa"];
        let (signature, rest) = self.0.split_first_chunk()?;
        if !SIGNATURES.contains(&signature) {
            return None;
        }
        let (kind, rest) = rest.split_first_chunk()?;
        // A name with its length before it, then the data, each padded to an even number of bytes.
        let name = usize::from(*rest.first()?) + 1;
        let (length, rest) = rest
            .get(name.next_multiple_of(2)..)?
            .split_first_chunk::<4>()?;
        let length = u32::from_be_bytes(*length) as usize;
        let (data, rest) = rest.split_at_checked(length)?;
        self.0 = rest.get(length % 2..).unwrap_or_default();
        Some((u16::from_be_bytes(*kind), data))
    }
}
