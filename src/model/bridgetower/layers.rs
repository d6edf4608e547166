//! The layers that both towers and the cross-modal encoder are made of.

use bt_kernels::{Activation, Format};
use candle_core::{D, Module, Result, Tensor};
use candle_nn::VarBuilder;

use super::config::TextConfig;
use crate::model::dense::{Dense, Norm, Products, attention};

/// BERT's attention block: attention to its own or to another sequence, then residual and LayerNorm.
///
/// Reference: `BridgeTowerAttention`,
/// <https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/bridgetower/modeling_bridgetower.py>
pub(super) struct AttentionBlock {
    query: Dense,
    key: Dense,
    value: Dense,
    output_dense: Dense,
    output_layer_norm: Norm,
    heads: usize,
    packed: Option<Format>,
}

impl AttentionBlock {
    pub(super) fn new(cfg: &TextConfig, vb: &VarBuilder, products: Products) -> Result<Self> {
        let d = cfg.hidden_size;
        Ok(Self {
            query: Dense::new(d, d, &vb.pp("self.query"), products)?,
            key: Dense::new(d, d, &vb.pp("self.key"), products)?,
            value: Dense::new(d, d, &vb.pp("self.value"), products)?,
            output_dense: Dense::new(d, d, &vb.pp("output.dense"), products)?,
            output_layer_norm: Norm::new(
                d,
                cfg.layer_norm_eps,
                &vb.pp("output.LayerNorm"),
                products,
            )?,
            heads: cfg.num_attention_heads,
            packed: products.format(),
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
        let [query, key, value] = if hidden.id() == context.id() {
            Dense::each([&self.query, &self.key, &self.value], hidden)?
        } else {
            let [key, value] = Dense::each([&self.key, &self.value], context)?;
            [self.query.forward(hidden)?, key, value]
        };
        let attended = attention(
            [&query, &key, &value],
            self.heads,
            context_mask,
            self.packed,
        )?;
        self.output_layer_norm
            .forward(&self.output_dense.onto(&attended, hidden)?)
    }
}

/// BERT's MLP block: dense, exact GELU, dense, then residual and LayerNorm.
pub(super) struct MlpBlock {
    intermediate_dense: Dense,
    output_dense: Dense,
    output_layer_norm: Norm,
}

impl MlpBlock {
    /// `vb` is the layer's, since the MLP's two halves are siblings there (`intermediate`, `output`).
    pub(super) fn new(cfg: &TextConfig, vb: &VarBuilder, products: Products) -> Result<Self> {
        let (d, m) = (cfg.hidden_size, cfg.intermediate_size);
        Ok(Self {
            intermediate_dense: Dense::new(d, m, &vb.pp("intermediate.dense"), products)?,
            output_dense: Dense::new(m, d, &vb.pp("output.dense"), products)?,
            output_layer_norm: Norm::new(
                d,
                cfg.layer_norm_eps,
                &vb.pp("output.LayerNorm"),
                products,
            )?,
        })
    }

    pub(super) fn forward(&self, hidden: &Tensor) -> Result<Tensor> {
        let inner = self
            .intermediate_dense
            .activated(hidden, Activation::Gelu)?;
        self.output_layer_norm
            .forward(&self.output_dense.onto(&inner, hidden)?)
    }
}

/// Scales the last dimension to Euclidean norm 1.
pub(super) fn normalize(x: &Tensor) -> Result<Tensor> {
    x.broadcast_div(&x.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?)
}

/// Which tokens' states are wanted.
#[derive(Clone, Copy)]
pub(super) enum Tokens {
    /// All.
    All,
    /// The first, which is all that embeddings and poolers read.
    First,
}

impl Tokens {
    /// Those tokens of `states`, `[B, L, D]` → `[B, L or 1, D]`.
    pub(super) fn of(self, states: &Tensor) -> Result<Tensor> {
        match self {
            Self::All => Ok(states.clone()),
            Self::First => states.narrow(1, 0, 1)?.contiguous(),
        }
    }
}
