//! One build, from a scan to its report.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::sync_channel;

use super::away::away;
use super::committer::Committer;
use super::difference::Difference;
use super::options::BuildOptions;
use super::read::{MemoryBudget, Reader, Source};
use super::report::{BuildEvent, BuildReport};
use super::scan::{Scan, scan};
use super::stamp::Stamp;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::index::WriteIndex;
use crate::processor::{MAX_DECODING_BYTES, MAX_FILE_BYTES};

/// The reason for skipping a link to a folder behind which the index knows photos.
const NOTHING_BEHIND: &str = "the link leads to no photo, perhaps because a drive is not mounted; the index keeps what was there";

/// The memory that files, and decoding them, may hold at once in all threads together, bytes. The largest file and the
/// largest picture that are read fit into it.
const FILE_MEMORY: u64 = MAX_FILE_BYTES;
const DECODE_MEMORY: u64 = MAX_DECODING_BYTES;

/// Brings the index up to date with `folders`, or with the folders of earlier builds if none is given.
///
/// Returns [`Error::Cancelled`] soon after `cancel` is set; what was embedded by then is committed.
pub fn build(
    writer: &mut dyn WriteIndex,
    engine: &Engine,
    folders: &[PathBuf],
    options: &BuildOptions,
    cancel: &AtomicBool,
    on_event: &mut dyn FnMut(BuildEvent),
) -> Result<BuildReport> {
    let folders = if folders.is_empty() {
        writer.roots()
    } else {
        folders
    };
    if folders.is_empty() {
        return Err(Error::NoFolders);
    }
    let mut scan = scan(folders, &options.scan)?;
    let known = |path: &Path| {
        let known = writer.by_path(path)?;
        Ok(known.map(|(_, photo)| Stamp::of_photo(&photo)))
    };
    let mut difference = Difference::new(&mut scan, known, options)?;
    let report = report(scan, &mut difference, writer)?;
    announce(&report, difference.to_read.len(), on_event);
    let source = Source {
        processor: engine.processor(),
        files: MemoryBudget::new(FILE_MEMORY),
        pictures: MemoryBudget::new(DECODE_MEMORY),
        settle: options.settle,
    };
    let mut committer = Committer::new(writer, engine, options, report, &source, on_event);
    let mut contents = HashSet::with_capacity(committer.writer.len());
    for photo in committer.writer.photos() {
        let (id, photo) = photo?;
        if difference.misses(&photo.path) {
            committer.gone.insert(id);
        }
        contents.insert(photo.content_hash);
    }
    let earlier = committer.writer.roots().iter();
    let unseen = earlier.filter(|root| !difference.sees(root));
    committer.unseen_roots = unseen.cloned().collect();
    committer.date(&difference.undated, cancel)?;

    std::thread::scope(|scope| {
        let (send, receive) = sync_channel(2 * committer.batch_size);
        let reader = Reader {
            known: contents,
            source: &source,
        };
        let to_read = &difference.to_read;
        scope.spawn(move || reader.read_all(to_read, options.threads, cancel, &send));
        committer.take_all(receive, cancel)
    })?;
    committer.finish(&difference, cancel)
}

/// Returns the report as far as it is known before the first file is read.
fn report(scan: Scan, difference: &mut Difference, index: &dyn WriteIndex) -> Result<BuildReport> {
    let mut skipped = scan.unreadable;
    skipped.extend(scan.not_files);
    // Any link may lead nowhere. One that led to photos is reported.
    for link in scan.hollow {
        if photos_below(&link, index)? > 0 {
            skipped.push((link, NOTHING_BEHIND.to_owned()));
        }
    }
    Ok(BuildReport {
        found: difference.found(),
        unchanged: difference.unchanged,
        unsettled: std::mem::take(&mut difference.unsettled),
        broken: std::mem::take(&mut difference.broken),
        skipped,
        away: away(scan.away, |folder| photos_below(folder, index))?,
        links: scan.links,
        ..BuildReport::default()
    })
}

/// The number of photos that the index holds below a folder.
fn photos_below(folder: &Path, index: &dyn WriteIndex) -> Result<usize> {
    let mut count = 0;
    for photo in index.photos() {
        count += usize::from(photo?.1.path.starts_with(folder));
    }
    Ok(count)
}

fn announce(report: &BuildReport, to_read: usize, on_event: &mut dyn FnMut(BuildEvent)) {
    on_event(BuildEvent::Planned {
        found: report.found,
        to_read,
    });
    for (path, reason) in &report.skipped {
        on_event(BuildEvent::Skipped { path, reason });
    }
    for folder in &report.away {
        on_event(BuildEvent::Away(folder));
    }
    if !report.links.is_empty() {
        on_event(BuildEvent::PassedOver {
            links: &report.links,
        });
    }
}
