//! The end of an index.

use std::path::Path;

use super::files;
use super::lock::BuildLock;
use crate::error::Result;

/// See [`Index::destroy`](crate::Index::destroy).
pub(crate) fn destroy(dir: &Path) -> Result<()> {
    if !dir.exists() {
        return Ok(());
    }
    let _lock = BuildLock::acquire(dir)?;
    files::remove_index(dir)
}
