//! The image tower: CLIP's vision transformer.

use bt_kernels::{Activation, Format};
use candle_core::{IndexOp, Module, Result, Tensor};
use candle_nn::VarBuilder;

use super::config::VisionConfig;
use super::layers::Tokens;
use crate::model::dense::{Dense, Norm, Products, attention};

/// Reference: `BridgeTowerVisionTransformer`,
/// <https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/bridgetower/modeling_bridgetower.py>
pub(super) struct VisionTower {
    embeddings: VisionEmbeddings,
    ln_pre: Norm,
    resblocks: Vec<ResidualAttention>,
}

impl VisionTower {
    pub(super) fn new(cfg: &VisionConfig, vb: &VarBuilder, products: Products) -> Result<Self> {
        let block =
            |i| ResidualAttention::new(cfg, &vb.pp("transformer.resblocks").pp(i), products);
        Ok(Self {
            embeddings: VisionEmbeddings::new(cfg, &vb.pp("embeddings"), products)?,
            ln_pre: Norm::new(
                cfg.hidden_size,
                cfg.layer_norm_eps,
                &vb.pp("ln_pre"),
                products,
            )?,
            resblocks: (0..cfg.num_hidden_layers)
                .map(block)
                .collect::<Result<_>>()?,
        })
    }

    /// The state after the first `layers` layers (0 = after `ln_pre`), `[B, N, W]`, of pixels `[B, 3, S, S]`.
    pub(super) fn below(&self, pixels: &Tensor, layers: usize) -> Result<Tensor> {
        let mut hidden = self.ln_pre.forward(&self.embeddings.forward(pixels)?)?;
        for block in &self.resblocks[..layers] {
            hidden = block.forward(&hidden, Tokens::All)?;
        }
        Ok(hidden)
    }

    /// From the state after the first `layers` layers: that one and all above it, each `[B, N, W]`, before `ln_post`;
    /// of the last perhaps only the first token, `[B, 1, W]`.
    pub(super) fn above(
        &self,
        hidden: &Tensor,
        layers: usize,
        last: Tokens,
    ) -> Result<Vec<Tensor>> {
        let top = self.resblocks.len() - 1;
        let mut states = vec![hidden.clone()];
        for (i, block) in self.resblocks.iter().enumerate().skip(layers) {
            let tokens = if i == top { last } else { Tokens::All };
            states.push(block.forward(&states[states.len() - 1], tokens)?);
        }
        Ok(states)
    }
}

struct VisionEmbeddings {
    class_embedding: Tensor,    // [W]
    patch_embedding: Dense,     // C·P·P → W
    position_embedding: Tensor, // [N, W]
    patch_size: usize,
}

impl VisionEmbeddings {
    fn new(cfg: &VisionConfig, vb: &VarBuilder, products: Products) -> Result<Self> {
        let (w, c, p) = (cfg.hidden_size, cfg.num_channels, cfg.patch_size);
        // A convolution whose stride is its kernel is a matrix product over flattened patches.
        let name = vb.pp("patch_embedding").prefix();
        let kernel = || -> Result<_> {
            let kernel = vb.get((w, c, p, p), "patch_embedding.weight")?;
            Ok((kernel.reshape((w, c * p * p))?, None))
        };
        Ok(Self {
            class_embedding: vb.get(w, "class_embedding")?,
            patch_embedding: Dense::named(&name, [c * p * p, w], products, kernel)?,
            position_embedding: vb.get((cfg.num_tokens(), w), "position_embedding.weight")?,
            patch_size: p,
        })
    }

    fn forward(&self, pixels: &Tensor) -> Result<Tensor> {
        let (b, c, s, _) = pixels.dims4()?;
        let (p, grid) = (self.patch_size, s / self.patch_size);
        let patches = pixels
            .reshape(&[b, c, grid, p, grid, p])?
            .permute([0, 2, 4, 1, 3, 5].as_slice())?
            .reshape((b, grid * grid, c * p * p))?;
        let patches = self.patch_embedding.forward(&patches)?; // [B, N−1, W]
        let class = self
            .class_embedding
            .expand((b, 1, self.class_embedding.dim(0)?))?;
        Tensor::cat(&[&class, &patches], 1)?.broadcast_add(&self.position_embedding)
    }
}

/// Pre-LayerNorm transformer block with CLIP's fused projections.
struct ResidualAttention {
    ln_1: Norm,
    /// Query, key and value: the three thirds of `attn.in_proj_{weight,bias}`.
    in_proj: [Dense; 3],
    out_proj: Dense,
    ln_2: Norm,
    c_fc: Dense,
    c_proj: Dense,
    heads: usize,
    packed: Option<Format>,
}

impl ResidualAttention {
    fn new(cfg: &VisionConfig, vb: &VarBuilder, products: Products) -> Result<Self> {
        let w = cfg.hidden_size;
        let third = |i: usize| -> Result<Dense> {
            let name = vb.pp("attn.in_proj").pp(i).prefix();
            Dense::named(&name, [w, w], products, || {
                let rows = i * w..(i + 1) * w;
                let weight = vb.get((3 * w, w), "attn.in_proj_weight")?;
                let bias = vb.get(3 * w, "attn.in_proj_bias")?;
                Ok((weight.i(rows.clone())?, Some(bias.i(rows)?)))
            })
        };
        Ok(Self {
            ln_1: Norm::new(w, cfg.layer_norm_eps, &vb.pp("ln_1"), products)?,
            in_proj: [third(0)?, third(1)?, third(2)?],
            out_proj: Dense::new(w, w, &vb.pp("attn.out_proj"), products)?,
            ln_2: Norm::new(w, cfg.layer_norm_eps, &vb.pp("ln_2"), products)?,
            c_fc: Dense::new(w, 4 * w, &vb.pp("mlp.c_fc"), products)?,
            c_proj: Dense::new(4 * w, w, &vb.pp("mlp.c_proj"), products)?,
            heads: w / 64,
            packed: products.format(),
        })
    }

    /// `hidden`, `[B, N, W]`, after this block: of all tokens, `[B, N, W]`, or of the first, `[B, 1, W]`.
    fn forward(&self, hidden: &Tensor, tokens: Tokens) -> Result<Tensor> {
        let normed = self.ln_1.forward(hidden)?;
        let [query, key, value] = &self.in_proj;
        let [query, key, value] = match tokens {
            Tokens::All => Dense::each([query, key, value], &normed)?,
            Tokens::First => {
                let [key, value] = Dense::each([key, value], &normed)?;
                [query.forward(&tokens.of(&normed)?)?, key, value]
            }
        };
        let attended = attention([&query, &key, &value], self.heads, None, self.packed)?;
        let hidden = self.out_proj.onto(&attended, &tokens.of(hidden)?)?;
        let normed = self.ln_2.forward(&hidden)?;
        let inner = self.c_fc.activated(&normed, Activation::QuickGelu)?;
        self.c_proj.onto(&inner, &hidden)
    }
}
