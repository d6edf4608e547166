//! One search of the index: by its graph and by comparing everything, for the 10 and the 100 nearest; and opening it.
//! One query after another of 100, so that caches hold no more of the vectors than they would in use.
//!
//! Data: 20,000 photos, see `clustered`. `hnsw_recall` beside this has recall, larger indexes and filters.
//!
//! ```text
//! cargo bench --bench search
//! ```

mod clustered;

use std::path::Path;
use std::sync::atomic::AtomicBool;

use bridgetower::Embedding;
use bridgetower::index::{Changes, IndexReader, IndexWriter, Plan, SearchOptions};
use clustered::{Data, identity, photo};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

const PHOTOS: usize = 20_000;
const QUERIES: usize = 100;

fn search(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut data = Data::new();
    build(folder.path(), &mut data);
    let reader = IndexReader::open(folder.path()).expect("an index");
    let queries: Vec<Embedding> = (0..QUERIES).map(|_| data.sample()).collect();

    let mut group = criterion.benchmark_group("search");
    for (name, plan) in [("graph", Plan::Graph), ("scan", Plan::Scan)] {
        for k in [10, 100] {
            let options = SearchOptions {
                plan,
                ..SearchOptions::default()
            };
            let mut queries = queries.iter().cycle();
            group.bench_function(BenchmarkId::new(name, k), |bencher| {
                bencher.iter(|| {
                    let query = queries.next().expect("it cycles");
                    reader.search(query, k, &options).expect("searched")
                });
            });
        }
    }
    group.bench_function("open", |bencher| {
        bencher.iter(|| IndexReader::open(folder.path()).expect("an index"));
    });
    group.finish();
}

fn build(dir: &Path, data: &mut Data) {
    let mut writer = IndexWriter::open(dir, &identity()).expect("a new index");
    let insert = (0..PHOTOS).map(|number| (photo(number), data.sample()));
    writer
        .commit(Changes {
            insert: insert.collect(),
            ..Changes::default()
        })
        .expect("committed");
    writer
        .rebuild_graph_if_stale(&AtomicBool::new(false), &mut |_, _| {})
        .expect("built");
    writer.publish().expect("published");
}

criterion_group!(benches, search);
criterion_main!(benches);
