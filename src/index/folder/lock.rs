//! One builder at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::index::folder::files;

const FILE: &str = "build.lock";
/// [`builder`] holds the lock for an instant to see whether it is free; a builder that meets it tries again,
const ATTEMPTS: usize = 5;
/// and more often where the holder has no process id yet, or none any more.
const ATTEMPTS_WITHOUT_PID: usize = 100;
const PAUSE: Duration = Duration::from_millis(10);

/// Held by the process that changes the index. The system frees it when the process ends, however it does.
#[derive(Debug)]
pub(crate) struct BuildLock {
    file: File,
}

impl BuildLock {
    /// Creates the index folder if need be, takes its lock and leaves our process id in it.
    pub fn acquire(dir: &Path) -> Result<Self> {
        files::create(dir)?;
        let path = dir.join(FILE);
        let mut file = open(&path).map_err(Error::io(&path))?;
        let mut attempt = 1;
        loop {
            match file.try_lock() {
                Ok(()) => {
                    write_pid(&mut file).map_err(Error::io(path))?;
                    return Ok(Self { file });
                }
                Err(TryLockError::WouldBlock) => {
                    let pid = read_pid(&path);
                    let enough = if pid == 0 {
                        ATTEMPTS_WITHOUT_PID
                    } else {
                        ATTEMPTS
                    };
                    if attempt >= enough {
                        let path = dir.to_owned();
                        return Err(Error::Busy { path, pid });
                    }
                    attempt += 1;
                    sleep(PAUSE);
                }
                Err(TryLockError::Error(source)) => return Err(Error::Io { path, source }),
            }
        }
    }
}

impl Drop for BuildLock {
    fn drop(&mut self) {
        // The file stays: removing it would let two processes lock two files of the same name.
        let _ = self.file.set_len(0);
        let _ = self.file.unlock();
    }
}

/// The process that is building the index in `dir`, if any.
pub fn builder(dir: &Path) -> Result<Option<u32>> {
    let path = dir.join(FILE);
    if !path.exists() {
        return Ok(None);
    }
    let file = File::open(&path).map_err(Error::io(&path))?;
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => Ok(Some(read_pid(&path))),
        Err(TryLockError::Error(source)) => Err(Error::Io { path, source }),
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
}

fn write_pid(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

/// 0 where the holder has not written it yet, or the system does not let others read a locked file.
fn read_pid(path: &Path) -> u32 {
    let mut text = String::new();
    let read = File::open(path).and_then(|mut file| file.read_to_string(&mut text));
    read.ok()
        .and_then(|_| text.trim().parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_builder_is_refused_until_the_first_is_done() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(builder(dir.path()).unwrap(), None);
        let lock = BuildLock::acquire(dir.path()).unwrap();
        let pid = std::process::id();
        assert_eq!(builder(dir.path()).unwrap(), Some(pid));
        assert!(
            matches!(BuildLock::acquire(dir.path()), Err(Error::Busy { pid: p, .. }) if p == pid)
        );
        drop(lock);
        assert_eq!(builder(dir.path()).unwrap(), None);
        BuildLock::acquire(dir.path()).unwrap();
    }

    #[test]
    fn a_builder_that_is_just_leaving_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let leaving = open(&dir.path().join(FILE)).unwrap();
        leaving.lock().unwrap();
        let leaves = std::thread::spawn(move || {
            sleep(3 * ATTEMPTS as u32 * PAUSE);
            leaving.unlock().unwrap();
        });
        BuildLock::acquire(dir.path()).unwrap();
        leaves.join().unwrap();
    }
}
