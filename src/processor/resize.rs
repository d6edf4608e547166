//! Pillow's antialiased bicubic resampling, equal to it bit for bit.
//!
//! The model was trained on pictures that Pillow shrank. Other bicubic resamplers give other pixels (a tenth of them
//! with `image`'s own), so this one does Pillow's arithmetic: the kernel (a = −0.5) is stretched by the shrinking
//! ratio, its weights are rounded to fixed point, and the picture between the horizontal and the vertical pass is
//! rounded to 8 bits.
//!
//! The horizontal pass always comes first, as it did in Pillow when the checkpoints were made. Pillow 13 reverses the
//! order for some tall pictures (python-pillow/Pillow#9549), which changes values by several levels.

use std::ops::Range;

use image::RgbImage;

use super::upright::{CHANNELS, LANES, Upright};

/// Fractional bits of a weight. A weighted sum of bytes then stays within an i32: 8 bits for the byte,
/// 22 for the weight, 1 for the overshoot of the negative lobes, 1 for the sign.
const WEIGHT_BITS: u32 = 22;

/// Reach of the bicubic kernel to either side, in pixels of the coarser grid.
const REACH: f64 = 2.0;

/// Scales `picture` to `width` × `height` pixels; all four sides must be positive.
pub fn resize(picture: Upright, width: u32, height: u32) -> RgbImage {
    let columns = taps(picture.width(), width);
    let rows = taps(picture.height(), height);
    let narrow = horizontal_pass(picture, &columns, needed(&rows));
    let pixels = vertical_pass(&narrow, &rows);
    RgbImage::from_raw(width, height, pixels).expect("one row of 3 * width bytes per tap set")
}

/// Returns the most memory that [`resize`] holds beside the picture, bytes, for the given sides and scaled sides.
pub fn resize_bytes((width, height): (u32, u32), (to_width, to_height): (u32, u32)) -> u64 {
    let [width, height, to_width, to_height] = [width, height, to_width, to_height].map(u64::from);
    let lanes = LANES as u64;
    let row_bytes = (CHANNELS as u64 * to_width).next_multiple_of(lanes);
    let strip = CHANNELS as u64 * lanes * width;
    let narrow = row_bytes * height;
    // Under a kernel lie four pixels for each of the coarser grid, a weight of 4 bytes each, and of 8 while one is made.
    let weights =
        |from: u64, to: u64| 4 * (4 * from + 3 * to + 16) + 8 * (4 * from / to + 16) + 32 * to;
    // The last row may be followed by half a block, which doubles the room.
    let scaled = 2 * row_bytes * to_height;
    weights(width, to_width) + weights(height, to_height) + strip.max(scaled) + narrow
}

/// The input pixels that make one output pixel.
struct Taps {
    first: usize,
    weights: Vec<i32>,
}

/// Returns, for every output position along an axis, the input positions under its kernel and their weights.
fn taps(input: u32, output: u32) -> Vec<Taps> {
    let scale = f64::from(input) / f64::from(output);
    let stretch = scale.max(1.0);
    let reach = REACH * stretch;
    let tap = |position: u32| {
        let center = (f64::from(position) + 0.5) * scale;
        // Both ends round half up; the casts clamp what lies before the picture to 0.
        let first = (center - reach + 0.5) as u32;
        let end = ((center + reach + 0.5) as u32).min(input);
        let weights: Vec<f64> = (first..end)
            .map(|x| bicubic((f64::from(x) - center + 0.5) * (1.0 / stretch)))
            .collect();
        let total: f64 = weights.iter().sum();
        Taps {
            first: first as usize,
            weights: weights.iter().map(|w| fixed_point(w / total)).collect(),
        }
    };
    (0..output).map(tap).collect()
}

/// Keys' cubic convolution kernel with a = −0.5.
fn bicubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < REACH {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

/// Rounds half away from zero, as Pillow does.
fn fixed_point(weight: f64) -> i32 {
    (weight * f64::from(1 << WEIGHT_BITS)).round() as i32
}

/// Returns the input rows that any output row needs.
fn needed(rows: &[Taps]) -> Range<usize> {
    let first = rows.first().map_or(0, |taps| taps.first);
    let end = rows
        .last()
        .map_or(0, |taps| taps.first + taps.weights.len());
    first..end
}

/// The picture between the two passes: its full height is not kept, only the rows that are needed.
struct Narrow {
    first_row: usize,
    /// Bytes of a row that carry pixels.
    row_bytes: usize,
    /// Rows of `blocks_per_row` blocks; the last block of a row is padded.
    blocks: Vec<[u8; LANES]>,
    blocks_per_row: usize,
}

fn horizontal_pass(picture: Upright, columns: &[Taps], rows: Range<usize>) -> Narrow {
    let row_bytes = columns.len() * CHANNELS;
    let blocks_per_row = row_bytes.div_ceil(LANES);
    let mut blocks = vec![[0; LANES]; blocks_per_row * rows.len()];
    let mut strip = vec![[0; LANES]; picture.width() as usize * CHANNELS];
    let stride = blocks_per_row * LANES;
    for (index, out) in blocks
        .as_flattened_mut()
        .chunks_mut(stride * LANES)
        .enumerate()
    {
        let top = rows.start + index * LANES;
        picture.lay_side_by_side(top..(top + LANES).min(rows.end), &mut strip);
        for (x, taps) in columns.iter().enumerate() {
            for channel in 0..CHANNELS {
                let first = taps.first * CHANNELS + channel;
                let values = weigh(&strip[first..], CHANNELS, &taps.weights);
                for (row, value) in out.chunks_mut(stride).zip(values) {
                    row[x * CHANNELS + channel] = value;
                }
            }
        }
    }
    Narrow {
        first_row: rows.start,
        row_bytes,
        blocks,
        blocks_per_row,
    }
}

fn vertical_pass(narrow: &Narrow, rows: &[Taps]) -> Vec<u8> {
    let mut pixels = Vec::with_capacity(rows.len() * narrow.row_bytes);
    for taps in rows {
        let first_block = (taps.first - narrow.first_row) * narrow.blocks_per_row;
        let row_end = pixels.len() + narrow.row_bytes;
        for block in 0..narrow.blocks_per_row {
            let blocks = &narrow.blocks[first_block + block..];
            pixels.extend_from_slice(&weigh(blocks, narrow.blocks_per_row, &taps.weights));
        }
        pixels.truncate(row_end);
    }
    pixels
}

/// The inner loop: `LANES` weighted sums over every `stride`-th block, rounded and clamped to bytes.
fn weigh(blocks: &[[u8; LANES]], stride: usize, weights: &[i32]) -> [u8; LANES] {
    let mut sums = [1 << (WEIGHT_BITS - 1); LANES];
    for (bytes, weight) in blocks.iter().step_by(stride).zip(weights) {
        for (sum, byte) in sums.iter_mut().zip(bytes) {
            *sum += i32::from(*byte) * weight;
        }
    }
    let mut rounded = [0; LANES];
    for (byte, sum) in rounded.iter_mut().zip(sums) {
        *byte = (sum >> WEIGHT_BITS).clamp(0, 255) as u8;
    }
    rounded
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    fn resize(picture: &RgbImage, width: u32, height: u32) -> RgbImage {
        super::resize(picture.into(), width, height)
    }

    // Equality with Pillow is tested through `ImageProcessor`, whose golden pictures it made.

    fn checkered(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| {
            Rgb([(x * 37) as u8, (y * 91) as u8, (x * y) as u8])
        })
    }

    #[test]
    fn same_size_is_the_same_picture() {
        let picture = checkered(41, 67);
        assert_eq!(resize(&picture, 41, 67), picture);
    }

    #[test]
    fn one_colour_stays_that_colour() {
        for (width, height) in [(1, 1), (3, 200), (257, 31), (1000, 1)] {
            let picture = RgbImage::from_pixel(width, height, Rgb([0, 127, 255]));
            let resized = resize(&picture, 96, 32);
            assert_eq!(resized.dimensions(), (96, 32));
            assert!(
                resized.pixels().all(|pixel| pixel.0 == [0, 127, 255]),
                "{width}x{height}"
            );
        }
    }

    #[test]
    fn sharp_edges_overshoot_to_black_and_white_and_no_further() {
        let edge = RgbImage::from_fn(16, 2, |x, _| Rgb([if x < 8 { 8 } else { 247 }; 3]));
        let resized = resize(&edge, 64, 2);
        let values = || resized.pixels().map(|pixel| pixel[0]);
        assert_eq!((values().min(), values().max()), (Some(0), Some(255)));
    }
}
