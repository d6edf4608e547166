//! Decoders as functions of bytes, see [`crate::fuzzing`]. Checksums are put right first: behind them is where
//! damage that nobody thought of would have to be noticed.
#![allow(clippy::missing_panics_doc, reason = "a panic is what is looked for")]

use std::fs;
use std::path::Path;

use crate::embedding::Embedding;
use crate::error::Result;
use crate::index::codec::{
    FORMAT, OLDEST_FORMAT, Unreadable, decode_info, decode_meta, decode_photo, encode_info,
    encode_meta, encode_photo, seal_as, unseal,
};
use crate::index::folder::files::{published_generation, snapshot_path};
use crate::index::graph::flat::{Effort, FlatGraph};
use crate::index::graph::similarity::Scored;
use crate::index::predicate::PhotoPredicate;
use crate::index::reader::{IndexReader, SearchOptions};
use crate::index::snapshot::reseal;
use crate::index::store::database::StoredGraph;
use crate::index::strategy::Plan;
use crate::index::transfer::check_export;

/// A sealed record, or the body of one. What decodes must come back from what it encodes to.
pub fn records(data: &[u8]) {
    drop(unseal(data));
    let formats = OLDEST_FORMAT..=FORMAT;
    let sealed = formats.map(|format| seal_as(format, data.iter().copied()));
    for sealed in sealed.chain([data.to_vec()]) {
        round_trip(&sealed, decode_photo, encode_photo);
        round_trip(&sealed, decode_info, encode_info);
        round_trip(&sealed, decode_meta, encode_meta);
    }
}

/// By bytes, since a position may be NaN.
fn round_trip<T>(
    sealed: &[u8],
    decode: impl Fn(&[u8]) -> Result<T, Unreadable>,
    encode: impl Fn(&T) -> Result<Vec<u8>>,
) {
    if let Ok(value) = decode(sealed) {
        let encoded = encode(&value).expect("encodes");
        let again = decode(&encoded).expect("decodes");
        assert_eq!(encode(&again).expect("encodes"), encoded);
    }
}

/// A stored graph, and its words alone.
pub fn graph(data: &[u8]) {
    let words = |data: &[u8]| -> Vec<u32> {
        let words = data.as_chunks().0.iter();
        words.map(|word| u32::from_le_bytes(*word)).collect()
    };
    let stored = StoredGraph::from_bytes(data).map(|graph| graph.words);
    for words in [Some(words(data)), stored].into_iter().flatten() {
        let Ok(graph) = FlatGraph::view(&words) else {
            continue;
        };
        if graph.check().is_err() {
            continue;
        }
        drop(graph.unreachable());
        let effort = Effort {
            ef: 8,
            budget: usize::MAX,
        };
        let score = |rows: &[u32], scored: &mut Vec<Scored>| {
            scored.extend(rows.iter().map(|&row| Scored {
                row,
                similarity: (row.wrapping_mul(0x9E37_79B9) >> 8) as f32,
            }));
        };
        let found = graph.search(score, |row| Ok(row % 3 != 1), effort);
        let found = found.expect("nothing fails").expect("no budget");
        assert!(
            found
                .iter()
                .all(|found| (found.row as usize) < graph.rows())
        );
    }
}

/// A snapshot, opened and searched in every way.
pub fn snapshot(data: &[u8]) {
    let dir = tempfile::tempdir_in(scratch()).expect("a folder");
    let mut data = data.to_vec();
    for resealed in [false, true] {
        if resealed {
            reseal(&mut data);
        }
        let generation = data.get(16..).and_then(|rest| rest.first_chunk());
        let generation = generation.map_or(1, |bytes| u64::from_le_bytes(*bytes));
        let path = snapshot_path(dir.path(), generation);
        let name = path.file_name().expect("a name").to_str().expect("ASCII");
        fs::write(&path, &data).expect("writes");
        fs::write(dir.path().join("current"), format!("{name}\n")).expect("writes");
        if let Ok(reader) = IndexReader::open(dir.path()) {
            search(&reader);
        }
    }
}

fn search(reader: &IndexReader) {
    let dim = reader.model().dim;
    // Without rows any number will do.
    if dim > 1 << 16 {
        return;
    }
    let query = Embedding::new((0..dim).map(|i| i as f32 - 1.5).collect()).expect("no zero");
    let odd: &PhotoPredicate = &|photo| photo.size % 2 == 1;
    for plan in [Plan::Cheapest, Plan::Graph, Plan::Scan] {
        for filter in [None, Some(odd)] {
            let options = SearchOptions {
                plan,
                filter,
                ef: None,
            };
            drop(reader.search(&query, 5, &options));
        }
    }
    for (id, _) in reader.photos().flatten() {
        assert!(reader.photo(id).is_ok_and(|photo| photo.is_some()));
        drop(reader.embedding(id));
    }
}

/// The file that names the snapshot.
pub fn current(data: &[u8]) {
    let dir = tempfile::tempdir_in(scratch()).expect("a folder");
    fs::write(dir.path().join("current"), data).expect("writes");
    if let Ok(Some(generation)) = published_generation(dir.path()) {
        let path = snapshot_path(dir.path(), generation);
        let name = path.file_name().expect("a name").to_str().expect("ASCII");
        assert_eq!(data, format!("{name}\n").as_bytes());
    }
}

/// `index.json`, `photos.jsonl` and `embeddings.npy`, with a zero byte between them.
pub fn export(data: &[u8]) {
    let dir = tempfile::tempdir_in(scratch()).expect("a folder");
    let names = ["index.json", "photos.jsonl", "embeddings.npy"];
    for (name, bytes) in names.into_iter().zip(data.splitn(3, |&byte| byte == 0)) {
        fs::write(dir.path().join(name), bytes).expect("writes");
    }
    drop(check_export(dir.path()));
}

/// Memory, where the system has such a folder.
fn scratch() -> std::path::PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        memory.to_owned()
    } else {
        std::env::temp_dir()
    }
}

/// The seeds of fuzzing: one of each, small.
#[cfg(test)]
pub(crate) fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    use crate::index::graph::flat::flatten;
    use crate::index::snapshot::{Contents, Snapshot};
    use crate::index::tests::{build, embeddings};

    let dir = tempfile::tempdir().expect("a folder");
    drop(build(dir.path(), &embeddings(30, 3)));
    let generation = published_generation(dir.path())
        .expect("reads")
        .expect("is published");
    let read = |path: &Path| fs::read(path).expect("reads");
    let store = crate::index::store::database::Store::open(dir.path()).expect("opens");
    let meta = store.meta().expect("reads").expect("is there");
    let photos: Vec<_> = store.photos().map(|photo| photo.expect("reads")).collect();
    let record = &photos[0].1;
    let body = |sealed: Vec<u8>| unseal(&sealed).expect("is sealed").to_vec();
    let line = flatten(&[vec![vec![1], vec![0, 2], vec![1]], vec![vec![]]]);
    let contents = Contents {
        generation: 2,
        info: &meta.info,
        rows: &photos
            .iter()
            .map(|(_, record)| record.vector)
            .collect::<Vec<_>>(),
        photos: &photos
            .iter()
            .map(|(id, record)| (*id, record))
            .collect::<Vec<_>>(),
        graph: &line,
    };
    let with_graph = dir.path().join("with-graph");
    Snapshot::write(&with_graph, &contents, |id| store.vector(id)).expect("writes");
    store.close().expect("closes");
    let out = dir.path().join("out");
    let reader = IndexReader::open(dir.path()).expect("opens");
    reader.export(&out, false, &mut |_, _| {}).expect("exports");
    // Fuzzing cannot guess hashes.
    let manifest = String::from_utf8(read(&out.join("index.json"))).expect("UTF-8");
    let mut manifest: serde_json::Value = serde_json::from_str(&manifest).expect("JSON");
    manifest["blake3"] = serde_json::Value::Null;
    let files = [
        manifest.to_string().into_bytes(),
        read(&out.join("photos.jsonl")),
        read(&out.join("embeddings.npy")),
    ];
    vec![
        ("current", read(&dir.path().join("current"))),
        ("export", files.join(&0)),
        ("graph", crate::mapped::bytes_of(&line).to_vec()),
        (
            "graph",
            StoredGraph {
                vectors: vec![],
                words: line,
            }
            .to_bytes(),
        ),
        ("records", encode_photo(record).expect("encodes")),
        ("records", body(encode_photo(record).expect("encodes"))),
        ("records", body(encode_info(&meta.info).expect("encodes"))),
        ("records", body(encode_meta(&meta).expect("encodes"))),
        ("snapshot", read(&snapshot_path(dir.path(), generation))),
        ("snapshot", read(&with_graph)),
    ]
}
