//! TIFF: the photo among the pictures of a file, strip by strip or tile by tile into 8-bit sRGB.

mod chunks;
mod directory;
mod disguise;
mod numbers;
mod page;
mod pixels;

use image::RgbImage;

use self::chunks::Chunks;
use self::directory::{Form, tag};
use self::numbers::{Numbers, Stored};
use self::page::{Format, JPEG, Page, UNCOMPRESSED};
use self::pixels::Pixels;
use super::header::Header;
use super::paint::{Painter, RGB, canvas, picture};
use crate::error::{Error, Result};

/// Returns whether these are the first bytes of a TIFF, or of a `BigTIFF`, which crate `image` (0.25) does not know.
pub fn is_tiff(file: &[u8]) -> bool {
    Form::of(file).is_some()
}

/// Reads the directories.
pub fn header(file: &[u8]) -> Result<Header> {
    let page = page(file)?;
    let chunk_pixels = u64::from(page.chunk_width) * u64::from(page.chunk_height);
    let samples = page.samples as u64;
    let chunk = (chunk_pixels * samples * page.bits as u64).div_ceil(8);
    let chunk = match page.compression {
        UNCOMPRESSED => 0,
        // The JPEG's bytes, its coefficients, and its samples twice.
        JPEG => {
            8 * chunk
                + page
                    .chunks
                    .iter()
                    .map(|c| c.end - c.start)
                    .max()
                    .unwrap_or(0)
        }
        // Turned round where each sample has chunks of its own.
        _ => chunk,
    };
    // A row's numbers: as stored, beside each other, and as the painter takes them; 64 bits at most each.
    let row = u64::from(page.chunk_width) * (samples + 8) * 8;
    Ok(Header::new(page.width, page.height, |pixels| {
        RGB as u64 * pixels + chunk + 2 * row
    }))
}

/// Decodes the photo.
pub fn decode(file: &[u8]) -> Result<RgbImage> {
    let page = page(file)?;
    if page.bits <= 8 && page.format == Format::Unsigned {
        paint::<u8>(&page)
    } else {
        paint::<u16>(&page)
    }
}

/// Returns the photo's orientation, as EXIF numbers it: from its own entry, or else from the first picture's.
pub fn orientation(file: &[u8]) -> Option<u8> {
    let form = Form::of(file)?;
    let own = page(file).ok()?.directory.number(tag::ORIENTATION);
    let first = || form.directories().first()?.number(tag::ORIENTATION);
    u8::try_from(own.or_else(first)?).ok()
}

fn page(file: &[u8]) -> Result<Page<'_>> {
    let form = Form::of(file).ok_or_else(|| Error::Photo {
        reason: "not a TIFF".to_owned(),
    })?;
    Page::main(form)
}

fn paint<S: Stored>(page: &Page) -> Result<RgbImage> {
    let mut chunks = Chunks::open(page)?;
    let numbers = Numbers::new(page, &mut chunks)?;
    let mut pixels = Pixels::new(page)?;
    let mut painter = Painter::new(pixels.inks(), pixels.alpha(), &page.colors());
    let row_bytes = RGB * page.width as usize;
    let mut rgb = canvas(page.width, page.height)?;
    rgb.resize(row_bytes * page.height as usize, u8::MAX);
    for area in chunks::areas(page) {
        let planes = chunks.read(page, &area)?;
        for row in 0..area.height {
            let stored = numbers.row::<S>(page, &area, &planes, row)?;
            let start = (area.y + row) as usize * row_bytes + area.x as usize * RGB;
            let end = start + area.width as usize * RGB;
            painter.paint(pixels.gather(&stored), &mut rgb[start..end]);
        }
    }
    picture(page.width, page.height, rgb)
}
