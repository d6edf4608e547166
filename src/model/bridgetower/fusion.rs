//! From the towers to the cross-modal states: transforms, link towers, cross-modal layers.

use candle_core::{Module, Result, Tensor};
use candle_nn::VarBuilder;

use super::config::{Config, LinkTowerType, TextConfig};
use super::layers::{AttentionBlock, MlpBlock, Tokens};
use crate::model::dense::{Dense, Norm, Products};

/// One modality's side of the bridge: its top tower states brought to the cross-modal width.
///
/// The text side is the same for every photo and the image side for every text, so both can be kept.
pub(super) struct Bridge {
    /// `ln_post` of the image tower; the text tower has none.
    post: Option<Norm>,
    /// One for all layers, or one each.
    transforms: Vec<Dense>,
    /// This modality's row of `token_type_embeddings`, `[D]`.
    token_type: Tensor,
}

impl Bridge {
    /// The text side: segment 0, states as they leave the tower.
    pub(super) fn text(cfg: &Config, vb: &VarBuilder, products: Products) -> Result<Self> {
        Ok(Self {
            post: None,
            transforms: transforms(
                cfg,
                cfg.text_config.hidden_size,
                &vb.pp("cross_modal_text_transform"),
                products,
            )?,
            token_type: token_type(cfg, 0, vb)?,
        })
    }

    /// The image side: segment 1, `ln_post` on every state that leaves the tower.
    pub(super) fn image(cfg: &Config, vb: &VarBuilder, products: Products) -> Result<Self> {
        let vision = &cfg.vision_config;
        Ok(Self {
            post: Some(Norm::new(
                vision.hidden_size,
                vision.layer_norm_eps,
                &vb.pp("vision_model.visual.ln_post"),
                products,
            )?),
            transforms: transforms(
                cfg,
                vision.hidden_size,
                &vb.pp("cross_modal_image_transform"),
                products,
            )?,
            token_type: token_type(cfg, 1, vb)?,
        })
    }

    /// The tower's state after its `layer`-th bridged layer, `[B, L, W]` → `[B, L, D]`.
    pub(super) fn forward(&self, layer: usize, state: &Tensor) -> Result<Tensor> {
        let transform = self.transforms.get(layer).unwrap_or(&self.transforms[0]);
        let transformed = match &self.post {
            Some(post) => transform.forward(&post.forward(state)?)?,
            None => transform.forward(state)?,
        };
        transformed.broadcast_add(&self.token_type)
    }
}

fn transforms(
    cfg: &Config,
    width: usize,
    vb: &VarBuilder,
    products: Products,
) -> Result<Vec<Dense>> {
    if cfg.share_cross_modal_transformer_layers {
        return Ok(vec![Dense::new(width, cfg.hidden_size, vb, products)?]);
    }
    (0..cfg.num_hidden_layers)
        .map(|i| Dense::new(width, cfg.hidden_size, &vb.pp(i), products))
        .collect()
}

fn token_type(cfg: &Config, row: usize, vb: &VarBuilder) -> Result<Tensor> {
    vb.get((2, cfg.hidden_size), "token_type_embeddings.weight")?
        .get(row)
}

/// The cross-modal encoder over both bridged towers.
///
/// Reference: `BridgeTowerModel.forward`,
/// <https://github.com/huggingface/transformers/blob/v4.57.1/src/transformers/models/bridgetower/modeling_bridgetower.py>
pub(super) struct CrossModalEncoder {
    text: Stream,
    image: Stream,
}

impl CrossModalEncoder {
    pub(super) fn new(cfg: &Config, vb: &VarBuilder, products: Products) -> Result<Self> {
        Ok(Self {
            text: Stream::new(cfg, "text", vb, products)?,
            image: Stream::new(cfg, "image", vb, products)?,
        })
    }

    /// Bridged states, bottom up, `[B, L, D]` and `[B, N, D]`; the text's mask is `[B, 1, 1, L]`. One side
    /// may have a batch of one for all of the other's: what it computes before it meets the other stream is
    /// then computed once.
    ///
    /// Returns the final states of both streams, text first: of all tokens, or of the first one only.
    pub(super) fn forward(
        &self,
        text: &[Tensor],
        text_mask: &Tensor,
        image: &[Tensor],
        tokens: Tokens,
    ) -> Result<(Tensor, Tensor)> {
        let mut text_state = self.text.layernorm.forward(&text[0])?;
        let mut image_state = self.image.layernorm.forward(&image[0])?;
        let last = self.text.layers.len() - 1;
        for i in 0..=last {
            if i > 0 {
                text_state = self.text.link_towers[i - 1].forward(&text[i], &text_state)?;
                image_state = self.image.link_towers[i - 1].forward(&image[i], &image_state)?;
            }
            // Of the last layer nothing reads the tokens that are not asked for.
            let asked = if i == last { tokens } else { Tokens::All };
            let text = Side {
                state: &text_state,
                mask: Some(text_mask),
            };
            let image = Side {
                state: &image_state,
                mask: None,
            };
            // Both layers read the same pair: neither sees the other's fresh output.
            let text_next = self.text.layers[i].forward(&asked.of(text.state)?, text, image)?;
            let image_next = self.image.layers[i].forward(&asked.of(image.state)?, image, text)?;
            (text_state, image_state) = (text_next, image_next);
        }
        Ok((text_state, image_state))
    }
}

/// One stream as a cross-modal layer reads it: `[B, L, D]`, and the mask of its tokens.
#[derive(Clone, Copy)]
struct Side<'a> {
    state: &'a Tensor,
    mask: Option<&'a Tensor>,
}

/// The parts of the cross-modal encoder that belong to one modality.
struct Stream {
    layernorm: Norm,
    link_towers: Vec<LinkTower>,
    layers: Vec<CrossLayer>,
}

impl Stream {
    /// `modality` is `text` or `image`, as in the tensor names.
    fn new(cfg: &Config, modality: &str, vb: &VarBuilder, products: Products) -> Result<Self> {
        let part = |name: &str| vb.pp(format!("cross_modal_{modality}_{name}"));
        let link_tower = |i| LinkTower::new(cfg, &part("link_tower").pp(i), products);
        let layer = |i| CrossLayer::new(&cfg.text_config, &part("layers").pp(i), products);
        Ok(Self {
            layernorm: Norm::new(
                cfg.hidden_size,
                cfg.layer_norm_eps,
                &part("layernorm"),
                products,
            )?,
            link_towers: (0..cfg.num_hidden_layers - 1)
                .map(link_tower)
                .collect::<Result<_>>()?,
            layers: (0..cfg.num_hidden_layers)
                .map(layer)
                .collect::<Result<_>>()?,
        })
    }
}

/// Joins a tower's state with the cross-modal state below (paper, section 3.3).
struct LinkTower {
    join: Join,
    layer_norm: Norm,
}

enum Join {
    Add,
    ScaledAdd { scaled_factor: Tensor },
    Interpolate { beta: Tensor },
}

impl LinkTower {
    fn new(cfg: &Config, vb: &VarBuilder, products: Products) -> Result<Self> {
        let join = match cfg.link_tower_type {
            LinkTowerType::Add => Join::Add,
            LinkTowerType::ScaledAdd => Join::ScaledAdd {
                scaled_factor: vb.get((), "scaled_factor")?,
            },
            LinkTowerType::Interpolate => Join::Interpolate {
                beta: vb.get((), "beta")?,
            },
        };
        Ok(Self {
            join,
            layer_norm: Norm::new(
                cfg.hidden_size,
                cfg.layer_norm_eps,
                &vb.pp("LayerNorm"),
                products,
            )?,
        })
    }

    fn forward(&self, tower: &Tensor, cross: &Tensor) -> Result<Tensor> {
        let joined = match &self.join {
            Join::Add => tower.broadcast_add(cross)?,
            Join::ScaledAdd { scaled_factor } => {
                tower.broadcast_mul(scaled_factor)?.broadcast_add(cross)?
            }
            Join::Interpolate { beta } => tower
                .broadcast_mul(&beta.affine(-1.0, 1.0)?)?
                .broadcast_add(&cross.broadcast_mul(beta)?)?,
        };
        self.layer_norm.forward(&joined)
    }
}

/// Self-attention, then attention to the other stream, then the MLP; each with post-LayerNorm.
struct CrossLayer {
    attention: AttentionBlock,
    crossattention: AttentionBlock,
    mlp: MlpBlock,
}

impl CrossLayer {
    fn new(cfg: &TextConfig, vb: &VarBuilder, products: Products) -> Result<Self> {
        Ok(Self {
            attention: AttentionBlock::new(cfg, &vb.pp("attention"), products)?,
            crossattention: AttentionBlock::new(cfg, &vb.pp("crossattention"), products)?,
            mlp: MlpBlock::new(cfg, vb, products)?,
        })
    }

    /// The next states of `asked`, which are some or all tokens of `own`.
    fn forward(&self, asked: &Tensor, own: Side, other: Side) -> Result<Tensor> {
        let hidden = self.attention.forward(asked, own.state, own.mask)?;
        let hidden = self
            .crossattention
            .forward(&hidden, other.state, other.mask)?;
        self.mlp.forward(&hidden)
    }
}
