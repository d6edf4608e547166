//! The image side of a match, which is the same for every query.

use candle_core::Tensor;

use crate::processor::Pixels;

/// The levels of caching a photo's work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CacheLevel {
    /// Nothing: every match decodes the photo and runs the image tower.
    None,
    /// The preprocessed picture, 8 bits a value; saves decoding. 259 kB a photo with the large checkpoints.
    Pixels,
    /// The image tower's state where the bridge begins, bf16; saves 19 of the large checkpoints' 24 layers. 0.9 MB.
    #[default]
    Split,
    /// Every bridged state, bf16; only the cross-modal layers are left to compute. 5.4 MB.
    Full,
}

/// The image side of a match, as far as a [`CacheLevel`] computes it.
pub(crate) enum ImageSide {
    /// A preprocessed picture.
    Pixels(Pixels),
    /// States of one photo, `[1, N, W]` each: the one at the split, or all bridged ones.
    States(Vec<Tensor>),
}
