//! Garbage: leftovers of processes that were killed, and what is kept of photos that no query
//! will ask for again.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::about::{About, PART_PREFIX};
use crate::engine::CacheLevel;
use crate::error::{Error, Result};
use crate::identity::ModelIdentity;
use crate::index::{BuildLock, Index, IndexReader, Leftovers, bytes_on_disk, cache_path};
use crate::json::path_entry;
use crate::photo::ContentHash;
use crate::processor::READING;

/// The longest time that a running query takes to write a file.
const LONGEST_WRITE: Duration = Duration::from_hours(1);

/// Options of [`gc`].
#[derive(Debug, Clone, Default)]
pub struct GcOptions {
    /// A model that reranks instead of the index's own: what is kept for it stays.
    pub rerank_model: Option<String>,
    /// The only level at which photos are to be kept; every level where `None`.
    pub level: Option<CacheLevel>,
    /// Only says what it would remove.
    pub dry_run: bool,
}

/// A kind of garbage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Garbage {
    /// Published states that were replaced.
    Snapshots,
    /// Files that were never finished.
    Drafts,
    /// Stores that a compaction replaced or did not finish.
    Stores,
    /// Kept of photos that left the index.
    GonePhotos,
    /// Kept by an earlier version of this program, which no query reads any more.
    Outdated,
    /// Kept for models, or preprocessing, that neither index nor reranking uses.
    OtherModels,
    /// Kept at other levels than the one asked for.
    OtherLevels,
}

/// The report of [`gc`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GcReport {
    /// Files and bytes of each kind that there was.
    pub removed: BTreeMap<Garbage, (usize, u64)>,
    /// Files that could not be removed, with the reason. Some systems hold on to files that a query has open.
    pub kept: Vec<(PathBuf, String)>,
}

/// The JSON of `bt-index gc --json`, without `dry_run`.
impl Serialize for GcReport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let removed = self.removed.iter();
        let removed = removed.map(|(kind, &(files, bytes))| (kind, Amount { files, bytes }));
        let kept = self.kept.iter();
        let kept = kept.map(|(path, reason)| Kept { path, reason });
        let mut object = serializer.serialize_map(None)?;
        object.serialize_entry("bytes", &self.bytes())?;
        object.serialize_entry("removed", &removed.collect::<BTreeMap<_, _>>())?;
        object.serialize_entry("kept", &kept.collect::<Vec<_>>())?;
        object.end()
    }
}

#[derive(Serialize)]
struct Amount {
    files: usize,
    bytes: u64,
}

/// A file that could not be removed, with the reason.
struct Kept<'a> {
    path: &'a Path,
    reason: &'a str,
}

impl Serialize for Kept<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        path_entry(&mut object, "path", self.path)?;
        object.serialize_entry("reason", self.reason)?;
        object.end()
    }
}

impl GcReport {
    /// Bytes of everything that was removed.
    pub fn bytes(&self) -> u64 {
        self.removed.values().map(|(_, bytes)| bytes).sum()
    }
}

/// Removes from `index` what nothing needs any more. Queries work meanwhile; [`Error::Busy`] during a
/// build.
///
/// Vectors of deleted photos are part of the graph until it is built again: see [`Index::compact`].
pub fn gc(index: &Index, options: &GcOptions) -> Result<GcReport> {
    let dir = index.dir();
    IndexReader::open(dir)?;
    let _lock = BuildLock::acquire(dir)?;
    let reader = IndexReader::open(dir)?;
    let leftovers = Leftovers::find(dir)?;
    let mut garbage = kept_for_nobody(&cache_path(dir), &reader, options)?;
    for (kind, paths) in [
        (Garbage::Snapshots, leftovers.snapshots),
        (Garbage::Drafts, leftovers.drafts),
        (Garbage::Stores, leftovers.stores),
    ] {
        garbage.extend(paths.into_iter().map(|path| (kind, path)));
    }

    let mut report = GcReport::default();
    for (kind, path) in garbage {
        let (files, bytes) = size(&path)?;
        match remove(&path, options.dry_run) {
            Ok(()) => {
                let removed = report.removed.entry(kind).or_default();
                *removed = (removed.0 + files, removed.1 + bytes);
            }
            Err(error) => report.kept.push((path, error.to_string())),
        }
    }
    Ok(report)
}

/// Lists what no query of this index will read of the cache in `root`.
fn kept_for_nobody(
    root: &Path,
    index: &IndexReader,
    options: &GcOptions,
) -> Result<Vec<(Garbage, PathBuf)>> {
    let mut contents = HashSet::with_capacity(index.len());
    for photo in index.photos() {
        contents.insert(photo?.1.content_hash);
    }
    let mut garbage = Vec::new();
    for folder in entries(root)? {
        match About::read(&folder) {
            Some(about) if !is_in_use(&about, index.model(), options) => {
                garbage.push((Garbage::OtherModels, folder));
            }
            Some(about) if about.is_outdated() => garbage.push((Garbage::Outdated, folder)),
            Some(about) if options.level.is_some_and(|level| !about.is_of(level)) => {
                garbage.push((Garbage::OtherLevels, folder));
            }
            Some(_) => {
                for group in entries(&folder)?.into_iter().filter(|path| path.is_dir()) {
                    let files = entries(&group)?.into_iter();
                    garbage.extend(files.filter_map(|file| Some((kind(&file, &contents)?, file))));
                }
            }
            // Nobody can tell what it is, unless a query is just making it.
            None if is_old(&folder) => garbage.push((Garbage::OtherModels, folder)),
            None => {}
        }
    }
    Ok(garbage)
}

fn is_in_use(about: &About, identity: &ModelIdentity, options: &GcOptions) -> bool {
    // What an earlier version kept is not read any more, whatever index it was for.
    let read_now = format!("{}{READING}", identity.scaling());
    let is_of_index =
        (&about.fingerprint, &about.preprocessing) == (&identity.fingerprint, &read_now);
    let reranks = options.rerank_model.as_ref().is_some_and(|name| {
        // Engines call a folder by its whole path.
        let absolute = std::path::absolute(name).ok();
        about.model == *name || absolute.is_some_and(|path| path == Path::new(&about.model))
    });
    is_of_index || reranks
}

fn kind(file: &Path, contents: &HashSet<ContentHash>) -> Option<Garbage> {
    let name = file.file_name()?.to_str()?;
    if name.starts_with(PART_PREFIX) {
        return is_old(file).then_some(Garbage::Drafts);
    }
    let content: ContentHash = name.parse().ok()?;
    (!contents.contains(&content)).then_some(Garbage::GonePhotos)
}

fn is_old(path: &Path) -> bool {
    let changed = path.metadata().and_then(|metadata| metadata.modified());
    let age = changed.map(|changed| SystemTime::now().duration_since(changed));
    age.is_ok_and(|age| age.is_ok_and(|age| age > LONGEST_WRITE))
}

/// Lists a folder; it is empty where there is none.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(folder).map_err(Error::io(folder))?;
    entries
        .map(|entry| Ok(entry.map_err(Error::io(folder))?.path()))
        .collect()
}

/// Files and bytes.
fn size(path: &Path) -> Result<(usize, u64)> {
    if !path.is_dir() {
        // A query may trim the cache while we look.
        return Ok((1, path.metadata().map_or(0, |metadata| metadata.len())));
    }
    let mut files = 0;
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        let (below, found): (Vec<_>, Vec<_>) = entries(&folder)?
            .into_iter()
            .partition(|path| path.is_dir());
        files += found.len();
        folders.extend(below);
    }
    Ok((files, bytes_on_disk(path)?))
}

fn remove(path: &Path, dry_run: bool) -> std::io::Result<()> {
    if dry_run {
        return Ok(());
    }
    let removed = if path.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    match removed {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::cache::PhotoCache;
    use crate::engine::ImageSide;
    use crate::engine::{Engine, EngineOptions};
    use crate::index::IndexWriter;
    use crate::ingest::{BuildOptions, build};
    use crate::processor::Pixels;

    const MODEL: &str = "tests/fixtures/checkpoints/tiny-random";

    fn kept(cache: &PhotoCache) -> usize {
        let contents = 0..=u8::MAX;
        let there = contents.filter(|i| cache.load(ContentHash([*i; 32])).is_some());
        there.count()
    }

    #[test]
    fn only_what_no_query_asks_for_leaves_the_cache() {
        let dir = tempfile::tempdir().expect("tempdir");
        let engine = Engine::load(MODEL, &EngineOptions::default(), &mut |_, _, _| {});
        let engine = engine.expect("loads");
        let mut writer =
            IndexWriter::open(dir.path(), &engine.identity().expect("identity")).expect("opens");
        let (options, cancel) = (BuildOptions::default(), AtomicBool::new(false));
        let photos = ["tests/fixtures/pixels".into()];
        build(
            &mut writer,
            &engine,
            &photos,
            &options,
            &cancel,
            &mut |_| {},
        )
        .expect("builds");
        let known = writer.content_hashes().next().expect("a photo");
        drop(writer);

        let open = |level| PhotoCache::new(&cache_path(dir.path()), &engine, level, u64::MAX);
        let (pixels, split) = (
            open(CacheLevel::Pixels).expect("opens"),
            open(CacheLevel::Split).expect("opens"),
        );
        let side = engine.model().config().vision_config.image_size;
        let picture = Pixels {
            side,
            data: vec![7; 3 * side * side],
        };
        let states = engine
            .image_sides(CacheLevel::Split, std::slice::from_ref(&picture))
            .expect("keeps");
        for content in [known, ContentHash([1; 32]), ContentHash([2; 32])] {
            pixels
                .store(content, &ImageSide::Pixels(picture.clone()))
                .expect("stores");
            split.store(content, &states[0]).expect("stores");
        }
        let run = |options: &GcOptions| gc(&Index::at(dir.path()), options).expect("collects");
        let dry_run = GcOptions {
            dry_run: true,
            ..GcOptions::default()
        };
        let found = run(&dry_run);
        assert_eq!(found.removed[&Garbage::GonePhotos].0, 4);
        assert_eq!((kept(&pixels), kept(&split)), (2, 2));
        assert_eq!(run(&GcOptions::default()), found);
        assert_eq!((kept(&pixels), kept(&split)), (0, 0));
        assert!(pixels.load(known).is_some() && split.load(known).is_some());

        let only_split = GcOptions {
            level: Some(CacheLevel::Split),
            ..GcOptions::default()
        };
        assert_eq!(run(&only_split).removed[&Garbage::OtherLevels].0, 2);
        assert!(pixels.load(known).is_none() && split.load(known).is_some());
        assert_eq!(run(&GcOptions::default()), GcReport::default());

        // A folder as programs made them that kept a photo by what the index knew of it.
        let identity = engine.identity().expect("identity");
        let about = serde_json::json!({
            "model": "m", "fingerprint": identity.fingerprint, "preprocessing": identity.preprocessing,
            "numbers": "f32", "level": "split",
        });
        let old = cache_path(dir.path()).join("0123456789abcdef");
        fs::create_dir_all(&old).expect("creates");
        fs::write(old.join("about.json"), about.to_string()).expect("writes");
        assert_eq!(run(&GcOptions::default()).removed[&Garbage::Outdated].0, 1);
        assert!(!old.exists() && split.load(known).is_some());
    }

    #[test]
    fn models_in_use_are_known_by_fingerprint_or_by_name() {
        let identity = ModelIdentity {
            name: "a".into(),
            fingerprint: "1".into(),
            preprocessing: "p".into(),
            dim: 4,
        };
        let is_in_use = |text: &str, rerank_model: Option<&str>| {
            let about = serde_json::from_str(text).expect("reads");
            let options = GcOptions {
                rerank_model: rerank_model.map(ToOwned::to_owned),
                ..GcOptions::default()
            };
            is_in_use(&about, &identity, &options)
        };
        let about = |model: &str, fingerprint: &str, preprocessing: &str| {
            format!(
                r#"{{"model": "{model}", "fingerprint": "{fingerprint}", "preprocessing": "{preprocessing}",
                    "numbers": "f32", "level": "split"}}"#
            )
        };
        let now = "p, sRGB on white";
        assert!(is_in_use(&about("moved", "1", now), None));
        assert!(!is_in_use(&about("a", "2", now), None));
        assert!(!is_in_use(&about("a", "1", "q, sRGB on white"), None));
        assert!(is_in_use(&about("b", "2", now), Some("b")));
        assert!(!is_in_use(&about("b", "2", now), Some("c")));
        // Kept by an earlier version: nobody asks for it.
        assert!(!is_in_use(&about("a", "1", "p"), None));
    }
}
