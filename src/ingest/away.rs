//! Folders in which there was nothing to see.

use std::path::{Path, PathBuf};

use super::report::AwayFolder;
use crate::error::{Error, Result};

/// Folders in which there was nothing to see, with what the index holds of them: `photos_below` counts that.
pub(super) fn away(
    folders: Vec<(PathBuf, Error)>,
    photos_below: impl Fn(&Path) -> Result<usize>,
) -> Result<Vec<AwayFolder>> {
    let folders = folders.into_iter().map(|(path, reason)| {
        Ok(AwayFolder {
            photos: photos_below(&path)?,
            reason: reason.to_string(),
            path,
        })
    });
    folders.collect()
}
