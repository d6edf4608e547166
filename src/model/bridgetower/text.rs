//! The text tower: RoBERTa.

use candle_core::{DType, Device, Module, Result, Tensor};
use candle_nn::{Embedding, VarBuilder, embedding};

use super::config::{Config, TextConfig};
use super::layers::{AttentionBlock, MlpBlock};
use crate::model::dense::{Norm, Products};
use crate::model::weights::{Rows, Weights};

/// Token ids of several texts, padded to one length.
pub struct TextBatch {
    /// `[B, L]`, u32.
    pub(super) input_ids: Tensor,
    /// `[B, 1, 1, L]`: 0 at tokens, the dtype's lowest value at padding.
    pub(super) mask: Tensor,
    /// `[B, L]`, u32: counts from `pad_token_id + 1` and skips padding.
    position_ids: Tensor,
}

impl TextBatch {
    /// Pads `texts`, each a sequence of token ids, with the model's padding token.
    pub fn new(texts: &[Vec<u32>], cfg: &Config, dtype: DType, device: &Device) -> Result<Self> {
        let pad = cfg.text_config.pad_token_id;
        let length = texts.iter().map(Vec::len).max().unwrap_or(0);
        let shape = (texts.len(), length);
        let mut ids = Vec::with_capacity(texts.len() * length);
        let mut positions = Vec::with_capacity(ids.capacity());
        let mut mask = Vec::with_capacity(ids.capacity());
        for text in texts {
            let mut position = pad;
            for i in 0..length {
                let id = text.get(i).copied().unwrap_or(pad);
                let is_token = id != pad;
                position += u32::from(is_token);
                ids.push(id);
                positions.push(if is_token { position } else { pad });
                // Finite in f16 too; exp() of it is 0 in every precision.
                mask.push(if is_token { 0f32 } else { -65504.0 });
            }
        }
        Ok(Self {
            input_ids: Tensor::from_vec(ids, shape, device)?,
            position_ids: Tensor::from_vec(positions, shape, device)?,
            mask: Tensor::from_vec(mask, (texts.len(), 1, 1, length), device)?.to_dtype(dtype)?,
        })
    }
}

/// Reference: `BridgeTowerTextModel`,
/// <https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/bridgetower/modeling_bridgetower.py>
pub(super) struct TextTower {
    embeddings: TextEmbeddings,
    layers: Vec<TextLayer>,
}

impl TextTower {
    pub(super) fn new(
        cfg: &TextConfig,
        weights: &Weights,
        vb: &VarBuilder,
        products: Products,
    ) -> Result<Self> {
        let layer = |i| TextLayer::new(cfg, &vb.pp("encoder.layer").pp(i), products);
        Ok(Self {
            embeddings: TextEmbeddings::new(cfg, weights, &vb.pp("embeddings"), products)?,
            layers: (0..cfg.num_hidden_layers)
                .map(layer)
                .collect::<Result<_>>()?,
        })
    }

    /// States after layers `from..=num_hidden_layers` (0 = the embeddings), each `[B, L, D]`.
    pub(super) fn forward(&self, batch: &TextBatch, from: usize) -> Result<Vec<Tensor>> {
        let mut hidden = self.embeddings.forward(batch)?;
        let mut states = Vec::new();
        for (i, layer) in self.layers.iter().enumerate() {
            if i >= from {
                states.push(hidden.clone());
            }
            hidden = layer.forward(&hidden, &batch.mask)?;
        }
        states.push(hidden);
        Ok(states)
    }
}

struct TextEmbeddings {
    word_embeddings: Rows,
    position_embeddings: Embedding,
    /// Segment 0, the only one in use, `[D]`.
    token_type_embedding: Tensor,
    layer_norm: Norm,
}

impl TextEmbeddings {
    fn new(
        cfg: &TextConfig,
        weights: &Weights,
        vb: &VarBuilder,
        products: Products,
    ) -> Result<Self> {
        let d = cfg.hidden_size;
        let token_types = vb.get((cfg.type_vocab_size, d), "token_type_embeddings.weight")?;
        Ok(Self {
            word_embeddings: weights.rows((cfg.vocab_size, d), &vb.pp("word_embeddings.weight"))?,
            position_embeddings: embedding(
                cfg.max_position_embeddings,
                d,
                vb.pp("position_embeddings"),
            )?,
            token_type_embedding: token_types.get(0)?,
            layer_norm: Norm::new(d, cfg.layer_norm_eps, &vb.pp("LayerNorm"), products)?,
        })
    }

    fn forward(&self, batch: &TextBatch) -> Result<Tensor> {
        let words = self.word_embeddings.of(&batch.input_ids)?; // [B, L, D]
        let positions = self.position_embeddings.forward(&batch.position_ids)?;
        let sum = (words.broadcast_add(&self.token_type_embedding)? + positions)?;
        self.layer_norm.forward(&sum)
    }
}

struct TextLayer {
    attention: AttentionBlock,
    mlp: MlpBlock,
}

impl TextLayer {
    fn new(cfg: &TextConfig, vb: &VarBuilder, products: Products) -> Result<Self> {
        Ok(Self {
            attention: AttentionBlock::new(cfg, &vb.pp("attention"), products)?,
            mlp: MlpBlock::new(cfg, vb, products)?,
        })
    }

    fn forward(&self, hidden: &Tensor, mask: &Tensor) -> Result<Tensor> {
        self.mlp
            .forward(&self.attention.forward(hidden, hidden, Some(mask))?)
    }
}
