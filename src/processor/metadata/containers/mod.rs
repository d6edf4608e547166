//! Finds metadata in files of each format.
//!
//! These readers walk over headers and lengths and do not touch the picture's data, so that a file of any size takes
//! microseconds.

mod gif;
mod isobmff;
mod jpeg;
mod png;
mod webp;

use super::block::Block;

/// Returns the blocks of a file, the more important ones first.
pub fn blocks(file: &[u8]) -> Vec<Block<'_>> {
    match file {
        [0xff, 0xd8, ..] => jpeg::blocks(file),
        [0x89, b'P', b'N', b'G', ..] => png::blocks(file),
        [b'R', b'I', b'F', b'F', ..] => webp::blocks(file),
        [b'I', b'I', ..] | [b'M', b'M', ..] => vec![Block::Tiff(file)],
        [b'G', b'I', b'F', ..] => gif::blocks(file),
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => isobmff::blocks(file),
        _ => Vec::new(),
    }
}
