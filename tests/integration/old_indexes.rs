//! Indexes that earlier versions built, brought up to date by this one.

use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use bridgetower::engine::EngineOptions;
use bridgetower::index::{IndexReader, IndexWriter};
use bridgetower::ingest::{BuildOptions, build};
use bridgetower::{Engine, Index};

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("creates");
    for entry in fs::read_dir(from).expect("lists") {
        let path = entry.expect("lists").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy_dir(&path, &target);
        } else {
            fs::copy(&path, &target).expect("copies");
        }
    }
}

/// Photos that are where no earlier build saw them are known by their content: only the new one is embedded.
#[test]
fn a_build_on_an_old_index_embeds_only_what_is_new() {
    let fixtures = Path::new("tests/fixtures");
    let model = fixtures.join("checkpoints/tiny-random");
    let model = model.to_str().expect("UTF-8");
    let engine = Engine::load(model, &EngineOptions::default(), &mut |_, _, _| {}).expect("loads");
    let mut formats = 0;
    for entry in fs::read_dir(fixtures.join("indexes")).expect("lists") {
        let (dir, photos) = (tempfile::tempdir(), tempfile::tempdir());
        let (dir, photos) = (dir.expect("a folder"), photos.expect("a folder"));
        copy_dir(&entry.expect("lists").path().join("index"), dir.path());
        // Half a megabyte of zeros is not committed.
        let db = fs::OpenOptions::new()
            .write(true)
            .open(dir.path().join("store.sled/db"));
        db.expect("opens").set_len(512 << 10).expect("grows");
        for name in [
            "landscape.png",
            "portrait.png",
            "square.png",
            "gray.png",
            "wide.png",
        ] {
            let photo = fixtures.join("pixels").join(name);
            fs::copy(photo, photos.path().join(name)).expect("copies");
        }
        let model = engine.identity().expect("ITC");
        let mut writer = IndexWriter::open(dir.path(), &model).expect("opens");
        let (options, cancel) = (BuildOptions::default(), AtomicBool::new(false));
        let folders = [photos.path().to_owned()];
        let report = build(
            &mut writer,
            &engine,
            &folders,
            &options,
            &cancel,
            &mut |_| {},
        );
        let report = report.expect("builds");
        assert_eq!((report.embedded, report.recognised), (1, 4));
        drop(writer);
        assert_eq!(
            Index::at(dir.path()).verify().expect("reads").problems,
            [""; 0]
        );
        // Four have moved here. The fifth, of a folder that is not there, waits for it.
        assert_eq!(IndexReader::open(dir.path()).expect("opens").len(), 6);
        formats += 1;
    }
    assert!(formats > 0);
}
