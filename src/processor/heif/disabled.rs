//! Without libheif: every HEIC and AVIF file is refused with advice.

use image::RgbImage;

use crate::error::{Error, Result};
use crate::processor::header::Header;

/// Refuses the file.
pub fn header(_file: &[u8]) -> Result<Header> {
    Err(not_built())
}

/// Refuses the file.
pub fn decode(_file: &[u8]) -> Result<RgbImage> {
    Err(not_built())
}

fn not_built() -> Error {
    Error::Photo {
        reason: "this build does not read HEIC or AVIF; build it with --features heif".to_owned(),
    }
}
