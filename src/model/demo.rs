//! The checkpoint that is part of the program.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The demo checkpoint as a folder: its files unpacked, once for each version of them, into the user's cache.
///
/// A folder, since weights are mapped from files: what a command does not need is never read, and processes
/// share what they do. Where the cache cannot be written, the system's folder for temporary files serves.
pub(super) fn unpack() -> Result<PathBuf> {
    let mut hasher = blake3::Hasher::new();
    for (name, bytes) in bt_demo::FILES {
        hasher.update(name.as_bytes());
        hasher.update_rayon(bytes);
    }
    let version = format!("demo-{}", &hasher.finalize().to_hex()[..16]);
    let temporary = std::env::temp_dir().join("bridgetower").join(&version);
    let Some(cache) = dirs::cache_dir() else {
        return write(&temporary);
    };
    write(&cache.join("bridgetower").join(&version)).or_else(|_| write(&temporary))
}

/// Writes what `dir` lacks or holds damaged. A file is there whole or not at all, also when two processes write it.
fn write(dir: &Path) -> Result<PathBuf> {
    fs::create_dir_all(dir).map_err(Error::io(dir))?;
    for (name, bytes) in bt_demo::FILES {
        let path = dir.join(name);
        if fs::read(&path).is_ok_and(|there| there == bytes) {
            continue;
        }
        let part = dir.join(format!("{name}.{}.part", std::process::id()));
        fs::write(&part, bytes).map_err(Error::io(&part))?;
        fs::rename(&part, &path).map_err(Error::io(&path))?;
    }
    Ok(dir.to_path_buf())
}
