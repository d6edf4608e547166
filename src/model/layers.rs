//! The layers that both towers and the cross-modal encoder are made of.

use candle_core::{D, Module, Result, Tensor};
use candle_nn::{LayerNorm, Linear, VarBuilder, linear, ops::softmax_last_dim};

use super::config::TextConfig;

/// A LayerNorm whose weight and bias must both be in the checkpoint.
pub(super) fn layer_norm(size: usize, eps: f64, vb: &VarBuilder) -> Result<LayerNorm> {
    Ok(LayerNorm::new(
        vb.get(size, "weight")?,
        vb.get(size, "bias")?,
        eps,
    ))
}

/// Scaled dot-product attention over `heads` heads.
///
/// `query` is `[B, Lq, D]`, `key` and `value` are `[B, Lk, D]`; `mask`, `[B, 1, 1, Lk]`, is added to the
/// scores: 0 where a key may be seen, a large negative number where not. Either side may have a batch of
/// one that stands for every member of the other's.
pub(super) fn attention(
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    heads: usize,
    mask: Option<&Tensor>,
) -> Result<Tensor> {
    let (_, l, d) = query.dims3()?;
    let b = query.dim(0)?.max(key.dim(0)?);
    let split_heads = |x: &Tensor| -> Result<Tensor> {
        let (own, l, d) = x.dims3()?;
        x.reshape((own, l, heads, d / heads))?
            .transpose(1, 2)?
            .broadcast_as((b, heads, l, d / heads))?
            .contiguous() // [B, H, L, D/H]
    };
    let scale = ((d / heads) as f64).powf(-0.5);
    let query = split_heads(&(query * scale)?)?;
    let scores = query.matmul(&split_heads(key)?.transpose(2, 3)?)?; // [B, H, Lq, Lk]
    let scores = match mask {
        Some(mask) => scores.broadcast_add(mask)?,
        None => scores,
    };
    softmax_last_dim(&scores)?
        .matmul(&split_heads(value)?)?
        .transpose(1, 2)? // [B, Lq, H, D/H]
        .reshape((b, l, d))
}

/// BERT's attention block: attention to its own or to another sequence, then residual and LayerNorm.
///
/// Reference: `BridgeTowerAttention`,
/// <https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/bridgetower/modeling_bridgetower.py>
pub(super) struct AttentionBlock {
    query: Linear,
    key: Linear,
    value: Linear,
    output_dense: Linear,
    output_layer_norm: LayerNorm,
    heads: usize,
}

impl AttentionBlock {
    pub(super) fn new(cfg: &TextConfig, vb: &VarBuilder) -> Result<Self> {
        let d = cfg.hidden_size;
        Ok(Self {
            query: linear(d, d, vb.pp("self.query"))?,
            key: linear(d, d, vb.pp("self.key"))?,
            value: linear(d, d, vb.pp("self.value"))?,
            output_dense: linear(d, d, vb.pp("output.dense"))?,
            output_layer_norm: layer_norm(d, cfg.layer_norm_eps, &vb.pp("output.LayerNorm"))?,
            heads: cfg.num_attention_heads,
        })
    }

    /// `hidden`, `[B, L, D]`, attends to `context`, `[B, Lc, D]` (itself, for self-attention); either may
    /// have a batch of one, as in [`attention`].
    pub(super) fn forward(
        &self,
        hidden: &Tensor,
        context: &Tensor,
        context_mask: Option<&Tensor>,
    ) -> Result<Tensor> {
        let attended = attention(
            &self.query.forward(hidden)?,
            &self.key.forward(context)?,
            &self.value.forward(context)?,
            self.heads,
            context_mask,
        )?;
        self.output_layer_norm.forward(
            &self
                .output_dense
                .forward(&attended)?
                .broadcast_add(hidden)?,
        )
    }
}

/// BERT's MLP block: dense, exact GELU, dense, then residual and LayerNorm.
pub(super) struct MlpBlock {
    intermediate_dense: Linear,
    output_dense: Linear,
    output_layer_norm: LayerNorm,
}

impl MlpBlock {
    /// `vb` is the layer's, since the MLP's two halves are siblings there (`intermediate`, `output`).
    pub(super) fn new(cfg: &TextConfig, vb: &VarBuilder) -> Result<Self> {
        let (d, m) = (cfg.hidden_size, cfg.intermediate_size);
        Ok(Self {
            intermediate_dense: linear(d, m, vb.pp("intermediate.dense"))?,
            output_dense: linear(m, d, vb.pp("output.dense"))?,
            output_layer_norm: layer_norm(d, cfg.layer_norm_eps, &vb.pp("output.LayerNorm"))?,
        })
    }

    pub(super) fn forward(&self, hidden: &Tensor) -> Result<Tensor> {
        let inner = self.intermediate_dense.forward(hidden)?.gelu_erf()?;
        self.output_layer_norm
            .forward(&(self.output_dense.forward(&inner)? + hidden)?)
    }
}

/// `x · sigmoid(1.702 x)`, CLIP's GELU.
pub(super) fn quick_gelu(x: &Tensor) -> Result<Tensor> {
    x * candle_nn::ops::sigmoid(&(x * 1.702)?)?
}

/// Scales the last dimension to Euclidean norm 1.
pub(super) fn normalize(x: &Tensor) -> Result<Tensor> {
    x.broadcast_div(&x.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?)
}
