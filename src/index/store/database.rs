//! The truth, in sled: photo records, their vectors, the graph, and the counters that tie them together.
//!
//! | key | value |
//! |---|---|
//! | `meta` | [`Meta`] |
//! | `p`, photo id | [`PhotoRecord`] |
//! | `v`, vector id | f32 × dim |
//! | `g`, generation, chunk number | a piece of a graph |
//!
//! Numbers in keys are u64, big-endian, so that keys sort as numbers do; values are sealed
//! ([`crate::index::codec`]). All of one [`Changes`] is in one sled batch and therefore happens whole or not at all.
//!
//! What sled does otherwise than this module promises:
//!
//! - It answers damaged files and failing disks with a panic here and there: see [`guarded`].
//! - It silently drops what it cannot read at the end of its log: that is what the counters in `meta` are for.
//! - Its flush survives the end of the process, not a power cut: see [`Store::write`].
//! - Its flush may wait for ever after a write has failed in the background: see [`flush`].
//! - It cannot be opened after it was killed while writing its own table of pages: see [`remove_half_tables`].

use std::cell::Cell;
use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread::{self, sleep};
use std::time::Duration;

use sled::{Batch, Db, IVec};
use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Error, Result};
use crate::index::codec::{
    GraphStamp, Meta, PhotoRecord, Unreadable, VectorId, decode_meta, decode_photo, encode_meta,
    encode_photo, seal, unseal,
};
use crate::index::folder::files::store_path;
use crate::mapped::bytes_of;
use crate::photo::PhotoId;

const META: &[u8] = b"meta";
const PHOTO: u8 = b'p';
const VECTOR: u8 = b'v';
const GRAPH: u8 = b'g';
/// A sled leaf holds up to 16 values, and a leaf beyond 128 kB becomes a file of its own.
const GRAPH_CHUNK: usize = 6 << 10;
/// Chunks per batch: what a large graph may hold in memory twice.
const CHUNKS_PER_BATCH: usize = 4096;
/// Bytes that a copy commits at once.
const COPY_BATCH: usize = 16 << 20;
const PAGE_CACHE: u64 = 64 << 20;
/// sled's file: the log, and the lock.
const LOG: &str = "db";
/// A store that was just closed in this process may hold its lock a little longer.
const ATTEMPTS: u32 = 200;
const PAUSE: Duration = Duration::from_millis(5);
/// The interval at which a long flush looks for failures.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// An open store. Only the builder has one: sled admits one process.
pub(crate) struct Store {
    db: Sled,
    /// For syncs of our own.
    log: File,
    path: PathBuf,
}

/// sled, closed with care.
struct Sled(Option<Db>);

/// A graph and the vectors that its rows are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct StoredGraph {
    pub vectors: Vec<VectorId>,
    /// See [`crate::index::graph::flat`].
    pub words: Vec<u32>,
}

/// Writes that happen together.
#[derive(Default)]
pub(crate) struct Writes(Batch);

impl Store {
    /// Opens the store below `dir`.
    pub fn open(dir: &Path) -> Result<Self> {
        Self::open_at(store_path(dir))
    }

    /// Opens the store at `path` itself, creating it if need be.
    pub fn open_at(path: PathBuf) -> Result<Self> {
        remove_half_tables(&path)?;
        let config = sled::Config::new()
            .path(&path)
            .cache_capacity(PAGE_CACHE)
            .flush_every_ms(None);
        let mut attempt = 1;
        loop {
            match guarded(&path, || config.open()) {
                // How sled says that it is locked.
                Err(Error::Io { source, .. })
                    if source.kind() == ErrorKind::Other && attempt < ATTEMPTS =>
                {
                    sleep(PAUSE);
                }
                opened => {
                    let db = Sled(Some(opened?));
                    let log = path.join(LOG);
                    let log = File::options()
                        .write(true)
                        .open(&log)
                        .map_err(Error::io(log))?;
                    return Ok(Self { db, log, path });
                }
            }
            attempt += 1;
        }
    }

    /// Closes the store, and returns once sled has let go of its files.
    pub fn close(self) -> Result<()> {
        self.sync()?;
        let locked = self.path.join(LOG);
        drop(self);
        for _ in 0..ATTEMPTS {
            let file = File::open(&locked).map_err(Error::io(&locked))?;
            match file.try_lock() {
                Ok(()) => return Ok(()),
                Err(TryLockError::WouldBlock) => sleep(PAUSE),
                Err(TryLockError::Error(source)) => return Err(Error::io(locked)(source)),
            }
        }
        Err(Error::io(locked)(ErrorKind::WouldBlock.into()))
    }

    /// Bytes of all keys and values.
    pub fn payload(&self) -> Result<u64> {
        self.scan(&[]).try_fold(0, |bytes, entry| {
            let (key, sealed) = entry?;
            Ok(bytes + (key.len() + sealed.len()) as u64)
        })
    }

    /// Copies everything to an empty store, and returns once it would survive a power cut. `progress` gets
    /// the bytes copied so far, and ends the copying with an error of its own.
    pub fn copy_to(
        &self,
        target: &Self,
        progress: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<()> {
        let mut writes = Writes::default();
        let (mut waiting, mut copied) = (0, 0);
        for entry in self.scan(&[]) {
            let (key, sealed) = entry?;
            unseal(&sealed).map_err(|e| self.unreadable(e))?;
            waiting += key.len() + sealed.len();
            writes.0.insert(key, sealed);
            if waiting >= COPY_BATCH {
                target.write(std::mem::take(&mut writes))?;
                copied += waiting as u64;
                waiting = 0;
                progress(copied)?;
            }
        }
        target.write(writes)
    }

    /// The counters; `None` in a store that was never written.
    pub fn meta(&self) -> Result<Option<Meta>> {
        match self.value(META)? {
            Some(sealed) => decode_meta(&sealed)
                .map(Some)
                .map_err(|e| self.unreadable(e)),
            None if guarded(&self.path, || Ok(self.db.is_empty()))? => Ok(None),
            None => Err(self.damaged("its counters are missing")),
        }
    }

    /// All photos, by ascending id.
    pub fn photos(&self) -> impl Iterator<Item = Result<(PhotoId, PhotoRecord)>> {
        self.scan(&[PHOTO]).map(|entry| {
            let (key, sealed) = entry?;
            let record = decode_photo(&sealed).map_err(|e| self.unreadable(e))?;
            Ok((PhotoId(self.number_in(&key)?), record))
        })
    }

    /// One photo, if it is there.
    pub fn photo(&self, id: PhotoId) -> Result<Option<PhotoRecord>> {
        let sealed = self.value(&key(PHOTO, &[id.0]))?;
        let record = sealed.map(|sealed| decode_photo(&sealed)).transpose();
        record.map_err(|e| self.unreadable(e))
    }

    /// More than the greatest id of a photo and of a vector, as far as keys can be read: what a store without
    /// its counters goes by.
    pub fn ends(&self) -> (u64, u64) {
        let end = |kind: u8| {
            let last = guarded(&self.path, || self.db.get_lt([kind + 1])).ok()??;
            let number = self.number_in(&last.0).ok()?;
            (last.0[0] == kind).then(|| number.saturating_add(1))
        };
        (end(PHOTO).unwrap_or(0), end(VECTOR).unwrap_or(0))
    }

    /// All vectors, by ascending id, as little-endian f32.
    pub fn vectors(&self) -> impl Iterator<Item = Result<(VectorId, Vec<u8>)>> {
        self.scan(&[VECTOR]).map(|entry| {
            let (key, sealed) = entry?;
            let vector = unseal(&sealed).map_err(|e| self.unreadable(e))?;
            Ok((VectorId(self.number_in(&key)?), vector.to_vec()))
        })
    }

    /// One vector as little-endian f32.
    pub fn vector(&self, id: VectorId) -> Result<Vec<u8>> {
        let sealed = self.value(&key(VECTOR, &[id.0]))?;
        let sealed = sealed.ok_or_else(|| self.damaged(&format!("vector {} is missing", id.0)))?;
        unseal(&sealed)
            .map(<[u8]>::to_vec)
            .map_err(|e| self.unreadable(e))
    }

    /// The graph that the stamp names.
    pub fn graph(&self, stamp: GraphStamp) -> Result<StoredGraph> {
        let mut bytes = Vec::new();
        for entry in self.scan(&key(GRAPH, &[stamp.generation])) {
            let (_, sealed) = entry?;
            bytes.extend_from_slice(unseal(&sealed).map_err(|e| self.unreadable(e))?);
        }
        if bytes.len() as u64 != stamp.len || xxh3_64(&bytes) != stamp.checksum {
            return Err(self.damaged("the graph is not the one that its counters name"));
        }
        StoredGraph::from_bytes(&bytes)
            .ok_or_else(|| self.damaged("the graph's length does not fit"))
    }

    /// Stores a graph under a generation, beside the one in use. It takes effect with the [`Meta`] that
    /// carries its stamp.
    pub fn put_graph(&self, generation: u64, graph: &StoredGraph) -> Result<GraphStamp> {
        let bytes = graph.to_bytes();
        let mut number = 0;
        for chunks in bytes.chunks(GRAPH_CHUNK * CHUNKS_PER_BATCH) {
            let mut writes = Writes::default();
            for chunk in chunks.chunks(GRAPH_CHUNK) {
                let sealed = seal(chunk.iter().copied());
                writes.0.insert(key(GRAPH, &[generation, number]), sealed);
                number += 1;
            }
            self.write(writes)?;
        }
        Ok(GraphStamp {
            generation,
            len: bytes.len() as u64,
            checksum: xxh3_64(&bytes),
        })
    }

    /// Removes all graphs but the one in use: what it replaced, or what a crash left unfinished.
    pub fn remove_graphs_except(&self, kept: Option<GraphStamp>) -> Result<()> {
        let kept = kept.map(|stamp| key(GRAPH, &[stamp.generation]));
        let mut writes = Writes::default();
        let mut found = false;
        for entry in self.scan(&[GRAPH]) {
            let (key, _) = entry?;
            if kept.as_ref().is_none_or(|kept| !key.starts_with(kept)) {
                writes.0.remove(key);
                found = true;
            }
        }
        if found { self.write(writes) } else { Ok(()) }
    }

    /// Writes everything or nothing, and returns once it would survive a power cut.
    ///
    /// After an error sled's memory is ahead of its files, and the store is good for nothing but being closed.
    pub fn write(&self, writes: Writes) -> Result<()> {
        #[cfg(test)]
        failing::at(failing::Moment::Before)?;
        guarded(&self.path, || self.db.apply_batch(writes.0))?;
        self.sync()?;
        #[cfg(test)]
        failing::at(failing::Moment::After)?;
        Ok(())
    }

    /// On Linux sled asks for `sync_file_range`, which leaves the file's length and what the disk itself has not
    /// written yet to chance.
    fn sync(&self) -> Result<()> {
        guarded(&self.path, || flush(&self.db))?;
        self.log.sync_data().map_err(Error::io(&self.path))
    }

    /// An error that says the store is damaged.
    pub fn damaged(&self, reason: &str) -> Error {
        Error::Corrupt {
            path: self.path.clone(),
            reason: reason.to_owned(),
        }
    }

    fn unreadable(&self, unreadable: Unreadable) -> Error {
        unreadable.at(&self.path)
    }

    fn value(&self, key: &[u8]) -> Result<Option<IVec>> {
        guarded(&self.path, || self.db.get(key))
    }

    /// Entries under a prefix in key order; ends after the first error.
    fn scan(&self, prefix: &[u8]) -> impl Iterator<Item = Result<(IVec, IVec)>> {
        let mut entries = Some(self.db.scan_prefix(prefix));
        std::iter::from_fn(move || {
            let next = guarded(&self.path, || match &mut entries {
                Some(entries) => entries.next().transpose(),
                None => Ok(None),
            });
            if next.is_err() {
                entries = None;
            }
            next.transpose()
        })
    }

    fn number_in(&self, key: &[u8]) -> Result<u64> {
        let number = key.get(1..).and_then(|number| number.try_into().ok());
        number
            .map(u64::from_be_bytes)
            .ok_or_else(|| self.damaged("a key has the wrong length"))
    }
}

impl Deref for Sled {
    type Target = Db;

    fn deref(&self) -> &Db {
        self.0.as_ref().expect("only dropping it takes sled out")
    }
}

impl Drop for Sled {
    /// sled panics where it cannot sync on its way out. All that was promised is on the disk by now.
    fn drop(&mut self) {
        if let Some(db) = self.0.take() {
            let path = Path::new(LOG);
            // Dropping flushes too, but might wait for ever.
            let _ = guarded(path, || flush(&db));
            let _ = guarded(path, || {
                drop(db);
                Ok(())
            });
        }
    }
}

impl Writes {
    pub fn put_meta(&mut self, meta: &Meta) -> Result<()> {
        self.0.insert(META, encode_meta(meta)?);
        Ok(())
    }

    pub fn put_photo(&mut self, id: PhotoId, record: &PhotoRecord) -> Result<()> {
        self.0.insert(key(PHOTO, &[id.0]), encode_photo(record)?);
        Ok(())
    }

    pub fn remove_photo(&mut self, id: PhotoId) {
        self.0.remove(key(PHOTO, &[id.0]));
    }

    pub fn put_vector(&mut self, id: VectorId, vector: &[f32]) {
        self.0
            .insert(key(VECTOR, &[id.0]), seal(bytes_of(vector).iter().copied()));
    }

    pub fn remove_vector(&mut self, id: VectorId) {
        self.0.remove(key(VECTOR, &[id.0]));
    }
}

/// Values that no writer would write.
#[cfg(test)]
impl Writes {
    pub fn put_raw_meta(&mut self, bytes: &[u8]) {
        self.0.insert(META, bytes);
    }

    pub fn put_raw_photo(&mut self, id: PhotoId, bytes: &[u8]) {
        self.0.insert(key(PHOTO, &[id.0]), bytes);
    }

    pub fn put_raw_graph_chunk(&mut self, generation: u64, number: u64, bytes: &[u8]) {
        self.0.insert(key(GRAPH, &[generation, number]), bytes);
    }
}

impl StoredGraph {
    /// `row count (u64) · vector ids (u64 each) · words (u32 each)`, little-endian.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(8 + 8 * self.vectors.len() + 4 * self.words.len());
        bytes.extend((self.vectors.len() as u64).to_le_bytes());
        bytes.extend(self.vectors.iter().flat_map(|id| id.0.to_le_bytes()));
        bytes.extend_from_slice(bytes_of(&self.words));
        bytes
    }

    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (&count, rest) = bytes.split_first_chunk::<8>()?;
        let ids_len = u64::from_le_bytes(count).checked_mul(8)?;
        let (ids, words) = rest.split_at_checked(usize::try_from(ids_len).ok()?)?;
        let (ids, _) = ids.as_chunks::<8>();
        let (words, left_over) = words.as_chunks::<4>();
        left_over.is_empty().then(|| Self {
            vectors: ids
                .iter()
                .map(|id| VectorId(u64::from_le_bytes(*id)))
                .collect(),
            words: words.iter().map(|word| u32::from_le_bytes(*word)).collect(),
        })
    }
}

fn key(kind: u8, numbers: &[u64]) -> Vec<u8> {
    let numbers = numbers.iter().flat_map(|number| number.to_be_bytes());
    std::iter::once(kind).chain(numbers).collect()
}

/// sled writes a table of all pages when it is opened, beside the one before and renamed when it is complete; but then
/// it opens the latest by name, the half one of a process that was killed included.
fn remove_half_tables(path: &Path) -> Result<()> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::io(path)(error)),
    };
    for entry in entries {
        let file = entry.map_err(Error::io(path))?.path();
        if file.extension().is_some_and(|name| name == "generating") {
            fs::remove_file(&file).map_err(Error::io(file))?;
        }
    }
    Ok(())
}

/// Returns once sled has handed all writes to the system.
///
/// Its threads write in the background. One that fails does not always wake those who wait for it, so another thread
/// looks for failures meanwhile: after one, any further flush fails at once, and wakes everyone.
fn flush(db: &Db) -> sled::Result<()> {
    thread::scope(|scope| {
        let (flushing, ended) = channel::<()>();
        scope.spawn(move || {
            while ended.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
                if db.context.global_error().is_err() {
                    let _ = db.flush();
                }
            }
        });
        let flushed = db.flush();
        drop(flushing);
        flushed.map(|_| ())
    })
}

thread_local! {
    static PANICS_ARE_QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs sled code and turns its panics into errors.
fn guarded<T>(path: &Path, work: impl FnOnce() -> sled::Result<T>) -> Result<T> {
    install_quiet_hook();
    PANICS_ARE_QUIET.set(true);
    // Unwind safety: after a panic the store is only closed, never used again.
    let outcome = catch_unwind(AssertUnwindSafe(work));
    PANICS_ARE_QUIET.set(false);
    let path = path.to_owned();
    match outcome {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(sled::Error::Io(source))) if !is_damage(source.kind()) => {
            // Of errors of its own, such as that of a locked file, the text says more.
            let said = Some(&source).filter(|source| source.kind() != ErrorKind::Other);
            let said = said.and_then(|source| system_error(&source.to_string()));
            Err(Error::io(path)(said.unwrap_or(source)))
        }
        Ok(Err(error)) => Err(Error::Corrupt {
            path,
            reason: error.to_string(),
        }),
        Err(panic) => {
            let said = panic.downcast_ref::<String>();
            Err(match said.and_then(|said| system_error(said)) {
                Some(source) => Error::io(path)(source),
                None => Error::Corrupt {
                    path,
                    reason: "sled cannot make sense of it".into(),
                },
            })
        }
    }
}

fn is_damage(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::UnexpectedEof | ErrorKind::InvalidData | ErrorKind::InvalidInput
    )
}

/// An error that sled passes from thread to thread, or panics with, is only the text `… Os { code: 28, …`.
fn system_error(text: &str) -> Option<std::io::Error> {
    let (_, rest) = text.split_once("Os { code: ")?;
    let (code, _) = rest.split_once(',')?;
    code.parse().ok().map(std::io::Error::from_raw_os_error)
}

/// Keeps the message of a panic that [`guarded`] catches off the terminal; all other panics are reported
/// as before. The hook is the process's, so it is wrapped once and asks a flag of the panicking thread.
fn install_quiet_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !PANICS_ARE_QUIET.get() {
                report(panic);
            }
        }));
    });
}

/// Writes that fail, for tests.
#[cfg(test)]
pub(in crate::index) mod failing {
    use std::cell::Cell;
    use std::io::ErrorKind;

    use crate::error::{Error, Result};

    /// When a write fails: before it changes anything, or when it has changed everything.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Moment {
        Before,
        After,
    }

    thread_local! {
        /// When the next write of this thread fails.
        pub static NEXT: Cell<Option<Moment>> = const { Cell::new(None) };
    }

    pub fn at(moment: Moment) -> Result<()> {
        if NEXT.get() != Some(moment) {
            return Ok(());
        }
        NEXT.set(None);
        Err(Error::io("store.sled")(ErrorKind::StorageFull.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(rows: u64) -> StoredGraph {
        StoredGraph {
            vectors: (0..rows).map(VectorId).collect(),
            words: (0..rows as u32 * 30).collect(),
        }
    }

    #[test]
    fn a_graph_of_many_chunks_round_trips_beside_another_one() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let old = store.put_graph(1, &graph(1000)).unwrap();
        let new = store.put_graph(2, &graph(2000)).unwrap();
        assert_eq!(store.graph(old).unwrap(), graph(1000));
        store.remove_graphs_except(Some(new)).unwrap();
        assert_eq!(store.graph(new).unwrap(), graph(2000));
        assert!(matches!(store.graph(old), Err(Error::Corrupt { .. })));
        store.remove_graphs_except(None).unwrap();
        assert!(matches!(store.graph(new), Err(Error::Corrupt { .. })));
    }

    #[test]
    fn a_store_without_its_counters_is_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(store.meta().unwrap(), None);
        let mut writes = Writes::default();
        writes.put_vector(VectorId(0), &[1.0]);
        store.write(writes).unwrap();
        assert!(matches!(store.meta(), Err(Error::Corrupt { .. })));
    }

    #[test]
    fn errors_that_sled_passes_on_are_what_the_system_said() {
        let passed_on = |code| {
            let error = std::io::Error::from_raw_os_error(code);
            let error = sled::Error::Io(error).clone();
            guarded::<()>(Path::new("store"), || Err(error)).unwrap_err()
        };
        assert!(
            matches!(passed_on(5), Error::Io { source, .. } if source.raw_os_error() == Some(5))
        );
        #[cfg(unix)]
        assert!(matches!(passed_on(28), Error::DiskFull { .. }));
    }

    #[test]
    fn a_store_that_was_killed_while_opening_opens() {
        let dir = tempfile::tempdir().unwrap();
        let half = store_path(dir.path()).join("snap.00000000FFFFFFFF.generating");
        drop(Store::open(dir.path()).unwrap());
        fs::write(&half, "half a table").unwrap();
        let opened = sled::Config::new().path(store_path(dir.path())).open();
        assert!(opened.is_err(), "sled can do without our help by now");
        Store::open(dir.path()).unwrap();
        assert!(!half.exists());
    }

    #[test]
    fn a_panic_in_sled_is_damage() {
        let outcome = guarded::<()>(Path::new("store"), || panic!("as sled does"));
        assert!(matches!(outcome, Err(Error::Corrupt { .. })));
        let error = std::io::Error::from_raw_os_error(5);
        let outcome = guarded::<()>(Path::new("store"), || panic!("as it unwraps: {error:?}"));
        assert!(
            matches!(outcome, Err(Error::Io { .. })),
            "unless the disk failed"
        );
    }
}
