//! Sixteen query processes beside a builder that never rests.
//!
//! `BT_MINUTES` sets for how long (CI does seconds): `BT_MINUTES=10 cargo test -p bt-index sixteen -- --nocapture`.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use bridgetower::Embedding;
use bridgetower::index::{IndexReader, SearchOptions, Status};
use bridgetower::photo::ContentHash;

use crate::World;
use crate::crash::{change_photos, start_build};

const READERS: usize = 16;
/// Between two queries of a process: people read what they find.
const PAUSE: Duration = Duration::from_millis(50);

/// Photos of a state, as a number that is the same in every process.
type Digest = u64;

/// No query fails; all processes that see a generation see the same photos in it, with the vectors of their content;
/// after a build those are the photos of the folder; and a second builder is told the process id of the first.
#[test]
fn sixteen_query_processes_and_a_builder_do_not_disturb_each_other() {
    let minutes =
        std::env::var("BT_MINUTES").map_or(0.1, |minutes| minutes.parse().expect("a number"));
    let span = Duration::from_secs_f64(minutes * 60.0);
    let world = World::new();
    change_photos(&world, 0);
    world.build();

    let mut builds = Builds::default();
    let mut busy = readers_during(&world, || {
        let started = Instant::now();
        for round in 1.. {
            change_photos(&world, round);
            builds.run(&world);
            if started.elapsed() > span && builds.refused > 0 {
                break;
            }
        }
    });
    let mut idle = readers_during(&world, || sleep((span / 10).max(Duration::from_secs(2))));
    println!("alone:  {}\nbeside: {}", idle.times(), busy.times());
    println!(
        "{} builds, median {:.2?}; {} second builders refused",
        builds.took.len(),
        median(&builds.took),
        builds.refused
    );
    println!("{} generations seen", busy.seen.len());
    assert!(busy.seen.len() > 1, "the builder was starved");
    for (generation, photos) in &builds.states {
        assert!(
            busy.seen.get(generation).is_none_or(|seen| seen == photos),
            "generation {generation}"
        );
    }
    world.bt_index(["verify"]).assert().success();
}

/// What the builder did.
#[derive(Default)]
struct Builds {
    took: Vec<Duration>,
    refused: usize,
    /// What the folder held when a build had ended.
    states: BTreeMap<u64, Digest>,
}

impl Builds {
    fn run(&mut self, world: &World) {
        let started = Instant::now();
        let mut build = start_build(world);
        self.refused += usize::from(second_is_refused(world, &mut build));
        assert!(build.wait().expect("ends").success());
        self.took.push(started.elapsed());
        let index = IndexReader::open(&world.index()).expect("opens");
        assert_eq!(paths(&index), files(&world.photos()));
        self.states.insert(index.generation(), digest(&index));
    }
}

/// Starts a second builder while the first one works; false where that had ended by then.
fn second_is_refused(world: &World, first: &mut Child) -> bool {
    let pid = first.id();
    while Status::read(&world.index()).expect("reads").builder != Some(pid) {
        if first.try_wait().expect("can be asked").is_some() {
            return false;
        }
        sleep(Duration::from_millis(2));
    }
    let second = world.bt_index(["build", "photos"]).output().expect("runs");
    let stderr = String::from_utf8_lossy(&second.stderr);
    let is_refused = second.status.code() == Some(2);
    assert!(is_refused || second.status.success(), "{stderr}");
    assert!(
        !is_refused || stderr.contains(&format!("process {pid}")),
        "{stderr}"
    );
    is_refused
}

/// What all query processes saw.
#[derive(Default)]
struct Seen {
    millis: Vec<f64>,
    seen: BTreeMap<u64, Digest>,
}

impl Seen {
    fn times(&mut self) -> String {
        self.millis.sort_by(f64::total_cmp);
        let at = |percent: usize| self.millis[(self.millis.len() - 1) * percent / 100];
        format!(
            "{} queries, p50 {:.1} ms, p99 {:.1} ms",
            self.millis.len(),
            at(50),
            at(99)
        )
    }
}

fn readers_during(world: &World, work: impl FnOnce()) -> Seen {
    let stop = world.index().with_extension("stop");
    let start = |_| {
        Command::new(std::env::current_exe().expect("has a path"))
            .args([
                "--exact",
                "concurrency::query_process",
                "--ignored",
                "--nocapture",
            ])
            .env("BT_TEST_INDEX", world.index())
            .env("BT_TEST_STOP", &stop)
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts")
    };
    let readers: Vec<Child> = (0..READERS).map(start).collect();
    work();
    std::fs::write(&stop, "").expect("writes");
    let mut all = Seen::default();
    for reader in readers {
        let output = reader.wait_with_output().expect("ends");
        assert!(output.status.success(), "a query process failed");
        let stdout = String::from_utf8(output.stdout).expect("UTF-8");
        let report = stdout
            .lines()
            .find_map(|line| line.strip_prefix("saw: "))
            .expect("a report");
        let (millis, seen): (Vec<f64>, BTreeMap<u64, Digest>) =
            serde_json::from_str(report).expect("JSON");
        assert!(!millis.is_empty());
        all.millis.extend(millis);
        for (generation, photos) in seen {
            assert_eq!(
                *all.seen.entry(generation).or_insert(photos),
                photos,
                "generation {generation}"
            );
        }
    }
    std::fs::remove_file(stop).expect("removes");
    all
}

/// One of the query processes: asks until it is told to stop, and checks every answer.
#[test]
#[ignore = "the test above runs it, in processes of its own"]
fn query_process() {
    let setting = |name| std::env::var_os(name).map(PathBuf::from);
    let (Some(index), Some(stop)) = (setting("BT_TEST_INDEX"), setting("BT_TEST_STOP")) else {
        return;
    };
    let mut vectors: HashMap<ContentHash, Embedding> = HashMap::new();
    let mut seen: BTreeMap<u64, Digest> = BTreeMap::new();
    let mut millis = Vec::new();
    let mut random = u64::from(std::process::id());
    while !stop.exists() {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let query = vectors
            .values()
            .nth((random >> 33) as usize % vectors.len().max(1))
            .cloned();
        let started = Instant::now();
        let index = IndexReader::open(&index).expect("opens");
        if let Some(query) = query {
            let hits = index
                .search(&query, 10, &SearchOptions::default())
                .expect("searches");
            millis.push(started.elapsed().as_secs_f64() * 1e3);
            assert!(!hits.is_empty());
            for hit in hits {
                let vector = index.embedding(hit.id).expect("reads").expect("has one");
                assert!((vector.cosine(&query) - hit.similarity).abs() < 1e-4);
                assert!(is_of_its_content(&vectors, hit.photo.content_hash, &vector));
            }
        }
        seen.entry(index.generation())
            .or_insert_with(|| look_over(&index, &mut vectors));
        sleep(PAUSE);
    }
    println!(
        "\nsaw: {}",
        serde_json::to_string(&(millis, seen)).expect("JSON")
    );
}

/// Checks all photos of a generation, and keeps the vectors of new contents.
fn look_over(index: &IndexReader, vectors: &mut HashMap<ContentHash, Embedding>) -> Digest {
    for photo in index.photos() {
        let (id, photo) = photo.expect("reads");
        let vector = index.embedding(id).expect("reads").expect("has one");
        assert!(is_of_its_content(vectors, photo.content_hash, &vector));
        vectors.entry(photo.content_hash).or_insert(vector);
    }
    digest(index)
}

/// Whether an earlier generation had the same vector for that content, rounded otherwise at most.
fn is_of_its_content(
    vectors: &HashMap<ContentHash, Embedding>,
    content: ContentHash,
    vector: &Embedding,
) -> bool {
    vectors
        .get(&content)
        .is_none_or(|known| known.cosine(vector) > 0.9999)
}

fn digest(index: &IndexReader) -> Digest {
    let photos = index.photos().map(|photo| photo.expect("reads").1);
    let mut photos: Vec<_> = photos
        .map(|photo| (photo.path, photo.content_hash))
        .collect();
    photos.sort();
    let mut hasher = DefaultHasher::new();
    photos.hash(&mut hasher);
    hasher.finish()
}

fn paths(index: &IndexReader) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = index
        .photos()
        .map(|photo| photo.expect("reads").1.path)
        .collect();
    paths.sort();
    paths
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let folder = folder.canonicalize().expect("exists");
    let entries = std::fs::read_dir(folder).expect("lists");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("lists").path()).collect();
    files.sort();
    files
}

fn median(took: &[Duration]) -> Duration {
    let mut sorted = took.to_vec();
    sorted.sort();
    sorted[sorted.len() / 2]
}
