//! The changes of a commit.

use std::path::PathBuf;

use crate::embedding::Embedding;
use crate::photo::{Photo, PhotoId};

/// The changes of a commit. Photos that take the place of others may be given in the same commit.
#[derive(Debug, Default)]
pub struct Changes {
    /// Photos that went through the model.
    pub insert: Vec<(Photo, Embedding)>,
    /// Photos with the same content as one that is in the index.
    pub copy: Vec<(Photo, PhotoId)>,
    /// Photos whose content is what it was, in another place or with another date.
    pub update: Vec<(PhotoId, Photo)>,
    /// Photos that are gone.
    pub remove: Vec<PhotoId>,
    /// The photo folders, where they changed.
    pub roots: Option<Vec<PathBuf>>,
}

impl Changes {
    /// Whether there is nothing to commit.
    pub fn is_empty(&self) -> bool {
        let Self {
            insert,
            copy,
            update,
            remove,
            roots,
        } = self;
        insert.is_empty()
            && copy.is_empty()
            && update.is_empty()
            && remove.is_empty()
            && roots.is_none()
    }
}
