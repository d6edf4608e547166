//! Converts stored samples to pixels that can be painted.

use super::directory::tag;
use super::page::{Meaning, Page};
use crate::error::{Error, Result};
use crate::processor::color::{Inks, encoded};
use crate::processor::paint::Alpha;
use crate::processor::sample::Sample;

/// Makes pixels from one picture's samples.
pub struct Pixels<S> {
    meaning: Meaning,
    /// Samples of a pixel as stored.
    samples: usize,
    alpha: Option<(Alpha, usize)>,
    palette: Vec<[S; 3]>,
    /// Shares of red, green and blue in a YCbCr's brightness.
    luma: [f32; 3],
    row: Vec<S>,
}

impl<S: Sample> Pixels<S> {
    pub fn new(page: &Page) -> Result<Self> {
        let palette = match page.meaning {
            Meaning::Palette => palette(page)?,
            _ => Vec::new(),
        };
        Ok(Self {
            meaning: page.meaning,
            samples: page.samples,
            alpha: page.alpha,
            palette,
            luma: luma(page),
            row: Vec::new(),
        })
    }

    /// Returns the inks to paint the pixels with.
    pub fn inks(&self) -> Inks {
        self.meaning.inks()
    }

    /// Returns the relation of their opacity to their colours.
    pub fn alpha(&self) -> Alpha {
        self.alpha.map_or(Alpha::Opaque, |(alpha, _)| alpha)
    }

    /// Returns the pixels of a row of samples.
    pub fn gather<'a>(&'a mut self, samples: &'a [S]) -> &'a [S] {
        let colors = self.meaning.samples();
        let is_alpha_last = self.alpha.is_none_or(|(_, at)| at == colors);
        let is_as_stored = matches!(
            self.meaning,
            Meaning::BlackIsZero | Meaning::Rgb | Meaning::Cmyk
        ) && self.samples == colors + usize::from(self.alpha.is_some())
            && is_alpha_last;
        if is_as_stored {
            return samples;
        }
        self.row.clear();
        for pixel in samples.chunks_exact(self.samples) {
            match self.meaning {
                Meaning::BlackIsZero | Meaning::Rgb | Meaning::Cmyk => {
                    self.row.extend_from_slice(&pixel[..colors]);
                }
                Meaning::WhiteIsZero => self.row.push(S::new(S::MAX - pixel[0].value())),
                Meaning::Palette => {
                    let entry = self.palette.get(pixel[0].value() as usize);
                    self.row.extend(entry.unwrap_or(&[S::default(); 3]));
                }
                Meaning::YCbCr => self.row.extend(rgb_of_ycbcr(pixel, self.luma)),
                Meaning::Lab { is_shifted } => self.row.extend(rgb_of_lab(pixel, is_shifted)),
            }
            if let Some((_, at)) = self.alpha {
                self.row.push(pixel[at]);
            }
        }
        &self.row
    }
}

/// Reads the palette: all reds, then all greens, then all blues, of 16 bits; some programs write 8 bits there.
fn palette<S: Sample>(page: &Page) -> Result<Vec<[S; 3]>> {
    let map = page.directory.numbers(tag::COLOR_MAP);
    let colors = 1 << page.bits;
    if map.len() != 3 * colors {
        return Err(Error::Photo {
            reason: "the TIFF's palette is incomplete".to_owned(),
        });
    }
    let full = if map.iter().all(|value| *value < 256) {
        255
    } else {
        65535
    };
    let value = |at: usize| {
        let value = map[at].min(full) * u64::from(S::MAX) + full / 2;
        S::new((value / full) as u32)
    };
    let entry = |index| {
        [
            value(index),
            value(colors + index),
            value(2 * colors + index),
        ]
    };
    Ok((0..colors).map(entry).collect())
}

fn luma(page: &Page) -> [f32; 3] {
    const REC_601: [f32; 3] = [0.299, 0.587, 0.114];
    let stored = page.directory.fractions(tag::YCBCR_COEFFICIENTS);
    let stored: Vec<f32> = stored.into_iter().map(|part| part as f32).collect();
    match *stored {
        [r, g, b] if g > 0.0 && (r + g + b - 1.0).abs() < 0.01 => [r, g, b],
        _ => REC_601,
    }
}

fn rgb_of_ycbcr<S: Sample>(pixel: &[S], [red, green, blue]: [f32; 3]) -> [S; 3] {
    let middle = S::MAX.div_ceil(2) as f32;
    let y = pixel[0].value() as f32;
    let r = y + (2.0 - 2.0 * red) * (pixel[2].value() as f32 - middle);
    let b = y + (2.0 - 2.0 * blue) * (pixel[1].value() as f32 - middle);
    let g = (y - red * r - blue * b) / green;
    [r, g, b].map(|value| S::new(value.round().clamp(0.0, S::MAX as f32) as u32))
}

/// Converts CIE L*a*b* under D50, as the ICC defines it, to sRGB.
fn rgb_of_lab<S: Sample>(pixel: &[S], is_shifted: bool) -> [S; 3] {
    const D50: [f32; 3] = [0.9642, 1.0, 0.8249];
    // Bradford's adaptation to D65 is in it.
    const TO_LINEAR: [[f32; 3]; 3] = [
        [3.133_856, -1.616_867, -0.490_615],
        [-0.978_768, 1.916_142, 0.033_454],
        [0.071_945, -0.228_991, 1.405_243],
    ];
    let lightness = 100.0 * pixel[0].value() as f32 / S::MAX as f32;
    let [a, b] = [pixel[1], pixel[2]].map(|sample| opponent(sample, is_shifted));
    let y = (lightness + 16.0) / 116.0;
    let xyz = [y + a / 500.0, y, y - b / 200.0].map(|part| {
        if part > 6.0 / 29.0 {
            part.powi(3)
        } else {
            (part - 4.0 / 29.0) * 108.0 / 841.0
        }
    });
    TO_LINEAR.map(|row| {
        let light: f32 = row
            .iter()
            .zip(D50)
            .zip(xyz)
            .map(|((m, w), v)| m * w * v)
            .sum();
        S::new(
            (encoded(light) * S::MAX as f32)
                .round()
                .clamp(0.0, S::MAX as f32) as u32,
        )
    })
}

/// Returns a* or b*: in 8 bits a whole number, in 16 bits a number of 256ths.
fn opponent<S: Sample>(sample: S, is_shifted: bool) -> f32 {
    let half = S::MAX.div_ceil(2);
    let unit = half as f32 / 128.0;
    let value = sample.value() as f32;
    let signed = if is_shifted {
        value - half as f32
    } else if sample.value() >= half {
        value - 2.0 * half as f32
    } else {
        value
    };
    signed / unit
}
