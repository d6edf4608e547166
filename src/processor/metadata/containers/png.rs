//! PNG: chunks, and texts that held other formats' metadata before there were chunks for that.

use std::borrow::Cow;
use std::io::Read;

use super::super::block::Block;
use super::super::dates;
use super::super::facts::{Facts, name};
use super::jpeg;
use flate2::read::ZlibDecoder;

/// The most that all texts of a file may unpack to, bytes. A text of a thousandth of that size can expand to it.
const MAX_UNPACKED: u64 = 16 << 20;

pub fn blocks(file: &[u8]) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut from_text = Vec::new();
    let mut room = MAX_UNPACKED;
    for (name, data) in Chunks(file.get(8..).unwrap_or_default()) {
        match name {
            b"eXIf" => blocks.push(Block::Exif(data.into())),
            b"tIME" => blocks.extend(clock(data)),
            b"tEXt" | b"zTXt" | b"iTXt" => {
                from_text.extend(Text::of(*name, data).and_then(|text| text.block(&mut room)));
            }
            _ => {}
        }
    }
    // A chunk that is meant for it counts before a text.
    blocks.extend(from_text);
    blocks
}

/// Reads the time of the file's last change, in UTC.
fn clock(data: &[u8]) -> Option<Block<'static>> {
    let &[high, low, month, day, hour, minute, second] = data else {
        return None;
    };
    let year = i16::from_be_bytes([high, low]);
    let time = dates::Time(hour as i8, minute as i8, second as i8);
    Some(Block::Text(Facts {
        utc: dates::civil(year, month as i8, day as i8, time),
        ..Facts::default()
    }))
}

/// A text with its keyword.
struct Text<'a> {
    keyword: String,
    packed: bool,
    data: &'a [u8],
}

impl<'a> Text<'a> {
    fn of(chunk: [u8; 4], data: &'a [u8]) -> Option<Self> {
        let (keyword, rest) = until_zero(data)?;
        let (packed, text) = match (&chunk, rest) {
            (b"tEXt", text) => (false, text),
            (b"zTXt", [0, text @ ..]) => (true, text),
            (b"iTXt", [packed, _, rest @ ..]) => {
                let (_language, rest) = until_zero(rest)?;
                let (_translated, text) = until_zero(rest)?;
                (*packed != 0, text)
            }
            _ => return None,
        };
        Some(Self {
            keyword: String::from_utf8_lossy(keyword).trim().to_lowercase(),
            packed,
            data: text,
        })
    }

    /// Returns the text's block, if it is of use. `room` is what may still be unpacked.
    fn block(&self, room: &mut u64) -> Option<Block<'a>> {
        let mut text = || String::from_utf8_lossy(&self.unpacked(room)).into_owned();
        let mut date = || dates::parse(&text());
        let none = Facts::default();
        let facts = match self.keyword.as_str() {
            "xml:com.adobe.xmp" => return Some(Block::Xmp(self.unpacked(room))),
            // Those with a colon are EXIF fields, as ImageMagick writes them.
            "exif:datetimeoriginal" => Facts {
                taken: date(),
                ..none
            },
            "creation time" | "create-date" | "exif:datetimedigitized" => Facts {
                created: date(),
                ..none
            },
            "modify-date" | "exif:datetime" => Facts {
                modified: date(),
                ..none
            },
            "make" | "exif:make" => Facts {
                make: name(&text()),
                ..none
            },
            "model" | "exif:model" => Facts {
                model: name(&text()),
                ..none
            },
            keyword => {
                let kind = keyword.strip_prefix("raw profile type ")?;
                return matches!(kind, "exif" | "app1" | "xmp" | "iptc" | "8bim")
                    .then(|| profile(&self.unpacked(room)))
                    .flatten();
            }
        };
        Some(Block::Text(facts))
    }

    fn unpacked(&self, room: &mut u64) -> Cow<'a, [u8]> {
        if !self.packed {
            return self.data.into();
        }
        let mut text = Vec::new();
        // A damaged text is there up to the damage.
        let _ = ZlibDecoder::new(self.data)
            .take(*room)
            .read_to_end(&mut text);
        *room -= text.len() as u64;
        text.into()
    }
}

/// Reads a block in hexadecimal digits below its name and its length, as `ImageMagick` writes it. The content tells its
/// kind, since the same name stands for several.
fn profile(text: &[u8]) -> Option<Block<'static>> {
    let mut lines = text.trim_ascii_start().splitn(3, |byte| *byte == b'\n');
    let (_name, _length) = (lines.next()?, lines.next()?);
    let digits: Vec<u8> = lines
        .next()?
        .iter()
        .filter(|byte| !byte.is_ascii_whitespace())
        .map_while(|byte| Some(char::from(*byte).to_digit(16)? as u8))
        .collect();
    let pairs = digits.as_chunks().0.iter();
    let data: Vec<u8> = pairs.map(|[high, low]| high << 4 | low).collect();
    if let Some(packet) = data.strip_prefix(jpeg::XMP) {
        return Some(Block::Xmp(packet.to_vec().into()));
    }
    let resources = data.strip_prefix(jpeg::PHOTOSHOP).unwrap_or(&data);
    if resources.starts_with(b"8BIM") {
        return Some(Block::Photoshop(resources.to_vec().into()));
    }
    Some(match data.first()? {
        0x1c => Block::Iptc(data.into()),
        b'<' => Block::Xmp(data.into()),
        _ => Block::Exif(data.into()),
    })
}

fn until_zero(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let zero = data.iter().position(|byte| *byte == 0)?;
    Some((&data[..zero], &data[zero + 1..]))
}

/// Name and data of each chunk.
struct Chunks<'a>(&'a [u8]);

impl<'a> Iterator for Chunks<'a> {
    type Item = (&'a [u8; 4], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (length, rest) = self.0.split_first_chunk()?;
        let (name, rest) = rest.split_first_chunk()?;
        let length = u32::from_be_bytes(*length) as usize;
        let (data, rest) = rest.split_at_checked(length)?;
        // Behind it stands a checksum.
        self.0 = rest.get(4..).unwrap_or_default();
        Some((name, data))
    }
}
