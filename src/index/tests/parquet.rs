//! Out of one index and into another, as Apache Parquet.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use super::transfer::{content, export_of, import_from, names_in, small_index};
use super::{DIM, Rng, build, problems};
use crate::error::{Error, Result};
use crate::index::reader::IndexReader;
use crate::index::transfer::ExportReport;
use crate::index::upkeep::status::Status;

fn parquet_of(index: &Path, target: &Path) -> Result<ExportReport> {
    IndexReader::open(index)?.export_parquet(target, false, &mut |_, _| {})
}

#[test]
fn an_exported_and_imported_index_is_the_same_to_the_bit() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    drop(small_index(&at("index")));
    let exported = parquet_of(&at("index"), &at("export")).unwrap();
    assert_eq!((exported.photos, exported.vectors), (9, 8));
    assert_eq!(names_in(&at("export")), ["photos.parquet"]);

    // By the folder and by the file.
    for (source, new) in [("export", "new"), ("export/photos.parquet", "newer")] {
        let imported = import_from(&at(source), &at(new)).unwrap();
        assert_eq!((imported.photos, imported.vectors), (9, 8));
        assert_eq!(content(&at(new)), content(&at("index")));
        assert_eq!(problems(&at(new)), [""; 0]);
    }
    let (old, new) = (
        Status::read(&at("index")).unwrap(),
        Status::read(&at("new")).unwrap(),
    );
    assert_eq!(
        (new.model, new.roots, new.vectors),
        (old.model, old.roots, old.vectors)
    );
    parquet_of(&at("new"), &at("again")).unwrap();
    let read = |export: &str| fs::read(at(export).join("photos.parquet")).unwrap();
    assert!(read("export") == read("again"));
}

#[test]
fn row_groups_follow_one_another() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let mut rng = Rng(5);
    let embeddings: Vec<_> = (0..2500).map(|_| rng.embedding()).collect();
    drop(build(&at("index"), &embeddings));
    parquet_of(&at("index"), &at("export")).unwrap();
    let file = File::open(at("export/photos.parquet")).unwrap();
    assert_eq!(SerializedFileReader::new(file).unwrap().num_row_groups(), 3);
    import_from(&at("export"), &at("new")).unwrap();
    assert!(content(&at("new")) == content(&at("index")));
}

#[test]
fn both_kinds_of_export_may_share_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    drop(small_index(&at("index")));
    parquet_of(&at("index"), &at("export")).unwrap();
    export_of(&at("index"), &at("export")).unwrap();
    parquet_of(&at("index"), &at("export")).unwrap();
    assert_eq!(names_in(&at("export")).len(), 4);
    fs::create_dir(at("other")).unwrap();
    fs::write(at("other/photos.parquet"), "of somebody else").unwrap();
    let refused = parquet_of(&at("index"), &at("other"));
    assert!(matches!(refused, Err(Error::NotEmpty { .. })));
}

/// Wherever a bit is wrong, nothing is imported, or all that there was.
#[test]
fn damage_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    drop(small_index(&at("index")));
    parquet_of(&at("index"), &at("export")).unwrap();
    let (file, expected) = (at("export/photos.parquet"), content(&at("index")));
    let whole = fs::read(&file).unwrap();
    let mut refused = 0;
    let places = (0..whole.len()).step_by(7);
    for i in places.clone() {
        fs::write(&file, &whole[..i]).unwrap();
        assert!(import_from(&file, &at("new")).is_err(), "byte {i}");
        let mut flipped = whole.clone();
        flipped[i] ^= 1 << (i % 8);
        fs::write(&file, flipped).unwrap();
        if import_from(&file, &at("new")).is_ok() {
            // Statistics, say, that nobody asks for.
            assert!(content(&at("new")) == expected, "byte {i}");
            fs::remove_dir_all(at("new")).unwrap();
        } else {
            assert!(!at("new/current").exists(), "byte {i}");
            refused += 1;
        }
    }
    assert!(refused > places.len() / 4, "{refused} of {}", places.len());
}

/// A file without rows, with these columns and this metadata.
fn write_file(path: &Path, columns: &str, metadata: Option<String>) {
    let schema = parse_message_type(&format!("message photos {{ {columns} }}")).unwrap();
    let properties = Arc::new(WriterProperties::new());
    let file = File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, Arc::new(schema), properties).unwrap();
    if let Some(metadata) = metadata {
        writer.append_key_value_metadata(KeyValue::new("bridgetower".to_owned(), metadata));
    }
    writer.close().unwrap();
}

#[test]
fn what_is_wrong_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (file, index) = (dir.path().join("some.parquet"), dir.path().join("new"));
    let manifest = |version: u32| {
        let model =
            format!(r#"{{"name": "m", "fingerprint": "f", "preprocessing": "p", "dim": {DIM}}}"#);
        Some(format!(
            r#"{{"format": "bridgetower-export", "version": {version}, "created_by": "me", "model": {model},
                "folders": [], "photos": 1, "vectors": 1}}"#
        ))
    };
    let path = "required binary path (STRING);";
    for (columns, metadata, reason) in [
        (path, None, "so it is no export"),
        (path, Some("{}".to_owned()), "its \"format\" is not"),
        (path, manifest(2), "version 2"),
        (path, manifest(1), "it has no column path_hex"),
        ("required int64 path;", manifest(1), "its column path is"),
    ] {
        write_file(&file, columns, metadata);
        let error = import_from(&file, &index).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
    fs::write(&file, "no Parquet").unwrap();
    let error = import_from(&file, &index).unwrap_err().to_string();
    assert!(error.contains("no Parquet file"), "{error}");
    assert!(!index.exists());
}
