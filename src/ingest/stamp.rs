//! Notices that a file changed, without reading it.

use std::fs::Metadata;

use crate::photo::{Photo, ctime_ns, nanoseconds};

/// How to recognise a file that has not changed. All others are read, and recognised by their content.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Compare {
    /// By size and modification time: for file systems that make up change times.
    Times,
    /// By those, and by the change time if both sides have one.
    #[default]
    ChangeTime,
    /// By content: every file is read.
    Content,
}

/// A file's size and times, which change with its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Stamp {
    /// Bytes.
    pub(super) size: u64,
    /// Modification time, nanoseconds since 1970-01-01 UTC.
    pub(super) mtime_ns: i64,
    /// See [`Photo::ctime_ns`].
    pub(super) ctime_ns: Option<i64>,
}

impl Stamp {
    pub(super) fn of(metadata: &Metadata) -> std::io::Result<Self> {
        Ok(Self {
            size: metadata.len(),
            mtime_ns: nanoseconds(metadata.modified()?),
            ctime_ns: ctime_ns(metadata),
        })
    }

    /// Returns the stamp that the index holds of a photo.
    pub(super) fn of_photo(photo: &Photo) -> Self {
        Self {
            size: photo.size,
            mtime_ns: photo.mtime_ns,
            ctime_ns: photo.ctime_ns,
        }
    }

    /// Returns whether the content counts as unchanged. The inode number is ignored: network drives, FUSE and FAT make
    /// up new ones with every mount, and a file that replaces another has its own change time.
    pub(super) fn is_same(&self, other: &Self, compare: Compare) -> bool {
        let has_changed = || {
            let times = self.ctime_ns.zip(other.ctime_ns);
            times.is_some_and(|(one, other)| one != other)
        };
        match compare {
            Compare::Times => self.is_as_large_and_old(other),
            Compare::ChangeTime => self.is_as_large_and_old(other) && !has_changed(),
            Compare::Content => false,
        }
    }

    pub(super) fn is_as_large_and_old(&self, other: &Self) -> bool {
        (self.size, self.mtime_ns) == (other.size, other.mtime_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Stamp = Stamp {
        size: 5,
        mtime_ns: 7,
        ctime_ns: Some(9),
    };

    #[test]
    fn a_change_time_counts_where_both_sides_know_it() {
        let (touched, unknown) = (
            Stamp {
                ctime_ns: Some(10),
                ..NOW
            },
            Stamp {
                ctime_ns: None,
                ..NOW
            },
        );
        let larger = Stamp { size: 6, ..NOW };
        for (other, times, change_time) in [
            (NOW, true, true),
            (touched, true, false),
            (unknown, true, true),
            (larger, false, false),
        ] {
            assert_eq!(NOW.is_same(&other, Compare::Times), times);
            assert_eq!(NOW.is_same(&other, Compare::ChangeTime), change_time);
            assert_eq!(other.is_same(&NOW, Compare::ChangeTime), change_time);
            assert!(!NOW.is_same(&other, Compare::Content));
        }
    }
}
