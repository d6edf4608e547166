//! A picture before it is decoded.

/// The facts that are known of a picture before it is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Pixels of a row, before the picture is turned upright.
    pub width: u32,
    /// Rows, before the picture is turned upright.
    pub height: u32,
    /// The most memory that decoding holds at once, bytes, with the picture and without the file.
    pub peak_bytes: u64,
}

impl Header {
    /// Makes a header; `peak_bytes` computes the memory from the number of pixels.
    pub fn new(width: u32, height: u32, peak_bytes: impl FnOnce(u64) -> u64) -> Self {
        // Tables of decoders and of colours.
        const ALWAYS: u64 = 4 << 20;
        Self {
            width,
            height,
            peak_bytes: peak_bytes(u64::from(width) * u64::from(height)) + ALWAYS,
        }
    }
}
