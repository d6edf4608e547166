//! Real photographs and hostile files, where the data folder lies beside the project (`BT_SHARED`, or
//! `../shared`); without it these tests have nothing to do and pass.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use bridgetower::index::{IndexReader, IndexWriter, ReadIndex};
use bridgetower::ingest::{BuildOptions, BuildReport, build};
use bridgetower::search::Query;
use bridgetower::{Engine, Index, Session, Term};
use std::sync::Arc;

use crate::fixtures::engine;

fn shared(folder: &str) -> Option<PathBuf> {
    let root = std::env::var_os("BT_SHARED").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"),
        PathBuf::from,
    );
    let folder = root.join("data").join(folder);
    folder.is_dir().then_some(folder)
}

fn build_index(engine: &Engine, index: &Path, photos: PathBuf) -> BuildReport {
    let mut writer = IndexWriter::open(index, &engine.identity().expect("ITC")).expect("opens");
    let (options, cancel) = (BuildOptions::default(), AtomicBool::new(false));
    build(
        &mut writer,
        engine,
        &[photos],
        &options,
        &cancel,
        &mut |_| {},
    )
    .expect("builds")
}

#[test]
fn hostile_files_are_indexed_or_skipped_with_a_reason() {
    let Some(odd) = shared("odd") else { return };
    let engine = engine("tiny-random");
    let dir = tempfile::tempdir().expect("tempdir");
    let report = build_index(&engine, dir.path(), odd);
    assert_eq!(
        report.found,
        report.embedded + report.recognised + report.skipped.len()
    );
    assert!(
        report.embedded >= 28,
        "only {} embedded: {:?}",
        report.embedded,
        report.skipped
    );
    assert!(report.skipped.iter().all(|(_, reason)| !reason.is_empty()));

    // The eight EXIF orientations of one photo are one picture.
    let index = IndexReader::open(dir.path()).expect("opens");
    let mut upright = Vec::new();
    for entry in index.photos() {
        let (id, photo) = entry.expect("reads");
        let name = photo
            .path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        if name.starts_with("exif_landscape_") {
            assert!(photo.metadata.width > photo.metadata.height, "{name}");
            upright.push(index.embedding(id).expect("reads").expect("has one"));
        }
    }
    assert_eq!(upright.len(), 8);
    assert!(
        upright
            .iter()
            .all(|embedding| embedding.cosine(&upright[0]) > 0.99)
    );
    assert!(
        Index::at(dir.path())
            .verify()
            .expect("verifies")
            .problems
            .is_empty()
    );
}

#[test]
fn real_photographs_are_indexed_and_found() {
    let Some(photos) = shared("photos") else {
        return;
    };
    let engine = engine("tiny-random");
    let dir = tempfile::tempdir().expect("tempdir");
    let report = build_index(&engine, dir.path(), photos);
    assert_eq!((report.embedded, report.skipped.len()), (86, 0));
    let index = Arc::new(IndexReader::open(dir.path()).expect("opens"));
    let engine = Arc::new(engine);
    let session = Session::new(
        Arc::clone(&index) as Arc<dyn ReadIndex>,
        Arc::clone(&engine),
        Some(engine),
        None,
    );
    let session = session.expect("opens");
    for entry in index.photos().take(5) {
        let path = entry.expect("reads").1.path;
        let query = Query {
            terms: vec![Term::image(path.clone())],
            ..Query::default()
        };
        let found = session.search(&query, &AtomicBool::new(false), &mut |_| {});
        assert_eq!(found.expect("searches").hits[0].photo.path, path);
    }
}
