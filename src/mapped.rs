//! Files as memory, and memory as numbers.
#![allow(unsafe_code)]

use std::fs::File;
use std::path::Path;

use memmap2::Mmap;

#[cfg(target_endian = "big")]
compile_error!("the index is little-endian on disk and is searched where it lies");

/// A read-only file in memory. It stays readable after the file has been removed.
#[derive(Debug)]
pub(crate) struct Map(Mmap);

impl Map {
    /// Maps a file that is written under another name, renamed when it is complete, and never changed afterwards: a
    /// snapshot, or packed weights.
    pub fn open(path: &Path) -> std::io::Result<Self> {
        let file = File::open(path)?;
        // SAFETY: such a file is only ever replaced or removed, never written to or cut, so the bytes behind the map do
        // not change. Someone who edits the file by hand while it is open breaks that, as for every program that maps
        // files.
        let map = unsafe { Mmap::map(&file) }?;
        Ok(Self(map))
    }

    /// Asks the system to read all of it ahead. From a cold disk that halves the time; a hint, so it may fail.
    #[cfg_attr(
        not(unix),
        allow(clippy::unused_self, reason = "only Unix takes the hint")
    )]
    pub fn read_ahead(&self) {
        #[cfg(unix)]
        let _ = self.0.advise(memmap2::Advice::WillNeed);
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Map {
    fn as_ref(&self) -> &[u8] {
        self.bytes()
    }
}

/// Numbers of which every bit pattern is a value, without padding.
pub(crate) trait Plain: Copy {}
impl Plain for u8 {}
impl Plain for u32 {}
impl Plain for u64 {}
impl Plain for f32 {}

/// The numbers that the bytes are; `None` if they lie askew or there is a remainder.
pub(crate) fn numbers<T: Plain>(bytes: &[u8]) -> Option<&[T]> {
    // SAFETY: every bit pattern is a valid `T`: `Plain` is implemented above for such types only.
    let (before, numbers, after) = unsafe { bytes.align_to::<T>() };
    (before.is_empty() && after.is_empty()).then_some(numbers)
}

/// The bytes of numbers.
pub(crate) fn bytes_of<T: Plain>(numbers: &[T]) -> &[u8] {
    // SAFETY: `Plain` types have no padding, so all their bytes are initialised, and u8 has alignment 1.
    unsafe { std::slice::from_raw_parts(numbers.as_ptr().cast(), std::mem::size_of_val(numbers)) }
}
