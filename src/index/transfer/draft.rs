//! Files of an export that get their names when all of them are complete.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use super::format::{EMBEDDINGS, Hashing, MANIFEST, Manifest, PARQUET, PHOTOS};
use super::parquet;
use crate::error::{Error, Result};

const DRAFT_SUFFIX: &str = ".tmp";
const BUFFER: usize = 1 << 20;

/// Writes the files `names` of an export in `dir` by `write`, and removes their drafts if that fails.
pub(super) fn write_drafts<T>(
    dir: &Path,
    force: bool,
    names: &[&str],
    write: impl FnOnce() -> Result<T>,
) -> Result<T> {
    claim(dir, force)?;
    let written = write();
    if written.is_err() {
        for name in names {
            // What cannot be removed either is no trouble: the next export writes over it.
            let _ = fs::remove_file(dir.join(draft_name(name)));
        }
    }
    written
}

/// Makes sure that nothing of anyone else's is overwritten.
fn claim(dir: &Path, force: bool) -> Result<()> {
    fs::create_dir_all(dir).map_err(Error::io(dir))?;
    if force || Manifest::is_in(dir) || parquet::manifest(&dir.join(PARQUET)).is_ok() {
        return Ok(());
    }
    let drafts = [EMBEDDINGS, PHOTOS, MANIFEST, PARQUET].map(draft_name);
    for entry in fs::read_dir(dir).map_err(Error::io(dir))? {
        let name = entry.map_err(Error::io(dir))?.file_name();
        // Drafts are what a killed export leaves.
        if !drafts.iter().any(|draft| name == draft.as_str()) {
            return Err(Error::NotEmpty {
                path: dir.to_owned(),
            });
        }
    }
    Ok(())
}

fn draft_name(name: &str) -> String {
    format!("{name}{DRAFT_SUFFIX}")
}

/// A file that gets its name when all of them are complete.
pub(super) struct Draft {
    pub out: BufWriter<Hashing<File>>,
    /// The path that it is written to.
    pub path: PathBuf,
    /// The path that it will have.
    target: PathBuf,
}

/// A draft that is complete and durable.
pub(super) struct Finished {
    pub draft: PathBuf,
    pub path: PathBuf,
    pub bytes: u64,
    pub blake3: String,
}

impl Draft {
    pub fn create(dir: &Path, name: &str) -> Result<Self> {
        let path = dir.join(draft_name(name));
        let file = File::create(&path).map_err(Error::io(&path))?;
        Ok(Self {
            out: BufWriter::with_capacity(BUFFER, Hashing::new(file)),
            path,
            target: dir.join(name),
        })
    }

    pub fn finish(mut self) -> Result<Finished> {
        let flushed = self.out.flush();
        let file = self.out.get_ref();
        flushed
            .and_then(|()| file.inner.sync_all())
            .map_err(Error::io(&self.path))?;
        Ok(Finished {
            bytes: file.bytes,
            blake3: file.digest(),
            draft: self.path,
            path: self.target,
        })
    }
}
