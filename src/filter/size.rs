//! The smallest size of a picture.

use std::fmt;

use crate::error::{Error, Result};

const ACCEPTED: &str =
    "write 1024 (pixels of the shorter side), 1920x1080 (width and height) or 12MP (megapixels)";

/// The smallest size of a picture, seen upright.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MinSize {
    /// Pixels of the shorter side.
    ShorterSide(u32),
    /// Both sides; 1920 × 1080 asks for a landscape picture that fills a screen.
    Sides {
        /// Pixels across.
        width: u32,
        /// Pixels down.
        height: u32,
    },
    /// Pixels in all.
    Pixels(u64),
}

/// Writes a size as [`MinSize::parse`] reads it.
impl fmt::Display for MinSize {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::ShorterSide(pixels) => write!(f, "{pixels}"),
            Self::Sides { width, height } => write!(f, "{width}x{height}"),
            Self::Pixels(pixels) => write!(f, "{}MP", *pixels as f64 / 1e6),
        }
    }
}

impl MinSize {
    /// Parses `1024`, `1920x1080` or `12MP`; a megapixel is a million pixels. Refuses zero.
    pub fn parse(typed: &str) -> Result<Self> {
        Self::read(&typed.trim().to_lowercase()).ok_or_else(|| Error::Filter {
            reason: format!("{typed:?} is not a picture size"),
            accepted: ACCEPTED,
        })
    }

    fn read(text: &str) -> Option<Self> {
        let positive = |text: &str| text.trim().parse::<u32>().ok().filter(|&pixels| pixels > 0);
        if let Some(number) = text.strip_suffix("mp") {
            let pixels = number.trim().parse::<f64>().ok()? * 1e6;
            return (pixels.is_finite() && pixels >= 1.0)
                .then_some(Self::Pixels(pixels.round() as u64));
        }
        if let Some((width, height)) = text.split_once(['x', '×']) {
            return Some(Self::Sides {
                width: positive(width)?,
                height: positive(height)?,
            });
        }
        positive(text).map(Self::ShorterSide)
    }

    /// Returns whether a picture of this upright size, in pixels, is large enough.
    pub fn fits(self, width: u32, height: u32) -> bool {
        match self {
            Self::ShorterSide(least) => width.min(height) >= least,
            Self::Sides {
                width: least_width,
                height: least_height,
            } => width >= least_width && height >= least_height,
            Self::Pixels(least) => u64::from(width) * u64::from(height) >= least,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_three_forms() {
        let full_hd = MinSize::Sides {
            width: 1920,
            height: 1080,
        };
        for (typed, expected) in [
            ("1024", MinSize::ShorterSide(1024)),
            ("1920x1080", full_hd),
            (" 1920 X 1080 ", full_hd),
            ("1920×1080", full_hd),
            ("12MP", MinSize::Pixels(12_000_000)),
            ("0.3 mp", MinSize::Pixels(300_000)),
        ] {
            assert_eq!(MinSize::parse(typed).unwrap(), expected, "{typed}");
        }
        for typed in [
            "",
            "0",
            "-1",
            "1.5",
            "big",
            "MP",
            "0MP",
            "-2MP",
            "nanMP",
            "infMP",
            "x",
            "1920x",
            "0x5",
            "1x2x3",
            "12MB",
            "5000000000",
        ] {
            let error = MinSize::parse(typed).expect_err(typed);
            assert!(error.to_string().contains(typed), "{error}");
            assert!(error.hint().contains("12MP"));
        }
    }

    #[test]
    fn a_size_is_enough_from_the_number_on() {
        for (least, width, height, expected) in [
            ("1024", 1024, 2000, true),
            ("1024", 2000, 1023, false),
            ("1920x1080", 1920, 1080, true),
            ("1920x1080", 1080, 1920, false),
            ("12MP", 4000, 3000, true),
            ("12MP", 4000, 2999, false),
            ("12MP", u32::MAX, u32::MAX, true),
            ("1", 0, 0, false),
        ] {
            let fits = MinSize::parse(least).unwrap().fits(width, height);
            assert_eq!(fits, expected, "{width} × {height}, at least {least}");
        }
    }
}
