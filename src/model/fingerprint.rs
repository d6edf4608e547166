//! Tells one trained model from another.

use super::config::Config;
use super::weights::Weights;

/// BLAKE3 over the shape of the model and over the tensors that any training changes and that are cheap to
/// read: every bias and LayerNorm of both towers, the image transform's bias and the ITC heads.
///
/// The values are hashed as f32 and by their names without the trunk's prefix, so the same weights have the
/// same fingerprint as safetensors, as `.bin`, sharded or not. Rounding them to f16 makes another model.
pub(super) fn fingerprint(
    config: &Config,
    weights: &Weights,
    trunk: &str,
) -> candle_core::Result<String> {
    let mut hasher = blake3::Hasher::new();
    // What changes the embeddings beside the tensors and their shapes.
    let (text, vision) = (&config.text_config, &config.vision_config);
    let shape = format!(
        "heads {} pad {} eps {} {} image {}",
        text.num_attention_heads,
        text.pad_token_id,
        text.layer_norm_eps,
        vision.layer_norm_eps,
        vision.image_size
    );
    hasher.update(shape.as_bytes());
    for (name, shape) in weights.shapes() {
        let name_in_trunk = name
            .strip_prefix(trunk)
            .unwrap_or(name)
            .trim_start_matches('.');
        if !decides_embeddings(name_in_trunk, shape) {
            continue;
        }
        hasher.update(name_in_trunk.as_bytes());
        hash_values(&mut hasher, &weights.values(name)?);
    }
    Ok(hasher.finalize().to_hex().to_string())
}

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

fn hash_values(hasher: &mut blake3::Hasher, values: &[f32]) {
    let bytes: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    hasher.update(&bytes);
}

fn decides_embeddings(name: &str, shape: &[usize]) -> bool {
    let in_tower = [
        "text_model.e",
        "vision_model.",
        "cross_modal_image_transform",
    ]
    .iter()
    .any(|prefix| name.starts_with(prefix));
    let in_head = name.starts_with("itc_text_head.") || name.starts_with("itc_image_head.");
    in_head || (in_tower && shape.len() == 1)
}
