//! WebP: chunks of a RIFF file.

use super::super::block::Block;

pub fn blocks(file: &[u8]) -> Vec<Block<'_>> {
    let chunks = Chunks(file.get(12..).unwrap_or_default());
    let blocks = chunks.filter_map(|(name, data)| match name {
        b"EXIF" => Some(Block::Exif(data.into())),
        // Some programs end the name as C does.
        b"XMP " | b"XMP\0" => Some(Block::Xmp(data.into())),
        _ => None,
    });
    blocks.collect()
}

/// Name and data of each chunk.
struct Chunks<'a>(&'a [u8]);

impl<'a> Iterator for Chunks<'a> {
    type Item = (&'a [u8; 4], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, rest) = self.0.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let length = u32::from_le_bytes(*length) as usize;
        let (data, rest) = rest.split_at_checked(length)?;
        // Padded to an even length.
        self.0 = rest.get(length % 2..).unwrap_or_default();
        Some((name, data))
    }
}
