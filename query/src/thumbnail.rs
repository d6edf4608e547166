//! Thumbnails of photos.

use image::RgbImage;
use image::imageops::{self, FilterType};

/// Returns the largest size of a picture that fits into `room`.
pub fn fit((width, height): (u32, u32), room: (u32, u32)) -> (u32, u32) {
    let (width, height) = (f64::from(width), f64::from(height));
    let scale = (f64::from(room.0) / width).min(f64::from(room.1) / height);
    let side = |length: f64, most: u32| ((length * scale).round() as u32).clamp(1, most.max(1));
    (side(width, room.0), side(height, room.1))
}

/// Scales the whole photo to that size.
pub fn resized(photo: &RgbImage, (width, height): (u32, u32)) -> RgbImage {
    let is_much_smaller = photo.width() > width * 4 && photo.height() > height * 4;
    if is_much_smaller {
        // Averaging first costs little and leaves the finer filter little to do.
        let nearly = imageops::thumbnail(photo, width * 2, height * 2);
        return imageops::resize(&nearly, width, height, FilterType::CatmullRom);
    }
    imageops::resize(photo, width, height, FilterType::CatmullRom)
}
