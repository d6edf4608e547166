//! A stored picture, read as if it were upright.

use std::ops::Range;

use image::RgbImage;
use image::metadata::Orientation;

/// Rows laid side by side, whose bytes are summed together. A fixed number lets the compiler keep the sums in vector
/// registers.
pub const LANES: usize = 32;

/// Bytes of a pixel.
pub const CHANNELS: usize = 3;

/// A picture and how to turn it. Turning a picture takes a copy of it; reading it in another order does not.
#[derive(Clone, Copy)]
pub struct Upright<'a> {
    stored: &'a RgbImage,
    /// True if upright rows are stored columns.
    is_transposed: bool,
    /// True if stored columns, and stored rows, are read from the end.
    reverses_columns: bool,
    reverses_rows: bool,
}

impl<'a> Upright<'a> {
    /// Turns `stored` by `orientation`, without a copy.
    pub fn new(stored: &'a RgbImage, orientation: Orientation) -> Self {
        let (is_transposed, reverses_columns, reverses_rows) = match orientation {
            Orientation::NoTransforms => (false, false, false),
            Orientation::FlipHorizontal => (false, true, false),
            Orientation::FlipVertical => (false, false, true),
            Orientation::Rotate180 => (false, true, true),
            Orientation::Rotate90FlipH => (true, false, false),
            Orientation::Rotate90 => (true, false, true),
            Orientation::Rotate270 => (true, true, false),
            Orientation::Rotate270FlipH => (true, true, true),
        };
        Self {
            stored,
            is_transposed,
            reverses_columns,
            reverses_rows,
        }
    }

    pub fn width(self) -> u32 {
        if self.is_transposed {
            self.stored.height()
        } else {
            self.stored.width()
        }
    }

    pub fn height(self) -> u32 {
        if self.is_transposed {
            self.stored.width()
        } else {
            self.stored.height()
        }
    }

    /// Lays up to [`LANES`] upright rows side by side, so that neighbours in memory share their weights: a weight
    /// belongs to a column in the horizontal pass, and to a row in the vertical one.
    pub fn lay_side_by_side(self, rows: Range<usize>, strip: &mut [[u8; LANES]]) {
        if self.is_transposed {
            self.lay_columns(rows, strip);
            return;
        }
        for (lane, row) in rows.enumerate() {
            let row = self.stored_row(row);
            if self.reverses_columns {
                let pixels = row.chunks_exact(CHANNELS).rev();
                for (values, pixel) in strip.chunks_exact_mut(CHANNELS).zip(pixels) {
                    for (values, byte) in values.iter_mut().zip(pixel) {
                        values[lane] = *byte;
                    }
                }
            } else {
                for (values, byte) in strip.iter_mut().zip(row) {
                    values[lane] = *byte;
                }
            }
        }
    }

    /// Does the same if upright rows are stored columns, which are neighbours, so that each stored row is read once.
    fn lay_columns(self, rows: Range<usize>, strip: &mut [[u8; LANES]]) {
        let lanes = rows.len();
        let width = self.stored.width() as usize;
        let first = if self.reverses_columns {
            width - rows.end
        } else {
            rows.start
        };
        for (x, values) in strip.chunks_exact_mut(CHANNELS).enumerate() {
            let pixels = &self.stored_row(x)[first * CHANNELS..][..lanes * CHANNELS];
            for (lane, pixel) in pixels.chunks_exact(CHANNELS).enumerate() {
                let lane = if self.reverses_columns {
                    lanes - 1 - lane
                } else {
                    lane
                };
                for (values, byte) in values.iter_mut().zip(pixel) {
                    values[lane] = *byte;
                }
            }
        }
    }

    fn stored_row(self, index: usize) -> &'a [u8] {
        let index = if self.reverses_rows {
            self.stored.height() as usize - 1 - index
        } else {
            index
        };
        let row_bytes = self.stored.width() as usize * CHANNELS;
        &self.stored.as_raw()[index * row_bytes..][..row_bytes]
    }
}

impl<'a> From<&'a RgbImage> for Upright<'a> {
    fn from(picture: &'a RgbImage) -> Self {
        Self::new(picture, Orientation::NoTransforms)
    }
}

#[cfg(test)]
mod tests {
    use image::{DynamicImage, Rgb};

    use super::*;
    use crate::processor::resize::resize;

    #[test]
    fn a_turned_picture_is_scaled_as_if_it_had_been_turned_before() {
        let stored = RgbImage::from_fn(97, 70, |x, y| {
            Rgb([(x * 37 + y) as u8, (y * 91) as u8, (x * y) as u8])
        });
        for tag in 1..=8 {
            let orientation = Orientation::from_exif(tag).unwrap();
            let mut turned = DynamicImage::ImageRgb8(stored.clone());
            turned.apply_orientation(orientation);
            let turned = turned.into_rgb8();
            let upright = Upright::new(&stored, orientation);
            assert_eq!((upright.width(), upright.height()), turned.dimensions());
            for (width, height) in [(33, 50), (turned.width(), turned.height())] {
                let expected = resize((&turned).into(), width, height);
                assert_eq!(
                    resize(upright, width, height),
                    expected,
                    "orientation {tag}"
                );
            }
        }
    }
}
