//! What a search reports while it runs.

use crate::index::Hit;

/// What a search reports while it runs.
#[derive(Debug)]
pub enum SearchEvent<'a> {
    /// All candidates in the order of their embeddings alone, before any of them is read. Left out where none will be.
    Candidates(&'a [Hit]),
    /// Candidates are being read together with the query.
    Reading {
        /// How many have been.
        done: usize,
        /// How many will be.
        total: usize,
    },
}
