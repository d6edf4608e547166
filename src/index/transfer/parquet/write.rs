//! An index into a file of Apache Parquet.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use parquet::data_type::{
    ByteArray, ByteArrayType, DataType, DoubleType, FloatType, Int32Type, Int64Type,
};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::KeyValue;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};

use super::super::draft::{Draft, write_drafts};
use super::super::format::{Manifest, PARQUET, PhotoLine};
use super::super::report::{ExportReport, vectors_in_use};
use super::schema::{
    BLAKE3_KEY, MANIFEST_KEY, hash_row, local_time, microseconds, properties, schema,
};
use crate::error::{Error, Result};
use crate::index::folder::files::sync_dir;
use crate::index::reader::IndexReader;

/// Photos of a row group, which is what a reader reads at once, and what is held in memory.
const ROW_GROUP: usize = if cfg!(test) { 1000 } else { 16_384 };

impl IndexReader {
    /// Writes the index to the file `photos.parquet` in `dir`; ARCHITECTURE.md describes it. Photos with equal
    /// embeddings have a copy each: a row is all that there is to know of a photo. As to other files in `dir`, and to
    /// crashes, it does as [`Self::export`].
    pub fn export_parquet(
        &self,
        dir: &Path,
        force: bool,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<ExportReport> {
        export_parquet(self, dir, force, progress)
    }
}

fn export_parquet(
    index: &IndexReader,
    dir: &Path,
    force: bool,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<ExportReport> {
    write_drafts(dir, force, &[PARQUET], || write_file(index, dir, progress))
}

fn write_file(
    index: &IndexReader,
    dir: &Path,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<ExportReport> {
    let mut draft = Draft::create(dir, PARQUET)?;
    let vectors = vectors_in_use(index.snapshot());
    let manifest = Manifest::new(
        &index.snapshot().info,
        index.len() as u64,
        vectors as u64,
        None,
    )?;
    let path = draft.path.clone();
    let failed = |error: ParquetError| Error::io(&path)(std::io::Error::other(error));
    let mut file = schema()
        .and_then(|schema| {
            SerializedFileWriter::new(&mut draft.out, schema, Arc::new(properties()))
        })
        .map_err(failed)?;
    let mut hasher = blake3::Hasher::new();
    for start in (0..index.len()).step_by(ROW_GROUP) {
        let end = index.len().min(start + ROW_GROUP);
        let rows = Rows::read(index, start..end, &mut hasher)?;
        rows.write(&mut file).map_err(failed)?;
        progress(end, index.len());
    }
    let manifest = serde_json::to_string(&manifest).map_err(|e| Error::io(&path)(e.into()))?;
    for (key, value) in [
        (MANIFEST_KEY, manifest),
        (BLAKE3_KEY, hasher.finalize().to_string()),
    ] {
        file.append_key_value_metadata(KeyValue::new(key.to_owned(), value));
    }
    file.close().map_err(failed)?;

    let finished = draft.finish()?;
    fs::rename(&finished.draft, &finished.path).map_err(Error::io(&finished.path))?;
    sync_dir(dir)?;
    Ok(ExportReport {
        photos: index.len(),
        vectors,
        bytes: finished.bytes,
    })
}

/// Some photos, and their embeddings one after the other.
struct Rows {
    lines: Vec<PhotoLine>,
    embeddings: Vec<f32>,
}

impl Rows {
    fn read(
        index: &IndexReader,
        positions: std::ops::Range<usize>,
        hasher: &mut blake3::Hasher,
    ) -> Result<Self> {
        let snapshot = index.snapshot();
        let mut rows = Self {
            lines: Vec::with_capacity(positions.len()),
            embeddings: Vec::with_capacity(positions.len() * index.model().dim),
        };
        for position in positions {
            let photo = snapshot.record(position as u32)?.photo;
            let mut line = PhotoLine::new(position as u64, &photo)?;
            line.captured_at = line.captured_at.and_then(microseconds).and_then(local_time);
            let embedding = snapshot.vectors().row(snapshot.row_of(position as u32));
            hash_row(hasher, &line, embedding).map_err(|e| Error::io(&photo.path)(e.into()))?;
            rows.lines.push(line);
            rows.embeddings.extend(embedding);
        }
        Ok(rows)
    }

    /// In the order of the schema.
    fn write<W: Write + Send>(&self, file: &mut SerializedFileWriter<W>) -> ParquetResult<()> {
        let lines = || self.lines.iter();
        let mut group = file.next_row_group()?;
        required::<ByteArrayType, _>(&mut group, lines().map(|line| text(&line.path)))?;
        optional::<ByteArrayType, _>(
            &mut group,
            lines().map(|line| Some(text(line.path_hex.as_ref()?))),
        )?;
        required::<Int64Type, _>(&mut group, lines().map(|line| line.size as i64))?;
        required::<Int64Type, _>(&mut group, lines().map(|line| line.mtime_ns))?;
        required::<ByteArrayType, _>(&mut group, lines().map(|line| text(&line.content_hash)))?;
        required::<Int32Type, _>(&mut group, lines().map(|line| line.width as i32))?;
        required::<Int32Type, _>(&mut group, lines().map(|line| line.height as i32))?;
        optional::<Int64Type, _>(
            &mut group,
            lines().map(|line| microseconds(line.captured_at?)),
        )?;
        optional::<DoubleType, _>(&mut group, lines().map(|line| Some(line.gps?.latitude)))?;
        optional::<DoubleType, _>(&mut group, lines().map(|line| Some(line.gps?.longitude)))?;
        optional::<ByteArrayType, _>(
            &mut group,
            lines().map(|line| Some(text(line.camera.as_ref()?))),
        )?;
        self.write_embeddings(&mut group)?;
        group.close().map(drop)
    }

    fn write_embeddings<W: Write + Send>(
        &self,
        group: &mut SerializedRowGroupWriter<W>,
    ) -> ParquetResult<()> {
        let dim = self.embeddings.len() / self.lines.len();
        // Every value is there; the first of each photo begins a list.
        let defined = vec![1; self.embeddings.len()];
        let repeated: Vec<i16> = (0..self.embeddings.len())
            .map(|i| i16::from(i % dim != 0))
            .collect();
        write::<FloatType, _>(group, &self.embeddings, Some(&defined), Some(&repeated))
    }
}

fn text(text: &str) -> ByteArray {
    text.into()
}

fn required<T: DataType, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<W>,
    values: impl Iterator<Item = T::T>,
) -> ParquetResult<()> {
    write::<T, W>(group, &values.collect::<Vec<_>>(), None, None)
}

fn optional<T: DataType, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<W>,
    values: impl Iterator<Item = Option<T::T>>,
) -> ParquetResult<()> {
    let values: Vec<Option<T::T>> = values.collect();
    let defined: Vec<i16> = values
        .iter()
        .map(|value| i16::from(value.is_some()))
        .collect();
    let values: Vec<T::T> = values.into_iter().flatten().collect();
    write::<T, W>(group, &values, Some(&defined), None)
}

fn write<T: DataType, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<W>,
    values: &[T::T],
    defined: Option<&[i16]>,
    repeated: Option<&[i16]>,
) -> ParquetResult<()> {
    let column = group.next_column()?;
    let mut column = column.ok_or_else(|| ParquetError::EOF("no column is left".into()))?;
    column.typed::<T>().write_batch(values, defined, repeated)?;
    column.close()
}
