//! Which photos a folder holds.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::select::{ScanOptions, faults, faulty_patterns, holds_photos};
use crate::error::{Error, Result};
use crate::photo::nanoseconds;
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
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

/// Walks `roots` for what `options` selects. Links to files are followed, links to folders are not, so that
/// a loop cannot form. No photo at all is an error: an unmounted drive looks like that.
pub(super) fn scan(roots: &[PathBuf], options: &ScanOptions) -> Result<Scan> {
    options.check()?;
    let mut seen = HashSet::new();
    let mut scan = Scan::default();
    for root in roots {
        let before = seen.len();
        for entry in options.walk(root)? {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    scan.unreadable.extend(faults(&error, root));
                    continue;
                }
            };
            let path = entry.path();
            if entry.file_type().is_some_and(|kind| kind.is_dir()) {
                scan.unreadable.extend(faulty_patterns(path));
                continue;
            }
            if !is_photo(path) {
                continue;
            }
            match PhotoFile::at(path) {
                Ok(Some(file)) if seen.insert(file.path.clone()) => scan.files.push(file),
                Ok(_) => {}
                Err(error) => scan.unreadable.push((path.into(), error.to_string())),
            }
        }
        if seen.len() == before && scan.files.iter().all(|file| !file.path.starts_with(root)) {
            let path = root.clone();
            return Err(if holds_photos(root) {
                Error::AllLeftOut { path }
            } else {
                Error::NoPhotos { path }
            });
        }
    }
    scan.files.sort();
    // A folder inside another one is walked twice.
    scan.unreadable.sort();
    scan.unreadable.dedup();
    Ok(scan)
}

impl PhotoFile {
    /// The file behind `path`, unless it is something else, such as a folder or a socket.
    pub(super) fn at(path: &Path) -> std::io::Result<Option<Self>> {
        let metadata = std::fs::metadata(path)?;
        if !metadata.is_file() {
            return Ok(None);
        }
        Ok(Some(Self {
            path: path.into(),
            size: metadata.len(),
            mtime_ns: nanoseconds(metadata.modified()?),
        }))
    }

    /// Whether it changed less than `age` ago. Not if it seems to come from the future: the clocks of two
    /// machines differ, and it would be new for ever.
    pub(super) fn is_newer_than(&self, age: Duration) -> bool {
        let now = nanoseconds(SystemTime::now());
        let age = i64::try_from(age.as_nanos()).unwrap_or(i64::MAX);
        (0..age).contains(&now.saturating_sub(self.mtime_ns))
    }
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
        let found = scan(&roots, &ScanOptions::default()).expect("scans");
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
        let roots = canonical_roots(&[dir.path().into()]).expect("exists");
        let found = scan(&roots, &ScanOptions::default()).expect("scans");
        assert_eq!(found.files.len(), 2);
        assert_eq!(found.unreadable.len(), 1);
    }

    #[test]
    fn missing_and_empty_folders_are_told_apart() {
        let dir = tempfile::tempdir().expect("tempdir");
        let missing = canonical_roots(&[dir.path().join("no")]).expect_err("not there");
        assert!(matches!(missing, Error::NoFolder { .. }));
        let empty = scan(&[dir.path().into()], &ScanOptions::default()).expect_err("empty");
        assert!(matches!(empty, Error::NoPhotos { .. }));
    }
    /// The names below `root` of what a scan found, and of what it complains about.
    fn found(root: &Path, options: &ScanOptions) -> (Vec<String>, Vec<(String, String)>) {
        let roots = canonical_roots(&[root.into()]).expect("exists");
        let scan = scan(&roots, options).expect("scans");
        let name = |path: &Path| {
            let below = path.strip_prefix(&roots[0]).expect("below");
            below.display().to_string()
        };
        let files = scan.files.iter().map(|file| name(&file.path)).collect();
        let complaints = scan.unreadable.into_iter();
        let complaints = complaints.map(|(path, reason)| (name(&path), reason));
        (files, complaints.collect())
    }

    fn excluding(patterns: &[&str]) -> ScanOptions {
        ScanOptions {
            exclude: patterns.iter().map(ToString::to_string).collect(),
            ..ScanOptions::default()
        }
    }

    #[test]
    fn what_a_btignore_names_is_left_out_from_its_folder_down() {
        let dir = tempfile::tempdir().expect("tempdir");
        for name in [
            "a.jpg",
            "raw/b.jpg",
            "trip/raw/c.jpg",
            "trip/d.png",
            "trip/e.jpg",
        ] {
            touch(&dir.path().join(name));
        }
        let rules = |folder: &str, text: &str| {
            std::fs::write(dir.path().join(folder).join(".btignore"), text).expect("writes");
        };
        let plain = ScanOptions::default();
        rules("", "# not these\nraw/\n");
        assert_eq!(
            found(dir.path(), &plain).0,
            ["a.jpg", "trip/d.png", "trip/e.jpg"]
        );
        rules("", "/raw\n*.jpg\n");
        rules("trip", "!e.jpg\n");
        assert_eq!(found(dir.path(), &plain).0, ["trip/d.png", "trip/e.jpg"]);
        rules("trip", "*.png\n");
        rules("", "");
        assert_eq!(
            found(dir.path(), &plain).0,
            ["a.jpg", "raw/b.jpg", "trip/e.jpg", "trip/raw/c.jpg"]
        );
    }

    /// A build of one folder takes in what a build of everything would.
    #[test]
    fn the_btignore_of_a_folder_above_counts_too() {
        let dir = tempfile::tempdir().expect("tempdir");
        for name in ["trip/a.jpg", "trip/raw/b.jpg"] {
            touch(&dir.path().join(name));
        }
        std::fs::write(dir.path().join(".btignore"), "/trip/raw\n").expect("writes");
        let trip = dir.path().join("trip");
        assert_eq!(found(&trip, &ScanOptions::default()).0, ["a.jpg"]);
    }

    #[test]
    fn other_programs_ignore_files_do_not_count() {
        let dir = tempfile::tempdir().expect("tempdir");
        std::fs::create_dir(dir.path().join(".git")).expect("creates");
        touch(&dir.path().join("a.jpg"));
        for name in [".gitignore", ".ignore"] {
            std::fs::write(dir.path().join(name), "*.jpg\n").expect("writes");
        }
        assert_eq!(found(dir.path(), &ScanOptions::default()).0, ["a.jpg"]);
    }

    #[test]
    fn excluded_patterns_work_as_in_a_gitignore() {
        let dir = tempfile::tempdir().expect("tempdir");
        for name in ["a.jpg", "a.png", "raw/b.jpg", "trip/raw/c.jpg"] {
            touch(&dir.path().join(name));
        }
        let left = |patterns: &[&str]| found(dir.path(), &excluding(patterns)).0;
        assert_eq!(left(&["raw/"]), ["a.jpg", "a.png"]);
        assert_eq!(left(&["/raw"]), ["a.jpg", "a.png", "trip/raw/c.jpg"]);
        assert_eq!(left(&["*.jpg", "!c.jpg"]), ["a.png", "trip/raw/c.jpg"]);
        assert_eq!(left(&["trip/**", "*.png"]), ["a.jpg", "raw/b.jpg"]);
    }

    #[test]
    fn hidden_photos_are_found_on_demand() {
        let dir = tempfile::tempdir().expect("tempdir");
        for name in ["a.jpg", ".b.jpg", ".album/c.jpg"] {
            touch(&dir.path().join(name));
        }
        let hidden = ScanOptions {
            hidden: true,
            one_file_system: true,
            ..ScanOptions::default()
        };
        assert_eq!(
            found(dir.path(), &hidden).0,
            [".album/c.jpg", ".b.jpg", "a.jpg"]
        );
        std::fs::write(dir.path().join(".btignore"), ".album\n").expect("writes");
        assert_eq!(found(dir.path(), &hidden).0, [".b.jpg", "a.jpg"]);
    }

    #[test]
    fn malformed_lines_of_a_btignore_are_told_and_the_others_count() {
        let dir = tempfile::tempdir().expect("tempdir");
        for name in ["a.jpg", "b.jpg", "trip/c.jpg"] {
            touch(&dir.path().join(name));
        }
        std::fs::write(dir.path().join(".btignore"), "[z-a]\nb.jpg\n{x\n").expect("writes");
        std::fs::write(dir.path().join("trip/.btignore"), b"caf\xe9\n").expect("writes");
        let (files, complaints) = found(dir.path(), &ScanOptions::default());
        assert_eq!(files, ["a.jpg", "trip/c.jpg"]);
        let names: Vec<_> = complaints.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, [".btignore", ".btignore", "trip/.btignore"]);
        for (complaint, what) in complaints.iter().zip(["line 1", "line 3", "line 1"]) {
            assert!(complaint.1.starts_with(what), "{complaint:?}");
        }
    }

    #[test]
    fn malformed_excluded_patterns_are_refused() {
        let dir = tempfile::tempdir().expect("tempdir");
        touch(&dir.path().join("a.jpg"));
        let refused = scan(&[dir.path().into()], &excluding(&["*.png", "{a"]));
        assert!(matches!(refused, Err(Error::Pattern { pattern, .. }) if pattern == "{a"));
    }

    #[test]
    fn a_folder_of_which_everything_is_left_out_is_not_taken_for_an_empty_one() {
        let dir = tempfile::tempdir().expect("tempdir");
        touch(&dir.path().join("trip/a.jpg"));
        let roots = [dir.path().to_path_buf()];
        for options in [excluding(&["*.jpg"]), excluding(&["trip"])] {
            let nothing = scan(&roots, &options).expect_err("all left out");
            assert!(matches!(nothing, Error::AllLeftOut { .. }));
        }
        std::fs::rename(dir.path().join("trip"), dir.path().join(".trip")).expect("renames");
        let nothing = scan(&roots, &ScanOptions::default()).expect_err("hidden");
        assert!(matches!(nothing, Error::AllLeftOut { .. }));
    }

    /// Photos below a folder that cannot be read must be known to be unseen, rather than taken for gone.
    #[cfg(unix)]
    #[test]
    fn an_unreadable_folder_is_told_by_its_path() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("tempdir");
        touch(&dir.path().join("a.jpg"));
        touch(&dir.path().join("locked/b.jpg"));
        let locked = dir.path().join("locked");
        let permit = |mode| std::fs::set_permissions(&locked, PermissionsExt::from_mode(mode));
        permit(0o000).expect("locks");
        if std::fs::read_dir(&locked).is_err() {
            let (files, complaints) = found(dir.path(), &ScanOptions::default());
            assert_eq!(
                (files, complaints[0].0.as_str()),
                (vec!["a.jpg".into()], "locked")
            );
        }
        permit(0o700).expect("unlocks");
    }
}
