//! A file's metadata: which way is up, when and where the picture was taken, and with which camera.
//!
//! Metadata is stored in blocks of different kinds (EXIF, XMP, IPTC, a PNG's text), which [`containers`] finds in the
//! file. Each is read for the same [`Facts`], and each fact is taken from the most trustworthy block that has it.
//!
//! Thousands of programs write metadata, many of them careless. Nothing here fails: a field that is missing, malformed
//! or out of range counts as absent, and the others are still read. exiftool sets the standard; the tests say where we
//! differ. A hostile file costs bounded time and memory.

mod block;
mod containers;
mod dates;
mod exif;
mod facts;
mod ifd;
mod iptc;
mod places;
#[cfg(test)]
mod tests;
mod xmp;

use image::metadata::Orientation;
use jiff::civil::DateTime;

use self::block::Block;
use self::exif::Exif;
use self::facts::Facts;
use crate::photo::GpsPosition;

/// Limits for hostile files: the number of blocks to read, and how deep one may lie in another. (Photoshop's resources
/// in a TIFF file may hold EXIF data.)
const MAX_BLOCKS: usize = 64;
const MAX_DEPTH: usize = 2;

/// The combined facts of a file's blocks.
#[derive(Debug, Clone, PartialEq)]
pub struct EmbeddedMetadata {
    /// The way to turn the stored picture upright.
    pub orientation: Orientation,
    /// Capture time, in the camera's local time.
    pub captured_at: Option<DateTime>,
    /// The place where the picture was taken.
    pub gps: Option<GpsPosition>,
    /// Make and model, such as `Apple iPhone 13`.
    pub camera: Option<String>,
}

impl EmbeddedMetadata {
    /// Reads the metadata of a JPEG, PNG, WebP, GIF, TIFF, HEIC or AVIF file, given whole.
    pub fn read(file: &[u8]) -> Self {
        let mut found = Vec::new();
        for block in containers::blocks(file) {
            block.read(0, &mut found);
        }
        found.sort_by_key(|(rank, _)| *rank);
        let facts = found
            .into_iter()
            .fold(Facts::default(), |facts, (_, others)| facts.or(others));
        Self {
            orientation: facts.orientation.unwrap_or(Orientation::NoTransforms),
            captured_at: facts.captured_at(),
            gps: facts.place,
            camera: facts.camera(),
        }
    }
}

/// The order of trust: EXIF is the camera's own, and careful programs keep it up to date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Exif,
    Xmp,
    Iptc,
    Text,
}

impl Block<'_> {
    /// Adds its facts, and those of the blocks inside it, which are `depth` blocks deep.
    fn read(&self, depth: usize, found: &mut Vec<(Rank, Facts)>) {
        if depth > MAX_DEPTH || found.len() >= MAX_BLOCKS {
            return;
        }
        let inside = match self {
            Self::Tiff(file) => {
                let exif = Exif::of_tiff(file);
                found.push((Rank::Exif, exif.facts()));
                exif.blocks()
            }
            Self::Exif(block) => {
                let exif = Exif::of_block(block);
                found.push((Rank::Exif, exif.facts()));
                exif.blocks()
            }
            Self::Photoshop(resources) => iptc::blocks(resources),
            Self::Xmp(packet) => {
                found.push((Rank::Xmp, xmp::facts(packet)));
                Vec::new()
            }
            Self::Iptc(records) => {
                found.push((Rank::Iptc, iptc::facts(records)));
                Vec::new()
            }
            Self::Text(facts) => {
                found.push((Rank::Text, facts.clone()));
                Vec::new()
            }
        };
        for block in inside {
            block.read(depth + 1, found);
        }
    }
}
