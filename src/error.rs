//! The library's error type. Every message says what went wrong; [`Error::hint`] says what to do.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// `Result` with the library's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong in this library.
///
/// ```
/// use bridgetower::engine::EngineOptions;
/// use bridgetower::{Engine, Error};
///
/// let options = EngineOptions::default();
/// let error = Engine::load("./no-such-folder", &options, &mut |_, _, _| {})
///     .err()
///     .expect("there is no such folder");
/// assert!(matches!(error, Error::NoModel { .. }));
/// println!("{error}; {}", error.hint());
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    // --- photos ---
    /// The file of an indexed photo has changed.
    #[error("{} changed since it was indexed", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// One picture could not be read; a build skips it and carries on.
    #[error("{reason}")]
    Photo {
        /// Why, in words for the person who owns the photo.
        reason: String,
    },

    // --- model ---
    /// No checkpoint at that folder or hub id.
    #[error("no model at {model:?}: {reason}")]
    NoModel {
        /// The folder or hub id as given.
        model: String,
        /// What was not found.
        reason: String,
    },
    /// The folder of the model that an index was built with is gone.
    #[error("the index was built with the model in {model}, but that folder no longer exists")]
    ModelMoved {
        /// The folder.
        model: String,
    },
    /// A checkpoint file is unreadable, truncated, or not what the configuration promises.
    #[error("checkpoint {}: {reason}", path.display())]
    Checkpoint {
        /// The offending file.
        path: PathBuf,
        /// The fault; names the tensor or key.
        reason: String,
    },
    /// The checkpoint lacks the head that the task needs.
    #[error("checkpoint {} has no {head} head ({tensor} is missing)", path.display())]
    MissingHead {
        /// The checkpoint's folder.
        path: PathBuf,
        /// `contrastive (ITC)`, `matching (ITM)` or `masked-word (MLM)`.
        head: &'static str,
        /// The first tensor looked for.
        tensor: String,
    },
    /// The requested device does not exist, or was not compiled in.
    #[error("{reason}")]
    Device {
        /// The missing device or feature.
        reason: String,
    },
    /// A computation failed in candle.
    #[error("computation failed: {0}")]
    Compute(#[from] candle_core::Error),
    /// A query without words.
    #[error("the query is empty")]
    EmptyQuery,
    /// The model's answer is NaN or infinite.
    #[error("{what} came out as NaN or infinite")]
    NoNumber {
        /// The quantity that was computed.
        what: String,
    },
    /// An input that the model cannot take.
    #[error("{reason}")]
    Input {
        /// The reason.
        reason: String,
    },

    // --- filters ---
    /// A condition on photos that cannot be understood, or that no photo could meet.
    #[error("{reason}")]
    Filter {
        /// The reason, with the text as it was typed.
        reason: String,
        /// The accepted forms, in one line.
        accepted: &'static str,
    },

    // --- index ---
    /// No index at that place.
    #[error("no index at {}", path.display())]
    NoIndex {
        /// The index folder.
        path: PathBuf,
    },
    /// The index was built with another model.
    #[error("index {} was built with model {built_with}, not with {given}", path.display())]
    OtherModel {
        /// The index folder.
        path: PathBuf,
        /// Name and fingerprint of the model that built it.
        built_with: String,
        /// Name and fingerprint of the given model.
        given: String,
    },
    /// The index was written by a newer (or unknown) version of this software.
    #[error("index {} has format {found}; this program reads format {supported}", path.display())]
    IndexFormat {
        /// The index folder.
        path: PathBuf,
        /// The format version found.
        found: u32,
        /// The format version this program reads and writes.
        supported: u32,
    },
    /// Stored bytes are damaged.
    #[error("index {} is damaged: {reason}", path.display())]
    Corrupt {
        /// The damaged file or folder.
        path: PathBuf,
        /// The contradiction that was found.
        reason: String,
    },
    /// Neither the store nor the snapshot of an index can be read.
    #[error("index {} is damaged beyond repair: neither its store nor its snapshot can be read", path.display())]
    BeyondRepair {
        /// The index folder.
        path: PathBuf,
    },
    /// Another process is building this index.
    #[error("index {} is being changed by process {pid}", path.display())]
    Busy {
        /// The index folder.
        path: PathBuf,
        /// The process that holds the builder's lock.
        pid: u32,
    },
    /// A folder of photos does not exist.
    #[error("no such folder: {}", path.display())]
    NoFolder {
        /// The folder as given.
        path: PathBuf,
    },
    /// A build without a folder, of an index that has none from earlier builds.
    #[error("no folder was given, and the index knows none from earlier builds")]
    NoFolders,
    /// The folders hold no photo at all.
    #[error("no photos found in {}", path.display())]
    NoPhotos {
        /// The first folder given.
        path: PathBuf,
    },
    /// There are photos, but hidden files, `.btignore` and excluded patterns leave none.
    #[error("all photos in {} are left out", path.display())]
    AllLeftOut {
        /// The first such folder given.
        path: PathBuf,
    },
    /// A malformed pattern of what to leave out.
    #[error("malformed pattern {pattern:?}: {reason}")]
    Pattern {
        /// The pattern as given.
        pattern: String,
        /// The reason.
        reason: String,
    },
    /// An export may not be written among other files.
    #[error("{} is neither empty nor an earlier export", path.display())]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// Files that are not a correct export.
    #[error("{}{}: {reason}", path.display(), line.map_or(String::new(), |line| format!(", line {line}")))]
    Export {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1, if known.
        line: Option<usize>,
        /// The reason.
        reason: String,
    },
    /// An import makes a new index, but one exists already.
    #[error("there is already an index at {}", path.display())]
    IndexExists {
        /// The index folder.
        path: PathBuf,
    },
    /// The cancel flag was raised; everything committed so far is kept.
    #[error("cancelled")]
    Cancelled,

    // --- evaluation ---
    /// A file of pictures and captions that is not well-formed.
    #[error("{}{}: {reason}", path.display(), line.map_or(String::new(), |line| format!(", line {line}")))]
    Dataset {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1, if known.
        line: Option<usize>,
        /// The reason.
        reason: String,
    },

    /// An earlier write to this index failed, so memory may be ahead of the disk.
    #[error("an earlier write to index {} failed, so it takes no further changes", path.display())]
    Unwritten {
        /// The index folder.
        path: PathBuf,
    },

    // --- outside ---
    /// The disk is full.
    #[error("the disk at {} is full: cannot write {}", disk.display(), path.display())]
    DiskFull {
        /// The file or folder that was to be written.
        path: PathBuf,
        /// The mount point of its file system.
        disk: PathBuf,
    },
    /// A file or folder could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
}

impl Error {
    /// Wraps an I/O error together with the path it happened at.
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::DiskFull {
                disk: disk_of(&path),
                path,
            },
            _ => Self::Io { path, source },
        }
    }

    /// Returns advice for the user in one line; empty if the message is enough. It names no flag and no command: a
    /// program that has them can say more.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NoModel { .. } => {
                "give a folder with config.json and weights, a hub id such as BridgeTower/bridgetower-large-itm-mlm-itc, or demo, the small model that is built in"
            }
            Self::ModelMoved { .. } => "if it was moved, give its new place",
            Self::Checkpoint { .. } => {
                "download the checkpoint again, or compare its config.json with its weights"
            }
            Self::MissingHead { head, .. } if head.starts_with("contrastive") => {
                "indexing needs an ITC checkpoint such as BridgeTower/bridgetower-large-itm-mlm-itc"
            }
            Self::MissingHead { .. } => {
                "the checkpoint BridgeTower/bridgetower-large-itm-mlm-gaudi has the ITM and MLM heads"
            }
            Self::Device { .. } => "the CPU works everywhere",
            Self::EmptyQuery => "describe what the photo shows, for example: a cat by a window",
            Self::Filter { accepted, .. } => accepted,
            Self::NoNumber { .. } => {
                "the checkpoint is damaged, or the number format is too narrow: try f32, or download the checkpoint again"
            }
            Self::Changed { .. } => "a build brings the index up to date",
            Self::NoIndex { .. } => "build one first",
            Self::OtherModel { .. } => {
                "use that model, or make a second index, or rebuild this one"
            }
            Self::IndexFormat { .. } => {
                "update this program, or make a second index, or rebuild this one"
            }
            Self::Corrupt { .. } => {
                "a repair saves what it can, and reports what has to be embedded again"
            }
            Self::BeyondRepair { .. } => {
                "a rebuild embeds everything again; photos are never changed"
            }
            Self::Busy { .. } => "wait until it ends, or stop that process; queries work meanwhile",
            Self::NoFolder { .. } => {
                "check the spelling, and that the drive is mounted; nothing was changed"
            }
            Self::NoFolders => "give the folder of the photos",
            Self::NoPhotos { .. } => {
                "give a folder that holds JPEG, PNG, WebP, GIF, TIFF or BMP files; nothing was changed"
            }
            Self::AllLeftOut { .. } => {
                "check its .btignore files and the patterns of what to leave out; hidden files, thumbnails and trash are left out too; nothing was changed"
            }
            Self::Pattern { .. } => {
                "a pattern is a line of .gitignore syntax, such as 'raw/' or '*.png'"
            }
            Self::NotEmpty { .. } => {
                "give a new folder, or overwrite embeddings.npy, photos.jsonl and index.json there; other files stay"
            }
            Self::Export { .. } => {
                "an import reads what an export writes; export again, or correct what the error names; nothing was imported"
            }
            Self::IndexExists { .. } => "give another place, or move that folder away first",
            Self::Dataset { .. } => {
                "each line is a record such as {\"image\": \"cat.jpg\", \"caption\": \"a cat\"}, or the file is Karpathy's split of Flickr30k or COCO"
            }
            Self::DiskFull { .. } => {
                "make room there and run the same command again: the index keeps what was committed, and continues from it"
            }
            Self::Unwritten { .. } => "open the index again: it keeps what was committed",
            Self::Io { source, .. } if source.raw_os_error() == Some(DEVICE_FAILS) => {
                "the disk may be failing, see the system's log; the index keeps what was committed, and the same command continues from it"
            }
            Self::Photo { .. }
            | Self::Compute(_)
            | Self::Input { .. }
            | Self::Cancelled
            | Self::Io { .. } => "",
        }
    }
}

/// The system's error code for a failing device.
const DEVICE_FAILS: i32 = if cfg!(windows) { 1117 } else { 5 };

/// Returns where the file system is mounted that holds a path, or would hold it.
#[cfg(unix)]
fn disk_of(path: &Path) -> PathBuf {
    use std::os::unix::fs::MetadataExt;
    let device = |path: &Path| path.metadata().ok().map(|metadata| metadata.dev());
    let there = path.ancestors().find_map(|path| path.canonicalize().ok());
    let there = there.unwrap_or_else(|| path.to_owned());
    let same = there
        .ancestors()
        .take_while(|path| device(path) == device(&there));
    same.last().unwrap_or(&there).to_owned()
}

/// Returns the drive that holds a path, if paths begin with drives.
#[cfg(not(unix))]
fn disk_of(path: &Path) -> PathBuf {
    path.ancestors().last().unwrap_or(path).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_named_and_the_hint_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index/snapshot.tmp");
        let error = Error::io(&path)(ErrorKind::StorageFull.into());
        let Error::DiskFull { disk, .. } = &error else {
            panic!("{error:?}");
        };
        assert!(folder.path().canonicalize().unwrap().starts_with(disk));
        assert!(error.to_string().contains("is full: cannot write"));
        assert!(error.hint().starts_with("make room there"));
    }
}
