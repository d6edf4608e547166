//! Finds the photos in folders.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use ignore::Walk;

use super::roots::{indexed_path, resolve};
use super::select::{ScanOptions, Visited, faults, faulty_patterns, holds_photos, is_loop};
use super::stamp::Stamp;
use crate::error::{Error, Result};
use crate::photo::nanoseconds;
use crate::processor::is_photo;

/// The result of a walk over the photo folders.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// The folders that hold photos: absolute, without links, sorted, each once.
    pub(super) roots: Vec<PathBuf>,
    /// Folders that are missing or look empty, as an unmounted drive does, and why. Photos known below them are kept.
    pub(super) away: Vec<(PathBuf, Error)>,
    /// Folders that were given by a path with links, and what they are.
    pub(super) linked_roots: Vec<(PathBuf, PathBuf)>,
    /// Photos, sorted by path, each once.
    pub(super) files: Vec<PhotoFile>,
    /// Files and folders that could not be read, with the reason. Photos known below them are kept.
    pub(super) unreadable: Vec<(PathBuf, String)>,
    /// Things that are named like a photo and are not files, with what they are.
    pub(super) not_files: Vec<(PathBuf, String)>,
    /// Links that were not followed, to folders that nothing else leads to.
    pub(super) links: Vec<PathBuf>,
    /// Followed links that lead to nothing, or to no photo, as those to an unmounted drive do. Photos known below them
    /// are kept.
    pub(super) hollow: Vec<PathBuf>,
}

/// A file that may be a photo.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct PhotoFile {
    /// Absolute path.
    pub(super) path: PathBuf,
    /// Size and times, to notice changes by.
    pub(super) stamp: Stamp,
}

/// Returns the photos that a build of `folders` would look at, sorted by path.
pub fn find_photos(folders: &[PathBuf], options: &ScanOptions) -> Result<Vec<PathBuf>> {
    let scan = scan(folders, options)?;
    Ok(scan.files.into_iter().map(|file| file.path).collect())
}

/// Walks `folders` for what `options` selects. Links to files are followed. A folder that is missing or holds no photo
/// does not stop the others; it is an error only if all are.
pub(super) fn scan(folders: &[PathBuf], options: &ScanOptions) -> Result<Scan> {
    options.check()?;
    let mut scan = Scan::default();
    let mut roots = BTreeSet::new();
    for folder in folders {
        match resolve(folder) {
            Ok(root) => {
                if root != *folder {
                    scan.linked_roots.push((folder.clone(), root.clone()));
                }
                roots.insert(root);
            }
            Err(error) => scan.away.push((indexed_path(folder), error)),
        }
    }
    let mut walker = Walker {
        options,
        scan,
        seen: HashSet::new(),
        visited: Visited::default(),
        links: BTreeMap::new(),
        followed: Vec::new(),
    };
    for root in &roots {
        walker.walk(root)?;
    }
    walker.settle_links()?;
    let mut scan = walker.end();
    for root in roots {
        if scan.has_photos_below(&root) {
            scan.roots.push(root);
        } else {
            let reason = why_empty(&root);
            if matches!(reason, Error::Io { .. }) {
                // It says it all.
                scan.unreadable.retain(|(path, _)| !path.starts_with(&root));
            }
            scan.away.push((root, reason));
        }
    }
    if scan.roots.is_empty() && !scan.away.is_empty() {
        return Err(scan.away.swap_remove(0).1);
    }
    Ok(scan)
}

/// Returns the reason why no photo was found in a folder.
fn why_empty(root: &Path) -> Error {
    let path = root.to_owned();
    match root.read_dir() {
        Err(source) if root.is_dir() => Error::io(root)(source),
        _ if holds_photos(root) => Error::AllLeftOut { path },
        _ => Error::NoPhotos { path },
    }
}

/// A walk in progress.
struct Walker<'a> {
    options: &'a ScanOptions,
    scan: Scan,
    seen: HashSet<PathBuf>,
    visited: Visited,
    /// Links to folders, by the folder that they are in and the root above it.
    links: BTreeMap<(PathBuf, PathBuf), BTreeSet<PathBuf>>,
    followed: Vec<PathBuf>,
}

impl Walker<'_> {
    fn walk(&mut self, root: &Path) -> Result<()> {
        let walk = self.options.walk(root, &self.visited)?;
        self.take_all(walk, root);
        Ok(())
    }

    fn take_all(&mut self, walk: Walk, root: &Path) {
        for entry in walk {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    self.complain(&error, root);
                    continue;
                }
            };
            let path = entry.path();
            let kind = entry.file_type();
            if kind.is_some_and(|kind| kind.is_dir()) {
                if entry.path_is_symlink() && entry.depth() > 0 {
                    self.followed.push(path.to_owned());
                }
                self.scan.unreadable.extend(faulty_patterns(path));
            } else if kind.is_some_and(|kind| kind.is_symlink()) {
                self.take_link(path, root);
            } else if is_photo(path) {
                self.take(path, std::fs::metadata(path));
            }
        }
    }

    fn take_link(&mut self, path: &Path, root: &Path) {
        match std::fs::metadata(path) {
            Ok(found) if found.is_dir() => {
                let parent = path.parent().unwrap_or(root);
                let links = self.links.entry((root.to_owned(), parent.to_owned()));
                links.or_default().insert(path.to_owned());
            }
            found if is_photo(path) => self.take(path, found),
            Err(_) if self.options.follow => self.scan.hollow.push(path.to_owned()),
            _ => {}
        }
    }

    fn take(&mut self, path: &Path, found: std::io::Result<Metadata>) {
        match found.and_then(|found| Ok((Stamp::of(&found)?, found))) {
            Ok((stamp, found)) if found.is_file() => {
                if self.seen.insert(path.to_owned()) {
                    let path = path.to_owned();
                    self.scan.files.push(PhotoFile { path, stamp });
                }
            }
            Ok(_) => {
                let reason = "not a file but a pipe, a socket or a device";
                self.scan.not_files.push((path.into(), reason.into()));
            }
            Err(error) => self.scan.unreadable.push((path.into(), error.to_string())),
        }
    }

    /// Records an error of the walk. A loop of links hides nothing; a link that leads nowhere may have led to a folder.
    fn complain(&mut self, error: &ignore::Error, root: &Path) {
        if is_loop(error) {
            return;
        }
        for (path, reason) in faults(error, root) {
            if path.is_symlink() && !path.exists() && !is_photo(&path) {
                self.scan.hollow.push(path);
            } else {
                self.scan.unreadable.push((path, reason));
            }
        }
    }

    /// Follows the links to folders that were found, or records those that photos lie behind. The folders themselves
    /// were walked first, so that photos are known by their own path if they have one.
    fn settle_links(&mut self) -> Result<()> {
        for ((root, parent), links) in std::mem::take(&mut self.links) {
            if self.options.follow {
                let options = self.options;
                let walk = options.walk_links(&root, &parent, links, &self.visited)?;
                self.take_all(walk, &root);
            } else {
                let is_seen = |link: &PathBuf| {
                    let real = link.canonicalize();
                    real.is_ok_and(|real| self.visited.contains(&real))
                };
                let unseen = links.into_iter().filter(|link| !is_seen(link));
                self.scan.links.extend(unseen);
            }
        }
        Ok(())
    }

    fn end(self) -> Scan {
        let mut scan = self.scan;
        scan.files.sort();
        // A folder inside another one is walked twice.
        for complaints in [&mut scan.unreadable, &mut scan.not_files] {
            complaints.sort();
            complaints.dedup();
        }
        for link in self.followed {
            if !scan.has_photos_below(&link) {
                scan.hollow.push(link);
            }
        }
        scan
    }
}

impl Scan {
    fn has_photos_below(&self, folder: &Path) -> bool {
        let first = self.files.partition_point(|file| *file.path < *folder);
        let first = self.files.get(first);
        first.is_some_and(|file| file.path.starts_with(folder))
    }
}

impl PhotoFile {
    /// Returns the file behind `path`, unless it is something else, such as a folder or a socket.
    pub(super) fn at(path: &Path) -> std::io::Result<Option<Self>> {
        let metadata = std::fs::metadata(path)?;
        if !metadata.is_file() {
            return Ok(None);
        }
        Ok(Some(Self {
            path: path.into(),
            stamp: Stamp::of(&metadata)?,
        }))
    }

    /// Returns whether it changed less than `age` ago. A time in the future does not count: the clocks of two machines
    /// may differ, and the file would always be new.
    pub(super) fn is_newer_than(&self, age: Duration) -> bool {
        let now = nanoseconds(SystemTime::now());
        let age = i64::try_from(age.as_nanos()).unwrap_or(i64::MAX);
        (0..age).contains(&now.saturating_sub(self.stamp.mtime_ns))
    }
}
