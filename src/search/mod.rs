//! From a query to ranked photos: candidates by embedding, then every one of the best read together with the query.
//!
//! [`Session`] is the way in. It decides which model reads, where the hits end, what is kept for the next query, and why
//! nothing was found.

mod event;
mod found;
mod models;
mod query;
mod rerank;
mod searcher;
mod session;
mod term;
#[cfg(test)]
mod tests;

pub use crate::index::{Hit, RankedHit};
pub use event::SearchEvent;
pub use found::{Found, Warning, WhyNothing};
pub use models::{DEFAULT_RERANKER, OpenEvent, Reranker};
pub use query::Query;
pub use searcher::default_rerank;
pub use session::{Session, SessionOptions};
pub use term::{Term, TermContent};
