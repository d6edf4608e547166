//! A file of Apache Parquet, checked row by row.

use std::collections::{HashSet, VecDeque};
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use parquet::column::reader::{ColumnReaderImpl, get_typed_column_reader};
use parquet::data_type::{
    ByteArray, ByteArrayType, DataType, DoubleType, FloatType, Int32Type, Int64Type,
};
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use parquet::schema::types::SchemaDescriptor;

use super::super::format::{Manifest, PhotoLine};
use super::super::records::Records;
use super::schema::{BLAKE3_KEY, MANIFEST_KEY, hash_row, local_time, schema};
use crate::embedding::Embedding;
use crate::error::{Error, Result};
use crate::index::store::vectors::VectorHash;
use crate::mapped::bytes_of;
use crate::photo::{GpsPosition, Photo};

/// Photos read at once.
const BATCH: usize = 1024;

/// Reads the file's description of its index.
pub(in super::super) fn manifest(path: &Path) -> Result<Manifest> {
    let file = open(path)?;
    let text = entry(&file, MANIFEST_KEY).ok_or_else(|| {
        let reason =
            format!("its metadata has no \"{MANIFEST_KEY}\", so it is no export of an index");
        wrong(path, reason)
    })?;
    Manifest::parse(text.as_bytes(), path)
}

/// The photos of an export with their embeddings, in order, each checked by itself.
pub(in super::super) struct ParquetRecords<'a> {
    manifest: &'a Manifest,
    path: PathBuf,
    file: SerializedFileReader<File>,
    /// The next row group.
    group: usize,
    columns: Option<Columns>,
    batch: VecDeque<(PhotoLine, Vec<f32>)>,
    /// Rows read.
    rows: usize,
    hasher: blake3::Hasher,
    distinct: HashSet<VectorHash>,
}

impl<'a> ParquetRecords<'a> {
    pub fn open(path: &Path, manifest: &'a Manifest) -> Result<Self> {
        let file = open(path)?;
        let schema = file.metadata().file_metadata().schema_descr();
        check_schema(schema).map_err(|reason| wrong(path, reason))?;
        Ok(Self {
            manifest,
            path: path.to_owned(),
            file,
            group: 0,
            columns: None,
            batch: VecDeque::new(),
            rows: 0,
            hasher: blake3::Hasher::new(),
            distinct: HashSet::new(),
        })
    }

    /// Reads some rows more; none after the last.
    fn read_batch(&mut self) -> Result<(), String> {
        while self.batch.is_empty() {
            match &mut self.columns {
                Some(columns) if columns.left > 0 => {
                    let first = self.rows as u64;
                    self.batch = columns.read(first, self.manifest.model().dim)?;
                }
                _ if self.group == self.file.num_row_groups() => return Ok(()),
                _ => {
                    let group = self.file.get_row_group(self.group).map_err(said)?;
                    self.columns = Some(Columns::open(&*group)?);
                    self.group += 1;
                }
            }
        }
        Ok(())
    }

    fn wrong_row(&self, reason: &str) -> Error {
        wrong(&self.path, format!("row {}: {reason}", self.rows))
    }
}

impl Records for ParquetRecords<'_> {
    fn next(&mut self) -> Result<Option<(Photo, Embedding)>> {
        let read = catch_unwind(AssertUnwindSafe(|| self.read_batch()));
        let read = read.unwrap_or_else(|_| Err("it is damaged".into()));
        read.map_err(|reason| wrong(&self.path, reason))?;
        let Some((line, values)) = self.batch.pop_front() else {
            return Ok(None);
        };
        self.rows += 1;
        hash_row(&mut self.hasher, &line, &values).map_err(|e| self.wrong_row(&e.to_string()))?;
        self.distinct.insert(VectorHash::of(bytes_of(&values)));
        let photo = line
            .into_photo()
            .map_err(|reason| self.wrong_row(&reason))?;
        let embedding = Embedding::from_unit(values)
            .map_err(|norm| self.wrong_row(&format!("its embedding has norm {norm}, not 1")))?;
        Ok(Some((photo, embedding)))
    }

    fn number(&self) -> usize {
        self.rows
    }

    fn is_the_path_of(&self, number: usize) -> Error {
        self.wrong_row(&format!("the path is that of row {number}"))
    }

    fn end(self: Box<Self>) -> Result<()> {
        let Manifest {
            photos, vectors, ..
        } = *self.manifest;
        let found = (self.rows as u64, self.distinct.len() as u64);
        if found != (photos, vectors) {
            let reason = format!(
                "it holds {} photos with {} embeddings, and its metadata says {photos} with {vectors}",
                found.0, found.1
            );
            return Err(wrong(&self.path, reason));
        }
        // Files made by other programs may do without.
        match entry(&self.file, BLAKE3_KEY) {
            Some(expected) if *expected != self.hasher.finalize().to_string() => {
                let reason = "its BLAKE3 is not the one in its metadata: it is damaged, or was changed later";
                Err(wrong(&self.path, reason.into()))
            }
            _ => Ok(()),
        }
    }
}

/// The columns of a row group.
struct Columns {
    /// Rows not read yet.
    left: usize,
    path: Column<ByteArrayType>,
    path_hex: Column<ByteArrayType>,
    size: Column<Int64Type>,
    mtime: Column<Int64Type>,
    content_hash: Column<ByteArrayType>,
    width: Column<Int32Type>,
    height: Column<Int32Type>,
    captured_at: Column<Int64Type>,
    latitude: Column<DoubleType>,
    longitude: Column<DoubleType>,
    camera: Column<ByteArrayType>,
    embedding: Column<FloatType>,
}

impl Columns {
    fn open(group: &dyn RowGroupReader) -> Result<Self, String> {
        let rows = usize::try_from(group.metadata().num_rows());
        Ok(Self {
            left: rows.map_err(|_| "a number of rows is negative")?,
            path: Column::open(group, "path")?,
            path_hex: Column::open(group, "path_hex")?,
            size: Column::open(group, "size")?,
            mtime: Column::open(group, "mtime")?,
            content_hash: Column::open(group, "content_hash")?,
            width: Column::open(group, "width")?,
            height: Column::open(group, "height")?,
            captured_at: Column::open(group, "captured_at")?,
            latitude: Column::open(group, "latitude")?,
            longitude: Column::open(group, "longitude")?,
            camera: Column::open(group, "camera")?,
            embedding: Column::open(group, "embedding.list.element")?,
        })
    }

    fn read(&mut self, first: u64, dim: usize) -> Result<VecDeque<(PhotoLine, Vec<f32>)>, String> {
        let count = self.left.min(BATCH);
        self.left -= count;
        let mut path = self.path.texts(count)?;
        let mut path_hex = self.path_hex.texts(count)?;
        let mut size = self.size.values(count)?;
        let mut mtime = self.mtime.values(count)?;
        let mut content_hash = self.content_hash.texts(count)?;
        let mut width = self.width.values(count)?;
        let mut height = self.height.values(count)?;
        let mut captured_at = self.captured_at.values(count)?;
        let mut latitude = self.latitude.values(count)?;
        let mut longitude = self.longitude.values(count)?;
        let mut camera = self.camera.texts(count)?;
        let embeddings = self.embedding.lists(count, dim)?;
        let embeddings = embeddings.chunks_exact(dim).zip(first..);
        let rows = embeddings.map(|(embedding, row)| {
            let captured_at = captured_at.optional().map(|time| {
                local_time(time).ok_or_else(|| format!("row {}: {time} is no time", row + 1))
            });
            let position = latitude.optional().zip(longitude.optional());
            let line = PhotoLine {
                row,
                path: path.required(row)?,
                path_hex: path_hex.optional(),
                size: size.required(row)? as u64,
                mtime_ns: mtime.required(row)?,
                content_hash: content_hash.required(row)?,
                width: width.required(row)? as u32,
                height: height.required(row)? as u32,
                captured_at: captured_at.transpose()?,
                gps: position.map(|(latitude, longitude)| GpsPosition {
                    latitude,
                    longitude,
                }),
                camera: camera.optional(),
            };
            Ok((line, embedding.to_vec()))
        });
        rows.collect()
    }
}

/// Values of a column, one a row.
struct Cells<V> {
    name: &'static str,
    cells: std::vec::IntoIter<Option<V>>,
}

impl<V> Cells<V> {
    fn optional(&mut self) -> Option<V> {
        self.cells.next().flatten()
    }

    fn required(&mut self, row: u64) -> Result<V, String> {
        let missing = || format!("row {}: it has no {}", row + 1, self.name);
        self.cells.next().flatten().ok_or_else(missing)
    }
}

/// A column of a row group.
struct Column<T: DataType> {
    name: &'static str,
    reader: ColumnReaderImpl<T>,
    /// The definition level of a value that is there.
    defined: i16,
}

impl<T: DataType> Column<T> {
    fn open(group: &dyn RowGroupReader, name: &'static str) -> Result<Self, String> {
        let schema = group.metadata().schema_descr();
        let number = number(schema, name)?;
        let reader = group.get_column_reader(number).map_err(said)?;
        Ok(Self {
            name,
            reader: get_typed_column_reader(reader),
            defined: schema.column(number).max_def_level(),
        })
    }

    /// The next `count` values, one a row.
    fn values(&mut self, count: usize) -> Result<Cells<T::T>, String> {
        let (mut defined, mut values) = (Vec::new(), Vec::with_capacity(count));
        let read = self
            .reader
            .read_records(count, Some(&mut defined), None, &mut values);
        let (rows, ..) = read.map_err(said)?;
        if rows != count {
            return Err(format!("its column {} ends too soon", self.name));
        }
        let mut values = values.into_iter();
        let all: Vec<Option<T::T>> = if self.defined == 0 {
            values.map(Some).collect()
        } else {
            let levels = defined.into_iter();
            levels
                .map(|level| (level == self.defined).then(|| values.next()).flatten())
                .collect()
        };
        Ok(Cells {
            name: self.name,
            cells: all.into_iter(),
        })
    }
}

impl Column<ByteArrayType> {
    fn texts(&mut self, count: usize) -> Result<Cells<String>, String> {
        let text = |bytes: ByteArray| {
            let text = bytes.as_utf8().map_err(said)?;
            Ok(text.to_owned())
        };
        let cells = self.values(count)?.cells;
        let texts = cells.map(|cell| cell.map(text).transpose());
        let texts: Vec<Option<String>> = texts.collect::<Result<_, String>>()?;
        Ok(Cells {
            name: self.name,
            cells: texts.into_iter(),
        })
    }
}

impl Column<FloatType> {
    /// The next `count` lists, all of `dim` values.
    fn lists(&mut self, count: usize, dim: usize) -> Result<Vec<f32>, String> {
        let (mut defined, mut repeated) = (Vec::new(), Vec::new());
        let mut values = Vec::with_capacity(count * dim);
        let read =
            self.reader
                .read_records(count, Some(&mut defined), Some(&mut repeated), &mut values);
        let (rows, ..) = read.map_err(said)?;
        let is_whole = defined.iter().all(|level| *level == self.defined)
            && values.len() == count * dim
            && repeated.len() == values.len()
            && repeated
                .iter()
                .enumerate()
                .all(|(i, level)| (*level == 0) == (i % dim == 0));
        if rows != count || !is_whole {
            return Err(format!("an embedding is missing or has not {dim} values"));
        }
        Ok(values)
    }
}

/// Whether all columns are there with the types that the schema gives them. Further ones do no harm.
fn check_schema(found: &SchemaDescriptor) -> Result<(), String> {
    let expected = SchemaDescriptor::new(schema().map_err(said)?);
    for column in expected.columns() {
        let name = column.path().string();
        let found = found.column(number(found, &name)?);
        let kind = |column: &parquet::schema::types::ColumnDescriptor| {
            (
                column.physical_type(),
                column.logical_type_ref().cloned(),
                column.max_rep_level(),
            )
        };
        if kind(&found) != kind(column) {
            let (is, should) = (kind(&found), kind(column));
            return Err(format!("its column {name} is {is:?}, not {should:?}"));
        }
    }
    Ok(())
}

fn number(schema: &SchemaDescriptor, name: &str) -> Result<usize, String> {
    let mut columns = schema.columns().iter();
    columns
        .position(|column| column.path().string() == name)
        .ok_or_else(|| format!("it has no column {name}"))
}

fn open(path: &Path) -> Result<SerializedFileReader<File>> {
    let file = File::open(path).map_err(Error::io(path))?;
    let opened = catch_unwind(AssertUnwindSafe(|| SerializedFileReader::new(file)));
    match opened {
        Ok(Ok(file)) => Ok(file),
        Ok(Err(error)) => Err(wrong(
            path,
            format!("it is no Parquet file: {}", said(error)),
        )),
        Err(_) => Err(wrong(path, "it is damaged".into())),
    }
}

fn entry<'a>(file: &'a SerializedFileReader<File>, key: &str) -> Option<&'a String> {
    let metadata = file.metadata().file_metadata().key_value_metadata()?;
    metadata
        .iter()
        .find(|entry| entry.key == key)?
        .value
        .as_ref()
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn wrong(path: &Path, reason: String) -> Error {
    Error::Export {
        path: path.to_owned(),
        line: None,
        reason,
    }
}
