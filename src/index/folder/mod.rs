//! The folder of an index on a disk: its files, and the lock of the one process that changes them.

pub(crate) mod destroy;
pub(crate) mod files;
pub(crate) mod lock;
