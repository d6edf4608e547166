//! Which files of the photo folders count: hidden ones, `.btignore`, and patterns given for one build.

use std::collections::{BTreeSet, HashSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ignore::gitignore::{Gitignore, GitignoreBuilder};
use ignore::{DirEntry, Match, Walk, WalkBuilder};

use super::clutter::is_of_another_program;
use crate::error::{Error, Result};
use crate::processor::is_photo;

/// Patterns of what to leave out, in any folder, in the syntax of `.gitignore`.
const IGNORE_FILE: &str = ".btignore";

/// Which photos of the folders count. A photo that an earlier build took in and this one leaves out goes
/// from the index as a deleted one does; a later build without these settings takes it in again.
///
/// `.btignore` files count always, those of the folders above included: a build of one folder takes in
/// what a build of everything would.
///
/// Thumbnails, previews and trash of well-known programs are left out by the names of their folders, unless a line of
/// either kind takes them back: `!@eaDir/`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScanOptions {
    /// Leaves out what matches one of these lines of a `.gitignore`; a leading `/` stands for each photo
    /// folder, a leading `!` takes back what an earlier line leaves out.
    pub exclude: Vec<String>,
    /// Takes in hidden files and folders: those whose name starts with a dot.
    pub hidden: bool,
    /// Stays on the file system of each photo folder.
    pub one_file_system: bool,
    /// Goes into folders that links lead to, each once. Photos there are known by the link's path.
    pub follow: bool,
}

/// The real paths of folders that were walked, so that no link leads into one again.
#[derive(Debug, Clone, Default)]
pub(super) struct Visited(Arc<Mutex<HashSet<PathBuf>>>);

impl Visited {
    pub(super) fn contains(&self, real: &Path) -> bool {
        self.lock().contains(real)
    }

    /// False if it is in there already.
    fn insert(&self, real: PathBuf) -> bool {
        self.lock().insert(real)
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<PathBuf>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ScanOptions {
    /// Refuses what is no pattern with [`Error::Pattern`].
    pub fn check(&self) -> Result<()> {
        self.excluded(Path::new("")).map(drop)
    }

    /// Everything below `root` that is not left out, and `root` itself; not what links to folders lead to.
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

    /// Everything that is not left out behind the links `links` in the folder `parent`, and `parent` itself.
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

/// Whether a change of the file at `path` can change what a build takes in: a photo by its name, or a
/// `.btignore`.
pub fn concerns_build(path: &Path) -> bool {
    is_photo(path) || path.file_name().is_some_and(|name| name == IGNORE_FILE)
}

/// Whether neither a pattern nor the name of another program's folder leaves out `path`.
fn counts(path: &Path, is_dir: bool, excluded: &Gitignore) -> bool {
    match excluded.matched(path, is_dir) {
        Match::Ignore(_) => false,
        Match::Whitelist(_) => true,
        Match::None => !is_of_another_program(path, is_dir) || is_taken_back(path, is_dir),
    }
}

/// Whether a `.btignore` takes in what its name would leave out: the nearest one that says anything of it.
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

/// Whether there is a photo below `root` when nothing is left out.
pub(super) fn holds_photos(root: &Path) -> bool {
    let everything = WalkBuilder::new(root).standard_filters(false).build();
    everything
        .flatten()
        .any(|entry| is_photo(entry.path()) && entry.path().is_file())
}

/// What is wrong with a folder's `.btignore`, line by line. The walk applies the lines that are right, but
/// keeps quiet about a file or line that it cannot read.
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

/// Whether a walk stopped at a link to a folder that it is in.
pub(super) fn is_loop(error: &ignore::Error) -> bool {
    match error {
        ignore::Error::Loop { .. } => true,
        ignore::Error::WithPath { err, .. } | ignore::Error::WithDepth { err, .. } => is_loop(err),
        _ => false,
    }
}

/// The paths that an error is about, with what is wrong there; `path` where it names none.
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
