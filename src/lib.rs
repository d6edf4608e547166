//! Photo search that reads every candidate photo together with the query.
//!
//! An [`Engine`] is a BridgeTower checkpoint, an [`Index`] is the place of an index, [`ingest::build`] brings that up to
//! date with folders of photos, and a [`Session`] answers queries over it:
//!
//! ```
//! use std::sync::atomic::AtomicBool;
//!
//! use bridgetower::engine::EngineOptions;
//! use bridgetower::ingest::{BuildOptions, build};
//! use bridgetower::search::{Query, SessionOptions};
//! use bridgetower::{Engine, Index, Session};
//!
//! # fn main() -> bridgetower::Result<()> {
//! # let dir = tempfile::tempdir().expect("a temporary folder");
//! # let (index_dir, model) = (dir.path(), "tests/fixtures/checkpoints/tiny-random");
//! # let photos = "tests/fixtures/pixels".into();
//! let index = Index::at(index_dir);
//! let cancel = AtomicBool::new(false);
//!
//! // A folder or a hub id; the closure hears of downloads.
//! let engine = Engine::load(model, &EngineOptions::default(), &mut |_, _, _| {})?;
//! let mut writer = index.writer(&engine.identity()?)?;
//! let report = build(
//!     &mut writer, &engine, &[photos], &BuildOptions::default(), &cancel, &mut |event| println!("{event:?}"),
//! )?;
//! println!("{} photos embedded, {} skipped", report.embedded, report.skipped.len());
//!
//! let session = Session::open(&index, &SessionOptions::default(), &mut |_| {})?;
//! let query = Query { top: 3, ..Query::text("a cat by a window") };
//! let found = session.search(&query, &cancel, &mut |_| {})?;
//! for hit in &found.hits {
//!     println!("{:.2} {}", hit.score(), hit.photo.path.display());
//! }
//! # assert_eq!(found.hits.len(), 3);
//! # assert!(found.hits.iter().all(|hit| hit.match_probability.is_some()));
//! # Ok(())
//! # }
//! ```
//!
//! | module | what is in it |
//! |---|---|
//! | [`search`] | queries, answers, and the session that turns one into the other |
//! | [`index`] | the photo index: reading, writing, looking after it |
//! | [`ingest`] | folders of photos into an index |
//! | [`filter`] | conditions on photos |
//! | [`engine`] | a model with its processor: embed, match, fill, contrast |
//! | [`cache`] | what reranking keeps of a photo |
//! | [`photo`], [`json`] | what is known of a photo; results as JSON |
//! | [`model`], [`processor`] | BridgeTower in stages; photos and words to what it takes |
//! | [`eval`] | how well a model finds what it should |
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
pub use search::{Session, Term};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
