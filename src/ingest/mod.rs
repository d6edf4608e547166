//! Brings an index up to date with folders of photos.
//!
//! ```text
//! scan ─► compare ─► read, hash, decode, preprocess (all cores) ─► embed in batches ─► commit ─► publish
//! ```
//!
//! Commits come every few seconds, so that a killed build loses no more than that; the next one compares
//! again with what is there. Photos leave the index only at the end of a build that saw everything.

mod away;
mod build;
mod clutter;
mod committer;
mod difference;
mod options;
mod read;
mod report;
mod roots;
mod scan;
mod select;
mod stamp;
mod survey;
#[cfg(test)]
mod tests;

pub use build::build;
pub use options::BuildOptions;
pub use report::{AwayFolder, BrokenFiles, BuildEvent, BuildReport, Survey};
pub use roots::indexed_path;
pub use scan::find_photos;
pub use select::{ScanOptions, concerns_build};
pub use stamp::Compare;
pub use survey::survey;
