//! The difference between the folders and the index.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::options::BuildOptions;
use super::report::BrokenFiles;
use super::roots::is_below;
use super::scan::{PhotoFile, Scan};
use super::stamp::Stamp;
use crate::error::Result;

/// The work of a build, and what a scan tells about photos that it did not find.
#[derive(Default)]
pub(super) struct Difference {
    pub(super) unchanged: usize,
    pub(super) to_read: Vec<PhotoFile>,
    /// Unchanged, but the index does not hold their change time yet.
    pub(super) undated: Vec<PhotoFile>,
    pub(super) unsettled: Vec<PathBuf>,
    pub(super) broken: BrokenFiles,
    in_folders: HashSet<PathBuf>,
    roots: Vec<PathBuf>,
    /// [`Scan::linked_roots`]
    linked_roots: Vec<(PathBuf, PathBuf)>,
    /// Photos below these may exist, although they were not seen.
    unseen: Vec<PathBuf>,
}

impl Difference {
    /// Compares a scan with the index, by path.
    pub(super) fn new(
        scan: &mut Scan,
        known: impl Fn(&Path) -> Result<Option<Stamp>>,
        options: &BuildOptions,
    ) -> Result<Self> {
        let unreadable = scan.unreadable.iter().map(|(path, _)| path);
        let away = scan.away.iter().map(|(path, _)| path);
        let unseen = unreadable.chain(away).chain(&scan.hollow);
        let mut difference = Self {
            unseen: unseen.cloned().collect(),
            roots: scan.roots.clone(),
            linked_roots: std::mem::take(&mut scan.linked_roots),
            ..Self::default()
        };
        for file in std::mem::take(&mut scan.files) {
            difference.in_folders.insert(file.path.clone());
            match known(&file.path)? {
                Some(known) if file.stamp.is_same(&known, options.compare) => {
                    difference.unchanged += 1;
                    if known.ctime_ns.is_none() && file.stamp.ctime_ns.is_some() {
                        difference.undated.push(file);
                    }
                }
                _ if options.broken.0.contains(&file) => {
                    difference.broken.0.insert(file);
                }
                _ if file.is_newer_than(options.settle) => difference.unsettled.push(file.path),
                _ => difference.to_read.push(file),
            }
        }
        Ok(difference)
    }

    /// Returns the folders that hold photos.
    pub(super) fn roots(&self) -> &[PathBuf] {
        &self.roots
    }

    /// Returns the number of photos in them.
    pub(super) fn found(&self) -> usize {
        self.in_folders.len()
    }

    /// Returns whether a photo of the index is missing from the folders. One below a place that could not be read is
    /// not.
    pub(super) fn misses(&self, photo: &Path) -> bool {
        // A link may stand today where the folder of an earlier build was.
        let linked = self.linked_roots.iter().find_map(|(given, real)| {
            let rest = photo.strip_prefix(given).ok()?;
            Some(real.join(rest))
        });
        let place = linked.as_deref().unwrap_or(photo);
        is_below(&self.roots, place)
            && !is_below(&self.unseen, place)
            && !self.in_folders.contains(photo)
    }

    /// Returns whether this build covers a folder of an earlier one, perhaps by another path.
    pub(super) fn sees(&self, root: &Path) -> bool {
        let mut linked = self.linked_roots.iter();
        is_below(&self.roots, root)
            || linked.any(|(given, real)| given == root && is_below(&self.roots, real))
    }
}
