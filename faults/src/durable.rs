//! What a power cut would leave of a folder: of every file the bytes that were last synced, under the names that were
//! in its folder when that was last synced.
//!
//! `bytes/<inode>` holds a file as it was then, `names/<inode>` a folder: a line `inode name` for each entry.

use std::fs::{self, Metadata};
use std::io::Result;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::id;

/// Keeps a file or folder as it is now. Failures leave what was kept before.
pub fn keep(path: &Path, durable: &Path) {
    let _ = try_keep(path, durable);
}

/// Keeps a folder with all that is in it.
pub fn keep_all(folder: &Path, durable: &Path) -> Result<()> {
    try_keep(folder, durable)?;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            keep_all(&path, durable)?;
        } else {
            try_keep(&path, durable)?;
        }
    }
    Ok(())
}

/// Keeps the number of a file that loses its name from being given to another one.
pub fn hold(path: &Path, durable: &Path) {
    let held = durable.join("held");
    let inode = path.metadata().map(|metadata| metadata.ino());
    // Folders have one link only.
    let _ = inode.and_then(|inode| {
        fs::create_dir_all(&held)?;
        fs::hard_link(path, held.join(inode.to_string()))
    });
}

/// Forgets what was kept under the number of a file or folder.
pub fn forget(path: &Path, durable: &Path) {
    if let Ok(metadata) = path.metadata() {
        let _ = fs::remove_file(kept(&metadata, durable));
    }
}

fn try_keep(path: &Path, durable: &Path) -> Result<()> {
    let metadata = path.metadata()?;
    let kept = kept(&metadata, durable);
    fs::create_dir_all(kept.parent().unwrap_or(durable))?;
    // The process may be killed at any moment.
    let part = durable.join(format!("part-{}-{}", id(), metadata.ino()));
    if metadata.is_dir() {
        fs::write(&part, names(path)?)?;
    } else {
        fs::copy(path, &part)?;
    }
    fs::rename(part, kept)
}

fn names(folder: &Path) -> Result<String> {
    let lines = fs::read_dir(folder)?.map(|entry| {
        let entry = entry?;
        let metadata = entry.path().metadata()?;
        let end = if metadata.is_dir() { "/" } else { "" };
        let name = entry.file_name();
        Ok(format!(
            "{} {}{end}\n",
            metadata.ino(),
            name.to_string_lossy()
        ))
    });
    lines.collect()
}

fn kept(metadata: &Metadata, durable: &Path) -> PathBuf {
    let kind = if metadata.is_dir() { "names" } else { "bytes" };
    durable.join(kind).join(metadata.ino().to_string())
}
