//! Results are megabytes each and live for milliseconds: fresh pages for all of them would cost as much as a third of
//! the products.
#![allow(unsafe_code)]

/// Bytes from which huge pages are asked for: one of them has two mebibytes.
#[cfg(target_os = "linux")]
const HUGE: usize = 2 << 20;

/// An empty vector with room for `len` values, in huge pages where there are such.
pub(crate) fn with_room<T>(len: usize) -> Vec<T> {
    let room = Vec::with_capacity(len);
    #[cfg(target_os = "linux")]
    {
        let bytes = len * size_of::<T>();
        let start = room.as_ptr() as usize;
        let (first, end) = (start.next_multiple_of(HUGE), (start + bytes) / HUGE * HUGE);
        if first < end {
            // SAFETY: whole pages of this vector alone; the advice changes none of its bytes.
            unsafe { libc::madvise(first as *mut libc::c_void, end - first, libc::MADV_HUGEPAGE) };
        }
    }
    room
}

/// Has the process keep the memory that it frees, for the next results. For programs to call when they start: it holds
/// for all of the process. Without GNU's C library it does nothing.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: sets two thresholds of the allocator.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 30);
        libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
    }
}

/// The memory of a result, written by several threads, each to its own columns.
#[derive(Clone, Copy)]
pub(crate) struct Shared(pub(crate) *mut f32);

impl Shared {
    pub(crate) fn get(self) -> *mut f32 {
        self.0
    }
}

// SAFETY: a pointer; each use says why nobody else writes there.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}
