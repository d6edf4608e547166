//! Recall, latency and size of the index at 100,000 photos, with default parameters; then with filters that
//! let 100 %, 50 %, 10 %, 1 % and 0.1 % of the photos pass, by graph, by scan, and as the index chooses.
//! Recall is that of the same search by a scan. A filter's cost is that of reading the record: it only
//! looks at a number.
//!
//! Data: see `clustered`; queries are drawn the same way and are not in the index.
//!
//! ```text
//! cargo bench --bench hnsw_recall [-- PHOTOS [QUERIES]]
//! ```

mod clustered;

use std::sync::atomic::AtomicBool;
use std::time::Instant;

use bridgetower::index::{Changes, Hit, IndexReader, IndexWriter, Plan, SearchOptions, Status};
use bridgetower::{Embedding, Photo};
use clustered::{DIM, Data, identity, photo};

/// Photos of 1000 that pass.
const SELECTIVITIES: [u64; 5] = [1000, 500, 100, 10, 1];
const COMMIT: usize = 1000;

fn main() {
    // Cargo adds arguments of its own.
    let mut numbers = std::env::args().filter_map(|arg| arg.parse().ok());
    let photos = numbers.next().unwrap_or(100_000);
    let query_count = numbers.next().unwrap_or(500);
    let mut data = Data::new();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    println!("{photos} photos × {DIM}");

    let mut writer = timed("create", || {
        IndexWriter::open(dir, &identity()).expect("a new index")
    });
    timed("commit, 1000 photos each", || {
        for start in (0..photos).step_by(COMMIT) {
            let numbers = start..photos.min(start + COMMIT);
            let insert = numbers
                .map(|number| (photo(number), data.sample()))
                .collect();
            writer
                .commit(Changes {
                    insert,
                    ..Changes::default()
                })
                .expect("committed");
        }
    });
    timed("build the graph", || {
        writer
            .rebuild_graph_if_stale(&AtomicBool::new(false), &mut |_, _| {})
            .expect("built")
    });
    timed("publish", || writer.publish().expect("published"));
    drop(writer);
    drop(timed("open for writing", || {
        IndexWriter::open(dir, &identity()).expect("an index")
    }));
    let reader = timed("open for reading", || {
        IndexReader::open(dir).expect("an index")
    });
    println!("{:#?}", Status::read(dir).expect("an index"));

    let queries: Vec<Embedding> = (0..query_count).map(|_| data.sample()).collect();
    compare_efforts(&reader, &queries);
    for permille in SELECTIVITIES {
        compare_plans(&reader, &queries, permille);
    }
}

/// Unfiltered, with growing `ef`.
fn compare_efforts(reader: &IndexReader, queries: &[Embedding]) {
    println!("all photos, no filter");
    let exact = run("scan", queries, |query| {
        reader.search_exact(query, 100, None)
    });
    for ef in [64, 100, 200, 400] {
        let options = SearchOptions {
            ef: Some(ef),
            plan: Plan::Graph,
            ..SearchOptions::default()
        };
        for k in [10, 100] {
            let found = run(&format!("graph, k {k}, ef {ef}"), queries, |query| {
                reader.search(query, k, &options)
            });
            println!("      recall@{k} {:.4}", recall(&found, &exact, k));
        }
    }
}

/// With a filter that so many of 1000 photos pass, wherever they are.
fn compare_plans(reader: &IndexReader, queries: &[Embedding], permille: u64) {
    let limit = (permille << 32) / 1000;
    let filter = |photo: &Photo| (photo.size.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) < limit;
    let passing = reader.count(&filter).expect("counted");
    println!("{} % pass: {passing} photos", permille as f64 / 10.0);
    for k in [10, 100] {
        let search = |name: &str, plan| {
            let options = SearchOptions {
                filter: Some(&filter),
                plan,
                ..SearchOptions::default()
            };
            run(&format!("k {k}, {name}"), queries, |query| {
                reader.search(query, k, &options)
            })
        };
        let exact = search("scan", Plan::Scan);
        for (name, plan) in [("graph", Plan::Graph), ("cheapest", Plan::Cheapest)] {
            let found = search(name, plan);
            println!("      recall@{k} {:.4}", recall(&found, &exact, k));
        }
    }
}

fn run<E: std::fmt::Debug>(
    name: &str,
    queries: &[Embedding],
    search: impl Fn(&Embedding) -> Result<Vec<Hit>, E>,
) -> Vec<Vec<Hit>> {
    let mut latencies = Vec::with_capacity(queries.len());
    let found = queries
        .iter()
        .map(|query| {
            let started = Instant::now();
            let found = search(query).expect("searched");
            latencies.push(started.elapsed());
            found
        })
        .collect();
    latencies.sort();
    let at = |percent: usize| latencies[(latencies.len() - 1) * percent / 100];
    println!("  {name}: p50 {:.2?}, p99 {:.2?}", at(50), at(99));
    found
}

/// The part of the `k` best photos that was found.
fn recall(found: &[Vec<Hit>], exact: &[Vec<Hit>], k: usize) -> f64 {
    let (mut hits, mut wanted) = (0, 0);
    for (found, exact) in found.iter().zip(exact) {
        let best = &exact[..k.min(exact.len())];
        wanted += best.len();
        hits += best
            .iter()
            .filter(|photo| found[..k.min(found.len())].contains(photo))
            .count();
    }
    f64::from(hits as u32) / f64::from(wanted as u32)
}

fn timed<T>(name: &str, work: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let done = work();
    println!("{name}: {:.2?}", started.elapsed());
    done
}
