//! Photo search that reads every candidate photo together with the query.
//!
//! [`Engine`] is a BridgeTower checkpoint, [`build`] brings an index up to date with folders of photos, and
//! [`Searcher`] answers queries over it:
//!
//! ```
//! use std::sync::atomic::AtomicBool;
//!
//! use bridgetower::{
//!     BuildOptions, Engine, EngineOptions, IndexReader, IndexWriter, QueryOptions, Searcher, Term, build,
//! };
//!
//! # fn main() -> bridgetower::Result<()> {
//! # let dir = tempfile::tempdir().expect("a temporary folder");
//! # let (index_dir, model) = (dir.path(), "tests/fixtures/checkpoints/tiny-random");
//! # let photos = "tests/fixtures/pixels".into();
//! // A folder or a hub id; the closure is told of downloads.
//! let engine = Engine::load(model, &EngineOptions::default(), &mut |_, _, _| {})?;
//!
//! let mut writer = IndexWriter::open(index_dir, &engine.pins()?)?;
//! let cancel = AtomicBool::new(false);
//! let report = build(
//!     &mut writer, &engine, &[photos], &BuildOptions::default(), &cancel, &mut |event| println!("{event:?}"),
//! )?;
//! println!("{} photos embedded, {} skipped", report.embedded, report.skipped.len());
//!
//! let index = IndexReader::open(index_dir)?;
//! let searcher = Searcher { index: &index, embedder: &engine, reranker: &engine, cache: None };
//! searcher.check()?;
//! let wide = |photo: &bridgetower::Photo| photo.metadata.width > photo.metadata.height;
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

mod cache;
mod device;
mod embedding;
mod engine;
mod error;
pub mod eval;
mod filter;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod gc;
mod index;
mod ingest;
pub mod model;
mod photo;
mod processor;
mod search;

pub use bt_kernels::keep_freed_memory;
pub use cache::{CacheLevel, PhotoCache};
pub use device::{DeviceChoice, Precision};
pub use embedding::Embedding;
pub use engine::{
    Calibration, Contrast, Engine, EngineOptions, Filled, FilledMask, ItmLogits, PairScore,
};
pub use error::{Error, Result};
pub use filter::{Area, Filter, MinSize, PathPatterns, parse_when};
pub use gc::{Garbage, GcOptions, GcReport, gc};
pub use index::{
    Candidate, Changes, CompactEvent, CompactReport, DuplicateContent, DuplicateGroup,
    DuplicateOptions, Duplicates, ExportReport, ImportEvent, ImportReport, IndexReader,
    IndexWriter, PhotoPredicate, Pins, Plan, RepairEvent, RepairReport, SearchOptions, Status,
    VerifyReport, cache_path, compact, destroy, duplicates, export, export_parquet, import, repair,
    verify,
};
pub use ingest::{
    AwayFolder, BrokenFiles, BuildEvent, BuildOptions, BuildReport, Compare, ScanOptions, Survey,
    build, concerns_build, find_photos, indexed_path, survey,
};
pub use photo::{ContentHash, GpsPosition, Photo, PhotoId, PhotoMetadata};
pub use processor::{
    DecodedPhoto, Encoded, ImageProcessor, Pixels, Processor, TextProcessor, TokenIds,
};
pub use search::{
    Found, Hit, QueryOptions, SearchEvent, Searcher, Term, TermContent, default_rerank,
};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
