//! A loaded model with its processor: what turns words and photos into embeddings and scores.
//!
//! ```
//! use bridgetower::Engine;
//! use bridgetower::engine::EngineOptions;
//!
//! # fn main() -> bridgetower::Result<()> {
//! # let model = "tests/fixtures/checkpoints/tiny-random";
//! # let photo = "tests/fixtures/pixels/exif.jpg";
//! let engine = Engine::load(model, &EngineOptions::default(), &mut |_, _, _| {})?;
//! let words = engine.processor().text().encode("a cat by a window")?;
//! let (pixels, _) = engine.processor().read_photo(photo.as_ref())?;
//! let score = engine.score_pair(&words, &pixels)?;
//! println!("they match with a probability of {:.2}", score.logits.match_probability());
//! # Ok(())
//! # }
//! ```

mod answers;
mod calibration;
mod image_side;

use std::path::{Path, PathBuf};

use candle_core::{D, DType, Tensor};
use candle_nn::ops::softmax;

use crate::embedding::Embedding;
use crate::error::{Error, Result};
use crate::identity::ModelIdentity;
use crate::model::{BridgeTower, Bridged, DownloadProgress, ImageStates, TextStates, locate};
use crate::processor::{Pixels, Processor, TokenIds};
use answers::likeliest;

pub use crate::device::{DeviceChoice, Precision};
pub use answers::{Contrast, Filled, FilledMask, ItmLogits, PairScore};
pub use bt_kernels::keep_freed_memory;
pub use calibration::Calibration;
pub use image_side::CacheLevel;
pub(crate) use image_side::ImageSide;

/// Options for loading a model; the defaults work on every machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct EngineOptions {
    /// The device to compute on.
    pub device: DeviceChoice,
    /// Number format of weights and activations.
    pub precision: Precision,
    /// Never touch the network.
    pub offline: bool,
}

/// A BridgeTower checkpoint ready for use. Share one between threads.
pub struct Engine {
    name: String,
    model: BridgeTower,
    processor: Processor,
    min_score: Option<f32>,
}

impl Engine {
    /// Loads `model`: a folder, a hub id, or [`DEMO`](crate::model::DEMO); `progress` hears of downloads.
    pub fn load(model: &str, options: &EngineOptions, progress: DownloadProgress) -> Result<Self> {
        let dir = locate(model, options.offline, progress)?;
        let device = options.device.open()?;
        let numbers = options.precision.on(&device)?;
        let mut bridgetower = BridgeTower::load(&dir, &device, numbers.states)?;
        if let Some(format) = numbers.packed {
            bridgetower = bridgetower.with_weights_in(format);
        }
        let config = bridgetower.config();
        let processor = Processor::from_dir(
            &dir,
            config.vision_config.image_size as u32,
            config.max_text_tokens(),
        )?;
        // A folder's name must mean the same from every working directory: indexes remember it.
        let name = if dir == Path::new(model) {
            let absolute = std::path::absolute(model).map_err(Error::io(model))?;
            absolute.display().to_string()
        } else {
            model.to_owned()
        };
        Ok(Self {
            name,
            model: bridgetower,
            processor,
            min_score: Calibration::read(&dir)?.map(|calibration| calibration.min_score),
        })
    }

    /// Loads the model that an index was built with; [`Error::ModelMoved`] if that is a folder that is gone.
    pub fn load_indexed(
        identity: &ModelIdentity,
        options: &EngineOptions,
        progress: DownloadProgress,
    ) -> Result<Self> {
        // Only an index calls a folder by its whole path.
        let place = Path::new(&identity.name);
        if place.is_absolute() && !place.is_dir() {
            return Err(Error::ModelMoved {
                model: identity.name.clone(),
            });
        }
        Self::load(&identity.name, options, progress)
    }

    /// Packs all weights of this engine's model, in its number format, into the files that later processes map, and
    /// packs those again that are damaged there. Without that each stage does it when it first runs, if it is large.
    ///
    /// Returns the folder and how many bytes its files take; `None` on accelerators, and on CPUs for which
    /// weights are not packed.
    pub fn prepare(self) -> Result<Option<(PathBuf, u64)>> {
        self.model.prepare()
    }

    /// The folder (absolute) or hub id it was loaded from.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The match probability below which the checkpoint's own calibration calls a photo no match, if it has one:
    /// see [`Calibration`].
    pub fn min_score(&self) -> Option<f32> {
        self.min_score
    }

    /// The model's stages, for what this type does not offer.
    pub fn model(&self) -> &BridgeTower {
        &self.model
    }

    /// The tokenizer and the image preprocessing.
    pub fn processor(&self) -> &Processor {
        &self.processor
    }

    /// The identity that an index must share with this engine.
    pub fn identity(&self) -> Result<ModelIdentity> {
        Ok(ModelIdentity {
            name: self.name.clone(),
            fingerprint: self.model.fingerprint()?,
            preprocessing: self.processor.image().describe(),
            dim: self.model.embed_dim()?,
        })
    }

    /// The number of photos to compute at once. A CPU is no faster with more, and holds more memory; an
    /// accelerator needs them to be busy.
    pub fn batch_size(&self) -> usize {
        if self.model.device().is_cpu() { 2 } else { 32 }
    }

    /// ITC embeddings of texts, in one batch.
    pub fn embed_texts(&self, texts: &[TokenIds]) -> Result<Vec<Embedding>> {
        self.embed_text_states(&self.text_states(texts)?)
    }

    /// ITC embeddings of the texts that went through the text tower.
    pub(crate) fn embed_text_states(&self, states: &TextStates) -> Result<Vec<Embedding>> {
        embeddings(&self.model.text_embeds(states)?)
    }

    /// ITC embeddings of photos, in one batch.
    pub fn embed_photos(&self, photos: &[Pixels]) -> Result<Vec<Embedding>> {
        embeddings(&self.model.embed_pixels(&self.pixel_values(photos)?)?)
    }

    /// The text side of matches, computed once for any number of photos.
    pub(crate) fn bridge_texts(&self, texts: &[TokenIds]) -> Result<Bridged> {
        self.model.bridge_text(&self.text_states(texts)?)
    }

    /// The image side of a match, computed once for any number of texts.
    pub(crate) fn bridge_photos(&self, photos: &[Pixels]) -> Result<Bridged> {
        self.model.bridge_image(&self.image_states(photos)?)
    }

    /// ITC embeddings of photos (none, if the checkpoint has no such head) and the image side of their matches, from
    /// one run of the image tower.
    pub(crate) fn embed_and_bridge(&self, photos: &[Pixels]) -> Result<(Vec<Embedding>, Bridged)> {
        let states = self.image_states(photos)?;
        let embedded = if self.model.has_itc() {
            embeddings(&self.model.image_embeds(&states)?)?
        } else {
            Vec::new()
        };
        Ok((embedded, self.model.bridge_image(&states)?))
    }

    /// [`Self::embed_photos`] and [`Self::image_sides`] from one run of the image tower.
    pub(crate) fn embed_with_image_sides(
        &self,
        level: CacheLevel,
        photos: &[Pixels],
    ) -> Result<(Vec<Embedding>, Vec<ImageSide>)> {
        match level {
            CacheLevel::None | CacheLevel::Pixels => {
                Ok((self.embed_photos(photos)?, self.image_sides(level, photos)?))
            }
            CacheLevel::Split => {
                let split = self.model.image_split(&self.pixel_values(photos)?)?;
                let embedded = embeddings(&self.model.embed_split(&split)?)?;
                Ok((embedded, kept(&[split])?))
            }
            CacheLevel::Full => {
                let (embedded, bridged) = self.embed_and_bridge(photos)?;
                Ok((embedded, kept(&bridged.layers)?))
            }
        }
    }

    /// The image side of matches as far as `level` keeps it, for each photo; rounded as it would be kept.
    pub(crate) fn image_sides(
        &self,
        level: CacheLevel,
        photos: &[Pixels],
    ) -> Result<Vec<ImageSide>> {
        match level {
            CacheLevel::None | CacheLevel::Pixels => {
                Ok(photos.iter().cloned().map(ImageSide::Pixels).collect())
            }
            CacheLevel::Split => kept(&[self.model.image_split(&self.pixel_values(photos)?)?]),
            CacheLevel::Full => kept(&self.bridge_photos(photos)?.layers),
        }
    }

    /// The image side of matches from what [`Self::image_sides`] computed at `level`.
    pub(crate) fn bridge_image_sides(
        &self,
        level: CacheLevel,
        kept: &[ImageSide],
    ) -> Result<Bridged> {
        let (mut pixels, mut states) = (Vec::new(), Vec::new());
        for kept in kept {
            match kept {
                ImageSide::Pixels(photo) => pixels.push(photo.clone()),
                ImageSide::States(photo) => states.push(photo),
            }
        }
        let together = |i: usize| -> Result<Tensor> {
            let photos: Vec<&Tensor> = states.iter().map(|photo| &photo[i]).collect();
            Ok(Tensor::cat(&photos, 0)?.to_dtype(self.model.dtype())?)
        };
        match level {
            CacheLevel::None | CacheLevel::Pixels => self.bridge_photos(&pixels),
            CacheLevel::Split => {
                let states = self.model.image_states_above(&together(0)?)?;
                self.model.bridge_image(&states)
            }
            CacheLevel::Full => {
                let layers = (0..self.model.config().num_hidden_layers).map(together);
                Ok(Bridged::of_image(layers.collect::<Result<_>>()?))
            }
        }
    }

    /// ITM logits of one text with each photo of a batch, or of one photo with each text. All are numbers.
    pub(crate) fn match_bridged(
        &self,
        texts: &Bridged,
        photos: &Bridged,
    ) -> Result<Vec<ItmLogits>> {
        let logits = self.raw_match(texts, photos)?;
        if logits.iter().all(|logits| logits.are_finite()) {
            Ok(logits)
        } else {
            Err(self.no_number("a match"))
        }
    }

    /// [`Self::match_bridged`], numbers or not: for who can leave one out.
    pub(crate) fn raw_match(&self, texts: &Bridged, photos: &Bridged) -> Result<Vec<ItmLogits>> {
        let logits = self.model.match_logits(texts, photos)?;
        let logits = logits.to_vec2::<f32>()?;
        Ok(logits
            .into_iter()
            .map(|row| ItmLogits {
                no: row[0],
                yes: row[1],
            })
            .collect())
    }

    /// ITM logits of one text with each of `photos`, in one batch.
    pub fn match_photos(&self, text: &TokenIds, photos: &[Pixels]) -> Result<Vec<ItmLogits>> {
        let text = self.bridge_texts(std::slice::from_ref(text))?;
        self.match_bridged(&text, &self.bridge_photos(photos)?)
    }

    /// ITM logits of one photo with each of `texts`, in one batch.
    pub fn match_texts(&self, texts: &[TokenIds], photo: &Pixels) -> Result<Vec<ItmLogits>> {
        let photo = self.bridge_photos(std::slice::from_ref(photo))?;
        self.match_bridged(&self.bridge_texts(texts)?, &photo)
    }

    /// Scores one text and one photo with every head that the checkpoint has for it.
    pub fn score_pair(&self, text: &TokenIds, photo: &Pixels) -> Result<PairScore> {
        let text = self.text_states(std::slice::from_ref(text))?;
        let photo = self.image_states(std::slice::from_ref(photo))?;
        let bridged_text = self.model.bridge_text(&text)?;
        let logits = self.match_bridged(&bridged_text, &self.model.bridge_image(&photo)?)?[0];
        let similarity = if self.model.has_itc() {
            let text = self.embed_text_states(&text)?;
            let photo = embeddings(&self.model.image_embeds(&photo)?)?;
            Some(text[0].cosine(&photo[0]))
        } else {
            None
        };
        Ok(PairScore { logits, similarity })
    }

    /// Fills the `<mask>`s of `text` from what `photo` shows; `top` candidates for each.
    pub fn fill(&self, text: &TokenIds, photo: &Pixels, top: usize) -> Result<Filled> {
        self.fill_bridged(text, &self.bridge_photos(std::slice::from_ref(photo))?, top)
    }

    /// [`Self::fill`] from the image side of a photo.
    pub(crate) fn fill_bridged(
        &self,
        text: &TokenIds,
        photo: &Bridged,
        top: usize,
    ) -> Result<Filled> {
        let bridged_text = self.bridge_texts(std::slice::from_ref(text))?;
        let fused = self.model.fuse(&bridged_text, photo)?;
        let logits = self.model.mlm_logits(&fused)?.get(0)?; // [L, V]
        let token_ids: Vec<u32> = logits.argmax(D::Minus1)?.to_vec1()?;
        let words = self.processor.text();
        let mask_positions = text
            .ids
            .iter()
            .enumerate()
            .filter(|(_, id)| Some(**id) == words.mask_id());
        let masks = mask_positions
            .map(|(position, _)| {
                let probabilities: Vec<f32> = softmax(&logits.get(position)?, 0)?.to_vec1()?;
                if !probabilities.iter().all(|p| p.is_finite()) {
                    return Err(self.no_number("a masked word"));
                }
                Ok(FilledMask {
                    position,
                    candidates: likeliest(&probabilities, top)
                        .map(|(id, p)| Ok((words.decode(&[id])?, p)))
                        .collect::<Result<_>>()?,
                })
            })
            .collect::<Result<_>>()?;
        Ok(Filled {
            text: words.decode(&token_ids)?,
            token_ids,
            masks,
        })
    }

    /// The contrastive loss of `texts` and `photos`, the i-th of each belonging together.
    pub fn contrast(&self, texts: &[TokenIds], photos: &[Pixels]) -> Result<Contrast> {
        if texts.is_empty() || texts.len() != photos.len() {
            return Err(Error::Input {
                reason: format!(
                    "the contrastive loss needs as many texts as photos, not {} and {}",
                    texts.len(),
                    photos.len()
                ),
            });
        }
        let text_states = self.text_states(texts)?;
        let image_states = self.image_states(photos)?;
        let fused = self.model.fuse(
            &self.model.bridge_text(&text_states)?,
            &self.model.bridge_image(&image_states)?,
        )?;
        let text = self.model.text_embeds(&text_states)?;
        let image = self.model.image_embeds(&image_states)?;
        let cross = self.model.cross_embeds(&fused)?;
        let loss = self.model.contrastive_loss(&text, &image, &cross)?;
        if !loss.is_finite() {
            return Err(self.no_number("the contrastive loss"));
        }
        Ok(Contrast {
            loss,
            text_embeds: embeddings(&text)?,
            image_embeds: embeddings(&image)?,
            cross_embeds: embeddings(&cross)?,
        })
    }

    fn no_number(&self, what: &str) -> Error {
        Error::NoNumber {
            what: format!("{what} by {}", self.name),
        }
    }

    /// The text tower, whose states serve both embeddings and matches.
    pub(crate) fn text_states(&self, texts: &[TokenIds]) -> Result<TextStates> {
        let ids: Vec<Vec<u32>> = texts.iter().map(|text| text.ids.clone()).collect();
        self.model.text_states(&self.model.text_batch(&ids)?)
    }

    fn image_states(&self, photos: &[Pixels]) -> Result<ImageStates> {
        self.model.image_states(&self.pixel_values(photos)?)
    }

    /// Normalised pixels, `[B, 3, S, S]`, f32.
    fn pixel_values(&self, photos: &[Pixels]) -> Result<Tensor> {
        let side = self.model.config().vision_config.image_size;
        let mut values = vec![0f32; photos.len() * 3 * side * side];
        for (photo, out) in photos.iter().zip(values.chunks_mut(3 * side * side)) {
            self.processor.image().normalize(photo, out);
        }
        let shape = (photos.len(), 3, side, side);
        Ok(Tensor::from_vec(values, shape, self.model.device())?)
    }
}

/// The states of each photo of a batch, each `[B, N, W]`, rounded.
fn kept(states: &[Tensor]) -> Result<Vec<ImageSide>> {
    let rounded: Vec<Tensor> = states
        .iter()
        .map(|state| state.to_dtype(DType::BF16))
        .collect::<candle_core::Result<_>>()?;
    let of_photo = |i: usize| rounded.iter().map(move |state| state.narrow(0, i, 1));
    (0..rounded[0].dim(0)?)
        .map(|i| {
            Ok(ImageSide::States(
                of_photo(i).collect::<candle_core::Result<_>>()?,
            ))
        })
        .collect()
}

/// The rows of `[B, E]`.
fn embeddings(rows: &Tensor) -> Result<Vec<Embedding>> {
    rows.to_dtype(DType::F32)?
        .to_vec2::<f32>()?
        .into_iter()
        .map(Embedding::new)
        .collect()
}
