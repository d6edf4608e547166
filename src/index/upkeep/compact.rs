//! Making an index as small and as quick as one that was built at once.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use crate::error::{Error, Result};
use crate::index::folder::files::{self, bytes_on_disk, fresh_store_path, index_bytes, store_path};
use crate::index::reader::IndexReader;
use crate::index::store::database::Store;
use crate::index::writer::IndexWriter;

/// A store is copied when its files take more than so many times what is in them,
const WASTE: u64 = 2;
/// and so many bytes besides: sled takes that for a start.
const START: u64 = 1 << 20;
/// The copy takes its place if that saves one part in so many. Of small values sled makes more than twice
/// their bytes however they come, so nothing but the copy itself tells what it saves.
const SAVING: u64 = 10;

/// Progress of a compaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompactEvent {
    /// The graph is being built.
    Graph {
        /// Vectors in it so far.
        done: usize,
        /// Vectors that it will hold.
        total: usize,
    },
    /// The store is being copied.
    Store {
        /// Bytes copied.
        done: u64,
        /// Bytes to copy.
        total: u64,
    },
}

/// The report of a compaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct CompactReport {
    /// Bytes of all files of the index before,
    pub bytes_before: u64,
    /// and after.
    pub bytes_after: u64,
    /// Whether the graph was built again, or dropped where there are few photos; vectors without photos went
    /// with the old one.
    pub rebuilt_graph: bool,
    /// Whether the store was written again.
    pub rewrote_store: bool,
}

/// See [`Index::compact`](crate::Index::compact).
pub(crate) fn compact(
    dir: &Path,
    cancel: &AtomicBool,
    on_event: &mut dyn FnMut(CompactEvent),
) -> Result<CompactReport> {
    let model = IndexReader::open(dir)?.model().clone();
    let bytes_before = index_bytes(dir)?;
    let mut writer = IndexWriter::open(dir, &model)?;
    let rebuilt_graph = writer.rebuild_graph(cancel, &mut |done, total| {
        on_event(CompactEvent::Graph { done, total });
    })?;
    writer.publish()?;
    let lock = writer.close()?;
    let rewrote_store = is_wasteful(dir)? && rewrite_store(dir, cancel, on_event)?;
    files::remove_leftovers(dir)?;
    drop(lock);
    Ok(CompactReport {
        bytes_before,
        bytes_after: index_bytes(dir)?,
        rebuilt_graph,
        rewrote_store,
    })
}

fn is_wasteful(dir: &Path) -> Result<bool> {
    let store = Store::open(dir)?;
    let payload = store.payload()?;
    store.close()?;
    Ok(bytes_on_disk(&store_path(dir))? > WASTE * payload + START)
}

/// Copies the store to a new one, and puts that in its place if it is smaller; false if it is not. For the
/// holder of the lock.
pub(in crate::index) fn rewrite_store(
    dir: &Path,
    cancel: &AtomicBool,
    on_event: &mut dyn FnMut(CompactEvent),
) -> Result<bool> {
    files::settle_store(dir)?;
    let copied = copy_store(dir, cancel, on_event).and_then(|()| {
        let (old, new) = (store_path(dir), fresh_store_path(dir));
        Ok(bytes_on_disk(&new)? < bytes_on_disk(&old)? / SAVING * (SAVING - 1))
    });
    if let Ok(true) = copied {
        return files::switch_to_fresh_store(dir).map(|()| true);
    }
    // A copy that is of no use must not fill the disk.
    let settled = files::settle_store(dir);
    copied.and_then(|_| settled.map(|()| false))
}

/// Copies the store beside it, and closes both for good: sled finds its files by their path.
fn copy_store(
    dir: &Path,
    cancel: &AtomicBool,
    on_event: &mut dyn FnMut(CompactEvent),
) -> Result<()> {
    let store = Store::open(dir)?;
    let total = store.payload()?;
    let fresh = Store::open_at(fresh_store_path(dir))?;
    let copied = store.copy_to(&fresh, &mut |done| {
        on_event(CompactEvent::Store { done, total });
        if cancel.load(Ordering::Relaxed) {
            return Err(Error::Cancelled);
        }
        Ok(())
    });
    let copied = copied.and_then(|()| {
        if fresh.payload()? == total && fresh.meta()? == store.meta()? {
            return Ok(());
        }
        Err(fresh.damaged("its copy is not the same"))
    });
    copied?;
    store.close()?;
    fresh.close()
}
