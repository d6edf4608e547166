//! GIF: XMP in an application extension.
//!
//! The packet is stored without the lengths of blocks, and followed by a run of bytes that leads readers of blocks out
//! of it again.

use super::super::block::Block;

pub fn blocks(file: &[u8]) -> Vec<Block<'_>> {
    packet(file)
        .map(|packet| Block::Xmp(packet.into()))
        .into_iter()
        .collect()
}

fn packet(file: &[u8]) -> Option<&[u8]> {
    let screen = file.get(6..13)?;
    let mut rest = file.get(13 + palette_bytes(screen[4])..)?;
    loop {
        let (introducer, after) = rest.split_first()?;
        rest = match introducer {
            b'!' => {
                let blocks = after.get(1..)?;
                if let Some(packet) = blocks.strip_prefix(b"\x0bXMP DataXMP") {
                    return packet.split(|byte| *byte == 0).next();
                }
                skip_blocks(blocks)?
            }
            b',' => {
                let image = after.get(..9)?;
                skip_blocks(after.get(9 + palette_bytes(image[8]) + 1..)?)?
            }
            _ => return None,
        };
    }
}

fn palette_bytes(flags: u8) -> usize {
    if flags & 0x80 == 0 {
        return 0;
    }
    3 << ((flags & 7) + 1)
}

/// Skips blocks, each preceded by its length, up to an empty one, and returns what follows.
fn skip_blocks(mut data: &[u8]) -> Option<&[u8]> {
    loop {
        let (length, rest) = data.split_first()?;
        if *length == 0 {
            return Some(rest);
        }
        data = rest.get(usize::from(*length)..)?;
    }
}
