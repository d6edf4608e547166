//! The records that an import reads.

use crate::embedding::Embedding;
use crate::error::{Error, Result};
use crate::photo::Photo;

/// The photos of an export with their embeddings, in order, each checked by itself.
pub(super) trait Records {
    /// The next photo; `None` after the last.
    fn next(&mut self) -> Result<Option<(Photo, Embedding)>>;

    /// The number of candidates that were read.
    fn number(&self) -> usize;

    /// An error: the one read last has the path that this one had.
    fn is_the_path_of(&self, number: usize) -> Error;

    /// Whether that was all, and is what the export was written with.
    fn end(self: Box<Self>) -> Result<()>;
}
