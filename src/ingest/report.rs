//! The reports of a build, while it runs and at its end.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::scan::PhotoFile;
use crate::json::{path_entry, paths_entry};

/// Files that cannot be decoded, as they were when decoding was tried.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BrokenFiles(pub(super) HashSet<PhotoFile>);

/// An event of a running build.
#[derive(Debug, Clone, PartialEq)]
pub enum BuildEvent<'a> {
    /// The folders were walked: photos found, and how many of them are new or changed.
    Planned {
        /// Photos in the folders.
        found: usize,
        /// Photos to read.
        to_read: usize,
    },
    /// Some of the photos to read are done.
    Progress {
        /// Photos embedded, recognised or skipped.
        done: usize,
    },
    /// A file or folder is left out of the index.
    Skipped {
        /// The file or folder.
        path: &'a Path,
        /// The reason.
        reason: &'a str,
    },
    /// A folder is missing or looks empty; the index keeps its photos, and the build continues.
    Away(&'a AwayFolder),
    /// A folder of earlier builds is gone, and all its photos were found elsewhere. It is no longer built.
    Renamed {
        /// Where it was.
        folder: &'a Path,
    },
    /// Links to folders were not followed, and nothing else leads to those folders.
    PassedOver {
        /// All of them.
        links: &'a [PathBuf],
    },
    /// The cache takes no further photos; the build continues.
    CacheStopped {
        /// The reason.
        reason: &'a str,
    },
    /// Everything up to here survives a crash.
    Committed {
        /// Photos in the index.
        photos: usize,
    },
    /// The graph is being built.
    Graph {
        /// Photos in it so far.
        done: usize,
        /// Photos that it will hold.
        total: usize,
    },
    /// The current state is being written for queries.
    Publishing,
    /// Queries see it.
    Published,
}

/// A photo folder that is missing or looks empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwayFolder {
    /// Its path, as far as it exists without links.
    pub path: PathBuf,
    /// What was found instead.
    pub reason: String,
    /// Photos that the index keeps below it.
    pub photos: usize,
}

/// The result of a build.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuildReport {
    /// Photos found in the folders.
    pub found: usize,
    /// Photos that were in the index, unchanged.
    pub unchanged: usize,
    /// Photos that went through the model.
    pub embedded: usize,
    /// Number of those that were added to the cache for reranking.
    pub cached: usize,
    /// Photos recognised by their content: moved, renamed, touched or copied.
    pub recognised: usize,
    /// Photos that left the index.
    pub removed: usize,
    /// Files and folders left out, with the reason.
    pub skipped: Vec<(PathBuf, String)>,
    /// Files that were being written, left for a later build.
    pub unsettled: Vec<PathBuf>,
    /// Folders that are missing or look empty.
    pub away: Vec<AwayFolder>,
    /// Folders of earlier builds that are gone, all their photos having been found elsewhere.
    pub renamed: Vec<PathBuf>,
    /// Links to folders that were not followed.
    pub links: Vec<PathBuf>,
    /// The files left out that cannot be decoded, and those that [`BuildOptions::broken`](super::BuildOptions::broken) named.
    pub broken: BrokenFiles,
}

/// The work that a build would find.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    /// Photos that came, changed or went.
    pub changes: usize,
    /// Files that are being written.
    pub unsettled: usize,
    /// Folders that are missing or look empty.
    pub away: Vec<AwayFolder>,
}

/// Writes the report of `bt-index build --json`, except for what only the program knows.
impl Serialize for BuildReport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let skipped = self.skipped.iter();
        let skipped: Vec<_> = skipped
            .map(|(path, reason)| Skipped { path, reason })
            .collect();
        let mut object = serializer.serialize_map(None)?;
        object.serialize_entry("found", &self.found)?;
        object.serialize_entry("unchanged", &self.unchanged)?;
        object.serialize_entry("embedded", &self.embedded)?;
        object.serialize_entry("cached", &self.cached)?;
        object.serialize_entry("recognised", &self.recognised)?;
        object.serialize_entry("removed", &self.removed)?;
        object.serialize_entry("skipped", &skipped)?;
        object.serialize_entry("unsettled", &self.unsettled.len())?;
        object.serialize_entry("away", &self.away)?;
        paths_entry(&mut object, "renamed", &self.renamed)?;
        paths_entry(&mut object, "links", &self.links)?;
        object.end()
    }
}

impl Serialize for AwayFolder {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        path_entry(&mut object, "folder", &self.path)?;
        object.serialize_entry("reason", &self.reason)?;
        object.serialize_entry("photos", &self.photos)?;
        object.end()
    }
}

/// A file or folder that was left out, with the reason.
struct Skipped<'a> {
    path: &'a Path,
    reason: &'a str,
}

impl Serialize for Skipped<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        path_entry(&mut object, "path", self.path)?;
        object.serialize_entry("reason", self.reason)?;
        object.end()
    }
}
