//! Converts an upright picture to the model's pixels.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use image::RgbImage;
use serde::Deserialize;

use super::resize::{resize, resize_bytes};
use super::upright::Upright;
use crate::error::{Error, Result};

const FILE: &str = "preprocessor_config.json";

/// The treatment of colours and transparency, at the end of [`ImageProcessor::describe`]. An index that was built with
/// another one says something else there, or nothing.
pub const READING: &str = ", sRGB on white";

/// The defaults of transformers: per channel, the number to subtract from a value in 0..=1, and the divisor.
const CLIP_MEAN: [f32; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
const CLIP_STD: [f32; 3] = [0.268_629_54, 0.261_302_6, 0.275_777_1];

/// Scales, crops, pads and normalises pictures as `BridgeTowerImageProcessor` of transformers 4.x does.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageProcessor {
    shortest_edge: u32,
    /// Side of the model's pictures.
    side: u32,
    size_divisor: u32,
    mean: [f32; 3],
    std: [f32; 3],
    /// The normalised value of every byte, per channel.
    normalized: [[f32; 256]; 3],
}

/// A preprocessed picture, before normalisation: 8 bits hold it without loss.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pixels {
    /// Width and height, pixels.
    pub side: usize,
    /// `[3, side, side]`: channel, row, column.
    pub data: Vec<u8>,
}

impl ImageProcessor {
    /// Reads `preprocessor_config.json` of the checkpoint in `dir`, old or new style, for a model whose
    /// vision tower takes pictures of `image_side` × `image_side`.
    ///
    /// Fields that the file leaves out take the transformers default, except the sizes, which are then the model's; so
    /// the file may be missing.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if the file is malformed, contradicts `image_side`, or asks for something that
    /// no published checkpoint does.
    pub fn from_dir(dir: &Path, image_side: u32) -> Result<Self> {
        let path = dir.join(FILE);
        if !path.exists() {
            return Self::new(&Config::default(), image_side).map_err(malformed(&path));
        }
        let text = fs::read_to_string(&path).map_err(Error::io(&path))?;
        serde_json::from_str(&text)
            .map_err(|error| error.to_string())
            .and_then(|config| Self::new(&config, image_side))
            .map_err(malformed(&path))
    }

    /// Returns errors as text, since only the caller knows the file.
    fn new(config: &Config, side: u32) -> Result<Self, String> {
        config.refuse_unsupported()?;
        let shortest_edge = match config.size.or(config.image_size) {
            Some(size) => size.edge().ok_or("size has no shortest_edge")?,
            None => side,
        };
        let crop = match config.crop_size {
            Some(size) => size.edge().ok_or("crop_size is not square")?,
            None => shortest_edge,
        };
        if crop != side {
            return Err(format!(
                "pictures are cropped to {crop}, but the model takes {side}"
            ));
        }
        let size_divisor = config.size_divisor.unwrap_or(32);
        if shortest_edge == 0 || size_divisor == 0 {
            return Err("size and size_divisor must be positive".to_owned());
        }
        let mean = config.image_mean.unwrap_or(CLIP_MEAN);
        let std = config.image_std.unwrap_or(CLIP_STD);
        let normalized = std::array::from_fn(|channel| {
            std::array::from_fn(|byte| {
                let unit = (byte as f64 * (1.0 / 255.0)) as f32;
                (unit - mean[channel]) / std[channel]
            })
        });
        Ok(Self {
            shortest_edge,
            side,
            size_divisor,
            mean,
            std,
            normalized,
        })
    }

    /// Describes everything that decides a picture's pixels, in one line. An index stores it, since pictures
    /// preprocessed otherwise do not belong beside its own.
    pub fn describe(&self) -> String {
        let mut line = format!(
            "shortest_edge={} crop={} divisor={} resample=bicubic",
            self.shortest_edge, self.side, self.size_divisor
        );
        for (name, [r, g, b]) in [("mean", self.mean), ("std", self.std)] {
            write!(line, " {name}={r},{g},{b}").expect("a String takes any text");
        }
        line + READING
    }

    /// Scales `picture`, which must not be empty, and cuts out its centre, padded with black.
    pub fn preprocess(&self, picture: &RgbImage) -> Pixels {
        self.preprocess_turned(picture.into())
    }

    /// Does the same for a picture that is to be turned, with the same result bit for bit, and without a copy.
    pub(super) fn preprocess_turned(&self, picture: Upright) -> Pixels {
        let (width, height) = self.scaled_size(picture.width(), picture.height());
        self.center_crop(&resize(picture, width, height))
    }

    /// Returns the most memory that preprocessing a picture of this size holds beside it, bytes.
    pub(super) fn working_bytes(&self, width: u32, height: u32) -> u64 {
        let pixels = 3 * u64::from(self.side).pow(2);
        resize_bytes((width, height), self.scaled_size(width, height)) + pixels
    }

    /// Writes the model's input, `[3, side, side]`, into `out`, which has that length.
    pub fn normalize(&self, pixels: &Pixels, out: &mut [f32]) {
        let plane = pixels.side * pixels.side;
        let planes = out.chunks_mut(plane).zip(pixels.data.chunks(plane));
        for ((values, bytes), table) in planes.zip(&self.normalized) {
            for (value, byte) in values.iter_mut().zip(bytes) {
                *value = table[usize::from(*byte)];
            }
        }
    }

    /// Scales the short side to `shortest_edge`, unless the long one would then pass 1333/800 of it; floors both to
    /// multiples of `size_divisor`.
    ///
    /// The order of the floating-point steps is the reference's, since it decides how ties round. Sides beyond 15:1
    /// floor to nothing, where the reference fails; this keeps one `size_divisor`.
    fn scaled_size(&self, width: u32, height: u32) -> (u32, u32) {
        let short = f64::from(self.shortest_edge);
        let longest = (1333.0 / 800.0 * short).floor();
        let scale = short / f64::from(width.min(height));
        let (mut new_width, mut new_height) = if height < width {
            (scale * f64::from(width), short)
        } else {
            (short, scale * f64::from(height))
        };
        let long = new_width.max(new_height);
        if long > longest {
            let scale = longest / long;
            new_width *= scale;
            new_height *= scale;
        }
        let floor = |side: f64| {
            let rounded = (side + 0.5) as u32;
            (rounded / self.size_divisor).max(1) * self.size_divisor
        };
        (floor(new_width), floor(new_height))
    }

    fn center_crop(&self, picture: &RgbImage) -> Pixels {
        let side = self.side as usize;
        let rows = Overlap::of(picture.height() as usize, side);
        let columns = Overlap::of(picture.width() as usize, side);
        let mut data = vec![0; 3 * side * side];
        let (red, rest) = data.split_at_mut(side * side);
        let (green, blue) = rest.split_at_mut(side * side);
        let source = picture.rows().skip(rows.source).take(rows.length);
        for (y, row) in source.enumerate() {
            let start = (rows.target + y) * side + columns.target;
            for (x, pixel) in row.skip(columns.source).take(columns.length).enumerate() {
                [red[start + x], green[start + x], blue[start + x]] = pixel.0;
            }
        }
        Pixels { side, data }
    }
}

/// The overlap of a line of pixels and a centred window over it.
struct Overlap {
    /// First pixel of the line under the window.
    source: usize,
    /// First pixel of the window over the line.
    target: usize,
    length: usize,
}

impl Overlap {
    /// Computes the overlap. An odd difference leaves the extra pixel at the end when cropping, and at the start when
    /// padding.
    fn of(line: usize, window: usize) -> Self {
        Self {
            source: line.saturating_sub(window) / 2,
            target: window.saturating_sub(line).div_ceil(2),
            length: line.min(window),
        }
    }
}

/// `preprocessor_config.json`. The published files hold `size` (or `image_size`) as a bare number, or no size
/// at all, beside dozens of training options; `save_pretrained` writes today's names.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Config {
    size: Option<Size>,
    image_size: Option<Size>,
    crop_size: Option<Size>,
    size_divisor: Option<u32>,
    image_mean: Option<[f32; 3]>,
    image_std: Option<[f32; 3]>,
    resample: Option<u32>,
    rescale_factor: Option<f64>,
    do_resize: Option<bool>,
    do_center_crop: Option<bool>,
    do_rescale: Option<bool>,
    do_normalize: Option<bool>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(untagged)]
enum Size {
    Edge(u32),
    Shortest { shortest_edge: u32 },
    Sides { height: u32, width: u32 },
}

impl Size {
    /// Returns the number, if there is only one.
    fn edge(self) -> Option<u32> {
        match self {
            Self::Edge(edge)
            | Self::Shortest {
                shortest_edge: edge,
            } => Some(edge),
            Self::Sides { height, width } => (height == width).then_some(height),
        }
    }
}

impl Config {
    /// Refuses options that are not supported: no embedding is better than one from pixels that the model never saw.
    fn refuse_unsupported(&self) -> Result<(), String> {
        const BICUBIC: u32 = 3;
        let unsupported = [
            ("do_resize", self.do_resize == Some(false)),
            ("do_center_crop", self.do_center_crop == Some(false)),
            ("do_rescale", self.do_rescale == Some(false)),
            ("do_normalize", self.do_normalize == Some(false)),
            (
                "resample",
                self.resample.is_some_and(|filter| filter != BICUBIC),
            ),
            (
                "rescale_factor",
                self.rescale_factor
                    .is_some_and(|factor| (factor * 255.0 - 1.0).abs() > 1e-6),
            ),
        ];
        match unsupported.iter().find(|(_, refused)| *refused) {
            Some((name, _)) => Err(format!("this value of {name} is not supported")),
            None => Ok(()),
        }
    }
}

fn malformed(path: &Path) -> impl FnOnce(String) -> Error {
    |reason| Error::Checkpoint {
        path: path.to_owned(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::processor::{Encoded, shared};

    fn processor(json: &str, side: u32) -> Result<ImageProcessor> {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), json).unwrap();
        ImageProcessor::from_dir(dir.path(), side)
    }

    fn fixture(name: &str) -> RgbImage {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures/pixels")
            .join(name);
        Encoded::read(&path).unwrap().decode().unwrap().rgb
    }

    /// `[side, side, 3]` to `[3, side, side]`.
    fn planes(picture: &RgbImage) -> Vec<u8> {
        (0..3)
            .flat_map(|channel| picture.pixels().map(move |pixel| pixel[channel]))
            .collect()
    }

    #[test]
    fn pixels_equal_the_references_bit_for_bit() {
        let sizes = [
            "landscape",
            "portrait",
            "square",
            "odd",
            "upscaled",
            "tiny",
            "one-pixel",
            "wide",
            "extreme",
        ];
        let formats = ["alpha", "gray", "gray-alpha", "palette", "one-bit"];
        let cases = sizes.iter().flat_map(|name| [(name, 64), (name, 98)]);
        for (name, side) in cases.chain(formats.iter().map(|name| (name, 64))) {
            let processor = processor("{}", side).unwrap();
            let pixels = processor.preprocess(&fixture(&format!("{name}.png")));
            let expected = planes(&fixture(&format!("{name}.{side}.png")));
            assert!(pixels.data == expected, "{name} at side {side} differs");
        }
    }

    #[test]
    fn values_equal_the_references_for_a_photo() {
        let Some(folder) = shared("data/fixture") else {
            return;
        };
        let photo = Encoded::read(&folder.join("000000039769.png"))
            .unwrap()
            .decode()
            .unwrap();
        let processor = processor(r#"{"size": 294}"#, 294).unwrap();
        let mut values = vec![0.0; 3 * 294 * 294];
        processor.normalize(&processor.preprocess(&photo.rgb), &mut values);
        let npy = fs::read(folder.join("000000039769_large294_tf4.57.1_slow.npy")).unwrap();
        let data = &npy[npy.len() - values.len() * 4..];
        for (value, expected) in values.iter().zip(data.as_chunks().0) {
            assert!((value - f32::from_le_bytes(*expected)).abs() <= 1e-6);
        }
    }

    #[test]
    fn sizes_follow_the_guide() {
        let large = processor("{}", 294).unwrap();
        for (size, scaled) in [
            ((640, 480), (384, 288)),
            ((480, 640), (288, 384)),
            ((1, 1), (288, 288)),
            // 4:1 meets the cap of 489.
            ((4000, 1000), (480, 96)),
            // The reference fails here.
            ((4000, 3), (480, 32)),
            ((3, 4000), (32, 480)),
        ] {
            assert_eq!(large.scaled_size(size.0, size.1), scaled, "{size:?}");
        }
    }

    #[test]
    fn what_a_picture_lacks_is_black() {
        let large = processor("{}", 294).unwrap();
        let pixels = large.preprocess(&RgbImage::from_pixel(640, 480, image::Rgb([9, 9, 9])));
        let black = |row: usize| {
            pixels.data[row * 294..(row + 1) * 294]
                .iter()
                .all(|v| *v == 0)
        };
        let black_rows: Vec<usize> = (0..294).filter(|row| black(*row)).collect();
        assert_eq!(black_rows, [0, 1, 2, 291, 292, 293]);
    }

    #[test]
    fn old_and_new_files_say_the_same() {
        let old = processor(
            r#"{"size": 294, "max_text_len": 50, "tokenizer": "roberta-large"}"#,
            294,
        );
        let saved_today = r#"{"crop_size": {"shortest_edge": 294}, "do_center_crop": true,
            "do_normalize": true, "do_pad": true, "do_rescale": true, "do_resize": true,
            "image_mean": [0.48145466, 0.4578275, 0.40821073],
            "image_processor_type": "BridgeTowerImageProcessor",
            "image_std": [0.26862954, 0.26130258, 0.27577711], "resample": 3,
            "rescale_factor": 0.00392156862745098, "size": {"shortest_edge": 294}, "size_divisor": 32}"#;
        let old = old.unwrap();
        assert_eq!(old, processor(saved_today, 294).unwrap());
        let other_crop = saved_today.replacen(
            r#"{"shortest_edge": 294}"#,
            r#"{"height": 294, "width": 294}"#,
            1,
        );
        assert_eq!(old, processor(&other_crop, 294).unwrap());
        assert_eq!(
            old.describe(),
            "shortest_edge=294 crop=294 divisor=32 resample=bicubic \
             mean=0.48145467,0.4578275,0.40821072 std=0.26862955,0.2613026,0.2757771, sRGB on white"
        );
    }

    #[test]
    fn missing_file_and_missing_sizes_take_the_models_side() {
        let empty = tempfile::tempdir().unwrap();
        let absent = ImageProcessor::from_dir(empty.path(), 288).unwrap();
        for json in [
            "{}",
            r#"{"image_size": 288}"#,
            r#"{"size": null, "size_divisor": 32}"#,
        ] {
            assert_eq!(absent, processor(json, 288).unwrap(), "{json}");
        }
    }

    #[test]
    fn settings_that_the_model_cannot_use_are_refused() {
        for (json, named) in [
            (r#"{"size": 288}"#, "288"),
            (
                r#"{"size": 294, "crop_size": {"shortest_edge": 288}}"#,
                "288",
            ),
            (
                r#"{"size": {"height": 294, "width": 300}}"#,
                "shortest_edge",
            ),
            (r#"{"size_divisor": 0}"#, "size_divisor"),
            (r#"{"resample": 2}"#, "resample"),
            (r#"{"do_center_crop": false}"#, "do_center_crop"),
            (r#"{"rescale_factor": 1.0}"#, "rescale_factor"),
            (r#"{"size": "#, "EOF"),
        ] {
            let error = processor(json, 294).unwrap_err();
            assert!(matches!(error, Error::Checkpoint { .. }), "{json}");
            assert!(error.to_string().contains(named), "{json}: {error}");
        }
    }
}
