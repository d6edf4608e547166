//! An index into files for other programs.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::Path;

use npyz::WriterBuilder as _;

use super::draft::{Draft, write_drafts};
use super::format::{Checksums, EMBEDDINGS, MANIFEST, Manifest, PHOTOS, PhotoLine};
use super::report::{ExportReport, vectors_in_use};
use crate::error::{Error, Result};
use crate::index::folder::files::sync_dir;
use crate::index::reader::IndexReader;
use crate::index::snapshot::Snapshot;

/// Photos between two calls of `progress`.
const STEP: usize = 1000;

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
    write_drafts(dir, force, &[EMBEDDINGS, PHOTOS, MANIFEST], || {
        write_files(index, dir, progress)
    })
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
