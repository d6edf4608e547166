//! How to notice that a file changed without reading it.

use std::fs::Metadata;

use crate::photo::{Photo, ctime_ns, nanoseconds};

/// What tells that the file at a path is the one that the index knows. All others are read, and recognised by their
/// content.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Compare {
    /// Size and modification time: for file systems that make up change times.
    Times,
    /// Those, and the change time where both sides know it.
    #[default]
    ChangeTime,
    /// The content: every file is read.
    Content,
}

/// What a file system says of a file's content.
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

    /// What the index holds of a photo.
    pub(super) fn of_photo(photo: &Photo) -> Self {
        Self {
            size: photo.size,
            mtime_ns: photo.mtime_ns,
            ctime_ns: photo.ctime_ns,
        }
    }

    /// Whether the content is taken for the same. The inode's number has no say: network drives, FUSE and FAT make up
    /// new ones with every mount, and what replaces a file brings a change time of its own.
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
