//! Photo search that reads every candidate photo together with the query.
//!
//! [`Engine`] is a BridgeTower checkpoint, [`build`] brings an index up to date with folders of photos, and
//! [`Searcher`] answers queries over it:
//!
//! ```
//! use std::sync::atomic::AtomicBool;
//!
//! use bridgetower::engine::EngineOptions;
//! use bridgetower::ingest::{BuildOptions, build};
//! use bridgetower::search::{QueryOptions, Searcher};
//! use bridgetower::{Engine, Index, Photo, Term};
//!
//! # fn main() -> bridgetower::Result<()> {
//! # let dir = tempfile::tempdir().expect("a temporary folder");
//! # let (index_dir, model) = (dir.path(), "tests/fixtures/checkpoints/tiny-random");
//! # let photos = "tests/fixtures/pixels".into();
//! // A folder or a hub id; the closure hears of downloads.
//! let engine = Engine::load(model, &EngineOptions::default(), &mut |_, _, _| {})?;
//!
//! let index = Index::at(index_dir);
//! let mut writer = index.writer(&engine.identity()?)?;
//! let cancel = AtomicBool::new(false);
//! let report = build(
//!     &mut writer, &engine, &[photos], &BuildOptions::default(), &cancel, &mut |event| println!("{event:?}"),
//! )?;
//! println!("{} photos embedded, {} skipped", report.embedded, report.skipped.len());
//!
//! let index = index.reader()?;
//! let searcher = Searcher { index: &index, embedder: &engine, reranker: &engine, cache: None };
//! searcher.check()?;
//! let wide = |photo: &Photo| photo.metadata.width > photo.metadata.height;
//! let options = QueryOptions { top: 3, filter: Some(&wide), ..QueryOptions::default() };
//! let found = searcher.search(&[Term::parse("a cat by a window")?], &options, &mut |_| {})?;
//! for hit in &found.hits {
//!     println!("{:.2} {}", hit.score(), hit.photo.path.display());
//! }
//! # assert_eq!(found.hits.len(), 3);
//! # assert!(found.hits.iter().all(|hit| wide(&hit.photo) && hit.match_probability.is_some()));
//! # Ok(())
//! # }
//! ```
//!
//! The library neither prints nor exits. What can go wrong is an [`Error`], which says what happened and, in
//! [`Error::hint`], what to do.

pub mod cache;
mod device;
mod embedding;
pub mod engine;
mod error;
pub mod eval;
pub mod filter;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod identity;
pub mod index;
pub mod ingest;
pub mod json;
mod mapped;
pub mod model;
pub mod photo;
pub mod processor;
pub mod search;

pub use embedding::Embedding;
pub use engine::Engine;
pub use error::{Error, Result};
pub use filter::Filter;
pub use index::Index;
pub use photo::Photo;
pub use search::Term;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
