//! Progress of a search.

use crate::index::Hit;

/// Progress of a search.
#[derive(Debug)]
pub enum SearchEvent<'a> {
    /// All candidates in the order of their embeddings alone, before any of them is read. Left out where none will be.
    Candidates(&'a [Hit]),
    /// Candidates are being read together with the query.
    Reading {
        /// The number that has been read.
        done: usize,
        /// The number that will be.
        total: usize,
    },
}
