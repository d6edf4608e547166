//! Which model an index was built with, and which one an engine is.

use std::path::Path;

use crate::error::{Error, Result};
use crate::processor::READING;

/// The model and the preprocessing that embeddings come from. Those of two different ones cannot be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelIdentity {
    /// Folder or hub id of the checkpoint, for people.
    pub name: String,
    /// Hash of the checkpoint's content, hex.
    pub fingerprint: String,
    /// Everything that decides which pixels the model sees; after ", " how colours and transparency were read.
    pub preprocessing: String,
    /// Coordinates of an embedding.
    pub dim: usize,
}

impl ModelIdentity {
    /// Refuses another model than the one that the index in `dir` was built with. The name does not
    /// matter: the same checkpoint may lie elsewhere now.
    pub(crate) fn check(&self, given: &Self, dir: &Path) -> Result<()> {
        let is_same = self.fingerprint == given.fingerprint
            && self.scaling() == given.scaling()
            && self.dim == given.dim;
        if is_same {
            return Ok(());
        }
        Err(Error::OtherModel {
            path: dir.to_owned(),
            built_with: self.describe(),
            given: given.describe(),
        })
    }

    /// Takes over the place where the same model is now, if the folder where it was is gone.
    pub(crate) fn follow(&mut self, given: &Self) {
        let place = Path::new(&self.name);
        if place.is_absolute() && !place.is_dir() {
            self.name.clone_from(&given.name);
        }
    }

    /// Whether the index was begun by a version that read colours and transparency otherwise. It works as before:
    /// only the few pictures that this concerns would be seen better.
    pub fn is_of_earlier_reading(&self) -> bool {
        !self.preprocessing.ends_with(READING)
    }

    /// The description of the pixels, without how colours and transparency are read.
    pub(crate) fn scaling(&self) -> &str {
        let described = self.preprocessing.as_str();
        described
            .split_once(", ")
            .map_or(described, |(scaling, _)| scaling)
    }

    fn describe(&self) -> String {
        let Self {
            name,
            fingerprint,
            preprocessing,
            dim,
        } = self;
        format!("{name} ({fingerprint:.12}, {dim} coordinates, {preprocessing})")
    }
}
