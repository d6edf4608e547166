//! Selects the files of the photo folders: hidden ones, `.btignore`, and patterns given for one build.

use std::collections::{BTreeSet, HashSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ignore::gitignore::{Gitignore, GitignoreBuilder};
use ignore::{DirEntry, Match, Walk, WalkBuilder};

use super::clutter::is_of_another_program;
use crate::error::{Error, Result};
use crate::processor::is_photo;

/// The file with patterns of what to leave out, in any folder, in the syntax of `.gitignore`.
const IGNORE_FILE: &str = ".btignore";

/// Selects photos of the folders. A photo that an earlier build included and this one leaves out leaves the index as a
/// deleted one does; a later build without these settings includes it again.
///
/// `.btignore` files always count, including those of the folders above: a build of one folder includes what a build of
/// everything would.
///
/// Thumbnails, previews and trash of well-known programs are left out by the names of their folders, unless a line of
/// either kind includes them again: `!@eaDir/`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScanOptions {
    /// Leaves out what matches one of these lines of a `.gitignore`; a leading `/` stands for each photo folder, a
    /// leading `!` includes what an earlier line leaves out.
    pub exclude: Vec<String>,
    /// Includes hidden files and folders: those whose name starts with a dot.
    pub hidden: bool,
    /// Stays on the file system of each photo folder.
    pub one_file_system: bool,
    /// Follows links to folders, each folder once. Photos there are known by the link's path.
    pub follow: bool,
}

/// The real paths of folders that were walked, so that no folder is walked twice by a link.
#[derive(Debug, Clone, Default)]
pub(super) struct Visited(Arc<Mutex<HashSet<PathBuf>>>);

impl Visited {
    pub(super) fn contains(&self, real: &Path) -> bool {
        self.lock().contains(real)
    }

    /// Returns false if it is already there.
    fn insert(&self, real: PathBuf) -> bool {
        self.lock().insert(real)
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<PathBuf>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ScanOptions {
    /// Refuses malformed patterns with [`Error::Pattern`].
    pub fn check(&self) -> Result<()> {
        self.excluded(Path::new("")).map(drop)
    }

    /// Walks everything below `root` that is not left out, and `root` itself, without following links to folders.
    pub(super) fn walk(&self, root: &Path, visited: &Visited) -> Result<Walk> {
        let excluded = self.excluded(root)?;
        let visited = visited.clone();
        visited.insert(root.to_owned());
        let counts = move |entry: &DirEntry| {
            let is_dir = entry.file_type().is_some_and(|kind| kind.is_dir());
            // Below a root, no path leads through a link.
            counts(entry.path(), is_dir, &excluded)
                && (!is_dir || visited.insert(entry.path().to_owned()))
        };
        Ok(self.walker(root).filter_entry(counts).build())
    }

    /// Walks everything that is not left out behind the links `links` in the folder `parent`, and `parent` itself.
    ///
    /// Starts at the folder rather than at the links, since the rules of the folders above them count.
    pub(super) fn walk_links(
        &self,
        root: &Path,
        parent: &Path,
        links: BTreeSet<PathBuf>,
        visited: &Visited,
    ) -> Result<Walk> {
        let excluded = self.excluded(root)?;
        let visited = visited.clone();
        let counts = move |entry: &DirEntry| {
            let path = entry.path();
            let is_dir = entry.file_type().is_some_and(|kind| kind.is_dir());
            let real = || path.canonicalize().unwrap_or_else(|_| path.to_owned());
            (entry.depth() > 1 || links.contains(path))
                && counts(path, is_dir, &excluded)
                && (!is_dir || visited.insert(real()))
        };
        Ok(self
            .walker(parent)
            .follow_links(true)
            // So that of two links to a folder it is always the same that counts.
            .sort_by_file_name(std::cmp::Ord::cmp)
            .filter_entry(counts)
            .build())
    }

    fn walker(&self, root: &Path) -> WalkBuilder {
        let mut walker = WalkBuilder::new(root);
        walker
            // Neither git's rules nor other programs' say anything about photos.
            .standard_filters(false)
            .hidden(!self.hidden)
            .parents(true)
            .add_custom_ignore_filename(IGNORE_FILE)
            .same_file_system(self.one_file_system);
        walker
    }

    fn excluded(&self, root: &Path) -> Result<Gitignore> {
        let mut builder = GitignoreBuilder::new(root);
        for pattern in &self.exclude {
            builder
                .add_line(None, pattern)
                .map_err(|error| malformed(pattern, error))?;
        }
        builder
            .build()
            .map_err(|error| malformed(&self.exclude.join(" "), error))
    }
}

/// Returns whether a change of the file at `path` can affect a build: a photo by its name, or a `.btignore`.
pub fn concerns_build(path: &Path) -> bool {
    is_photo(path) || path.file_name().is_some_and(|name| name == IGNORE_FILE)
}

/// Returns whether `path` is left out neither by a pattern nor by the name of another program's folder.
fn counts(path: &Path, is_dir: bool, excluded: &Gitignore) -> bool {
    match excluded.matched(path, is_dir) {
        Match::Ignore(_) => false,
        Match::Whitelist(_) => true,
        Match::None => !is_of_another_program(path, is_dir) || is_taken_back(path, is_dir),
    }
}

/// Returns whether a `.btignore` includes what its name would leave out; the nearest one that mentions it decides.
fn is_taken_back(path: &Path, is_dir: bool) -> bool {
    let files = path.ancestors().skip(1).map(|dir| dir.join(IGNORE_FILE));
    let mut says = files.filter(|file| file.is_file()).map(|file| {
        let (rules, _) = Gitignore::new(file);
        let verdict = rules.matched(path, is_dir);
        (!verdict.is_none()).then(|| verdict.is_whitelist())
    });
    says.find_map(|verdict| verdict).unwrap_or(false)
}

fn malformed(pattern: &str, error: ignore::Error) -> Error {
    let reason = match error {
        ignore::Error::Glob { err, .. } => err,
        error => error.to_string(),
    };
    Error::Pattern {
        pattern: pattern.to_owned(),
        reason,
    }
}

/// Returns whether there is any photo below `root`, if nothing is left out.
pub(super) fn holds_photos(root: &Path) -> bool {
    let everything = WalkBuilder::new(root).standard_filters(false).build();
    everything
        .flatten()
        .any(|entry| is_photo(entry.path()) && entry.path().is_file())
}

/// Returns the errors in a folder's `.btignore`, line by line. The walk applies the correct lines, but does not report
/// a file or line that it cannot read.
pub(super) fn faulty_patterns(folder: &Path) -> Vec<(PathBuf, String)> {
    let path = folder.join(IGNORE_FILE);
    match GitignoreBuilder::new(folder).add(&path) {
        Some(error) if !is_missing(&error) => faults(&error, &path),
        _ => Vec::new(),
    }
}

fn is_missing(error: &ignore::Error) -> bool {
    error
        .io_error()
        .is_some_and(|error| error.kind() == ErrorKind::NotFound)
}

/// Returns whether a walk stopped at a link to a folder that it is in.
pub(super) fn is_loop(error: &ignore::Error) -> bool {
    match error {
        ignore::Error::Loop { .. } => true,
        ignore::Error::WithPath { err, .. } | ignore::Error::WithDepth { err, .. } => is_loop(err),
        _ => false,
    }
}

/// Returns the paths that an error is about, with the reasons; `path` if it names none.
pub(super) fn faults(error: &ignore::Error, path: &Path) -> Vec<(PathBuf, String)> {
    match error {
        ignore::Error::Partial(errors) => errors
            .iter()
            .flat_map(|error| faults(error, path))
            .collect(),
        ignore::Error::WithPath { path, err } => faults(err, path),
        ignore::Error::WithDepth { err, .. } => faults(err, path),
        error => vec![(path.to_owned(), error.to_string())],
    }
}
