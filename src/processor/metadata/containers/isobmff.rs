//! HEIC and AVIF: items of the `meta` box, which lists their kinds (`iinf`) and places (`iloc`).

use std::borrow::Cow;

use super::super::block::{Block, joined};

/// The most items of metadata to read.
const MAX_ITEMS: usize = 16;

pub fn blocks(file: &[u8]) -> Vec<Block<'_>> {
    let meta = child(file, b"meta");
    meta.and_then(|meta| items(file, meta)).unwrap_or_default()
}

fn items<'a>(file: &'a [u8], meta: &'a [u8]) -> Option<Vec<Block<'a>>> {
    // Version and flags stand before the boxes inside.
    let boxes = meta.get(4..)?;
    let items = listed_items(child(boxes, b"iinf")?)?;
    let mut places = places(child(boxes, b"iloc")?, &items)?;
    let data = child(boxes, b"idat").unwrap_or_default();
    // EXIF data count before XMP, and what comes first before what comes later.
    places.sort_by_key(|place| items.iter().position(|(id, _)| *id == place.item));
    let block = |place: &Place| {
        let (_, kind) = items.iter().find(|(id, _)| *id == place.item)?;
        let bytes = place.bytes(if place.in_item_data { data } else { file })?;
        Some(match kind {
            Kind::Xmp => Block::Xmp(bytes),
            Kind::Exif => Block::Exif(exif(&bytes)?.to_vec().into()),
        })
    };
    Some(places.iter().filter_map(block).collect())
}

/// Returns EXIF data, which follow their own offset.
fn exif(item: &[u8]) -> Option<&[u8]> {
    let (offset, rest) = item.split_first_chunk()?;
    rest.get(u32::from_be_bytes(*offset) as usize..)
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Exif,
    Xmp,
}

/// Returns the items that are metadata.
fn listed_items(iinf: &[u8]) -> Option<Vec<(u32, Kind)>> {
    let mut header = Bytes(iinf);
    let version = header.uint(4)? >> 24;
    header.uint(if version == 0 { 2 } else { 4 })?;
    let items = Boxes(header.0).filter_map(|(_, entry)| {
        let mut entry = Bytes(entry);
        let id = match entry.uint(4)? >> 24 {
            2 => entry.uint(2)?,
            3 => entry.uint(4)?,
            _ => return None,
        };
        entry.uint(2)?;
        let kind = match entry.take(4)? {
            b"Exif" => Kind::Exif,
            // Name and type of the content, each ended by a zero.
            b"mime" if entry.0.split(|byte| *byte == 0).nth(1)? == b"application/rdf+xml" => {
                Kind::Xmp
            }
            _ => return None,
        };
        Some((id as u32, kind))
    });
    Some(items.take(MAX_ITEMS).collect())
}

/// The place of an item.
struct Place {
    item: u32,
    /// True if it lies in the box `idat` rather than in the file.
    in_item_data: bool,
    /// Start and length of its pieces; length 0 means everything that follows.
    extents: Vec<(u64, u64)>,
}

impl Place {
    fn bytes<'a>(&self, data: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        let piece = |(start, length): &(u64, u64)| {
            let rest = data.get(usize::try_from(*start).ok()?..)?;
            match usize::try_from(*length).ok()? {
                0 => Some(rest),
                length => rest.get(..length),
            }
        };
        joined(&self.extents.iter().map(piece).collect::<Option<Vec<_>>>()?)
    }
}

/// Returns the places of the `items`.
fn places(iloc: &[u8], items: &[(u32, Kind)]) -> Option<Vec<Place>> {
    let mut rest = Bytes(iloc);
    let version = rest.uint(4)? >> 24;
    let sizes = rest.uint(2)? as usize;
    let [offset, length, base, index] = [12, 8, 4, 0].map(|shift| sizes >> shift & 15);
    if offset + length == 0 {
        return None;
    }
    let wide = if version < 2 { 2 } else { 4 };
    let mut places = Vec::new();
    for _ in 0..rest.uint(wide)? {
        let item = rest.uint(wide)? as u32;
        let method = if version == 0 { 0 } else { rest.uint(2)? & 15 };
        rest.uint(2)?;
        let start = rest.uint(base)?;
        let mut extents = Vec::new();
        for _ in 0..rest.uint(2)? {
            if version > 0 {
                rest.uint(index)?;
            }
            let extent = (start.checked_add(rest.uint(offset)?)?, rest.uint(length)?);
            extents.push(extent);
        }
        // Method 2 makes an item of other items, which nobody does with metadata.
        if method < 2 && items.iter().any(|(id, _)| *id == item) && places.len() < MAX_ITEMS {
            places.push(Place {
                item,
                in_item_data: method == 1,
                extents,
            });
        }
    }
    Some(places)
}

/// The bytes still to be read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// Reads a number of up to 8 bytes.
    fn uint(&mut self, bytes: usize) -> Option<u64> {
        let join = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        Some(self.take(bytes)?.iter().fold(0, join))
    }
}

fn child<'a>(data: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut boxes = Boxes(data);
    boxes
        .find(|(found, _)| *found == name)
        .map(|(_, data)| data)
}

/// Name and content of each box.
struct Boxes<'a>(&'a [u8]);

impl<'a> Iterator for Boxes<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let mut rest = Bytes(self.0);
        let length = rest.uint(4)?;
        let name = rest.take(4)?;
        let content = match length {
            // To the end.
            0 => rest.0.len() as u64,
            1 => rest.uint(8)?.checked_sub(16)?,
            length => length.checked_sub(8)?,
        };
        let content = rest.take(usize::try_from(content).ok()?)?;
        self.0 = rest.0;
        Some((name, content))
    }
}
