//! A checkpoint's calibration of its own match probabilities.

use std::path::Path;

use crate::error::{Error, Result};

/// The contents of `calibration.json` beside a checkpoint's weights: its match probabilities, as measured by
/// [`crate::eval`] on pictures of the kind that it knows. Published checkpoints have none.
#[derive(Debug, Clone, Copy, PartialEq, serde::Deserialize)]
pub struct Calibration {
    /// The highest cut-off that keeps 95 % of the right photos, 0 to 1.
    pub min_score: f32,
}

impl Calibration {
    pub(super) fn read(dir: &Path) -> Result<Option<Self>> {
        let path = dir.join("calibration.json");
        if !path.exists() {
            return Ok(None);
        }
        let json = std::fs::read(&path).map_err(Error::io(&path))?;
        let wrong = |reason: String| Error::Checkpoint {
            path: path.clone(),
            reason,
        };
        let read: Self = serde_json::from_slice(&json).map_err(|e| wrong(e.to_string()))?;
        if !(0.0..=1.0).contains(&read.min_score) {
            return Err(wrong(format!(
                "min_score is {}, no probability",
                read.min_score
            )));
        }
        Ok(Some(read))
    }
}
