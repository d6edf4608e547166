//! Out of one index and into another.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use super::{DIM, Rng, build, identity, insert, open, photo, problems, rebuild_graph};
use crate::embedding::Embedding;
use crate::error::{Error, Result};
use crate::index::reader::{IndexReader, SearchOptions};
use crate::index::transfer::{ExportReport, ImportEvent, ImportReport, import};
use crate::index::upkeep::status::Status;
use crate::index::{Changes, IndexWriter};
use crate::photo::{GpsPosition, Photo, PhotoId};

const FILES: [&str; 3] = ["embeddings.npy", "index.json", "photos.jsonl"];

/// An index of ten photos: two share a vector, one says all that a photo can say, one is gone.
pub(super) fn small_index(dir: &Path) -> IndexWriter {
    let mut rng = Rng(21);
    let mut embeddings: Vec<Embedding> = (0..10).map(|_| rng.embedding()).collect();
    embeddings[7] = embeddings[2].clone();
    let mut writer = open(dir);
    let mut photos: Vec<(Photo, Embedding)> = (0..10).map(photo).zip(embeddings).collect();
    let talkative = &mut photos[4].0;
    talkative.path = odd_path();
    talkative.mtime_ns = -1_234_567_890_123_456_789;
    talkative.metadata.captured_at = Some(jiff::civil::date(2021, 7, 3).at(18, 30, 5, 250_000_000));
    talkative.metadata.gps = Some(GpsPosition {
        latitude: 48.8584,
        longitude: -2.2945,
    });
    talkative.metadata.camera = Some("Pêche \"X\"\n1".into());
    insert(&mut writer, photos);
    writer
        .commit(Changes {
            remove: vec![PhotoId(5)],
            roots: Some(vec![PathBuf::from("/photos"), odd_path()]),
            ..Changes::default()
        })
        .unwrap();
    writer.publish().unwrap();
    writer
}

/// As hard to write down as the system allows.
fn odd_path() -> PathBuf {
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        std::ffi::OsStr::from_bytes(b"/photos/caf\xe9 \"\n\t.jpg").into()
    }
    #[cfg(not(unix))]
    PathBuf::from("C:\\photos\\café.jpg")
}

pub(super) fn export_of(index: &Path, target: &Path) -> Result<ExportReport> {
    IndexReader::open(index)?.export(target, false, &mut |_, _| {})
}

pub(super) fn import_from(source: &Path, index: &Path) -> Result<ImportReport> {
    import(index, source, &AtomicBool::new(false), &mut |_| {})
}

/// All photos with their vectors, by path.
pub(super) fn content(index: &Path) -> Vec<(Photo, Vec<u32>)> {
    let reader = IndexReader::open(index).unwrap();
    let snapshot = reader.snapshot();
    let mut content: Vec<_> = (0..reader.len() as u32)
        .map(|position| {
            let vector = snapshot.vectors().row(snapshot.row_of(position));
            let bits = vector.iter().map(|value| value.to_bits()).collect();
            (snapshot.record(position).unwrap().photo, bits)
        })
        .collect();
    content.sort_by(|(a, _), (b, _)| a.path.cmp(&b.path));
    content
}

pub(super) fn names_in(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

#[test]
fn an_exported_and_imported_index_is_the_same_to_the_bit() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    // The index stays open for changes meanwhile.
    let writer = small_index(&at("index"));
    let exported = export_of(&at("index"), &at("export")).unwrap();
    drop(writer);
    assert_eq!((exported.photos, exported.vectors), (9, 8));
    assert_eq!(names_in(&at("export")), FILES);
    let bytes = FILES.map(|name| at("export").join(name).metadata().unwrap().len());
    assert_eq!(exported.bytes, bytes.iter().sum::<u64>());

    let imported = import_from(&at("export"), &at("new")).unwrap();
    assert_eq!((imported.photos, imported.vectors), (9, 8));
    assert_eq!(content(&at("new")), content(&at("index")));
    assert_eq!(problems(&at("new")), [""; 0]);
    let (old, new) = (
        Status::read(&at("index")).unwrap(),
        Status::read(&at("new")).unwrap(),
    );
    assert_eq!(
        (new.model, new.roots, new.vectors),
        (old.model, old.roots, old.vectors)
    );
    // And once more, to see that nothing wears off.
    export_of(&at("new"), &at("again")).unwrap();
    for name in FILES {
        let read = |export: &str| fs::read(at(export).join(name)).unwrap();
        assert!(read("export") == read("again"), "{name}");
    }
}

#[test]
fn numpy_reads_the_embeddings_and_the_lines_name_their_rows() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    drop(small_index(&at("index")));
    export_of(&at("index"), &at("export")).unwrap();
    let npy = fs::read(at("export").join("embeddings.npy")).unwrap();
    assert!(npy.starts_with(b"\x93NUMPY\x01\x00"));
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': (8, {DIM}, ), }}");
    assert!(
        npy[10..].starts_with(header.as_bytes()),
        "{:?}",
        &npy[..128]
    );
    let values = &npy[npy.len() - 8 * DIM * 4..];

    let lines = fs::read_to_string(at("export").join("photos.jsonl")).unwrap();
    let content = content(&at("index"));
    assert_eq!(lines.lines().count(), 9);
    for line in lines.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let row = line["row"].as_u64().unwrap() as usize;
        let vector = &values[row * DIM * 4..][..DIM * 4];
        let (values, _) = vector.as_chunks();
        let bits: Vec<u32> = values.iter().map(|v| u32::from_le_bytes(*v)).collect();
        let hash = line["content_hash"].as_str().unwrap();
        let is_it = |(photo, _): &&(Photo, Vec<u32>)| photo.content_hash.to_string() == hash;
        assert_eq!(content.iter().find(is_it).unwrap().1, bits);
    }
}

#[test]
fn a_large_import_is_searched_by_graph() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let mut rng = Rng(22);
    let embeddings: Vec<Embedding> = (0..5000).map(|_| rng.embedding()).collect();
    let mut writer = build(&at("index"), &embeddings);
    assert!(rebuild_graph(&mut writer));
    writer.publish().unwrap();
    export_of(&at("index"), &at("export")).unwrap();
    let mut events = Vec::new();
    let cancel = AtomicBool::new(false);
    import(&at("new"), &at("export"), &cancel, &mut |event| {
        events.push(event);
    })
    .unwrap();
    let total = 5000;
    for done in [4096, total] {
        assert!(events.contains(&ImportEvent::Importing { done, total }));
    }
    assert!(events.contains(&ImportEvent::Graph { done: total, total }));
    assert_eq!(Status::read(&at("new")).unwrap().graph_rows, 5000);
    let reader = IndexReader::open(&at("new")).unwrap();
    for (number, embedding) in embeddings.iter().enumerate().step_by(500) {
        let found = reader
            .search(embedding, 1, &SearchOptions::default())
            .unwrap();
        assert_eq!(found[0].photo, photo(number));
    }
    assert_eq!(problems(&at("new")), [""; 0]);
}

#[test]
fn an_export_replaces_an_earlier_one_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    drop(small_index(&at("index")));
    fs::create_dir(at("export")).unwrap();
    fs::write(at("export").join("photos.jsonl"), "mine").unwrap();
    let refused = export_of(&at("index"), &at("export"));
    assert!(matches!(refused, Err(Error::NotEmpty { .. })));
    assert_eq!(
        fs::read(at("export").join("photos.jsonl")).unwrap(),
        b"mine"
    );

    fs::write(at("export").join("notes.txt"), "mine").unwrap();
    let reader = IndexReader::open(&at("index")).unwrap();
    reader.export(&at("export"), true, &mut |_, _| {}).unwrap();
    let names = ["embeddings.npy", "index.json", "notes.txt", "photos.jsonl"];
    assert_eq!(names_in(&at("export")), names);
    export_of(&at("index"), &at("export")).unwrap();
    assert_eq!(names_in(&at("export")), names);

    // What a killed export leaves is neither an export nor in the way of one.
    fs::create_dir(at("killed")).unwrap();
    fs::write(at("killed").join("photos.jsonl.tmp"), "{").unwrap();
    let refused = import_from(&at("killed"), &at("new"));
    assert!(matches!(refused, Err(Error::Export { .. })));
    export_of(&at("index"), &at("killed")).unwrap();
    assert_eq!(names_in(&at("killed")), FILES);
}

#[test]
fn an_import_goes_into_a_new_index_only() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    drop(small_index(&at("index")));
    export_of(&at("index"), &at("export")).unwrap();
    for taken in ["index", "unpublished"] {
        drop(IndexWriter::open(&at(taken), &identity()).unwrap());
        let refused = import_from(&at("export"), &at(taken));
        assert!(matches!(refused, Err(Error::IndexExists { .. })), "{taken}");
    }
    let cancelled = import(
        &at("new"),
        &at("export"),
        &AtomicBool::new(true),
        &mut |_| {},
    );
    assert!(matches!(cancelled, Err(Error::Cancelled)));
    assert!(
        !at("new").exists(),
        "nothing is written before all is checked"
    );
}

/// A file of an export, what is replaced in it by what, and what the error says of it.
#[cfg(unix)]
const WRONG: [(&str, &str, &str, &str); 15] = [
    ("index.json", "-export", "", "format"),
    ("index.json", "\"version\":1", "\"version\":2", "version 2"),
    (
        "index.json",
        "\"fingerprint\"",
        "\"f\"",
        "missing field `fingerprint`",
    ),
    (
        "index.json",
        "0123456789abcdef",
        "",
        "fingerprint\" is empty",
    ),
    (
        "index.json",
        "\"photos\":9",
        "\"photos\":10",
        "line 9: here it ends",
    ),
    (
        "index.json",
        "\"vectors\":8",
        "\"vectors\":7",
        "its shape is [8, 16]",
    ),
    ("index.json", "\"/photos\"", "\"photos\"", "not absolute"),
    (
        "photos.jsonl",
        "\"size\":1,",
        "",
        "line 2: missing field `size`",
    ),
    (
        "photos.jsonl",
        "/photos/1.jpg",
        "/photos/0.jpg",
        "line 2: the path is that of line 1",
    ),
    (
        "photos.jsonl",
        "/photos/1.jpg",
        "1.jpg",
        "line 2: the path \"1.jpg\" is not absolute",
    ),
    (
        "photos.jsonl",
        "\"content_hash\":\"01",
        "\"content_hash\":\"0x",
        "line 2: ",
    ),
    (
        "photos.jsonl",
        "{\"row\":0,",
        "{\"row\":1,",
        "line 1: row 1 is out of order",
    ),
    ("photos.jsonl", "48.8584", "98.8584", "no place on Earth"),
    (
        "photos.jsonl",
        "\"path_hex\":\"2f",
        "\"path_hex\":\"2",
        "no path of this system",
    ),
    ("photos.jsonl", "2021-07-03", "2021-07-33", "line 6: "),
];

#[cfg(unix)]
#[test]
fn a_wrong_export_is_refused_with_what_is_wrong_where() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    drop(small_index(&at("index")));
    export_of(&at("index"), &at("export")).unwrap();
    // Without its checksums, as made by hand.
    let manifest = at("export").join("index.json");
    let mut json: serde_json::Value =
        serde_json::from_slice(&fs::read(&manifest).unwrap()).unwrap();
    json.as_object_mut().unwrap().remove("blake3").unwrap();
    fs::write(&manifest, json.to_string()).unwrap();
    import_from(&at("export"), &at("new")).unwrap();

    for (file, old, new, what) in WRONG {
        let path = at("export").join(file);
        let intact = fs::read_to_string(&path).unwrap();
        assert!(intact.contains(old), "{old} in {intact}");
        fs::write(&path, intact.replacen(old, new, 1)).unwrap();
        let refused = import_from(&at("export"), &at("other")).expect_err(what);
        assert!(matches!(refused, Error::Export { .. }), "{refused}");
        assert!(refused.to_string().contains(what), "{what}: {refused}");
        assert!(!at("other").exists(), "{what}");
        fs::write(&path, intact).unwrap();
    }
}

#[test]
fn damaged_vectors_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    drop(small_index(&at("index")));
    export_of(&at("index"), &at("export")).unwrap();
    let path = at("export").join("embeddings.npy");
    let intact = fs::read(&path).unwrap();
    let start = intact.len() - 8 * DIM * 4;
    let refused = |bytes: &[u8], what: &str| {
        fs::write(&path, bytes).unwrap();
        let refused = import_from(&at("export"), &at("new")).expect_err(what);
        assert!(refused.to_string().contains(what), "{what}: {refused}");
        assert!(!at("new").exists(), "{what}");
    };
    let changed = |at: usize, value: f32| {
        let mut bytes = intact.clone();
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        bytes
    };
    refused(&changed(start + 3 * DIM * 4, 2.0), "row 3 has norm 2.");
    refused(&changed(start, f32::NAN), "row 0 has norm NaN");
    refused(&intact[..intact.len() - 1], "it ends in row 7");
    refused(&[&intact[..], &[0]].concat(), "longer than its shape");
    refused(b"\x93NUMPX", "no NumPy file");
    let text = |from: &str, to: &str| {
        let header = String::from_utf8_lossy(&intact[8..start]).replace(from, to);
        [&intact[..8], header.as_bytes(), &intact[start..]].concat()
    };
    refused(&text("<f4", "<i4"), "'<i4'");
    refused(&text("False", "True "), "Fortran");
    // A change too small to see in the norm.
    let mut bytes = intact.clone();
    bytes[start] ^= 1;
    refused(&bytes, "BLAKE3");
}
