//! The description of a folder of cached photos.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::engine::CacheLevel;
use crate::error::{Error, Result};

/// The description of a folder of cached photos, for [`gc`](super::gc()) and for people: its name is a hash.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct About {
    /// The engine's name of the model.
    pub model: String,
    /// [`image_side_fingerprint`](crate::model::BridgeTower::image_side_fingerprint).
    pub fingerprint: String,
    pub preprocessing: String,
    pub numbers: String,
    pub level: String,
    /// [`FORMAT`]; 0 where an earlier program wrote none.
    #[serde(default)]
    pub format: u32,
}

impl About {
    /// Reads the description in the folder `dir`, if there is one.
    pub fn read(dir: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(dir.join(ABOUT)).ok()?).ok()
    }

    /// Whether an earlier program made the folder, in whose files nobody can trust.
    pub fn is_outdated(&self) -> bool {
        self.format < FORMAT
    }

    /// Whether it keeps photos at this level.
    pub fn is_of(&self, level: CacheLevel) -> bool {
        self.level == level_name(level)
    }

    pub fn write(&self, dir: &Path) -> Result<()> {
        if Self::read(dir).as_ref() == Some(self) {
            return Ok(());
        }
        fs::create_dir_all(dir).map_err(Error::io(dir))?;
        let part = dir.join(format!("{PART_PREFIX}{}", std::process::id()));
        let text =
            serde_json::to_vec_pretty(self).map_err(|error| Error::io(&part)(error.into()))?;
        fs::write(&part, text)
            .and_then(|()| fs::rename(&part, dir.join(ABOUT)))
            .map_err(Error::io(dir))
    }
}

pub(super) fn level_name(level: CacheLevel) -> String {
    format!("{level:?}").to_lowercase()
}

pub(super) const ABOUT: &str = "about.json";
/// The beginning of the name of a file that is being written.
pub(crate) const PART_PREFIX: &str = "part-";
/// The format of the files of a folder.
///
/// | format | what is new |
/// |---|---|
/// | 0 | |
/// | 2 | A file's name is the hash of what was read. It was that of the index's record, though the photo might have been edited since: some files hold the states of another picture. |
pub(super) const FORMAT: u32 = 2;
