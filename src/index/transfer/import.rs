//! An export into a new index.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::format::{EMBEDDINGS, Hashing, MANIFEST, Manifest, PARQUET, PHOTOS, PhotoLine};
use super::parquet::{self, ParquetRecords};
use super::records::Records;
use crate::embedding::Embedding;
use crate::error::{Error, Result};
use crate::index::changes::Changes;
use crate::index::folder::destroy::destroy;
use crate::index::folder::files::{has_store, published_generation};
use crate::index::writer::IndexWriter;
use crate::photo::Photo;

/// Photos of a commit.
const BATCH: usize = 4096;
/// Photos between two looks at the cancel flag.
const STEP: usize = 1000;
const BUFFER: usize = 1 << 20;
/// No record comes near this; a file without line ends may not ask for all memory.
const LONGEST_LINE: u64 = 1 << 20;

/// Progress of an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportEvent {
    /// Nothing has been written yet.
    Checking {
        /// Photos checked.
        done: usize,
        /// Photos in the export.
        total: usize,
    },
    /// The new index is being filled.
    Importing {
        /// Photos committed.
        done: usize,
        /// Photos in the export.
        total: usize,
    },
    /// All photos can be found; the graph is being built.
    Graph {
        /// Vectors in it so far.
        done: usize,
        /// Vectors that it will hold.
        total: usize,
    },
}

/// The report of an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImportReport {
    /// Photos in the new index.
    pub photos: usize,
    /// Their distinct embeddings in the export.
    pub vectors: usize,
}

/// See [`Index::import`](crate::Index::import).
pub(crate) fn import(
    dir: &Path,
    source: &Path,
    cancel: &AtomicBool,
    on_event: &mut dyn FnMut(ImportEvent),
) -> Result<ImportReport> {
    let taken = || Error::IndexExists {
        path: dir.to_owned(),
    };
    if has_store(dir) || !matches!(published_generation(dir), Ok(None)) {
        return Err(taken());
    }
    let export = Export::find(source)?;
    check(&export, cancel, on_event)?;

    let mut writer = IndexWriter::open(dir, &export.manifest.model())?;
    if !writer.is_empty() {
        return Err(taken());
    }
    if let Err(error) = fill(&mut writer, &export, cancel, on_event) {
        // Half an index would be taken for a whole one by the next build, and embedded to its end.
        drop(writer);
        destroy(dir)?;
        return Err(error);
    }
    writer.publish()?;
    let graph = writer.rebuild_graph_if_stale(cancel, &mut |done, total| {
        on_event(ImportEvent::Graph { done, total });
    });
    writer.publish()?;
    graph?;
    Ok(ImportReport {
        photos: writer.len(),
        vectors: export.manifest.vectors as usize,
    })
}

/// The files of an export.
struct Export {
    manifest: Manifest,
    /// One file, or a folder with three.
    path: PathBuf,
    is_parquet: bool,
}

impl Export {
    /// A folder with either kind of export, or a file of Parquet itself.
    fn find(source: &Path) -> Result<Self> {
        let in_folder = source.join(PARQUET);
        let file = if source.is_file() { source } else { &in_folder };
        if file.is_file() && !source.join(MANIFEST).exists() {
            return Ok(Self {
                manifest: parquet::manifest(file)?,
                path: file.to_owned(),
                is_parquet: true,
            });
        }
        Ok(Self {
            manifest: Manifest::read(source)?,
            path: source.to_owned(),
            is_parquet: false,
        })
    }

    fn records(&self) -> Result<Box<dyn Records + '_>> {
        Ok(if self.is_parquet {
            Box::new(ParquetRecords::open(&self.path, &self.manifest)?)
        } else {
            Box::new(NpyRecords::open(&self.path, &self.manifest)?)
        })
    }
}

/// The first half of an import: whether `source` is an export.
#[cfg(any(test, fuzzing))]
pub(in super::super) fn check_export(source: &Path) -> Result<()> {
    let export = Export::find(source)?;
    check(&export, &AtomicBool::new(false), &mut |_| {})
}

/// Reads the whole export once.
fn check(
    export: &Export,
    cancel: &AtomicBool,
    on_event: &mut dyn FnMut(ImportEvent),
) -> Result<()> {
    let total = export.manifest.photos as usize;
    let mut records = export.records()?;
    let mut numbers: HashMap<PathBuf, usize> = HashMap::new();
    while let Some((photo, _)) = records.next()? {
        let number = records.number();
        if let Some(first) = numbers.insert(photo.path, number) {
            return Err(records.is_the_path_of(first));
        }
        if number.is_multiple_of(STEP) || number == total {
            on_event(ImportEvent::Checking {
                done: number,
                total,
            });
            stop_if(cancel)?;
        }
    }
    records.end()
}

/// Commits all photos to an empty index.
fn fill(
    writer: &mut IndexWriter,
    export: &Export,
    cancel: &AtomicBool,
    on_event: &mut dyn FnMut(ImportEvent),
) -> Result<()> {
    let total = export.manifest.photos as usize;
    let mut records = export.records()?;
    let mut insert = Vec::with_capacity(BATCH.min(total));
    loop {
        let record = records.next()?;
        let is_last = record.is_none();
        insert.extend(record);
        if insert.len() == BATCH || is_last {
            writer.commit(Changes {
                insert: std::mem::take(&mut insert),
                roots: is_last.then(|| export.manifest.roots()),
                ..Changes::default()
            })?;
            let done = writer.len();
            on_event(ImportEvent::Importing { done, total });
            stop_if(cancel)?;
        }
        if is_last {
            return records.end();
        }
    }
}

/// Whether the header of an array file holds more brackets than the two pairs of a plain table's:
/// npyz takes time exponential in their depth.
fn has_nested_brackets(file: &[u8]) -> bool {
    let (start, len) = match *file {
        [_, _, _, _, _, _, 1, _, a, b, ..] => (10, u32::from(u16::from_le_bytes([a, b]))),
        [_, _, _, _, _, _, _, _, a, b, c, d, ..] => (12, u32::from_le_bytes([a, b, c, d])),
        _ => return false,
    };
    let header = file[start..].iter().take(len as usize);
    header.filter(|byte| b"([{".contains(byte)).count() > 2
}

fn stop_if(cancel: &AtomicBool) -> Result<()> {
    if cancel.load(Ordering::Relaxed) {
        return Err(Error::Cancelled);
    }
    Ok(())
}

/// Those of `photos.jsonl` and `embeddings.npy`.
struct NpyRecords<'a> {
    manifest: &'a Manifest,
    photos: BufReader<Hashing<File>>,
    photos_path: PathBuf,
    embeddings: BufReader<Hashing<File>>,
    embeddings_path: PathBuf,
    /// Lines read.
    line: usize,
    /// Rows read.
    rows: u64,
    /// That of the last row read.
    embedding: Option<Embedding>,
}

impl Records for NpyRecords<'_> {
    fn next(&mut self) -> Result<Option<(Photo, Embedding)>> {
        let mut text = Vec::new();
        (&mut self.photos)
            .take(LONGEST_LINE)
            .read_until(b'\n', &mut text)
            .map_err(Error::io(&self.photos_path))?;
        if text.is_empty() {
            return Ok(None);
        }
        self.line += 1;
        let line: PhotoLine = serde_json::from_slice(&text).map_err(|error| {
            // The line that serde counts is always the first.
            let reason = error
                .to_string()
                .replace(" at line 1 column ", " at column ");
            self.wrong_line(reason)
        })?;
        let row = line.row;
        let photo = line
            .into_photo()
            .map_err(|reason| self.wrong_line(reason))?;
        if row == self.rows {
            self.read_row()?;
        }
        match &self.embedding {
            Some(embedding) if row + 1 == self.rows => Ok(Some((photo, embedding.clone()))),
            _ => Err(self.wrong_line(format!(
                "row {row} is out of order; the one before has brought the rows to {}",
                self.rows
            ))),
        }
    }

    fn number(&self) -> usize {
        self.line
    }

    fn is_the_path_of(&self, number: usize) -> Error {
        self.wrong_line(format!("the path is that of line {number}"))
    }

    /// Whether the files hold as much as `index.json` says, and are those that it was written for.
    fn end(mut self: Box<Self>) -> Result<()> {
        let Manifest {
            photos, vectors, ..
        } = *self.manifest;
        if self.line as u64 != photos || self.rows != vectors {
            return Err(self.wrong_line(format!(
                "here it ends, with {} photos of {} vectors; index.json says {photos} of {vectors}",
                self.line, self.rows
            )));
        }
        let mut rest = Vec::new();
        (&mut self.embeddings)
            .take(1)
            .read_to_end(&mut rest)
            .map_err(Error::io(&self.embeddings_path))?;
        if !rest.is_empty() {
            return Err(self.wrong_row("it is longer than its shape says".into()));
        }
        let Some(expected) = &self.manifest.blake3 else {
            return Ok(());
        };
        let other = "its BLAKE3 is not the one in index.json: it is damaged, or was changed later";
        if self.embeddings.get_ref().digest() != expected.embeddings {
            return Err(self.wrong_row(other.into()));
        }
        if self.photos.get_ref().digest() != expected.photos {
            return Err(Error::Export {
                path: self.photos_path,
                line: None,
                reason: other.into(),
            });
        }
        Ok(())
    }
}

impl<'a> NpyRecords<'a> {
    /// Opens both files; the vectors must be f32, in C order, of the shape that the manifest names.
    fn open(source: &Path, manifest: &'a Manifest) -> Result<Self> {
        let open = |path: &Path| {
            let file = File::open(path).map_err(Error::io(path))?;
            Ok::<_, Error>(BufReader::with_capacity(BUFFER, Hashing::new(file)))
        };
        let (photos_path, embeddings_path) = (source.join(PHOTOS), source.join(EMBEDDINGS));
        let mut records = Self {
            photos: open(&photos_path)?,
            embeddings: open(&embeddings_path)?,
            manifest,
            photos_path,
            embeddings_path,
            line: 0,
            rows: 0,
            embedding: None,
        };
        let head = records.embeddings.fill_buf();
        if has_nested_brackets(head.map_err(Error::io(&records.embeddings_path))?) {
            return Err(records.wrong_row("its header is not that of a table of numbers".into()));
        }
        let header = npyz::NpyHeader::from_reader(&mut records.embeddings)
            .map_err(|error| records.wrong_row(format!("it is no NumPy file: {error}")))?;
        let kind = header.dtype().descr();
        if kind != "'<f4'" || header.order() != npyz::Order::C {
            return Err(records.wrong_row(format!(
                "it holds {kind} in {:?} order, not '<f4' in C order",
                header.order()
            )));
        }
        let shape = [manifest.vectors, manifest.model().dim as u64];
        if header.shape() != shape {
            let found = header.shape();
            return Err(records.wrong_row(format!(
                "its shape is {found:?}, and index.json says {shape:?}"
            )));
        }
        Ok(records)
    }

    fn read_row(&mut self) -> Result<()> {
        if self.rows == self.manifest.vectors {
            return Err(self.wrong_line(format!(
                "there is no row {}: index.json says that there are {0}",
                self.rows
            )));
        }
        let mut bytes = vec![0; self.manifest.model().dim * size_of::<f32>()];
        self.embeddings
            .read_exact(&mut bytes)
            .map_err(|error| match error.kind() {
                ErrorKind::UnexpectedEof => self.wrong_row(format!("it ends in row {}", self.rows)),
                _ => Error::io(&self.embeddings_path)(error),
            })?;
        let values = bytes.as_chunks().0.iter();
        let values = values.map(|value| f32::from_le_bytes(*value)).collect();
        let embedding = Embedding::from_unit(values)
            .map_err(|norm| self.wrong_row(format!("row {} has norm {norm}, not 1", self.rows)))?;
        self.embedding = Some(embedding);
        self.rows += 1;
        Ok(())
    }

    fn wrong_line(&self, reason: String) -> Error {
        Error::Export {
            path: self.photos_path.clone(),
            line: Some(self.line),
            reason,
        }
    }

    fn wrong_row(&self, reason: String) -> Error {
        Error::Export {
            path: self.embeddings_path.clone(),
            line: None,
            reason,
        }
    }
}
