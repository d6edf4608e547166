//! Turns a decoder's samples into a picture of 8-bit sRGB on white.
//!
//! It works row by row, so that a picture of 16 bits, with transparency or in four inks is never held whole in that
//! form.

use image::RgbImage;

use super::color::{Colors, Inks};
use super::sample::{Sample, ToSrgb};
use crate::error::{Error, Result};

/// Bytes of a pixel of the picture.
pub const RGB: usize = 3;

/// Pixels converted at once, few enough for their data to stay in the processor's caches.
const BLOCK: usize = 1024;

/// The relation of a pixel's last number, its opacity, to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alpha {
    /// There is none.
    Opaque,
    /// The colours are those of an opaque pixel.
    Straight,
    /// The colours have been multiplied by the opacity. That is undone, and only empty pixels become white: in such
    /// files, from renderers and scanners, partial opacity is a mask rather than a see-through picture. Pillow reads
    /// them in the same way.
    Premultiplied,
}

/// Paints pixels of one kind.
pub struct Painter<S: Sample> {
    inks: Inks,
    alpha: Alpha,
    to_srgb: Option<ToSrgb<S>>,
    /// A block's colours without opacity.
    plain: Vec<S>,
    /// The same in sRGB.
    srgb: Vec<S>,
}

impl<S: Sample> Painter<S> {
    /// Makes a painter for pixels of `inks`, with opacity as in `alpha`, whose values mean `colors`.
    pub fn new(inks: Inks, alpha: Alpha, colors: &Colors) -> Self {
        Self {
            inks,
            alpha,
            to_srgb: colors.to_srgb(inks),
            plain: vec![S::default(); inks.count() * BLOCK],
            srgb: vec![S::default(); RGB * BLOCK],
        }
    }

    /// Returns the count of a pixel's numbers.
    pub fn channels(&self) -> usize {
        self.inks.count() + usize::from(self.alpha != Alpha::Opaque)
    }

    /// Paints the pixels of `samples` into `rgb`, which holds as many.
    pub fn paint(&mut self, samples: &[S], rgb: &mut [u8]) {
        let blocks = samples.chunks(self.channels() * BLOCK);
        for (samples, rgb) in blocks.zip(rgb.chunks_mut(RGB * BLOCK)) {
            self.paint_block(samples, rgb);
        }
    }

    fn paint_block(&mut self, samples: &[S], rgb: &mut [u8]) {
        let channels = self.channels();
        let pixels = samples.len() / channels;
        let colors = if self.alpha == Alpha::Opaque {
            samples
        } else {
            let plain = &mut self.plain[..self.inks.count() * pixels];
            take_alpha_away(samples, channels, self.alpha, plain);
            plain
        };
        let srgb = &mut self.srgb[..RGB * pixels];
        let converted = match &self.to_srgb {
            Some(to_srgb) => to_srgb.transform(colors, srgb).is_ok(),
            None => false,
        };
        if converted {
            for (byte, sample) in rgb.iter_mut().zip(srgb) {
                *byte = sample.to_byte();
            }
        } else {
            take_for_srgb(self.inks, colors, rgb);
        }
        if self.alpha != Alpha::Opaque {
            lay_on_white(samples, channels, self.alpha, rgb);
        }
    }
}

impl Painter<u8> {
    /// Paints a whole picture, in place if there is room.
    pub fn paint_all(&mut self, width: u32, height: u32, mut samples: Vec<u8>) -> Result<RgbImage> {
        let channels = self.channels();
        if channels < RGB {
            let mut rgb = canvas(width, height)?;
            rgb.resize(samples.len() / channels * RGB, 0);
            self.paint(&samples, &mut rgb);
            return picture(width, height, rgb);
        }
        if channels > RGB || self.to_srgb.is_some() {
            let mut block = Vec::with_capacity(channels * BLOCK);
            let pixels = samples.len() / channels;
            for first in (0..pixels).step_by(BLOCK) {
                let last = (first + BLOCK).min(pixels);
                block.clear();
                block.extend_from_slice(&samples[first * channels..last * channels]);
                self.paint_block(&block, &mut samples[first * RGB..last * RGB]);
            }
            samples.truncate(pixels * RGB);
        }
        picture(width, height, samples)
    }
}

/// Allocates a picture. If the system has no memory, only this photo fails, not the program.
pub fn canvas(width: u32, height: u32) -> Result<Vec<u8>> {
    let mut rgb = Vec::new();
    let bytes = RGB * width as usize * height as usize;
    match rgb.try_reserve_exact(bytes) {
        Ok(()) => Ok(rgb),
        Err(_) => Err(Error::Photo {
            reason: format!(
                "not enough memory for a picture of {width}x{height}: {} MB",
                bytes.div_ceil(1_000_000)
            ),
        }),
    }
}

/// Returns the picture that `rgb` holds.
pub fn picture(width: u32, height: u32, rgb: Vec<u8>) -> Result<RgbImage> {
    RgbImage::from_raw(width, height, rgb).ok_or_else(|| Error::Photo {
        reason: "the picture is truncated".to_owned(),
    })
}

/// Writes the colours that `samples` would have if everything were opaque.
fn take_alpha_away<S: Sample>(samples: &[S], channels: usize, alpha: Alpha, plain: &mut [S]) {
    let colors = plain.chunks_exact_mut(channels - 1);
    for (color, pixel) in colors.zip(samples.chunks_exact(channels)) {
        color.copy_from_slice(&pixel[..channels - 1]);
        let opacity = pixel[channels - 1].value();
        if alpha == Alpha::Premultiplied && opacity != 0 {
            for value in color {
                let whole = (value.value() * S::MAX + opacity / 2) / opacity;
                *value = S::new(whole.min(S::MAX));
            }
        }
    }
}

/// Treats numbers as sRGB. Inks are ideal: each removes its share of a colour, black of all. Pillow and most viewers do
/// the same if a file has no profile.
fn take_for_srgb<S: Sample>(inks: Inks, colors: &[S], rgb: &mut [u8]) {
    match inks {
        Inks::Rgb => {
            for (byte, sample) in rgb.iter_mut().zip(colors) {
                *byte = sample.to_byte();
            }
        }
        Inks::Gray => {
            for (pixel, gray) in rgb.chunks_exact_mut(RGB).zip(colors) {
                pixel.fill(gray.to_byte());
            }
        }
        Inks::Cmyk => {
            for (pixel, inks) in rgb.chunks_exact_mut(RGB).zip(colors.chunks_exact(4)) {
                let light = 255 - u32::from(inks[3].to_byte());
                for (byte, ink) in pixel.iter_mut().zip(inks) {
                    *byte = share(255 - u32::from(ink.to_byte()), light) as u8;
                }
            }
        }
    }
}

/// Blends as viewers do: in sRGB values, not in light.
fn lay_on_white<S: Sample>(samples: &[S], channels: usize, alpha: Alpha, rgb: &mut [u8]) {
    let pixels = rgb.chunks_exact_mut(RGB);
    for (pixel, sample) in pixels.zip(samples.chunks_exact(channels)) {
        let opacity = match (alpha, u32::from(sample[channels - 1].to_byte())) {
            (Alpha::Premultiplied, 1..) | (_, 255) => continue,
            (_, opacity) => opacity,
        };
        for byte in pixel {
            *byte = 255 - share(255 - u32::from(*byte), opacity) as u8;
        }
    }
}

/// Returns `part` of `value`, both in 255ths.
fn share(value: u32, part: u32) -> u32 {
    (value * part + 127) / 255
}
