//! JPEG: segments before the first scan.

use super::super::block::{Block, joined};
use super::super::exif;

/// The prefix of XMP in a segment.
pub const XMP: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";
const EXTENDED_XMP: &[u8] = b"http://ns.adobe.com/xmp/extension/\0";
/// The prefix of Photoshop's resources.
pub const PHOTOSHOP: &[u8] = b"Photoshop 3.0\0";

const APP1: u8 = 0xe1;
const APP13: u8 = 0xed;

pub fn blocks(file: &[u8]) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut resources = Vec::new();
    let mut parts = Vec::new();
    for (marker, segment) in Segments(file.get(2..).unwrap_or_default()) {
        if marker == APP1 {
            if let Some(data) = exif(segment) {
                blocks.push(Block::Exif(data.into()));
            } else if let Some(part) = segment.strip_prefix(EXTENDED_XMP) {
                parts.extend(Part::of(part));
            } else {
                blocks.extend(xmp(segment).map(|packet| Block::Xmp(packet.into())));
            }
        } else if marker == APP13 {
            resources.extend(segment.strip_prefix(PHOTOSHOP));
        }
    }
    // Resources that do not fit into one segment go on in the next.
    blocks.extend(joined(&resources).map(Block::Photoshop));
    // The rest of a packet that does not fit: often a depth map, and not what others say better.
    parts.sort_by_key(|part| (part.packet, part.offset));
    let parts: Vec<_> = parts.iter().map(|part| part.data).collect();
    blocks.extend(joined(&parts).map(Block::Xmp));
    blocks
}

/// Returns a segment's EXIF data. A few other bytes may precede them, as exiftool has seen.
fn exif(segment: &[u8]) -> Option<&[u8]> {
    let start = |at| exif::strip_prefix(segment.get(at..)?);
    (0..=4).find_map(start)
}

/// Returns a segment's packet. Programs have written other prefixes than the standard's, or none.
fn xmp(segment: &[u8]) -> Option<&[u8]> {
    const STARTS: [&[u8]; 4] = [b"http", b"XMP\0", b"<?xpacket", b"<x:xmpmeta"];
    if !STARTS.iter().any(|start| segment.starts_with(start)) {
        return None;
    }
    let start = segment.iter().position(|byte| *byte == b'<')?;
    Some(&segment[start..])
}

/// A part of a packet of extended XMP.
struct Part<'a> {
    packet: [u8; 32],
    offset: u32,
    data: &'a [u8],
}

impl<'a> Part<'a> {
    fn of(segment: &'a [u8]) -> Option<Self> {
        let (packet, rest) = segment.split_first_chunk()?;
        let (_length, rest) = rest.split_first_chunk::<4>()?;
        let (offset, data) = rest.split_first_chunk()?;
        Some(Self {
            packet: *packet,
            offset: u32::from_be_bytes(*offset),
            data,
        })
    }
}

/// Marker and content of each segment.
struct Segments<'a>(&'a [u8]);

impl<'a> Iterator for Segments<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            // What is no marker does not belong here; markers may begin with several of these bytes.
            let start = self.0.iter().position(|byte| *byte == 0xff)?;
            let rest = &self.0[start..];
            let code = rest.iter().position(|byte| *byte != 0xff)?;
            let marker = rest[code];
            self.0 = &rest[code + 1..];
            match marker {
                0x00 | 0x01 | 0xd0..=0xd8 => {}
                0xd9 | 0xda => return None,
                _ => {
                    let (length, rest) = self.0.split_first_chunk()?;
                    let length = usize::from(u16::from_be_bytes(*length)).checked_sub(2)?;
                    // Of a file that ends here there may be enough.
                    let (segment, rest) = rest.split_at(length.min(rest.len()));
                    self.0 = rest;
                    return Some((marker, segment));
                }
            }
        }
    }
}
