//! The index's speed on vectors from a file, one measurement a line of standard input; answers are JSON, a line each.
//! `compare_hnsw.py` beside this runs it next to hnswlib and usearch, turn by turn.
//!
//! - `wait`: until here, for those who measure a process from outside;
//! - `build DIR VECTORS.npy`: a new index of them, a photo a vector;
//! - `open DIR`: for searching;
//! - `search QUERIES.npy K EF`: each query by graph, one after another; photos are told by the number of their vector;
//! - `dedupe DIR`: look-alikes at 0.98, whether or not there are files;
//! - `compact DIR`;
//! - `churn DIR VECTORS.npy STEPS QUERIES.npy K EF`: half of the vectors as they come, then in so many steps deletes
//!   the oldest and adds as many of the others, publishing each time, until 30 % are new; recall before, after, and of
//!   an index built from the same at once.
//!
//! ```text
//! echo 'build index vectors.npy' | cargo bench --bench index -- -
//! ```

#[path = "clustered/photo.rs"]
mod photo;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use bridgetower::index::{
    Changes, DuplicateOptions, IndexReader, IndexWriter, ModelIdentity, Plan, SearchOptions,
};
use bridgetower::photo::PhotoId;
use bridgetower::{Embedding, Index};
use npyz::NpyFile;
use photo::photo;
use serde_json::{Value, json};

const COMMIT: usize = 1000;
/// The part of the photos that churn replaces.
const CHURN: f64 = 0.3;

fn main() {
    // Cargo adds an argument of its own, and runs this without any in passing.
    if !std::env::args().any(|argument| argument == "-") {
        println!("nothing measured: give - after --");
        return;
    }
    let mut reader = None;
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("a line");
        let words: Vec<&str> = line.split_whitespace().collect();
        let answer = match words[..] {
            ["wait"] => json!({}),
            ["build", dir, vectors] => build(Path::new(dir), &load(vectors)),
            ["open", dir] => {
                let (opened, seconds) =
                    timed(|| IndexReader::open(Path::new(dir)).expect("an index"));
                reader = Some(opened);
                json!({ "open": seconds })
            }
            ["search", queries, k, ef] => {
                let reader = reader.as_ref().expect("opened first");
                search(reader, &load(queries).all(), number(k), number(ef))
            }
            ["dedupe", dir] => dedupe(Path::new(dir)),
            ["compact", dir] => compacted(Path::new(dir)),
            ["churn", dir, vectors, steps, queries, k, ef] => {
                let queries = load(queries).all();
                let recall = |reader: &IndexReader| recall(reader, &queries, number(k), number(ef));
                churn(Path::new(dir), &load(vectors), number(steps), &recall)
            }
            _ => panic!("a command, not {line:?}"),
        };
        println!("{answer}");
    }
}

fn build(dir: &Path, vectors: &Vectors) -> Value {
    let mut writer = IndexWriter::open(dir, &identity(vectors.dim)).expect("a new index");
    let ((), commit) = timed(|| insert(&mut writer, vectors, 0..vectors.count));
    let cpu = cpu_seconds();
    let (_, graph) = timed(|| rebuild(&mut writer));
    let cpu = cpu_seconds() - cpu;
    let ((), publish) = timed(|| writer.publish().expect("published"));
    json!({ "commit": commit, "graph": graph, "cpu": cpu, "publish": publish })
}

fn search(reader: &IndexReader, queries: &[Embedding], k: usize, ef: usize) -> Value {
    let answers = queries
        .iter()
        .map(|query| timed(|| found(reader, query, k, ef)));
    let (found, seconds): (Vec<_>, Vec<_>) = answers.unzip();
    json!({ "found": found, "seconds": seconds })
}

fn dedupe(dir: &Path) -> Value {
    let index = IndexReader::open(dir).expect("an index");
    let options = DuplicateOptions {
        on_disk: false,
        ..DuplicateOptions::default()
    };
    let find = || {
        index
            .duplicates(&options, &mut |_, _| {})
            .expect("searched")
    };
    let (found, seconds) = timed(find);
    json!({ "dedupe": seconds, "groups": found.groups.len() })
}

fn compacted(dir: &Path) -> Value {
    let compact = || {
        Index::at(dir)
            .compact(&AtomicBool::new(false), &mut |_| {})
            .expect("compacted")
    };
    let (report, seconds) = timed(compact);
    json!({ "compact": seconds, "before": report.bytes_before, "after": report.bytes_after })
}

fn churn(
    dir: &Path,
    vectors: &Vectors,
    steps: usize,
    recall: &dyn Fn(&IndexReader) -> f64,
) -> Value {
    let dir_of_fresh = dir.join("fresh");
    let live = vectors.count / 2;
    let step = (live as f64 * CHURN) as usize / steps;
    let mut writer = IndexWriter::open(dir, &identity(vectors.dim)).expect("a new index");
    insert(&mut writer, vectors, 0..live);
    rebuild(&mut writer);
    writer.publish().expect("published");
    let before = recall(&IndexReader::open(dir).expect("an index"));
    let (mut rebuilt, mut least) = (0, f64::MAX);
    for number in 0..steps {
        let oldest: Vec<PhotoId> = writer.photos().take(step).map(|(id, _)| id).collect();
        writer
            .commit(Changes {
                remove: oldest,
                ..Changes::default()
            })
            .expect("committed");
        insert(
            &mut writer,
            vectors,
            live + number * step..live + (number + 1) * step,
        );
        rebuilt += usize::from(rebuild(&mut writer));
        writer.publish().expect("published");
        least = least.min(recall(&IndexReader::open(dir).expect("an index")));
    }
    let after = recall(&IndexReader::open(dir).expect("an index"));
    let mut writer = IndexWriter::open(&dir_of_fresh, &identity(vectors.dim)).expect("a new index");
    insert(&mut writer, vectors, steps * step..live + steps * step);
    rebuild(&mut writer);
    writer.publish().expect("published");
    let fresh = recall(&IndexReader::open(&dir_of_fresh).expect("an index"));
    json!({ "before": before, "least": least, "after": after, "fresh": fresh, "graphs built": rebuilt })
}

fn insert(writer: &mut IndexWriter, vectors: &Vectors, numbers: Range<usize>) {
    let mut entries = numbers.clone().zip(vectors.range(numbers)).peekable();
    while entries.peek().is_some() {
        let batch = entries.by_ref().take(COMMIT);
        let insert = batch
            .map(|(number, vector)| (photo(number), vector))
            .collect();
        writer
            .commit(Changes {
                insert,
                ..Changes::default()
            })
            .expect("committed");
    }
}

fn rebuild(writer: &mut IndexWriter) -> bool {
    writer
        .rebuild_graph_if_stale(&AtomicBool::new(false), &mut |_, _| {})
        .expect("built")
}

/// The part of the `k` nearest that a search finds.
fn recall(reader: &IndexReader, queries: &[Embedding], k: usize, ef: usize) -> f64 {
    let mut hits = 0;
    for query in queries {
        let exact = reader.search_exact(query, k, None).expect("searched");
        let found = found(reader, query, k, ef);
        hits += exact
            .iter()
            .filter(|exact| found.contains(&exact.photo.size))
            .count();
    }
    hits as f64 / (k * queries.len()) as f64
}

/// Numbers of the vectors nearest by graph.
fn found(reader: &IndexReader, query: &Embedding, k: usize, ef: usize) -> Vec<u64> {
    let options = SearchOptions {
        ef: Some(ef),
        plan: Plan::Graph,
        ..SearchOptions::default()
    };
    let found = reader.search(query, k, &options).expect("searched");
    found.iter().map(|candidate| candidate.photo.size).collect()
}

/// A file of `NumPy`, f32 `[count, dim]`.
struct Vectors {
    path: PathBuf,
    count: usize,
    dim: usize,
}

fn load(path: &str) -> Vectors {
    let file = NpyFile::new(File::open(path).expect("a file")).expect("a NumPy file");
    let &[count, dim] = file.shape() else {
        panic!("two axes");
    };
    Vectors {
        path: path.into(),
        count: count as usize,
        dim: dim as usize,
    }
}

impl Vectors {
    fn all(&self) -> Vec<Embedding> {
        self.range(0..self.count).collect()
    }

    fn range(&self, numbers: Range<usize>) -> impl Iterator<Item = Embedding> {
        let file = BufReader::new(File::open(&self.path).expect("a file"));
        let file = NpyFile::new(file).expect("a NumPy file");
        let mut values = file.data::<f32>().expect("f32");
        let dim = self.dim;
        values
            .seek_to((numbers.start * dim) as u64)
            .expect("so long");
        numbers.map(move |_| {
            let vector = values.by_ref().take(dim).collect::<Result<_, _>>();
            Embedding::new(vector.expect("read")).expect("not zero")
        })
    }
}

fn identity(dim: usize) -> ModelIdentity {
    ModelIdentity {
        name: "none".into(),
        fingerprint: "0".repeat(64),
        preprocessing: "none".into(),
        dim,
    }
}

/// What this process has taken of all cores so far, where the system says so as Linux does.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2);
    ticks
        .filter_map(|ticks| ticks.parse::<f64>().ok())
        .sum::<f64>()
        / 100.0
}

fn number(word: &str) -> usize {
    word.parse().expect("a number")
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let started = Instant::now();
    let done = work();
    (done, started.elapsed().as_secs_f64())
}
