//! Any condition on a photo, as a closure.

use crate::photo::Photo;

/// Whether a photo may be found. Asked on several threads, and not of every photo.
pub type PhotoPredicate<'a> = dyn Fn(&Photo) -> bool + Sync + 'a;
