//! The photo folders as they are now: they may have been renamed, moved, replaced by links, or unplugged.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Returns a folder as an absolute path without links.
pub(super) fn resolve(folder: &Path) -> Result<PathBuf> {
    folder.canonicalize().map_err(|source| match source.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => Error::NoFolder {
            path: folder.to_owned(),
        },
        _ => Error::io(folder)(source),
    })
}

/// Returns an absolute path without links, as an index holds it, even for a file that no longer exists.
pub fn indexed_path(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    for folder in absolute.ancestors() {
        let Ok(real) = folder.canonicalize() else {
            continue;
        };
        return match absolute.strip_prefix(folder) {
            Ok(rest) if rest != Path::new("") => real.join(rest),
            _ => real,
        };
    }
    absolute
}

/// Returns whether a folder of an earlier build is gone, or replaced by a link to another place.
pub(super) fn is_lost(root: &Path) -> bool {
    match root.canonicalize() {
        Ok(now) => now != root,
        Err(error) => matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory),
    }
}

/// Returns whether a path is one of these folders, or below one.
pub(super) fn is_below(folders: &[PathBuf], path: &Path) -> bool {
    folders.iter().any(|folder| path.starts_with(folder))
}
