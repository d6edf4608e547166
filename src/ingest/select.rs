//! Which files of the photo folders count: hidden ones, `.btignore`, and patterns given for one build.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use ignore::gitignore::{Gitignore, GitignoreBuilder};
use ignore::{Walk, WalkBuilder};

use crate::error::{Error, Result};
use crate::processor::is_photo;

/// Patterns of what to leave out, in any folder, in the syntax of `.gitignore`.
const IGNORE_FILE: &str = ".btignore";

/// Which photos of the folders count. A photo that an earlier build took in and this one leaves out goes
/// from the index as a deleted one does; a later build without these settings takes it in again.
///
/// `.btignore` files count always, those of the folders above included: a build of one folder takes in
/// what a build of everything would.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScanOptions {
    /// Leaves out what matches one of these lines of a `.gitignore`; a leading `/` stands for each photo
    /// folder, a leading `!` takes back what an earlier line leaves out.
    pub exclude: Vec<String>,
    /// Takes in hidden files and folders: those whose name starts with a dot.
    pub hidden: bool,
    /// Stays on the file system of each photo folder.
    pub one_file_system: bool,
}

impl ScanOptions {
    /// Refuses what is no pattern with [`Error::Pattern`].
    pub fn check(&self) -> Result<()> {
        self.excluded(Path::new("")).map(drop)
    }

    /// Everything below `root` that is not left out, and `root` itself.
    pub(super) fn walk(&self, root: &Path) -> Result<Walk> {
        let excluded = self.excluded(root)?;
        Ok(WalkBuilder::new(root)
            // Neither git's rules nor other programs' say anything about photos.
            .standard_filters(false)
            .hidden(!self.hidden)
            .parents(true)
            .add_custom_ignore_filename(IGNORE_FILE)
            .same_file_system(self.one_file_system)
            .filter_entry(move |entry| {
                let is_dir = entry.file_type().is_some_and(|kind| kind.is_dir());
                !excluded.matched(entry.path(), is_dir).is_ignore()
            })
            .build())
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
