//! A look at what a build would find to do.

use std::collections::HashMap;
use std::path::PathBuf;

use super::away::away;
use super::difference::Difference;
use super::options::BuildOptions;
use super::report::Survey;
use super::scan::scan;
use super::stamp::Stamp;
use crate::error::Result;
use crate::index::ReadIndex;

/// Compares `folders` with what was last published in the index. Neither waits for a builder nor delays one, and takes
/// far less time than opening a large index for changes.
pub fn survey(
    index: &dyn ReadIndex,
    folders: &[PathBuf],
    options: &BuildOptions,
) -> Result<Survey> {
    let mut scan = scan(folders, &options.scan)?;
    let mut known = HashMap::with_capacity(index.len());
    for photo in index.photos() {
        let (_, photo) = photo?;
        let stamp = Stamp::of_photo(&photo);
        known.insert(photo.path, stamp);
    }
    let difference = Difference::new(&mut scan, |path| Ok(known.get(path).copied()), options)?;
    let gone = known.keys().filter(|path| difference.misses(path));
    Ok(Survey {
        changes: difference.to_read.len() + gone.count(),
        unsettled: difference.unsettled.len(),
        away: away(scan.away, |folder| {
            Ok(known.keys().filter(|path| path.starts_with(folder)).count())
        })?,
    })
}
