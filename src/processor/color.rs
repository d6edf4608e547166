//! The colours that a file declares, and their conversion to sRGB.
//!
//! The model learned from pictures in sRGB, or what passed for it. A file may mean other colours by its numbers: it
//! then names them by an ICC profile, by video code points, or by gamma and primaries. Crate `moxcms` converts them; if
//! a file names nothing, or something damaged, its numbers count as sRGB.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};

use moxcms::{
    Chromaticity, CicpColorPrimaries, CicpProfile, CmsError, ColorPrimaries, ColorProfile,
    DataColorSpace, Layout, MatrixCoefficients, ProfileClass, RenderingIntent, ToneReprCurve,
    TransferCharacteristics, TransformExecutor,
};
use xxhash_rust::xxh3::xxh3_128;

use super::sample::{MOST_MADE, Sample, ToSrgb};

/// The colours that a file declares.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Colors {
    /// sRGB, or nothing.
    #[default]
    Srgb,
    /// By an ICC profile.
    Icc(Vec<u8>),
    /// By code points of ITU-T H.273.
    Video {
        /// The code of the primaries.
        primaries: u8,
        /// The code of the transfer curve.
        transfer: u8,
    },
    /// As old PNGs do.
    Measured {
        /// The exponent that encoded the values: 1/2.2 for most.
        gamma: f32,
        /// White, red, green and blue, if they are not sRGB's.
        chromaticities: Option<[(f32, f32); 4]>,
    },
}

/// The meaning of a pixel's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inks {
    /// From black to white.
    Gray,
    /// Red, green, blue.
    Rgb,
    /// Cyan, magenta, yellow, black: 0 is no ink.
    Cmyk,
}

impl Inks {
    /// Returns the count of a pixel's numbers.
    pub fn count(self) -> usize {
        match self {
            Self::Gray => 1,
            Self::Rgb => 3,
            Self::Cmyk => 4,
        }
    }
}

impl Colors {
    /// Returns the conversion to sRGB for pixels of `inks`; `None` if there is none, or it would change nothing.
    pub fn to_srgb<S: Sample>(&self, inks: Inks) -> Option<ToSrgb<S>> {
        let key = xxh3_128(&self.key(inks)?);
        let made = || S::made().0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = made().iter().find(|(known, _)| *known == key) {
            return known.clone();
        }
        // A panic in `moxcms` means a damaged profile, not a damaged photo.
        let to_srgb = catch_unwind(AssertUnwindSafe(|| self.make(inks))).unwrap_or(None);
        let mut made = made();
        made.push_front((key, to_srgb.clone()));
        made.truncate(MOST_MADE);
        to_srgb
    }

    fn key(&self, inks: Inks) -> Option<Vec<u8>> {
        let mut key = vec![inks.count() as u8];
        match self {
            Self::Srgb => return None,
            Self::Icc(profile) => key.extend(profile),
            Self::Video {
                primaries,
                transfer,
            } => key.extend([*primaries, *transfer]),
            Self::Measured { .. } => key.extend(format!("{self:?}").bytes()),
        }
        Some(key)
    }

    fn make<S: Sample>(&self, inks: Inks) -> Option<ToSrgb<S>> {
        let profile = self.profile(inks)?;
        let layout = match (inks, profile.color_space) {
            (Inks::Gray, DataColorSpace::Gray) => Layout::Gray,
            (Inks::Rgb, DataColorSpace::Rgb) => Layout::Rgb,
            // Four inks go by this name in `moxcms`.
            (Inks::Cmyk, DataColorSpace::Cmyk) => Layout::Rgba,
            // It was made for other pictures. Viewers pass over it too.
            _ => return None,
        };
        // As viewers do, and Pillow. Some profiles have tables for the second only.
        [
            RenderingIntent::Perceptual,
            RenderingIntent::RelativeColorimetric,
        ]
        .into_iter()
        .find_map(|intent| S::transform(&profile, layout, intent))
        .filter(|to_srgb| is_sane(to_srgb, inks) && changes_anything(to_srgb, inks))
        .map(|to_srgb| match inks {
            Inks::Cmyk => with_full_black(to_srgb, &profile),
            _ => to_srgb,
        })
    }

    fn profile(&self, inks: Inks) -> Option<ColorProfile> {
        match self {
            Self::Srgb => None,
            Self::Icc(bytes) => {
                let profile = ColorProfile::new_from_slice(bytes).ok()?;
                let is_for_pictures = matches!(
                    profile.profile_class,
                    ProfileClass::InputDevice
                        | ProfileClass::DisplayDevice
                        | ProfileClass::OutputDevice
                        | ProfileClass::ColorSpace
                );
                let profile = is_for_pictures.then_some(profile)?;
                let is_gray_by_lightness = profile.color_space == DataColorSpace::Gray
                    && profile.pcs == DataColorSpace::Lab;
                if is_gray_by_lightness {
                    return gray_by_light(profile);
                }
                Some(profile)
            }
            Self::Video {
                primaries,
                transfer,
            } => video_profile(*primaries, *transfer),
            Self::Measured {
                gamma,
                chromaticities,
            } => measured_profile(*gamma, *chromaticities, inks),
        }
    }
}

/// Makes a profile from code points of ITU-T H.273. `None` for curves of high dynamic range too: their white is not
/// sRGB's, and viewers show them in different ways.
fn video_profile(primaries: u8, transfer: u8) -> Option<ColorProfile> {
    const UNSPECIFIED: u8 = 2;
    const BT709: u8 = 1;
    const SRGB: u8 = 13;
    const HIGH_DYNAMIC_RANGE: [u8; 2] = [16, 18];
    // Browsers take the curves of standard video for sRGB's: pictures are not made for the dark room that these mean.
    const OF_VIDEO: [u8; 5] = [UNSPECIFIED, 1, 6, 14, 15];
    if HIGH_DYNAMIC_RANGE.contains(&transfer) {
        return None;
    }
    let primaries = match primaries {
        UNSPECIFIED => BT709,
        named => named,
    };
    let transfer = match transfer {
        video if OF_VIDEO.contains(&video) => SRGB,
        named => named,
    };
    let cicp = CicpProfile {
        color_primaries: CicpColorPrimaries::try_from(primaries).ok()?,
        transfer_characteristics: TransferCharacteristics::try_from(transfer).ok()?,
        matrix_coefficients: MatrixCoefficients::Identity,
        full_range: true,
    };
    let profile = ColorProfile::new_from_cicp(cicp);
    profile.red_trc.is_some().then_some(profile)
}

/// Makes a profile from gamma and primaries as PNG has them.
fn measured_profile(
    gamma: f32,
    chromaticities: Option<[(f32, f32); 4]>,
    inks: Inks,
) -> Option<ColorProfile> {
    // libpng's measure for a gamma that makes no difference to the eye.
    const INSIGNIFICANT: f32 = 0.05;
    if !(0.01..=100.0).contains(&gamma) {
        return None;
    }
    let is_usual = (gamma * 2.2 - 1.0).abs() <= INSIGNIFICANT;
    let mut profile = ColorProfile::new_srgb();
    let curve = match profile.red_trc.clone() {
        Some(srgb) if is_usual => srgb,
        _ => ToneReprCurve::Parametric(vec![1.0 / gamma]),
    };
    if inks == Inks::Gray {
        let mut gray = ColorProfile::new_gray_with_gamma(1.0);
        gray.gray_trc = Some(curve);
        return Some(gray);
    }
    profile.cicp = None;
    profile.red_trc = Some(curve.clone());
    profile.green_trc = Some(curve.clone());
    profile.blue_trc = Some(curve);
    if let Some(points) = chromaticities {
        let [white, red, green, blue] = points.map(|(x, y)| Chromaticity::new(x, y));
        let primaries = ColorPrimaries { red, green, blue };
        profile.update_rgb_colorimetry(white.to_xyyb(), primaries);
    }
    Some(profile)
}

/// Converts a gray profile given by lightness (L*), which `moxcms` (0.8.1) refuses, to one given by light.
fn gray_by_light(mut profile: ColorProfile) -> Option<ColorProfile> {
    const ENTRIES: usize = 4096;
    let lightness = profile.gray_trc.as_ref()?.make_linear_evaluator().ok()?;
    let light = (0..ENTRIES).map(|entry| {
        let lightness = lightness.evaluate_value(entry as f32 / (ENTRIES - 1) as f32);
        (light_of(lightness) * 65535.0).round() as u16
    });
    profile.gray_trc = Some(ToneReprCurve::Lut(light.collect()));
    profile.pcs = DataColorSpace::Xyz;
    Some(profile)
}

/// Returns Y for an L*, both from 0 to 1.
fn light_of(lightness: f32) -> f32 {
    let root = (100.0 * lightness.clamp(0.0, 1.0) + 16.0) / 116.0;
    if root > 6.0 / 29.0 {
        root.powi(3)
    } else {
        (root - 4.0 / 29.0) * 108.0 / 841.0
    }
}

/// Black point compensation: the deepest black that a press can print becomes black, as it does in viewers and in
/// `LittleCMS` on the way to sRGB. `moxcms` (0.8.1) does not do it.
struct FullBlack<S> {
    to_srgb: ToSrgb<S>,
    /// The new value of each number of sRGB.
    stretched: Vec<S>,
}

impl<S: Sample> TransformExecutor<S> for FullBlack<S> {
    fn transform(&self, inks: &[S], rgb: &mut [S]) -> Result<(), CmsError> {
        self.to_srgb.transform(inks, rgb)?;
        for sample in rgb {
            *sample = self.stretched[sample.value() as usize];
        }
        Ok(())
    }
}

fn with_full_black<S: Sample>(to_srgb: ToSrgb<S>, profile: &ColorProfile) -> ToSrgb<S> {
    /// The Y of ICC's own black, and the lightest that counts as black.
    const BLACK_OF_VERSION_4: f32 = 0.003_473;
    const LIGHTEST_BLACK: f32 = 0.184_2;
    const WEIGHTS: [f32; 3] = [0.2126, 0.7152, 0.0722];
    let black = if (profile.version() as u32) < 0x0400_0000 {
        let all_inks = convert(&to_srgb, &[S::new(S::MAX); 4], 1).unwrap_or_default();
        let light = all_inks.iter().zip(WEIGHTS);
        let light: f32 = light
            .map(|(byte, w)| w * linear(f32::from(*byte) / 255.0))
            .sum();
        light.min(LIGHTEST_BLACK)
    } else {
        BLACK_OF_VERSION_4
    };
    let stretched = (0..=S::MAX).map(|value| {
        let light = (linear(value as f32 / S::MAX as f32) - black) / (1.0 - black);
        S::new((encoded(light.max(0.0)) * S::MAX as f32).round() as u32)
    });
    Arc::new(FullBlack {
        to_srgb,
        stretched: stretched.collect(),
    })
}

/// Converts a number of sRGB to light; the next function converts it back.
fn linear(value: f32) -> f32 {
    if value <= 0.040_45 {
        value / 12.92
    } else {
        ((value + 0.055) / 1.055).powf(2.4)
    }
}

pub fn encoded(light: f32) -> f32 {
    if light <= 0.003_130_8 {
        12.92 * light
    } else {
        1.055 * light.powf(1.0 / 2.4) - 0.055
    }
}

/// Returns whether white comes out lighter than black, which reveals damage and tables full of zeros.
fn is_sane<S: Sample>(to_srgb: &ToSrgb<S>, inks: Inks) -> bool {
    const LEAST_CONTRAST: u32 = 64;
    let lightness = |value: u32| {
        let pixel = vec![S::new(value); inks.count()];
        let rgb = convert(to_srgb, &pixel, 1)?;
        Some(rgb.iter().map(|byte| u32::from(*byte)).sum::<u32>() / 3)
    };
    let (darkest, lightest) = match inks {
        Inks::Cmyk => (S::MAX, 0),
        _ => (0, S::MAX),
    };
    match (lightness(darkest), lightness(lightest)) {
        (Some(dark), Some(light)) => light >= dark + LEAST_CONTRAST,
        _ => false,
    }
}

/// Returns whether any of some colours moves by more than rounding. Most profiles in photos are some maker's version of
/// sRGB; those then cost nothing.
fn changes_anything<S: Sample>(to_srgb: &ToSrgb<S>, inks: Inks) -> bool {
    const STEP: u32 = 15;
    let levels = || (0..=255).step_by(STEP as usize);
    let bytes: Vec<u32> = match inks {
        Inks::Cmyk => return true,
        Inks::Gray => levels().collect(),
        Inks::Rgb => levels()
            .flat_map(|r| levels().flat_map(move |g| levels().flat_map(move |b| [r, g, b])))
            .collect(),
    };
    let samples: Vec<S> = bytes.iter().map(|b| S::new(b * (S::MAX / 255))).collect();
    let Some(converted) = convert(to_srgb, &samples, samples.len() / inks.count()) else {
        return false;
    };
    let repeat = 3 / inks.count();
    let expected = bytes.iter().flat_map(|b| std::iter::repeat_n(*b, repeat));
    let mut moves = converted.iter().zip(expected);
    moves.any(|(is, was)| u32::from(*is).abs_diff(was) > 1)
}

fn convert<S: Sample>(to_srgb: &ToSrgb<S>, samples: &[S], pixels: usize) -> Option<Vec<u8>> {
    let mut rgb = vec![S::default(); 3 * pixels];
    to_srgb.transform(samples, &mut rgb).ok()?;
    Some(rgb.into_iter().map(S::to_byte).collect())
}
