//! Photos that are there twice: as the same file, or as nearly the same picture.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::fs::{Metadata, symlink_metadata};
use std::path::{Path, PathBuf};

use bt_kernels::DotProduct;
use rayon::prelude::*;
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::error::Result;
use crate::index::graph::flat::Effort;
use crate::index::graph::similarity::dot;
use crate::index::reader::IndexReader;
use crate::index::snapshot::Snapshot;
use crate::json::paths_entry;
use crate::photo::{ContentHash, Photo, PhotoId};

/// Vectors between two calls of `progress`.
const BATCH: usize = 1024;
/// Neighbours looked at first. Where all of them are duplicates, as in a long burst, more are, up to
/// [`LARGEST_EF`]; a larger group hangs together by its nearest neighbours.
const FIRST_EF: usize = 64;
const LARGEST_EF: usize = 1024;

/// Options for finding duplicates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DuplicateOptions {
    /// Least cosine similarity of two pictures that are nearly the same, −1..=1; only exact copies are
    /// looked for where `None`.
    pub similarity: Option<f32>,
    /// Leaves out photos whose file is gone, and links: a link takes no space, and deleting the file that
    /// it leads to would lose the picture.
    pub on_disk: bool,
}

impl Default for DuplicateOptions {
    fn default() -> Self {
        Self {
            similarity: Some(0.98),
            on_disk: true,
        }
    }
}

/// The duplicates of an index.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Duplicates {
    /// The largest waste first; of equals, the first path.
    pub groups: Vec<DuplicateGroup>,
    /// Photos left out because their file is a link or gone.
    pub left_out: usize,
}

/// Photos of which one would do.
#[derive(Debug, Clone, PartialEq)]
pub struct DuplicateGroup {
    /// Distinct contents, the best first: most pixels, then largest file, then first path. A single one
    /// where all photos are exact copies.
    pub contents: Vec<DuplicateContent>,
}

/// One content, and all photos that are exactly that.
#[derive(Debug, Clone, PartialEq)]
pub struct DuplicateContent {
    /// BLAKE3 of the files.
    pub content_hash: ContentHash,
    /// Cosine similarity with the group's best, −1..=1. May be less than what was asked for: two pictures
    /// may belong together because each is like a third.
    pub similarity: f32,
    /// At least one, by path.
    pub photos: Vec<(PhotoId, Photo)>,
}

impl DuplicateGroup {
    /// Whether all photos are exact copies of each other.
    pub fn is_exact(&self) -> bool {
        self.contents.len() == 1
    }

    /// Bytes of all files but the best.
    pub fn waste(&self) -> u64 {
        let files = self.contents.iter().flat_map(|content| &content.photos);
        files.skip(1).map(|(_, photo)| photo.size).sum()
    }
}

impl DuplicateContent {
    /// The first of its photos.
    pub fn photo(&self) -> &Photo {
        &self.photos[0].1
    }

    /// Less is better.
    fn rank(&self) -> (Reverse<(u64, u64)>, PathBuf) {
        let photo = self.photo();
        let pixels = u64::from(photo.metadata.width) * u64::from(photo.metadata.height);
        (Reverse((pixels, photo.size)), photo.path.clone())
    }
}

/// The JSON of `bt-index dedupe --json`, without the options.
impl Serialize for Duplicates {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let waste: u64 = self.groups.iter().map(DuplicateGroup::waste).sum();
        let mut object = serializer.serialize_map(None)?;
        object.serialize_entry("waste_bytes", &waste)?;
        object.serialize_entry("left_out", &self.left_out)?;
        object.serialize_entry("groups", &self.groups)?;
        object.end()
    }
}

impl Serialize for DuplicateGroup {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let kind = if self.is_exact() { "exact" } else { "near" };
        let mut object = serializer.serialize_map(None)?;
        object.serialize_entry("kind", kind)?;
        object.serialize_entry("waste_bytes", &self.waste())?;
        object.serialize_entry("contents", &self.contents)?;
        object.end()
    }
}

impl Serialize for DuplicateContent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let photo = self.photo();
        let paths = self.photos.iter().map(|(_, photo)| &*photo.path);
        let mut object = serializer.serialize_map(None)?;
        object.serialize_entry("blake3", &self.content_hash.to_string())?;
        object.serialize_entry("similarity", &self.similarity)?;
        object.serialize_entry("width", &photo.metadata.width)?;
        object.serialize_entry("height", &photo.metadata.height)?;
        object.serialize_entry("bytes", &photo.size)?;
        paths_entry(&mut object, "paths", &paths.collect::<Vec<&Path>>())?;
        object.end()
    }
}

impl IndexReader {
    /// Groups the photos that are the same file, or that are linked by pictures of at least the similarity asked
    /// for. `progress` gets (vectors compared, vectors in all).
    ///
    /// Each vector's neighbours come from the graph, so that the time grows little faster than the number of
    /// photos. Vectors newer than the graph, and all of an index without one, are compared with each other.
    pub fn duplicates(
        &self,
        options: &DuplicateOptions,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Duplicates> {
        duplicates(self, options, progress)
    }
}

fn duplicates(
    index: &IndexReader,
    options: &DuplicateOptions,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Duplicates> {
    let snapshot = index.snapshot();
    let mut members = members(index)?;
    match options.similarity {
        None => {
            let contents = members.chunk_by_mut(|a, b| a.content == b.content);
            for (number, copies) in contents.enumerate() {
                for member in copies {
                    member.group = number as u32;
                }
            }
        }
        Some(least) => {
            let mut rows = join_similar(snapshot, least, progress)?;
            for pair in members.windows(2) {
                if pair[0].content == pair[1].content {
                    rows.join(pair[0].row, pair[1].row);
                }
            }
            for member in &mut members {
                member.group = rows.first_of(member.row);
            }
            members.sort_unstable();
        }
    }
    let mut found = Duplicates::default();
    for group in members.chunk_by(|a, b| a.group == b.group) {
        if group.len() > 1 {
            let group = describe(snapshot, group, options.on_disk, &mut found.left_out)?;
            found.groups.extend(group);
        }
    }
    found
        .groups
        .sort_by_cached_key(|group| (Reverse(group.waste()), group.contents[0].rank()));
    Ok(found)
}

/// A photo, by what decides where it belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Member {
    /// Any number that all photos of a group share.
    group: u32,
    content: ContentHash,
    position: u32,
    row: u32,
}

/// All photos, by content, not grouped yet.
fn members(index: &IndexReader) -> Result<Vec<Member>> {
    let snapshot = index.snapshot();
    let positions = (0..index.len() as u32).into_par_iter();
    let members = positions.map(|position| {
        Ok(Member {
            group: 0,
            content: snapshot.record(position)?.photo.content_hash,
            position,
            row: snapshot.row_of(position),
        })
    });
    let mut members = members.collect::<Result<Vec<_>>>()?;
    members.par_sort_unstable();
    Ok(members)
}

/// The photos of a group that has at least two of them, when those that do not count are left out.
fn describe(
    snapshot: &Snapshot,
    members: &[Member],
    on_disk: bool,
    left_out: &mut usize,
) -> Result<Option<DuplicateGroup>> {
    let mut contents = Vec::new();
    for copies in members.chunk_by(|a, b| a.content == b.content) {
        let photos = copies.iter().map(|member| {
            let photo = snapshot.record(member.position)?.photo;
            Ok((snapshot.photo_id(member.position), photo))
        });
        let mut photos = photos.collect::<Result<Vec<_>>>()?;
        photos.sort_by(|(_, a), (_, b)| a.path.cmp(&b.path));
        if on_disk {
            let mut seen = HashSet::new();
            photos.retain(|(_, photo)| is_a_file_of_its_own(photo, &mut seen));
            *left_out += copies.len() - photos.len();
        }
        if !photos.is_empty() {
            let content = DuplicateContent {
                content_hash: copies[0].content,
                similarity: 1.0,
                photos,
            };
            contents.push((copies[0].row, content));
        }
    }
    if contents.iter().map(|(_, c)| c.photos.len()).sum::<usize>() < 2 {
        return Ok(None);
    }
    contents.sort_by_cached_key(|(_, content)| content.rank());
    let best = contents[0].0;
    let contents = contents.into_iter().map(|(row, mut content)| {
        // Rounding can push a unit vector's product with itself off 1.
        if row != best {
            let vectors = snapshot.vectors();
            content.similarity = dot(vectors.row(best), vectors.row(row)).clamp(-1.0, 1.0);
        }
        content
    });
    Ok(Some(DuplicateGroup {
        contents: contents.collect(),
    }))
}

/// Whether the photo's file is there, is no link, and none of those seen so far under another name.
fn is_a_file_of_its_own(photo: &Photo, seen: &mut HashSet<(u64, u64)>) -> bool {
    symlink_metadata(&photo.path).is_ok_and(|metadata| {
        metadata.is_file() && identity(&metadata).is_none_or(|file| seen.insert(file))
    })
}

/// The numbers that hard links to one file share.
#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "other systems do not tell")]
fn identity(metadata: &Metadata) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    Some((metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
fn identity(_: &Metadata) -> Option<(u64, u64)> {
    None
}

/// Joins all rows with photos that are at least so similar.
fn join_similar(
    snapshot: &Snapshot,
    least: f32,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Joined> {
    let rows = snapshot.vectors().rows() as u32;
    let live: Vec<u32> = (0..rows).filter(|&row| has_photo(snapshot, row)).collect();
    let mut joined = Joined::new(rows);
    let mut done = 0;
    for batch in live.chunks(BATCH) {
        let similar = batch.par_iter();
        let similar = similar.map(|&row| similar_rows(snapshot, row, least));
        for (&row, others) in batch.iter().zip(similar.collect::<Result<Vec<_>>>()?) {
            for other in others {
                joined.join(row, other);
            }
        }
        done += batch.len();
        progress(done, live.len());
    }
    Ok(joined)
}

/// Rows like `row`: by graph those in it, and for a row newer than the graph all that are newer still. So
/// each pair is met at least once, and those in the graph need not look at what came after it.
fn similar_rows(snapshot: &Snapshot, row: u32, least: f32) -> Result<Vec<u32>> {
    let vectors = snapshot.vectors();
    let graph = snapshot.graph();
    let mut ef = FIRST_EF;
    let mut similar = loop {
        // Without a budget: a scan of all rows for each row is what the graph is there to avoid.
        let effort = Effort {
            ef,
            budget: usize::MAX,
        };
        let accept = |row| Ok(has_photo(snapshot, row));
        let found = graph
            .search(vectors.scorer(vectors.row(row)), accept, effort)?
            .unwrap_or_default();
        let is_cut_off = found.len() == ef && found.iter().all(|near| near.similarity >= least);
        if !is_cut_off || ef == LARGEST_EF {
            let found = found.into_iter().filter(|near| near.similarity >= least);
            break found.map(|near| near.row).collect::<Vec<_>>();
        }
        ef = (4 * ef).min(LARGEST_EF);
    };
    if row as usize >= graph.rows() {
        let (dot, vector) = (DotProduct::best(), vectors.row(row));
        let newer = row + 1..vectors.rows() as u32;
        similar.extend(newer.filter(|&other| dot.of(vector, vectors.row(other)) >= least));
    }
    Ok(similar)
}

fn has_photo(snapshot: &Snapshot, row: u32) -> bool {
    !snapshot.photos_of(row).is_empty()
}

/// Rows in groups that grow together: union-find. The first row of a group stands for it.
struct Joined(Vec<u32>);

impl Joined {
    fn new(rows: u32) -> Self {
        Self((0..rows).collect())
    }

    fn first_of(&mut self, mut row: u32) -> u32 {
        while self.0[row as usize] != row {
            let above = self.0[row as usize];
            self.0[row as usize] = self.0[above as usize];
            row = above;
        }
        row
    }

    fn join(&mut self, a: u32, b: u32) {
        let (a, b) = (self.first_of(a), self.first_of(b));
        self.0[a.max(b) as usize] = a.min(b);
    }
}
