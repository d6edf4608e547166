//! Tells the files of one checkpoint from those that come to lie in their place.

use super::weights::Weights;

/// Tells these files from those that lie in their place after a change: BLAKE3 over their sizes and times, and over
/// every tensor's name and shape and the values of those with one dimension. 64 hex digits.
pub(super) fn weights_id(weights: &Weights) -> candle_core::Result<String> {
    let mut hasher = blake3::Hasher::new();
    for (size, modified) in weights.sizes_and_times()? {
        hasher.update(&size.to_le_bytes());
        hasher.update(&modified.to_le_bytes());
    }
    for (name, shape) in weights.shapes() {
        hasher.update(format!("{name} {shape:?}").as_bytes());
        if shape.len() == 1 {
            hash_values(&mut hasher, &weights.values(name)?);
        }
    }
    Ok(hasher.finalize().to_hex().to_string())
}

/// Feeds values to a hash as f32, least byte first.
pub(super) fn hash_values(hasher: &mut blake3::Hasher, values: &[f32]) {
    let bytes: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    hasher.update(&bytes);
}
