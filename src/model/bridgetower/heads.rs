//! The three published heads: contrastive (ITC), matching (ITM) and masked words (MLM).

use candle_core::{DType, IndexOp, Module, Result, Tensor};
use candle_nn::{Linear, VarBuilder, linear};

use super::config::Config;
use super::layers::normalize;
use crate::model::dense::{Norm, Products};

/// First-token poolers of both cross-modal streams: dense and tanh, text first.
///
/// Reference: `BridgeTowerModel.get_cls_features`.
pub(super) struct Poolers {
    text: Linear,
    image: Linear,
}

impl Poolers {
    pub(super) fn new(cfg: &Config, vb: &VarBuilder) -> Result<Self> {
        let d = cfg.hidden_size;
        Ok(Self {
            text: linear(d, d, vb.pp("cross_modal_text_pooler.dense"))?,
            image: linear(d, d, vb.pp("cross_modal_image_pooler.dense"))?,
        })
    }

    /// `[B, L, D]`, `[B, N, D]` → `[B, 2D]`.
    pub(super) fn forward(&self, text: &Tensor, image: &Tensor) -> Result<Tensor> {
        let text = self.text.forward(&first_token(text)?)?.tanh()?;
        let image = self.image.forward(&first_token(image)?)?.tanh()?;
        Tensor::cat(&[text, image], 1)
    }
}

/// A contrastive head: a projection, then norm 1.
///
/// Reference: `BridgeTowerContrastiveHead` and the normalisation in
/// `BridgeTowerForContrastiveLearning.forward`.
pub(super) struct ContrastiveHead {
    fc: Linear,
}

impl ContrastiveHead {
    /// The embedding's width is what the checkpoint holds: old configurations do not name it.
    pub(super) fn new(width: usize, vb: &VarBuilder) -> Result<Self> {
        let embed = vb.get_unchecked("fc.bias")?.dim(0)?;
        Ok(Self {
            fc: linear(width, embed, vb.pp("fc"))?,
        })
    }

    /// `[B, width]` → unit vectors `[B, E]`, f32.
    pub(super) fn forward(&self, features: &Tensor) -> Result<Tensor> {
        normalize(&self.fc.forward(features)?.to_dtype(DType::F32)?)
    }
}

/// The contrastive loss of B matching texts and photos: the mean of three cross-entropies
/// (text → image, text → cross, image → cross), logits scaled by `exp(logit_scale)`.
///
/// All embeddings are `[B, E]`, f32. Reference: `BridgeTowerForContrastiveLearning.forward`.
pub(super) fn contrastive_loss(
    text: &Tensor,
    image: &Tensor,
    cross: &Tensor,
    logit_scale: f64,
) -> Result<f32> {
    let labels = Tensor::arange(0u32, text.dim(0)? as u32, text.device())?;
    let term = |from: &Tensor, to: &Tensor| -> Result<f32> {
        let logits = (from.matmul(&to.t()?)? * logit_scale.exp())?;
        candle_nn::loss::cross_entropy(&logits, &labels)?.to_scalar()
    };
    Ok((term(text, image)? + term(text, cross)? + term(image, cross)?) / 3.0)
}

/// The matching head: pooled features → logits for "no match" and "match".
///
/// Reference: `BridgeTowerITMHead`.
pub(super) struct MatchingHead {
    fc: Linear,
}

impl MatchingHead {
    pub(super) fn new(cfg: &Config, vb: &VarBuilder) -> Result<Self> {
        Ok(Self {
            fc: linear(2 * cfg.hidden_size, 2, vb.pp("fc"))?,
        })
    }

    /// `[B, 2D]` → `[B, 2]`, f32.
    pub(super) fn forward(&self, pooled: &Tensor) -> Result<Tensor> {
        self.fc.forward(pooled)?.to_dtype(DType::F32)
    }
}

/// The masked-word head: final text states → vocabulary logits.
///
/// Reference: `BridgeTowerMLMHead`.
pub(super) struct MaskedWordHead {
    transform_dense: Linear,
    transform_layer_norm: Norm,
    decoder: Linear,
}

impl MaskedWordHead {
    /// `vb` is the checkpoint's root; `trunk` the model's, whose word embeddings may be the decoder.
    pub(super) fn new(cfg: &Config, vb: &VarBuilder, trunk: &VarBuilder) -> Result<Self> {
        let (d, vocab) = (cfg.hidden_size, cfg.text_config.vocab_size);
        let vb = vb.pp("mlm_score");
        let tied = cfg.tie_word_embeddings && !vb.contains_tensor("decoder.weight");
        let weight = if tied {
            trunk.get((vocab, d), "text_model.embeddings.word_embeddings.weight")?
        } else {
            vb.get((vocab, d), "decoder.weight")?
        };
        Ok(Self {
            transform_dense: linear(d, d, vb.pp("transform.dense"))?,
            transform_layer_norm: Norm::new(
                d,
                cfg.layer_norm_eps,
                &vb.pp("transform.LayerNorm"),
                Products::Plain,
            )?,
            decoder: Linear::new(weight, Some(vb.get(vocab, "bias")?)),
        })
    }

    /// `[B, L, D]` → `[B, L, V]`, f32.
    pub(super) fn forward(&self, text: &Tensor) -> Result<Tensor> {
        let hidden = self.transform_dense.forward(text)?.gelu_erf()?;
        let hidden = self.transform_layer_norm.forward(&hidden)?;
        self.decoder.forward(&hidden)?.to_dtype(DType::F32)
    }
}

/// `[B, L, D]` → `[B, D]`.
pub(super) fn first_token(states: &Tensor) -> Result<Tensor> {
    states.i((.., 0))?.contiguous()
}
