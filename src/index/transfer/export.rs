//! An index into files for other programs.

use std::fs::{self, File};
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use npyz::WriterBuilder as _;

use super::format::{Checksums, EMBEDDINGS, Hashing, MANIFEST, Manifest, PHOTOS, PhotoLine};
use super::parquet::{self, PARQUET};
use crate::error::{Error, Result};
use crate::index::folder::files::sync_dir;
use crate::index::reader::IndexReader;
use crate::index::snapshot::Snapshot;

const DRAFT_SUFFIX: &str = ".tmp";
const BUFFER: usize = 1 << 20;
/// Photos between two calls of `progress`.
const STEP: usize = 1000;

/// What [`export`] wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExportReport {
    /// Lines of `photos.jsonl`.
    pub photos: usize,
    /// Rows of `embeddings.npy`: photos with equal embeddings share one.
    pub vectors: usize,
    /// Bytes of all files.
    pub bytes: u64,
}

impl IndexReader {
    /// Writes the index to the files of an export in `dir`; ARCHITECTURE.md describes them. `progress` gets
    /// (photos done, photos in all).
    ///
    /// `dir` is created if need be. It must be empty or hold an earlier export, unless `force`: files of other
    /// names stay even then. What was there is replaced at the very end; a crash before that leaves it, and one
    /// in between leaves files without an `index.json`, which are no export.
    ///
    /// [`Error::NotEmpty`] if something else is in the folder.
    pub fn export(
        &self,
        dir: &Path,
        force: bool,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<ExportReport> {
        export(self, dir, force, progress)
    }
}

fn export(
    index: &IndexReader,
    dir: &Path,
    force: bool,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<ExportReport> {
    claim(dir, force)?;
    let exported = write_files(index, dir, progress);
    if exported.is_err() {
        for name in [EMBEDDINGS, PHOTOS, MANIFEST] {
            // What cannot be removed either is no trouble: the next export writes over it.
            let _ = fs::remove_file(dir.join(draft_name(name)));
        }
    }
    exported
}

/// Drafts of all files first, then their names.
fn write_files(
    index: &IndexReader,
    dir: &Path,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<ExportReport> {
    let vectors = vectors_in_use(index.snapshot());
    let mut embeddings = Draft::create(dir, EMBEDDINGS)?;
    let mut photos = Draft::create(dir, PHOTOS)?;
    write_records(index, vectors, &mut embeddings, &mut photos, progress)?;
    let (embeddings, photos) = (embeddings.finish()?, photos.finish()?);

    let checksums = Checksums {
        embeddings: embeddings.blake3.clone(),
        photos: photos.blake3.clone(),
    };
    let (count, vector_count) = (index.len() as u64, vectors as u64);
    let manifest = Manifest::new(&index.snapshot().info, count, vector_count, Some(checksums))?;
    let mut draft = Draft::create(dir, MANIFEST)?;
    serde_json::to_writer_pretty(&mut draft.out, &manifest)
        .map_err(Into::into)
        .and_then(|()| writeln!(draft.out))
        .map_err(Error::io(&draft.path))?;
    let manifest = draft.finish()?;

    // Without its index.json the former export is none, so that no crash can mix the two.
    match fs::remove_file(&manifest.path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(Error::io(&manifest.path)(error));
        }
        _ => {}
    }
    for file in [&embeddings, &photos, &manifest] {
        fs::rename(&file.draft, &file.path).map_err(Error::io(&file.path))?;
    }
    sync_dir(dir)?;
    Ok(ExportReport {
        photos: index.len(),
        vectors,
        bytes: embeddings.bytes + photos.bytes + manifest.bytes,
    })
}

/// Vectors that have photos.
pub(super) fn vectors_in_use(snapshot: &Snapshot) -> usize {
    let rows = 0..snapshot.vectors().rows() as u32;
    rows.filter(|&row| !snapshot.photos_of(row).is_empty())
        .count()
}

/// Rows are numbered in the order of the first photo that has them, so that photos keep their order but for
/// copies, and vectors without photos are left out.
fn write_records(
    index: &IndexReader,
    vectors: usize,
    embeddings: &mut Draft,
    photos: &mut Draft,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<()> {
    let snapshot = index.snapshot();
    let shape = [vectors as u64, index.model().dim as u64];
    let path = embeddings.path.clone();
    let mut npy = npyz::WriteOptions::<f32>::new()
        .default_dtype()
        .shape(&shape)
        .writer(&mut embeddings.out)
        .begin_nd()
        .map_err(Error::io(&path))?;
    let (mut row, mut done) = (0, 0_usize);
    for position in 0..index.len() as u32 {
        let stored_row = snapshot.row_of(position);
        let sharing = snapshot.photos_of(stored_row);
        if sharing.first() != Some(&position) {
            continue;
        }
        let vector = snapshot.vectors().row(stored_row);
        npy.extend(vector.iter().copied())
            .map_err(Error::io(&path))?;
        for &position in sharing {
            write_line(snapshot, row, position, photos)?;
            done += 1;
            if done.is_multiple_of(STEP) || done == index.len() {
                progress(done, index.len());
            }
        }
        row += 1;
    }
    npy.finish().map_err(Error::io(path))
}

fn write_line(snapshot: &Snapshot, row: u64, position: u32, photos: &mut Draft) -> Result<()> {
    let line = PhotoLine::new(row, &snapshot.record(position)?.photo)?;
    serde_json::to_writer(&mut photos.out, &line)
        .map_err(Into::into)
        .and_then(|()| photos.out.write_all(b"\n"))
        .map_err(Error::io(&photos.path))
}

/// Makes sure that nothing of anyone else's is overwritten.
pub(super) fn claim(dir: &Path, force: bool) -> Result<()> {
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

pub(super) fn draft_name(name: &str) -> String {
    format!("{name}{DRAFT_SUFFIX}")
}

/// A file that gets its name when all of them are complete.
pub(super) struct Draft {
    pub out: BufWriter<Hashing<File>>,
    /// Where it is written.
    pub path: PathBuf,
    /// What it will be called.
    target: PathBuf,
}

/// A draft that is complete and durable.
pub(super) struct Finished {
    pub draft: PathBuf,
    pub path: PathBuf,
    pub bytes: u64,
    blake3: String,
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
