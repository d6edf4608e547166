//! The index as a whole: what is written is what is found, whatever happens in between.

mod bursts;
mod changes;
mod compact;
mod damage;
mod duplicates;
mod formats;
mod lifecycle;
mod operations;
#[cfg(feature = "parquet")]
mod parquet;
mod rebuild;
mod repair;
mod search;
mod transfer;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use super::Hit;
use super::upkeep::verify::verify;
use super::{Changes, IndexWriter};
use crate::embedding::Embedding;
use crate::identity::ModelIdentity;
use crate::photo::{ContentHash, Photo, PhotoId, PhotoMetadata};

const DIM: usize = 16;

/// Xorshift64*: the same numbers on every machine.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    /// In −1..1.
    fn coordinate(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    fn embedding(&mut self) -> Embedding {
        Embedding::new((0..DIM).map(|_| self.coordinate()).collect()).unwrap()
    }

    /// A point around one of the centres.
    fn near(&mut self, centres: &[Embedding], spread: f32) -> Embedding {
        let centre = &centres[self.below(centres.len())];
        let values = centre
            .as_slice()
            .iter()
            .map(|c| c + spread * self.coordinate())
            .collect();
        Embedding::new(values).unwrap()
    }
}

fn identity() -> ModelIdentity {
    ModelIdentity {
        name: "tiny".into(),
        fingerprint: "0123456789abcdef".into(),
        preprocessing: "288 px".into(),
        dim: DIM,
    }
}

fn photo(number: usize) -> Photo {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&(number as u64).to_le_bytes());
    Photo {
        path: PathBuf::from(format!("/photos/{number}.jpg")),
        size: number as u64,
        mtime_ns: number as i64,
        ctime_ns: None,
        content_hash: ContentHash(hash),
        metadata: PhotoMetadata {
            width: number as u32,
            ..PhotoMetadata::default()
        },
    }
}

fn open(dir: &Path) -> IndexWriter {
    IndexWriter::open(dir, &identity()).unwrap()
}

fn insert(writer: &mut IndexWriter, insert: Vec<(Photo, Embedding)>) {
    writer
        .commit(Changes {
            insert,
            ..Changes::default()
        })
        .unwrap();
}

pub(super) fn embeddings(seed: u64, count: usize) -> Vec<Embedding> {
    let mut rng = Rng(seed);
    (0..count).map(|_| rng.embedding()).collect()
}

/// An index of numbered photos in `dir`, published.
pub(super) fn build(dir: &Path, embeddings: &[Embedding]) -> IndexWriter {
    let mut writer = open(dir);
    let photos = embeddings
        .iter()
        .enumerate()
        .map(|(number, e)| (photo(number), e.clone()));
    insert(&mut writer, photos.collect());
    writer.publish().unwrap();
    writer
}

fn rebuild_graph(writer: &mut IndexWriter) -> bool {
    writer
        .rebuild_graph_if_stale(&AtomicBool::new(false), &mut |_, _| {})
        .unwrap()
}

fn ids(candidates: &[Hit]) -> Vec<PhotoId> {
    candidates.iter().map(|candidate| candidate.id).collect()
}

fn problems(dir: &Path) -> Vec<String> {
    verify(dir).unwrap().problems
}

/// Every file below a folder.
fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| {
            if path.is_dir() {
                files(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

fn copy_dir(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(&file, &target).unwrap();
    }
}
