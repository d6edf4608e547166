//! Without the crate `parquet`: every such file says how to get it read and written.

use std::path::Path;

use super::super::format::{Manifest, PARQUET};
use super::super::records::Records;
use super::super::report::ExportReport;
use crate::embedding::Embedding;
use crate::error::{Error, Result};
use crate::index::reader::IndexReader;
use crate::photo::Photo;

impl IndexReader {
    /// Refuses to write.
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
    _index: &IndexReader,
    dir: &Path,
    _force: bool,
    _progress: &mut dyn FnMut(usize, usize),
) -> Result<ExportReport> {
    Err(not_built(&dir.join(PARQUET)))
}

/// Refuses to read.
pub(in super::super) fn manifest(path: &Path) -> Result<Manifest> {
    Err(not_built(path))
}

/// There are none.
pub(in super::super) enum ParquetRecords {}

impl ParquetRecords {
    pub fn open(path: &Path, _manifest: &Manifest) -> Result<Self> {
        Err(not_built(path))
    }
}

impl Records for ParquetRecords {
    fn next(&mut self) -> Result<Option<(Photo, Embedding)>> {
        match *self {}
    }

    fn number(&self) -> usize {
        match *self {}
    }

    fn is_the_path_of(&self, _number: usize) -> Error {
        match *self {}
    }

    fn end(self: Box<Self>) -> Result<()> {
        match *self {}
    }
}

fn not_built(path: &Path) -> Error {
    Error::Export {
        path: path.to_owned(),
        line: None,
        reason: "this build neither reads nor writes Parquet; build it with --features parquet"
            .into(),
    }
}
