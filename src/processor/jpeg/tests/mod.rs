//! JPEGs whose pictures are known, since they are encoded here, in every coding.

mod cut;
mod encoder;
mod headers;
mod sweep;

use self::encoder::Coding;
use super::{JpegPicture, Layout, decode};
use crate::error::{Error, Result};

fn picture(file: &[u8]) -> JpegPicture {
    decode(file).unwrap_or_else(|error| panic!("should be read: {error}"))
}

fn reason(result: Result<JpegPicture>) -> String {
    match result {
        Err(Error::Photo { reason }) => reason,
        Err(error) => panic!("not about a photo: {error}"),
        Ok(_) => panic!("should be refused"),
    }
}

/// How near a decoded picture is to what was encoded: peak signal to noise, dB. 30 and less is visibly wrong, twice
/// the error costs 6.
fn nearness(coding: &Coding, picture: &JpegPicture) -> f64 {
    let (width, height) = (usize::from(coding.width), usize::from(coding.height));
    let channels = picture.layout.channels();
    assert_eq!(
        (picture.width as usize, picture.height as usize),
        (width, height)
    );
    assert_eq!(picture.samples.len(), width * height * channels);
    let mut squares = 0.0;
    for (at, pixel) in picture.samples.chunks(channels).enumerate() {
        for (channel, sample) in pixel.iter().enumerate() {
            let level = coding
                .level(channel, at % width, at / width)
                .clamp(0.0, 255.0);
            squares += (level - f64::from(*sample)).powi(2);
        }
    }
    let mean = squares / picture.samples.len() as f64;
    10.0 * (255.0 * 255.0 / mean.max(1e-9)).log10()
}

/// The largest difference of two samples.
fn distance(one: &[u8], other: &[u8]) -> u8 {
    assert_eq!(one.len(), other.len());
    one.iter()
        .zip(other)
        .map(|(a, b)| a.abs_diff(*b))
        .max()
        .unwrap_or(0)
}
