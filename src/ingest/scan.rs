//! Which photos a folder holds.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use walkdir::WalkDir;

use crate::error::{Error, Result};
use crate::processor::is_photo;

/// What a walk over the photo folders saw.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Photos, sorted by path, each once.
    pub(super) files: Vec<PhotoFile>,
    /// Files and folders that could not be looked at, with the reason. What was known below them is kept.
    pub(super) unreadable: Vec<(PathBuf, String)>,
}

/// A file that may be a photo.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PhotoFile {
    /// Absolute path.
    pub(super) path: PathBuf,
    /// Bytes.
    pub(super) size: u64,
    /// Modification time, nanoseconds since 1970-01-01 UTC.
    pub(super) mtime_ns: i64,
}

/// The folders as absolute paths without links, each once; all must exist.
pub(super) fn canonical_roots(folders: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut roots = Vec::with_capacity(folders.len());
    for folder in folders {
        let root = folder
            .canonicalize()
            .map_err(|source| match source.kind() {
                std::io::ErrorKind::NotFound => Error::NoFolder {
                    path: folder.clone(),
                },
                _ => Error::io(folder)(source),
            })?;
        roots.push(root);
    }
    roots.sort();
    roots.dedup();
    Ok(roots)
}

/// Walks `roots`. Links to files are followed, links to folders are not, so that a loop cannot form.
/// Hidden files and folders are left out. No photo at all is an error: an unmounted drive looks like that.
pub(super) fn scan(roots: &[PathBuf]) -> Result<Scan> {
    let mut seen = HashSet::new();
    let mut scan = Scan::default();
    for root in roots {
        let before = seen.len();
        let walk = WalkDir::new(root).into_iter();
        for entry in walk.filter_entry(|entry| entry.depth() == 0 || !is_hidden(entry.path())) {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    let path = error.path().unwrap_or(root).to_path_buf();
                    scan.unreadable.push((path, error.to_string()));
                    continue;
                }
            };
            let path = entry.path();
            if entry.file_type().is_dir() || !is_photo(path) {
                continue;
            }
            match photo_file(path) {
                Ok(Some(file)) if seen.insert(file.path.clone()) => scan.files.push(file),
                Ok(_) => {}
                Err(error) => scan.unreadable.push((path.into(), error.to_string())),
            }
        }
        if seen.len() == before && scan.files.iter().all(|file| !file.path.starts_with(root)) {
            return Err(Error::NoPhotos { path: root.clone() });
        }
    }
    scan.files.sort();
    Ok(scan)
}

/// The file behind `path`, unless it is something else, such as a folder or a socket.
fn photo_file(path: &Path) -> std::io::Result<Option<PhotoFile>> {
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() {
        return Ok(None);
    }
    let modified = metadata.modified()?;
    let mtime_ns = match modified.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |ns| -ns),
    };
    Ok(Some(PhotoFile {
        path: path.into(),
        size: metadata.len(),
        mtime_ns,
    }))
}

fn is_hidden(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(path: &Path) {
        std::fs::create_dir_all(path.parent().expect("has a parent")).expect("creates");
        std::fs::write(path, b"x").expect("writes");
    }

    #[test]
    fn photos_are_found_by_name_and_hidden_ones_left_out() {
        let dir = tempfile::tempdir().expect("tempdir");
        for name in ["b.JPG", "a/c.png", "a/notes.txt", ".thumbs/d.jpg", ".e.jpg"] {
            touch(&dir.path().join(name));
        }
        let roots = canonical_roots(&[dir.path().into(), dir.path().join("a")]).expect("exist");
        let found = scan(&roots).expect("scans");
        let names: Vec<_> = found
            .files
            .iter()
            .map(|file| {
                file.path
                    .strip_prefix(&roots[0])
                    .expect("below")
                    .display()
                    .to_string()
            })
            .collect();
        assert_eq!(names, ["a/c.png", "b.JPG"]);
        assert!(found.unreadable.is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn links_cannot_make_a_loop_or_hide_that_they_lead_nowhere() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().expect("tempdir");
        touch(&dir.path().join("a.jpg"));
        symlink(dir.path(), dir.path().join("loop")).expect("links");
        symlink("nowhere.jpg", dir.path().join("dangling.jpg")).expect("links");
        symlink("a.jpg", dir.path().join("link.jpg")).expect("links");
        let found = scan(&canonical_roots(&[dir.path().into()]).expect("exists")).expect("scans");
        assert_eq!(found.files.len(), 2);
        assert_eq!(found.unreadable.len(), 1);
    }

    #[test]
    fn missing_and_empty_folders_are_told_apart() {
        let dir = tempfile::tempdir().expect("tempdir");
        let missing = canonical_roots(&[dir.path().join("no")]).expect_err("not there");
        assert!(matches!(missing, Error::NoFolder { .. }));
        let empty = scan(&[dir.path().into()]).expect_err("empty");
        assert!(matches!(empty, Error::NoPhotos { .. }));
    }
}
