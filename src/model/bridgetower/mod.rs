//! BridgeTower on candle, in stages that run and can be kept apart.
//!
//! ```text
//! token ids ─ text tower ──► TextStates ──┬─ bridge_text ──► Bridged ─┐
//!                                         └─ text_embeds (ITC)        ├─ fuse ──► Fused ─► itm_logits
//! pixels ──── image tower ─► ImageStates ─┬─ bridge_image ─► Bridged ─┘                  ├► mlm_logits
//!                                         └─ image_embeds (ITC)                          └► cross_embeds
//! ```
//!
//! The towers and the bridge of one modality never read the other one, so in a search the text side is
//! computed once for all photos, and the image side is the same for every query. Each stage's weights are
//! read when it first runs.
//!
//! Paper: <https://arxiv.org/abs/2206.08657>. Reference: the `BridgeTower` classes of `transformers`.

mod config;
mod fingerprint;
mod fusion;
mod heads;
mod layers;
mod text;
mod vision;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use bt_kernels::Format;
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;

pub use config::{Config, LinkTowerType, TextConfig, VisionConfig};
pub use text::TextBatch;

use crate::error::{Error, Result};
use crate::model::dense::Products;
use crate::model::packed_weights::{self, PackedWeights};
use crate::model::weights::{self, Weights};
use crate::model::weights_id::weights_id;
use fusion::{Bridge, CrossModalEncoder};
use heads::{ContrastiveHead, MaskedWordHead, MatchingHead, Poolers, first_token};
use layers::Tokens;
use text::TextTower;
use vision::VisionTower;

const TEXT_TOWER: &str = "text-tower";
/// Bytes of packed weights for which a file is worth its place: smaller parts are packed in the blink of an eye.
const WORTH_A_FILE: usize = 32 << 20;

/// A BridgeTower checkpoint on a device.
///
/// In the shapes below B is the batch, L the text's length, N the image's (class token and patches), D the
/// cross-modal width, E the embedding's and V the vocabulary's size.
pub struct BridgeTower {
    dir: PathBuf,
    config: Config,
    weights: Weights,
    /// The checkpoint's names: `itm_score.fc` and so on.
    root: VarBuilder<'static>,
    /// The model's own: `root` at `bridgetower.`, or `root` itself where only the model was saved.
    trunk: VarBuilder<'static>,
    /// The format and files of packed weights, where weights are packed.
    packing: Option<Packing>,
    weights_id: OnceLock<String>,
    /// The index and the cache both ask for it.
    fingerprint: OnceLock<String>,
    text_tower: OnceLock<TextTower>,
    vision_tower: OnceLock<VisionTower>,
    text_bridge: OnceLock<Bridge>,
    image_bridge: OnceLock<Bridge>,
    encoder: OnceLock<(CrossModalEncoder, Poolers)>,
    itc_text_head: OnceLock<ContrastiveHead>,
    itc_image_head: OnceLock<ContrastiveHead>,
    itc_cross_modal_head: OnceLock<ContrastiveHead>,
    itm_score: OnceLock<MatchingHead>,
    mlm_score: OnceLock<MaskedWordHead>,
}

/// The packing of weights.
struct Packing {
    format: Format,
    /// Whether files of them are what this model is for, not only a help.
    prepares: bool,
}

/// The text tower's states that the bridge reads, bottom up, each `[B, L, D]`.
pub struct TextStates {
    /// One for each cross-modal layer.
    pub layers: Vec<Tensor>,
    mask: Tensor,
}

/// The image tower's states that the bridge reads, bottom up, each `[B, N, W]`, before `ln_post`.
pub struct ImageStates {
    /// One for each cross-modal layer.
    pub layers: Vec<Tensor>,
}

/// One modality as the cross-modal layers read it: bottom up, each `[B, L or N, D]`.
pub struct Bridged {
    /// One for each cross-modal layer.
    pub layers: Vec<Tensor>,
    mask: Option<Tensor>,
}

impl Bridged {
    /// The image side, of states that [`BridgeTower::bridge_image`] computed.
    pub fn of_image(layers: Vec<Tensor>) -> Self {
        Self { layers, mask: None }
    }

    /// The members of the batch at `rows`, in that order.
    pub fn select(&self, rows: &[u32]) -> Result<Self> {
        let rows = Tensor::new(rows, self.layers[0].device())?;
        let select = |x: &Tensor| x.index_select(&rows, 0);
        let layers = self.layers.iter().map(select);
        Ok(Self {
            layers: layers.collect::<candle_core::Result<_>>()?,
            mask: self.mask.as_ref().map(select).transpose()?,
        })
    }
}

/// The cross-modal layers' output for texts and photos.
pub struct Fused {
    /// Final text states, `[B, L, D]`.
    pub text: Tensor,
    /// Final image states, `[B, N, D]`.
    pub image: Tensor,
    /// First tokens of both after their poolers, text first, `[B, 2D]`.
    pub pooled: Tensor,
}

impl BridgeTower {
    /// Opens the checkpoint in `dir`; [`locate`](crate::model::locate) finds it. Weights are read when a stage first runs.
    pub fn load(dir: &Path, device: &Device, dtype: DType) -> Result<Self> {
        if !dir.join("config.json").is_file() {
            return Err(Error::NoModel {
                model: dir.display().to_string(),
                reason: "the folder holds no config.json".into(),
            });
        }
        let config = Config::read(&dir.join("config.json"))?;
        let weights = Weights::open(dir)?;
        let root = weights.var_builder(dtype, device);
        let prefixed = weights
            .shapes()
            .keys()
            .any(|name| name.starts_with("bridgetower."));
        Ok(Self {
            dir: dir.into(),
            config,
            trunk: if prefixed {
                root.pp("bridgetower")
            } else {
                root.clone()
            },
            root,
            weights,
            packing: None,
            weights_id: OnceLock::new(),
            fingerprint: OnceLock::new(),
            text_tower: OnceLock::new(),
            vision_tower: OnceLock::new(),
            text_bridge: OnceLock::new(),
            image_bridge: OnceLock::new(),
            encoder: OnceLock::new(),
            itc_text_head: OnceLock::new(),
            itc_image_head: OnceLock::new(),
            itc_cross_modal_head: OnceLock::new(),
            itm_score: OnceLock::new(),
            mlm_score: OnceLock::new(),
        })
    }

    /// The same checkpoint with its large weights in `format`, which a CPU that has the instructions computes with on
    /// f32 states. Instead of int8 the text tower takes the next better format: a query goes through it once.
    ///
    /// What takes long to pack is kept in the user's cache folder, for the next process to map.
    ///
    /// # Panics
    ///
    /// Later, where [`Format::is_supported`] is false or the states are not f32 on the CPU.
    #[must_use]
    pub fn with_weights_in(mut self, format: Format) -> Self {
        let prepares = false;
        self.packing = Some(Packing { format, prepares });
        self
    }

    /// Packs all weights into the files that later processes map, as far as they are not there and undamaged.
    ///
    /// Returns the folder and how many bytes its files take, or `None` where weights are not packed.
    pub fn prepare(mut self) -> Result<Option<(PathBuf, u64)>> {
        match &mut self.packing {
            Some(packing) => packing.prepares = true,
            None => return Ok(None),
        }
        // One after the other, so that only one lies in memory.
        self.text_tower()?;
        self.text_tower.take();
        self.vision_tower()?;
        self.vision_tower.take();
        self.text_bridge()?;
        self.image_bridge()?;
        self.encoder()?;
        self.packed_weights()?.on_disk().map(Some)
    }

    /// The model's shape.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The checkpoint's folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The device it computes on.
    pub fn device(&self) -> &Device {
        self.root.device()
    }

    /// The name of the number format: that of packed weights, else that of the states.
    pub fn number_format(&self) -> &'static str {
        match &self.packing {
            None => self.dtype().as_str(),
            Some(packing) => packed_weights::format_name(packing.format),
        }
    }

    /// The number format of its states.
    pub fn dtype(&self) -> DType {
        self.root.dtype()
    }

    /// Identifies the weights that decide embeddings, whatever file layout holds them; 64 hex digits.
    pub fn fingerprint(&self) -> Result<String> {
        self.require_itc()?;
        self.image_side_fingerprint()
    }

    /// Identifies the weights that decide the image side of a match; 64 hex digits.
    pub fn image_side_fingerprint(&self) -> Result<String> {
        let fingerprint = self.part(&self.fingerprint, || {
            fingerprint::fingerprint(&self.config, &self.weights, &self.trunk.prefix())
        })?;
        Ok(fingerprint.clone())
    }

    /// Whether the checkpoint has the contrastive (ITC) heads.
    pub fn has_itc(&self) -> bool {
        self.require_itc().is_ok()
    }

    /// Whether the checkpoint has the matching (ITM) head.
    pub fn has_itm(&self) -> bool {
        self.require_itm().is_ok()
    }

    /// Whether the checkpoint has the masked-word (MLM) head.
    pub fn has_mlm(&self) -> bool {
        self.require_mlm().is_ok()
    }

    /// The embeddings' width, E.
    pub fn embed_dim(&self) -> Result<usize> {
        self.require_itc()?;
        let shape = self.weights.shapes().get("itc_image_head.fc.weight");
        Ok(shape.and_then(|shape| shape.first()).copied().unwrap_or(0))
    }

    // --- towers ---

    /// Pads texts, as token ids, into one batch on the model's device.
    pub fn text_batch(&self, texts: &[Vec<u32>]) -> Result<TextBatch> {
        Ok(TextBatch::new(
            texts,
            &self.config,
            self.dtype(),
            self.device(),
        )?)
    }

    /// The text tower.
    pub fn text_states(&self, batch: &TextBatch) -> Result<TextStates> {
        Ok(TextStates {
            layers: self.text_tower()?.forward(batch, self.config.split())?,
            mask: batch.mask.clone(),
        })
    }

    /// The image tower, on normalised pixels `[B, 3, S, S]`, f32.
    pub fn image_states(&self, pixels: &Tensor) -> Result<ImageStates> {
        self.image_states_above(&self.image_split(pixels)?)
    }

    /// The image tower up to where the bridge begins: the lowest of [`Self::image_states`], `[B, N, W]`.
    pub fn image_split(&self, pixels: &Tensor) -> Result<Tensor> {
        let pixels = self.to_states(pixels)?;
        Ok(self.vision_tower()?.below(&pixels, self.config.split())?)
    }

    /// The rest of the image tower, from [`Self::image_split`] on.
    pub fn image_states_above(&self, split: &Tensor) -> Result<ImageStates> {
        let split = self.to_states(split)?;
        let tower = self.vision_tower()?;
        Ok(ImageStates {
            layers: tower.above(&split, self.config.split(), Tokens::All)?,
        })
    }

    /// [`Self::image_embeds`] of [`Self::image_states`], for less work: of the tower's last layer the embedding reads
    /// one token.
    pub fn embed_pixels(&self, pixels: &Tensor) -> Result<Tensor> {
        self.embed_split(&self.image_split(pixels)?)
    }

    /// The rest of [`Self::embed_pixels`], from [`Self::image_split`] on.
    pub fn embed_split(&self, split: &Tensor) -> Result<Tensor> {
        let split = self.to_states(split)?;
        let tower = self.vision_tower()?;
        self.image_embeds(&ImageStates {
            layers: tower.above(&split, self.config.split(), Tokens::First)?,
        })
    }

    /// The same on the model's device, in the number format of its states.
    fn to_states(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.to_device(self.device())?.to_dtype(self.dtype())?)
    }

    // --- contrastive embeddings ---

    /// ITC embeddings of texts: unit vectors `[B, E]`, f32.
    pub fn text_embeds(&self, states: &TextStates) -> Result<Tensor> {
        let head = self.contrastive_head(&self.itc_text_head, "itc_text_head", 1)?;
        Ok(head.forward(&first_token(last(&states.layers))?)?)
    }

    /// ITC embeddings of photos: unit vectors `[B, E]`, f32.
    pub fn image_embeds(&self, states: &ImageStates) -> Result<Tensor> {
        let head = self.contrastive_head(&self.itc_image_head, "itc_image_head", 1)?;
        let first = last(&states.layers).narrow(1, 0, 1)?.contiguous()?; // [B, 1, W]
        let top = self.config.num_hidden_layers - 1;
        let bridged = self.image_bridge()?.forward(top, &first)?;
        Ok(head.forward(&first_token(&bridged)?)?)
    }

    /// ITC embeddings of pairs: unit vectors `[B, E]`, f32.
    pub fn cross_embeds(&self, fused: &Fused) -> Result<Tensor> {
        let head = self.contrastive_head(&self.itc_cross_modal_head, "itc_cross_modal_head", 2)?;
        Ok(head.forward(&fused.pooled)?)
    }

    /// The contrastive loss of B texts, photos and pairs, the i-th of each belonging together.
    pub fn contrastive_loss(&self, text: &Tensor, image: &Tensor, cross: &Tensor) -> Result<f32> {
        self.require_itc()?;
        let logit_scale = self
            .weights
            .values("logit_scale")
            .map_err(weights::checkpoint(&self.dir))?;
        Ok(heads::contrastive_loss(
            text,
            image,
            cross,
            f64::from(logit_scale[0]),
        )?)
    }

    // --- the two modalities together ---

    /// The text side of the cross-modal layers.
    pub fn bridge_text(&self, states: &TextStates) -> Result<Bridged> {
        Ok(Bridged {
            layers: bridge_all(self.text_bridge()?, &states.layers)?,
            mask: Some(states.mask.clone()),
        })
    }

    /// The image side of the cross-modal layers.
    pub fn bridge_image(&self, states: &ImageStates) -> Result<Bridged> {
        Ok(Bridged {
            layers: bridge_all(self.image_bridge()?, &states.layers)?,
            mask: None,
        })
    }

    /// The cross-modal layers over B texts and B photos, over one text and B photos, or over B texts and
    /// one photo.
    pub fn fuse(&self, text: &Bridged, image: &Bridged) -> Result<Fused> {
        self.fuse_tokens(text, image, Tokens::All)
    }

    fn fuse_tokens(&self, text: &Bridged, image: &Bridged, tokens: Tokens) -> Result<Fused> {
        let Some(mask) = &text.mask else {
            return Err(Error::Input {
                reason: "fuse takes a bridged text first, then bridged images".into(),
            });
        };
        let (encoder, poolers) = self.encoder()?;
        let (text, image) = encoder.forward(&text.layers, mask, &image.layers, tokens)?;
        let pooled = poolers.forward(&text, &image)?;
        Ok(Fused {
            text,
            image,
            pooled,
        })
    }

    /// ITM logits for "no match" and "match", `[B, 2]`, f32.
    pub fn itm_logits(&self, fused: &Fused) -> Result<Tensor> {
        self.require_itm()?;
        let head = self.part(&self.itm_score, || {
            MatchingHead::new(&self.config, &self.root.pp("itm_score"))
        })?;
        Ok(head.forward(&fused.pooled)?)
    }

    /// [`Self::itm_logits`] of what [`Self::fuse`] returns, for less work: of the last cross-modal layer the
    /// poolers read one token of each stream.
    pub fn match_logits(&self, text: &Bridged, image: &Bridged) -> Result<Tensor> {
        self.itm_logits(&self.fuse_tokens(text, image, Tokens::First)?)
    }

    /// MLM logits of every text position, `[B, L, V]`, f32.
    pub fn mlm_logits(&self, fused: &Fused) -> Result<Tensor> {
        self.require_mlm()?;
        let head = self.part(&self.mlm_score, || {
            MaskedWordHead::new(&self.config, &self.root, &self.trunk)
        })?;
        Ok(head.forward(&fused.text)?)
    }

    // --- parts ---

    fn text_tower(&self) -> Result<&TextTower> {
        let (config, vb) = (&self.config.text_config, self.trunk.pp("text_model"));
        self.packed_part(&self.text_tower, TEXT_TOWER, |products| {
            TextTower::new(config, &self.weights, &vb, products)
        })
    }

    fn vision_tower(&self) -> Result<&VisionTower> {
        let (config, vb) = (
            &self.config.vision_config,
            self.trunk.pp("vision_model.visual"),
        );
        self.packed_part(&self.vision_tower, "image-tower", |products| {
            VisionTower::new(config, &vb, products)
        })
    }

    fn text_bridge(&self) -> Result<&Bridge> {
        self.packed_part(&self.text_bridge, "text-bridge", |products| {
            Bridge::text(&self.config, &self.trunk, products)
        })
    }

    fn image_bridge(&self) -> Result<&Bridge> {
        self.packed_part(&self.image_bridge, "image-bridge", |products| {
            Bridge::image(&self.config, &self.trunk, products)
        })
    }

    fn encoder(&self) -> Result<&(CrossModalEncoder, Poolers)> {
        self.packed_part(&self.encoder, "cross-modal", |products| {
            let encoder = CrossModalEncoder::new(&self.config, &self.trunk, products)?;
            Ok((encoder, Poolers::new(&self.config, &self.trunk)?))
        })
    }

    /// A contrastive head over `streams` cross-modal widths.
    fn contrastive_head<'a>(
        &self,
        cell: &'a OnceLock<ContrastiveHead>,
        name: &str,
        streams: usize,
    ) -> Result<&'a ContrastiveHead> {
        self.require_itc()?;
        self.part(cell, || {
            ContrastiveHead::new(streams * self.config.hidden_size, &self.root.pp(name))
        })
    }

    fn require_itc(&self) -> Result<()> {
        self.require("contrastive (ITC)", "itc_image_head.fc.weight")
    }

    fn require_itm(&self) -> Result<()> {
        self.require("matching (ITM)", "itm_score.fc.weight")
    }

    fn require_mlm(&self) -> Result<()> {
        self.require("masked-word (MLM)", "mlm_score.transform.dense.weight")
    }

    fn require(&self, head: &'static str, tensor: &str) -> Result<()> {
        if self.root.contains_tensor(tensor) {
            return Ok(());
        }
        Err(Error::MissingHead {
            path: self.dir.clone(),
            head,
            tensor: tensor.into(),
        })
    }

    /// As [`Self::part`], with packed weights if this model has such: those in the part's file, or packed now.
    fn packed_part<'a, T>(
        &self,
        cell: &'a OnceLock<T>,
        name: &'static str,
        read: impl FnOnce(Products) -> candle_core::Result<T>,
    ) -> Result<&'a T> {
        let Some(packing) = &self.packing else {
            return self.part(cell, || read(Products::Plain));
        };
        if let Some(part) = cell.get() {
            return Ok(part);
        }
        let format = match packing.format {
            Format::Int8 if name == TEXT_TOWER && Format::Bf16.is_supported() => Format::Bf16,
            Format::Int8 if name == TEXT_TOWER => Format::F32,
            format => format,
        };
        let mut file = self.packed_weights()?.part(name, format);
        if packing.prepares {
            file = file.discard_damaged();
        }
        let part = self.part(cell, || read(Products::Packed(&file)))?;
        if packing.prepares {
            file.save(0)?;
        } else {
            // Where it cannot be written, the next process packs again.
            let _ = file.save(WORTH_A_FILE);
        }
        Ok(part)
    }

    fn packed_weights(&self) -> Result<PackedWeights> {
        let id = self.part(&self.weights_id, || weights_id(&self.weights))?;
        Ok(PackedWeights::new(&self.dir, id))
    }

    /// A part of the model, read from the checkpoint when first asked for. Two threads that ask at once
    /// may both read it; one copy is kept.
    fn part<'a, T>(
        &self,
        cell: &'a OnceLock<T>,
        read: impl FnOnce() -> candle_core::Result<T>,
    ) -> Result<&'a T> {
        if let Some(part) = cell.get() {
            return Ok(part);
        }
        let part = read().map_err(weights::checkpoint(&self.dir))?;
        Ok(cell.get_or_init(|| part))
    }
}

/// Every tower returns the state after its last layer, so there is always one.
fn last(layers: &[Tensor]) -> &Tensor {
    layers
        .last()
        .expect("a tower returns at least its last state")
}

fn bridge_all(bridge: &Bridge, layers: &[Tensor]) -> candle_core::Result<Vec<Tensor>> {
    layers
        .iter()
        .enumerate()
        .map(|(i, state)| bridge.forward(i, state))
        .collect()
}
