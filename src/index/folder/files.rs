//! The files of an index folder, and how one published state follows another.
//!
//! ```text
//! build.lock               who builds
//! store.sled/              the truth; only the builder opens it
//! store.fresh/             one that is being written: the first, or a copy by `compact`
//! store.old/               what the copy has replaced, on its way out
//! store.rebuild/           one that a rebuild fills, until it is complete
//! store.next-<generation>/ the same, complete, for as long as it takes to switch to it
//! store.damaged-<number>/  what `repair` has replaced; for people to delete
//! snapshot-<generation>.bt what queries map; never changes once published
//! current                  the name of the snapshot to use
//! cache/                   what reranking keeps of photos
//! ```

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

const CURRENT: &str = "current";
const CURRENT_DRAFT: &str = "current.tmp";
const STORE: &str = "store.sled";
const FRESH_STORE: &str = "store.fresh";
const OLD_STORE: &str = "store.old";
const REBUILD: &str = "store.rebuild";
const NEXT_STORE: &str = "store.next-";
const DAMAGED_STORE: &str = "store.damaged-";
const SNAPSHOT_PREFIX: &str = "snapshot-";
const SNAPSHOT_SUFFIX: &str = ".bt";
const CACHE: &str = "cache";
const SNAPSHOT_DRAFT: &str = "snapshot.tmp";

/// Removes the files listed above, and nothing else that lies in the folder. For the holder of the lock.
pub(crate) fn remove_index(dir: &Path) -> Result<()> {
    // The pointer first: a query finds no index then, rather than half of one.
    remove_file(&dir.join(CURRENT))?;
    sync_dir(dir)?;
    remove_file(&dir.join(CURRENT_DRAFT))?;
    remove_file(&dir.join(SNAPSHOT_DRAFT))?;
    remove_snapshots_except(dir, None)?;
    for number in 1.. {
        let damaged = damaged_store_path(dir, number);
        if !damaged.exists() {
            break;
        }
        remove_folder(&damaged)?;
    }
    next_stores(dir)?
        .into_iter()
        .try_for_each(|(_, path)| remove_folder(&path))?;
    // The old store before the store, whose place it would take. That goes in one step: half of one is damage.
    [CACHE, OLD_STORE, FRESH_STORE, REBUILD]
        .iter()
        .try_for_each(|name| remove_folder(&dir.join(name)))?;
    if store_path(dir).exists() {
        rename(&store_path(dir), &fresh_store_path(dir))?;
    }
    remove_folder(&fresh_store_path(dir))
}

/// Makes the folder of an index, so that it survives a power cut.
pub(crate) fn create(dir: &Path) -> Result<()> {
    let dir = std::path::absolute(dir).map_err(Error::io(dir))?;
    let missing = dir.ancestors().take_while(|folder| !folder.exists());
    let missing = missing.count();
    fs::create_dir_all(&dir).map_err(Error::io(&dir))?;
    dir.ancestors().skip(1).take(missing).try_for_each(sync_dir)
}

/// Whether there is a store, though a crash may have left it under its other name.
pub(crate) fn has_store(dir: &Path) -> bool {
    store_path(dir).exists() || dir.join(OLD_STORE).exists()
}

/// The path of a store that is written before it takes its place.
pub(crate) fn fresh_store_path(dir: &Path) -> PathBuf {
    dir.join(FRESH_STORE)
}

/// Puts a finished store in its place, and that of the one before. A crash in between leaves one of the two under a
/// name that [`settle_store`] knows what to do with.
pub(crate) fn switch_to_fresh_store(dir: &Path) -> Result<()> {
    let fresh = fresh_store_path(dir);
    sync_store(&fresh)?;
    replace_store(dir, &fresh)?;
    settle_store(dir)
}

/// Makes all of a closed store survive a power cut: sled syncs the files that it goes on to write, but not the one
/// that says how to read them.
fn sync_store(store: &Path) -> Result<()> {
    for file in fs::read_dir(store).map_err(Error::io(store))? {
        let file = file.map_err(Error::io(store))?.path();
        if file.is_file() {
            sync_file(&file)?;
        }
    }
    sync_dir(store)
}

fn replace_store(dir: &Path, new: &Path) -> Result<()> {
    let store = store_path(dir);
    if store.exists() {
        rename(&store, &dir.join(OLD_STORE))?;
    }
    rename(new, &store)
}

/// The path of the store that a rebuild fills while queries see the old index.
pub(crate) fn rebuild_path(dir: &Path) -> PathBuf {
    dir.join(REBUILD)
}

/// Makes the fresh store the one that a rebuild fills.
pub(crate) fn begin_rebuild(dir: &Path) -> Result<()> {
    let fresh = fresh_store_path(dir);
    sync_store(&fresh)?;
    rename(&fresh, &rebuild_path(dir))
}

/// Ends a rebuild without a result.
pub(crate) fn abandon_rebuild(dir: &Path) -> Result<()> {
    let fresh = fresh_store_path(dir);
    // In one step: half a store would be taken for one to go on with.
    if rebuild_path(dir).exists() {
        rename(&rebuild_path(dir), &fresh)?;
    }
    remove_folder(&fresh)
}

/// Switches to what a rebuild has made: its store, closed, and the finished draft of the snapshot of `generation`.
/// Queries see it from the moment that `current` names it, and from then on [`settle_store`] puts the store in its
/// place, whatever happens in between.
pub(crate) fn switch_to_rebuild(dir: &Path, generation: u64) -> Result<()> {
    sync_store(&rebuild_path(dir))?;
    let next = dir.join(format!("{NEXT_STORE}{generation:016x}"));
    rename(&rebuild_path(dir), &next)?;
    switch_to_draft(dir, generation)?;
    settle_store(dir)
}

/// Stores that a rebuild has completed, by the generation of their snapshot.
fn next_stores(dir: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let mut stores = Vec::new();
    for entry in fs::read_dir(dir).map_err(Error::io(dir))? {
        let entry = entry.map_err(Error::io(dir))?;
        let name = entry.file_name();
        let digits = name.to_str().and_then(|name| name.strip_prefix(NEXT_STORE));
        let generation = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
        stores.extend(generation.map(|generation| (generation, entry.path())));
    }
    Ok(stores)
}

/// The latest generation that anything published says it is of; 0 where nothing was.
pub(crate) fn latest_generation(dir: &Path) -> Result<u64> {
    let pointer = published_generation(dir).ok().flatten();
    let snapshots = snapshots_except(dir, None)?;
    let names = snapshots
        .iter()
        .filter_map(|path| path.file_name()?.to_str());
    Ok(names
        .filter_map(parse_name)
        .chain(pointer)
        .max()
        .unwrap_or(0))
}

/// Like [`switch_to_fresh_store`], but keeps what was in its place, if anything was, and says where.
pub(crate) fn put_damaged_store_aside(dir: &Path) -> Result<Option<PathBuf>> {
    let (store, old) = (store_path(dir), dir.join(OLD_STORE));
    let is_there = store.exists();
    if is_there {
        fs::rename(&store, &old).map_err(Error::io(&store))?;
        sync_dir(dir)?;
    }
    fs::rename(fresh_store_path(dir), &store).map_err(Error::io(&store))?;
    sync_dir(dir)?;
    if !is_there {
        return Ok(None);
    }
    let mut names = (1..).map(|number| damaged_store_path(dir, number));
    let aside = names
        .find(|path| !path.exists())
        .expect("numbers do not end");
    fs::rename(&old, &aside).map_err(Error::io(&old))?;
    sync_dir(dir)?;
    Ok(Some(aside))
}

fn damaged_store_path(dir: &Path, number: usize) -> PathBuf {
    dir.join(format!("{DAMAGED_STORE}{number}"))
}

/// Ends what a crash cut short: the old store returns if nothing has taken its place, and goes if something
/// has; a copy that never took a place goes too. What a rebuild has made takes its place if queries see it already,
/// and is the rebuild's again if they do not. For the holder of the lock, before a store is opened.
pub(crate) fn settle_store(dir: &Path) -> Result<()> {
    let (store, old) = (store_path(dir), dir.join(OLD_STORE));
    if old.exists() && !store.exists() {
        rename(&old, &store)?;
    }
    remove_folder(&old)?;
    for (generation, next) in next_stores(dir)? {
        if published_generation(dir).ok().flatten() == Some(generation) {
            replace_store(dir, &next)?;
            remove_folder(&old)?;
        } else {
            rename(&next, &rebuild_path(dir))?;
        }
    }
    remove_folder(&fresh_store_path(dir))
}

/// Removes what killed builds leave beside the published snapshot.
pub(crate) fn remove_leftovers(dir: &Path) -> Result<()> {
    remove_drafts(dir)?;
    match published_generation(dir)? {
        Some(generation) => remove_snapshots_except(dir, Some(generation)),
        None => Ok(()),
    }
}

/// Leftovers that the next publication or opening would remove.
pub(crate) struct Leftovers {
    pub drafts: Vec<PathBuf>,
    pub stores: Vec<PathBuf>,
    pub snapshots: Vec<PathBuf>,
}

impl Leftovers {
    /// For the holder of the lock.
    pub fn find(dir: &Path) -> Result<Self> {
        let there = |names: &[&str]| {
            let paths = names.iter().map(|name| dir.join(name));
            paths.filter(|path| path.exists()).collect()
        };
        // Without a store, the old one takes its place again.
        let stores: &[&str] = if store_path(dir).exists() {
            &[FRESH_STORE, OLD_STORE]
        } else {
            &[FRESH_STORE]
        };
        Ok(Self {
            drafts: there(&[CURRENT_DRAFT, SNAPSHOT_DRAFT]),
            stores: there(stores),
            snapshots: match published_generation(dir)? {
                Some(generation) => snapshots_except(dir, Some(generation))?,
                None => Vec::new(),
            },
        })
    }
}

/// Removes what a publication that failed has written.
pub(crate) fn remove_drafts(dir: &Path) -> Result<()> {
    remove_file(&dir.join(CURRENT_DRAFT))?;
    remove_file(&dir.join(SNAPSHOT_DRAFT))
}

pub(crate) fn store_path(dir: &Path) -> PathBuf {
    dir.join(STORE)
}

/// The path of the [`PhotoCache`](crate::cache::PhotoCache) of the index at `dir`.
pub fn cache_path(dir: &Path) -> PathBuf {
    dir.join(CACHE)
}

pub(crate) fn snapshot_path(dir: &Path, generation: u64) -> PathBuf {
    dir.join(snapshot_name(generation))
}

/// The path of a snapshot before it gets its name.
pub(crate) fn draft_path(dir: &Path) -> PathBuf {
    dir.join(SNAPSHOT_DRAFT)
}

/// The published generation; `None` where nothing was published yet.
pub(crate) fn published_generation(dir: &Path) -> Result<Option<u64>> {
    let path = dir.join(CURRENT);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io(path)(error)),
    };
    let generation = std::str::from_utf8(&text)
        .ok()
        .and_then(|text| parse_name(text.strip_suffix('\n')?));
    generation.map(Some).ok_or_else(|| Error::Corrupt {
        path,
        reason: "it does not name a snapshot".into(),
    })
}

/// The published generation as far as it is known: `None` also where the pointer is damaged, or names a snapshot
/// that is not there.
pub(crate) fn last_published(dir: &Path) -> Option<u64> {
    let generation = published_generation(dir).ok().flatten()?;
    snapshot_path(dir, generation)
        .exists()
        .then_some(generation)
}

/// Makes the finished draft the snapshot of `generation`, then the one that queries open, and removes
/// its predecessors. A crash in between leaves the former one in place.
pub(crate) fn switch_to_draft(dir: &Path, generation: u64) -> Result<()> {
    rename(&draft_path(dir), &snapshot_path(dir, generation))?;
    let draft = dir.join(CURRENT_DRAFT);
    let mut file = File::create(&draft).map_err(Error::io(&draft))?;
    writeln!(file, "{}", snapshot_name(generation)).map_err(Error::io(&draft))?;
    file.sync_all().map_err(Error::io(&draft))?;
    drop(file);
    rename(&draft, &dir.join(CURRENT))?;
    remove_snapshots_except(dir, Some(generation))
}

/// Bytes of the index itself, without what is kept of photos beside it.
pub(crate) fn index_bytes(dir: &Path) -> Result<u64> {
    Ok(bytes_on_disk(dir)?.saturating_sub(cache_bytes(dir)?))
}

/// Bytes of what a rebuild has made so far; 0 where none has begun.
pub(crate) fn rebuild_bytes(dir: &Path) -> Result<u64> {
    let rebuild = rebuild_path(dir);
    if rebuild.is_dir() {
        bytes_on_disk(&rebuild)
    } else {
        Ok(0)
    }
}

/// Bytes of what reranking keeps of photos.
pub(crate) fn cache_bytes(dir: &Path) -> Result<u64> {
    let cache = cache_path(dir);
    if cache.is_dir() {
        bytes_on_disk(&cache)
    } else {
        Ok(0)
    }
}

/// Bytes of all files in a folder.
pub(crate) fn bytes_on_disk(dir: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir).map_err(Error::io(dir))? {
        let path = entry.map_err(Error::io(dir))?.path();
        bytes += if path.is_dir() {
            bytes_on_disk(&path)?
        } else {
            // A builder removes files while we look.
            path.metadata().map_or(0, |metadata| metadata.len())
        };
    }
    Ok(bytes)
}

fn remove_snapshots_except(dir: &Path, kept: Option<u64>) -> Result<()> {
    for snapshot in snapshots_except(dir, kept)? {
        // Some systems keep a file that is mapped; the next publication removes it.
        let _ = fs::remove_file(snapshot);
    }
    Ok(())
}

fn snapshots_except(dir: &Path, kept: Option<u64>) -> Result<Vec<PathBuf>> {
    let mut snapshots = Vec::new();
    for entry in fs::read_dir(dir).map_err(Error::io(dir))? {
        let entry = entry.map_err(Error::io(dir))?;
        let generation = entry.file_name().to_str().and_then(parse_name);
        if generation.is_some() && generation != kept {
            snapshots.push(entry.path());
        }
    }
    Ok(snapshots)
}

fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io(path)(error)),
        _ => Ok(()),
    }
}

fn remove_folder(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io(path)(error)),
        _ => Ok(()),
    }
}

fn snapshot_name(generation: u64) -> String {
    format!("{SNAPSHOT_PREFIX}{generation:016x}{SNAPSHOT_SUFFIX}")
}

fn parse_name(name: &str) -> Option<u64> {
    let digits = name
        .strip_prefix(SNAPSHOT_PREFIX)?
        .strip_suffix(SNAPSHOT_SUFFIX)?;
    let generation = u64::from_str_radix(digits, 16).ok()?;
    (snapshot_name(generation) == name).then_some(generation)
}

/// Gives a file or folder of the index another name there, and returns once that would survive a power cut.
fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(Error::io(to))?;
    to.parent().map_or(Ok(()), sync_dir)
}

/// Makes the names in a folder survive a power cut.
#[cfg(unix)]
pub(crate) fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(Error::io(dir))
}

/// Other systems have no such call.
#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "the version for Unix fails")]
pub(crate) fn sync_dir(_: &Path) -> Result<()> {
    Ok(())
}

/// Makes the bytes of a file survive a power cut.
fn sync_file(path: &Path) -> Result<()> {
    File::options()
        .write(true)
        .open(path)
        .and_then(|file| file.sync_all())
        .map_err(Error::io(path))
}
