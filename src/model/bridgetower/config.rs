//! `config.json`, as published (2022) and as `save_pretrained` writes it today.

use std::path::Path;

use serde::{Deserialize, Deserializer};

use crate::error::{Error, Result};

/// The model's shape; field names and defaults are those of `BridgeTowerConfig`.
///
/// Reference: <https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/bridgetower/configuration_bridgetower.py>
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct Config {
    /// One transform into the cross-modal width for all bridged layers, or one for each.
    pub share_cross_modal_transformer_layers: bool,
    /// Activation of the masked-word head; only `gelu` (erf) is published.
    pub hidden_act: String,
    /// Cross-modal width, D.
    pub hidden_size: usize,
    /// LayerNorm epsilon of the bridge and the heads.
    pub layer_norm_eps: f64,
    /// One link tower for all layers; no checkpoint uses it, nor can the reference run it.
    pub share_link_tower_layers: bool,
    /// The link between a tower's state and the cross-modal one.
    pub link_tower_type: LinkTowerType,
    /// Number of cross-modal layers, 6 in every published checkpoint.
    pub num_hidden_layers: usize,
    /// The masked-word decoder is the word embedding matrix.
    pub tie_word_embeddings: bool,
    /// The text tower; also the shape of the cross-modal layers.
    #[serde(deserialize_with = "null_is_default")]
    pub text_config: TextConfig,
    /// The image tower.
    #[serde(deserialize_with = "null_is_default")]
    pub vision_config: VisionConfig,
}

/// The RoBERTa text tower.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct TextConfig {
    /// Entries of the vocabulary.
    pub vocab_size: usize,
    /// Width.
    pub hidden_size: usize,
    /// Layers.
    pub num_hidden_layers: usize,
    /// Attention heads.
    pub num_attention_heads: usize,
    /// Width inside the MLP.
    pub intermediate_size: usize,
    /// Activation; only `gelu` (erf) is published.
    pub hidden_act: String,
    /// Entries of the position table; `pad_token_id + 1` of them are never used.
    pub max_position_embeddings: usize,
    /// Entries of the segment table; only entry 0 is used.
    pub type_vocab_size: usize,
    /// LayerNorm epsilon.
    pub layer_norm_eps: f64,
    /// The padding token.
    pub pad_token_id: u32,
}

/// The CLIP image tower. Heads are always `hidden_size / 64`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct VisionConfig {
    /// Width.
    pub hidden_size: usize,
    /// Layers.
    pub num_hidden_layers: usize,
    /// Colour channels.
    pub num_channels: usize,
    /// Side of a patch, pixels.
    pub patch_size: usize,
    /// Side of the picture, pixels.
    pub image_size: usize,
    /// LayerNorm epsilon.
    pub layer_norm_eps: f64,
    /// The last layer was cut off (`vit_remove_last` in old files); no checkpoint does so.
    #[serde(alias = "vit_remove_last")]
    pub remove_last_layer: bool,
}

/// The ways to join a tower's state and the cross-modal state (paper, section 3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkTowerType {
    /// `LayerNorm(tower + cross)`
    Add,
    /// `LayerNorm(scaled_factor · tower + cross)`
    ScaledAdd,
    /// `LayerNorm((1 − beta) · tower + beta · cross)`
    Interpolate,
}

impl Config {
    /// Reads and checks `config.json`.
    pub fn read(path: &Path) -> Result<Self> {
        let json = std::fs::read_to_string(path).map_err(Error::io(path))?;
        let wrong = |reason: String| Error::Checkpoint {
            path: path.into(),
            reason,
        };
        let config: Self = serde_json::from_str(&json).map_err(|e| wrong(e.to_string()))?;
        match config.unsupported() {
            Some(reason) => Err(wrong(reason)),
            None => Ok(config),
        }
    }

    /// Layers of each tower that run before the first cross-modal layer.
    pub fn split(&self) -> usize {
        self.text_config.num_hidden_layers - self.num_hidden_layers + 1
    }

    /// Longest text, in tokens with `<s>` and `</s>`: positions start after the padding index.
    pub fn max_text_tokens(&self) -> usize {
        self.text_config.max_position_embeddings - self.text_config.pad_token_id as usize - 1
    }

    /// Multiply-adds, counted as two operations, to match one photo with one text of `tokens` tokens
    /// from its pixels (the text tower is not counted: it runs once for all photos).
    pub fn match_flops(&self, tokens: usize) -> f64 {
        let (v, d) = (&self.vision_config, self.hidden_size as f64);
        let (n, l) = (v.num_tokens() as f64, tokens as f64);
        let w = v.hidden_size as f64;
        let ffn = self.text_config.intermediate_size as f64;
        let block = |rows: f64, width: f64, mlp: f64| {
            rows * (8.0 * width * width + 4.0 * width * mlp) + 4.0 * rows * rows * width
        };
        // Cross-attention: query and output on this stream, key and value on the other.
        let cross = |own: f64, other: f64| {
            block(own, d, ffn) + 4.0 * d * d * (own + other) + 4.0 * own * other * d
        };
        v.num_hidden_layers as f64 * block(n, w, 4.0 * w)
            + self.num_hidden_layers as f64 * (cross(n, l) + cross(l, n) + 2.0 * n * w * d)
    }

    fn unsupported(&self) -> Option<String> {
        let (text, vision) = (&self.text_config, &self.vision_config);
        let fault = if text.hidden_act != "gelu" || self.hidden_act != "gelu" {
            "hidden_act must be \"gelu\""
        } else if self.share_link_tower_layers {
            "share_link_tower_layers = true is not supported (nor does the reference run it)"
        } else if vision.remove_last_layer || text.num_hidden_layers != vision.num_hidden_layers {
            "the text and image towers must have the same number of layers"
        } else if self.num_hidden_layers == 0 || self.num_hidden_layers > text.num_hidden_layers {
            "num_hidden_layers (cross-modal) must lie between 1 and the towers' layers"
        } else if text.hidden_size != self.hidden_size {
            "text_config.hidden_size must equal hidden_size"
        } else if text.num_attention_heads == 0 || text.hidden_size % text.num_attention_heads != 0
        {
            "text_config.hidden_size must be a multiple of its num_attention_heads"
        } else if vision.hidden_size == 0 || vision.hidden_size % 64 != 0 {
            "vision_config.hidden_size must be a multiple of 64"
        } else if vision.patch_size == 0 || vision.image_size % vision.patch_size != 0 {
            "vision_config.image_size must be a multiple of its patch_size"
        } else if text.max_position_embeddings <= text.pad_token_id as usize + 3 {
            "text_config.max_position_embeddings leaves no room for text"
        } else {
            return None;
        };
        Some(fault.into())
    }
}

impl VisionConfig {
    /// Length of the image sequence, N: one class token and the patches.
    pub fn num_tokens(&self) -> usize {
        (self.image_size / self.patch_size).pow(2) + 1
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            share_cross_modal_transformer_layers: true,
            hidden_act: "gelu".into(),
            hidden_size: 768,
            layer_norm_eps: 1e-5,
            share_link_tower_layers: false,
            link_tower_type: LinkTowerType::Add,
            num_hidden_layers: 6,
            tie_word_embeddings: false,
            text_config: TextConfig::default(),
            vision_config: VisionConfig::default(),
        }
    }
}

impl Default for TextConfig {
    fn default() -> Self {
        Self {
            vocab_size: 50265,
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            hidden_act: "gelu".into(),
            max_position_embeddings: 514,
            type_vocab_size: 1,
            layer_norm_eps: 1e-5,
            pad_token_id: 1,
        }
    }
}

impl Default for VisionConfig {
    fn default() -> Self {
        Self {
            hidden_size: 768,
            num_hidden_layers: 12,
            num_channels: 3,
            patch_size: 16,
            image_size: 288,
            layer_norm_eps: 1e-5,
            remove_last_layer: false,
        }
    }
}

fn null_is_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_fields_take_the_references_defaults() {
        let config: Config =
            serde_json::from_str(r#"{"drop_rate": 0.1, "text_config": null}"#).expect("parses");
        assert_eq!(config, Config::default());
        assert_eq!(config.split(), 7);
        assert_eq!(config.max_text_tokens(), 512);
        assert_eq!(config.vision_config.num_tokens(), 325);
    }

    #[test]
    fn the_large_checkpoints_cost_what_the_paper_counts() {
        let json = r#"{"hidden_size": 1024,
            "text_config": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16,
                            "intermediate_size": 4096},
            "vision_config": {"hidden_size": 1024, "num_hidden_layers": 24, "patch_size": 14,
                              "image_size": 294, "vit_remove_last": false}}"#;
        let config: Config = serde_json::from_str(json).expect("parses");
        assert_eq!(config.unsupported(), None);
        assert_eq!(config.vision_config.num_tokens(), 442);
        // 286 G in the image tower, 94 G in the cross-modal layers, 6 G in the transforms.
        assert!((config.match_flops(12) / 1e9 - 386.0).abs() < 8.0);
    }

    #[test]
    fn shapes_that_cannot_run_are_named() {
        for (json, word) in [
            (r#"{"hidden_act": "relu"}"#, "gelu"),
            (
                r#"{"share_link_tower_layers": true}"#,
                "share_link_tower_layers",
            ),
            (r#"{"num_hidden_layers": 13}"#, "cross-modal"),
            (r#"{"vision_config": {"image_size": 290}}"#, "patch_size"),
            (
                r#"{"vision_config": {"hidden_size": 100}}"#,
                "multiple of 64",
            ),
        ] {
            let config: Config = serde_json::from_str(json).expect("parses");
            assert!(
                config.unsupported().expect("refused").contains(word),
                "{json}"
            );
        }
    }
}
