//! The system calls, and which of them fail.
#![allow(unsafe_code)]

use std::ffi::{CStr, OsStr, OsString, c_char, c_int, c_uint, c_void};
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use libc::{iovec, mode_t, off64_t, size_t, ssize_t};

use super::durable;

/// How the chosen call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The disk is full: the call, if it is a write, writes half, and from then on nothing can be written or created.
    Full,
    /// This call fails with an I/O error.
    Error,
    /// The disk is gone: this call and all later ones fail with an I/O error.
    Gone,
    /// A write writes half and says so, as writes may.
    Short,
    /// The process is killed before the call,
    Die,
    /// or after it; a write writes half before.
    Torn,
}

/// What a call does to the disk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Call {
    Write,
    Create,
    Sync,
    /// Names and lengths: what needs no space.
    Change,
}

enum Fate {
    Pass,
    Half,
    Fail(c_int),
    Torn,
}

struct Settings {
    below: PathBuf,
    at: u64,
    kind: Kind,
    log: Option<PathBuf>,
    durable: Option<PathBuf>,
}

static CALLS: AtomicU64 = AtomicU64::new(0);

fn settings() -> Option<&'static Settings> {
    static SETTINGS: OnceLock<Option<Settings>> = OnceLock::new();
    let read = || {
        let variable = |name| std::env::var_os(name);
        let kind = match variable("FAULTS_KIND")?.to_str()? {
            "full" => Kind::Full,
            "error" => Kind::Error,
            "gone" => Kind::Gone,
            "short" => Kind::Short,
            "die" => Kind::Die,
            "torn" => Kind::Torn,
            _ => return None,
        };
        let at = variable("FAULTS_AT").and_then(|at| at.to_str()?.parse().ok());
        Some(Settings {
            below: variable("FAULTS_BELOW")?.into(),
            at: at.unwrap_or(u64::MAX),
            kind,
            log: variable("FAULTS_LOG").map(PathBuf::from),
            durable: variable("FAULTS_DURABLE").map(PathBuf::from),
        })
    };
    SETTINGS.get_or_init(read).as_ref()
}

fn fate(call: Call, name: &str, path: &Path) -> Fate {
    let Some(settings) = settings().filter(|settings| path.starts_with(&settings.below)) else {
        return Fate::Pass;
    };
    let number = CALLS.fetch_add(1, Ordering::SeqCst) + 1;
    if let (1, Some(durable)) = (number, &settings.durable) {
        // What was there before counts as durable. A folder that is only about to be made has nothing.
        let _ = durable::keep_all(&settings.below, durable);
    }
    if let Some(log) = &settings.log {
        let line = format!("{number} {name} {}\n", path.display());
        let file = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(log);
        let _ = file.and_then(|mut file| file.write_all(line.as_bytes()));
    }
    let (is_now, is_past) = (number == settings.at, number > settings.at);
    match settings.kind {
        Kind::Full if is_now && call == Call::Write => Fate::Half,
        Kind::Full if (is_now || is_past) && matches!(call, Call::Write | Call::Create) => {
            Fate::Fail(libc::ENOSPC)
        }
        Kind::Error if is_now => Fate::Fail(libc::EIO),
        Kind::Gone if is_now || is_past => Fate::Fail(libc::EIO),
        Kind::Short if is_now => Fate::Half,
        Kind::Die if is_now => die(),
        Kind::Torn if is_now => Fate::Torn,
        _ => Fate::Pass,
    }
}

fn die() -> ! {
    // SAFETY: both take no pointers; the signal cannot be caught.
    unsafe {
        libc::kill(libc::getpid(), libc::SIGKILL);
        loop {
            libc::pause();
        }
    }
}

fn fail(errno: c_int) {
    // SAFETY: the address of this thread's errno.
    unsafe { *libc::__errno_location() = errno };
}

/// A call that happens or does not.
fn whole(call: Call, name: &str, path: &Path, run: impl FnOnce() -> c_int) -> c_int {
    let fate = fate(call, name, path);
    if let (Call::Change, Some(durable)) = (call, durable_below(path)) {
        durable::hold(path, durable);
    }
    match fate {
        Fate::Pass | Fate::Half => run(),
        Fate::Fail(errno) => {
            fail(errno);
            -1
        }
        Fate::Torn => {
            run();
            die()
        }
    }
}

/// A call that may write less than it was given.
fn part(name: &str, fd: c_int, len: size_t, run: impl FnOnce(size_t) -> ssize_t) -> ssize_t {
    match fate(Call::Write, name, &path_of(fd)) {
        Fate::Pass => run(len),
        Fate::Half => run(len.div_ceil(2)),
        Fate::Fail(errno) => {
            fail(errno);
            -1
        }
        Fate::Torn => {
            run(len.div_ceil(2));
            die()
        }
    }
}

fn sync(name: &str, fd: c_int, run: impl FnOnce() -> c_int) -> c_int {
    let path = path_of(fd);
    let outcome = whole(Call::Sync, name, &path, run);
    if let (0, Some(durable)) = (outcome, durable_below(&path)) {
        durable::keep(&path, durable);
    }
    outcome
}

/// An open that makes a file, if there is none.
fn create(path: &Path, flags: c_int, run: impl FnOnce() -> c_int) -> c_int {
    if flags & libc::O_CREAT == 0 || path.exists() {
        return run();
    }
    let outcome = whole(Call::Create, "create", path, run);
    forget(outcome >= 0, path);
    outcome
}

/// A number that a removed file had says nothing of a new one.
fn forget(is_new: bool, path: &Path) {
    if let (true, Some(durable)) = (is_new, durable_below(path)) {
        durable::forget(path, durable);
    }
}

/// Where to keep what is durable of a path.
fn durable_below(path: &Path) -> Option<&'static Path> {
    let settings = settings().filter(|settings| path.starts_with(&settings.below))?;
    settings.durable.as_deref()
}

fn path_of(fd: c_int) -> PathBuf {
    let link = format!("/proc/self/fd/{fd}\0");
    let mut buffer = [0_u8; 4096];
    // SAFETY: the path ends in a zero, and the buffer is as long as it is said to be.
    let len = unsafe {
        libc::readlink(
            link.as_ptr().cast(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
        )
    };
    let bytes = &buffer[..usize::try_from(len).unwrap_or(0)];
    OsString::from_vec(bytes.to_vec()).into()
}

/// A path as system calls get it; a relative one counts from `dir`.
///
/// # Safety
///
/// `path` is a string that ends in a zero.
unsafe fn path_at(dir: c_int, path: *const c_char) -> PathBuf {
    // SAFETY: the caller's promise.
    let path = unsafe { CStr::from_ptr(path) };
    let path = Path::new(OsStr::from_bytes(path.to_bytes()));
    match dir {
        libc::AT_FDCWD => path.to_owned(),
        dir => path_of(dir).join(path),
    }
}

/// The function of that name which this library stands before.
macro_rules! real {
    ($name:literal: fn($($argument:ty),*) -> $outcome:ty) => {{
        static ADDRESS: OnceLock<usize> = OnceLock::new();
        let address = *ADDRESS.get_or_init(|| {
            let name: &CStr = $name;
            libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) as usize
        });
        assert_ne!(address, 0, "the C library has every function that is interposed");
        std::mem::transmute::<usize, unsafe extern "C" fn($($argument),*) -> $outcome>(address)
    }};
}

// Each function below has the signature of the one it stands before and passes its arguments on, so its caller's
// promises are those that the real one needs. `open` is variadic in C; the mode lies where a third argument would on all
// of Linux's common platforms.

#[unsafe(no_mangle)]
unsafe extern "C" fn open(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: the signature is that of `open` with a mode; the caller's path ends in a zero.
    unsafe {
        create(&path_at(libc::AT_FDCWD, path), flags, || {
            real!(c"open": fn(*const c_char, c_int, mode_t) -> c_int)(path, flags, mode)
        })
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn open64(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: the signature is that of `open64` with a mode; the caller's path ends in a zero.
    unsafe {
        create(&path_at(libc::AT_FDCWD, path), flags, || {
            real!(c"open64": fn(*const c_char, c_int, mode_t) -> c_int)(path, flags, mode)
        })
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn mkdir(path: *const c_char, mode: mode_t) -> c_int {
    // SAFETY: the signature is that of `mkdir`; the caller's path ends in a zero.
    unsafe {
        let folder = path_at(libc::AT_FDCWD, path);
        let outcome = whole(Call::Create, "mkdir", &folder, || {
            real!(c"mkdir": fn(*const c_char, mode_t) -> c_int)(path, mode)
        });
        forget(outcome == 0, &folder);
        outcome
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn write(fd: c_int, bytes: *const c_void, len: size_t) -> ssize_t {
    // SAFETY: the signature is that of `write`, whose caller vouches for `len` bytes.
    unsafe {
        part("write", fd, len, |len| {
            real!(c"write": fn(c_int, *const c_void, size_t) -> ssize_t)(fd, bytes, len)
        })
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn writev(fd: c_int, parts: *const iovec, count: c_int) -> ssize_t {
    // SAFETY: the signature is that of `writev`, whose caller vouches for `count` parts and for their bytes.
    unsafe {
        let all = std::slice::from_raw_parts(parts, count as usize);
        let len = all.iter().map(|part| part.iov_len).sum();
        part("writev", fd, len, |wanted| match all.first() {
            Some(first) if wanted < len => {
                let len = first.iov_len.min(wanted);
                real!(c"write": fn(c_int, *const c_void, size_t) -> ssize_t)(
                    fd,
                    first.iov_base,
                    len,
                )
            }
            _ => real!(c"writev": fn(c_int, *const iovec, c_int) -> ssize_t)(fd, parts, count),
        })
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pwrite64(
    fd: c_int,
    bytes: *const c_void,
    len: size_t,
    at: off64_t,
) -> ssize_t {
    // SAFETY: the signature is that of `pwrite64`, whose caller vouches for `len` bytes.
    unsafe {
        part("pwrite", fd, len, |len| {
            real!(c"pwrite64": fn(c_int, *const c_void, size_t, off64_t) -> ssize_t)(
                fd, bytes, len, at,
            )
        })
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn fsync(fd: c_int) -> c_int {
    // SAFETY: the signature is that of `fsync`, which takes no pointers.
    unsafe { sync("fsync", fd, || real!(c"fsync": fn(c_int) -> c_int)(fd)) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn fdatasync(fd: c_int) -> c_int {
    // SAFETY: the signature is that of `fdatasync`, which takes no pointers.
    unsafe {
        sync("fdatasync", fd, || {
            real!(c"fdatasync": fn(c_int) -> c_int)(fd)
        })
    }
}

/// Makes nothing durable: it neither empties the disk's cache nor writes where a new part of the file lies.
#[unsafe(no_mangle)]
unsafe extern "C" fn sync_file_range(fd: c_int, at: off64_t, len: off64_t, flags: c_uint) -> c_int {
    // SAFETY: the signature is that of `sync_file_range`, which takes no pointers.
    unsafe {
        whole(Call::Sync, "sync_file_range", &path_of(fd), || {
            real!(c"sync_file_range": fn(c_int, off64_t, off64_t, c_uint) -> c_int)(
                fd, at, len, flags,
            )
        })
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn ftruncate64(fd: c_int, len: off64_t) -> c_int {
    // SAFETY: the signature is that of `ftruncate64`, which takes no pointers.
    unsafe {
        whole(Call::Change, "ftruncate", &path_of(fd), || {
            real!(c"ftruncate64": fn(c_int, off64_t) -> c_int)(fd, len)
        })
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn rename(from: *const c_char, to: *const c_char) -> c_int {
    // SAFETY: the signature is that of `rename`; the caller's paths end in a zero.
    unsafe {
        whole(Call::Change, "rename", &path_at(libc::AT_FDCWD, to), || {
            real!(c"rename": fn(*const c_char, *const c_char) -> c_int)(from, to)
        })
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn unlink(path: *const c_char) -> c_int {
    // SAFETY: the signature is that of `unlink`; the caller's path ends in a zero.
    unsafe {
        whole(
            Call::Change,
            "unlink",
            &path_at(libc::AT_FDCWD, path),
            || real!(c"unlink": fn(*const c_char) -> c_int)(path),
        )
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn unlinkat(dir: c_int, path: *const c_char, flags: c_int) -> c_int {
    // SAFETY: the signature is that of `unlinkat`; the caller's path ends in a zero.
    unsafe {
        whole(Call::Change, "unlink", &path_at(dir, path), || {
            real!(c"unlinkat": fn(c_int, *const c_char, c_int) -> c_int)(dir, path, flags)
        })
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn rmdir(path: *const c_char) -> c_int {
    // SAFETY: the signature is that of `rmdir`; the caller's path ends in a zero.
    unsafe {
        whole(
            Call::Change,
            "rmdir",
            &path_at(libc::AT_FDCWD, path),
            || real!(c"rmdir": fn(*const c_char) -> c_int)(path),
        )
    }
}
