//! Tells one trained model from another.

use super::config::Config;
use crate::model::weights::Weights;
use crate::model::weights_id::hash_values;

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
