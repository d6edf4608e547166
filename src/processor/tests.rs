//! Decoding against what other programs make of the same files; `tests/fixtures/make_colors.py` tells which.

use std::fs;
use std::path::{Path, PathBuf};

use image::RgbImage;

use super::Encoded;
use super::color::{Colors, Inks};
use crate::error::Error;

fn fixtures(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(folder);
    let files = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files
        .filter(|path| !name(path).contains(".right."))
        .collect();
    files.sort();
    files
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

fn decode(path: &Path) -> RgbImage {
    let photo = Encoded::read(path).unwrap().decode();
    photo
        .unwrap_or_else(|error| panic!("{}: {error}", name(path)))
        .rgb
}

/// The largest difference of two values, and the mean.
fn difference(is: &RgbImage, right: &RgbImage) -> (u8, f64) {
    assert_eq!(is.dimensions(), right.dimensions());
    let differences = is
        .iter()
        .zip(right.iter())
        .map(|(is, right)| is.abs_diff(*right));
    let sum: f64 = differences.clone().map(f64::from).sum();
    (differences.max().unwrap(), sum / is.len() as f64)
}

#[test]
fn colours_of_a_profile_are_those_that_a_viewer_shows() {
    let files = fixtures("colors");
    assert!(files.len() >= 28, "{}", files.len());
    for path in files {
        let right = decode(&path.with_extension("right.png"));
        let (largest, mean) = difference(&decode(&path), &right);
        // Decoders of JPEG round otherwise, and tables of a press are not followed between their points alike.
        let (most, on_average) = match path.extension().unwrap().to_str() {
            Some("jpg") => (8, 1.5),
            _ => (2, 0.7),
        };
        assert!(
            largest <= most && mean < on_average,
            "{}: {largest}, {mean}",
            name(&path)
        );
    }
}

#[test]
fn profiles_that_mean_srgb_cost_nothing() {
    let srgb = moxcms::ColorProfile::new_srgb().encode().unwrap();
    assert!(Colors::Icc(srgb).to_srgb::<u8>(Inks::Rgb).is_none());
    let p3 = moxcms::ColorProfile::new_display_p3().encode().unwrap();
    assert!(Colors::Icc(p3.clone()).to_srgb::<u8>(Inks::Rgb).is_some());
    assert!(Colors::Icc(p3).to_srgb::<u8>(Inks::Gray).is_none());
}

#[test]
fn no_damage_to_a_profile_gets_past_the_decoder() {
    // Making a table of a press again takes longest.
    for (file, step) in [("colors/p3-png.png", 7), ("colors/press-tiff.tif", 499)] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures")
            .join(file);
        let whole = fs::read(path).unwrap();
        for at in (0..whole.len()).step_by(step) {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x5a;
            let result = Encoded::new(damaged).unwrap().decode();
            assert!(
                matches!(result, Ok(_) | Err(Error::Photo { .. })),
                "{file}, byte {at}"
            );
        }
    }
}

#[test]
fn tiffs_of_every_kind_hold_the_same_picture() {
    let files = fixtures("tiffs");
    assert!(files.len() >= 42, "{}", files.len());
    for path in files {
        let kind = name(&path).split('-').next().unwrap();
        let right = decode(&path.with_file_name(format!("{kind}.right.png")));
        let (largest, mean) = difference(&decode(&path), &right);
        // Compressed with loss; in 8 bits of opacity or of Lab, which has fewer than 256 blues.
        let allowed = match name(&path) {
            "rgb-jpeg.tif" => 5,
            "rgb-associated.tif" => 2,
            "rgb-lab.tif" => 20,
            _ => 1,
        };
        assert!(
            largest <= allowed && mean < 1.0,
            "{}: {largest}, {mean}",
            name(&path)
        );
    }
}

#[test]
fn cut_tiffs_are_refused_and_no_damage_gets_past_the_decoder() {
    for path in fixtures("tiffs") {
        let whole = fs::read(&path).unwrap();
        let try_out = |file: Vec<u8>, what: String| {
            let result = Encoded::new(file).unwrap().decode();
            let is_told = matches!(result, Ok(_) | Err(Error::Photo { .. }));
            assert!(is_told, "{}, {what}", name(&path));
        };
        for at in (0..whole.len()).step_by(11) {
            try_out(whole[..at].to_vec(), format!("cut to {at}"));
            let mut damaged = whole.clone();
            damaged[at] ^= 0xff;
            try_out(damaged, format!("byte {at}"));
        }
    }
}

#[test]
fn a_turned_tiff_is_turned_as_its_photo_says_and_not_as_its_thumbnail() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiffs/rgb-bigtiff.tif");
    let mut file = fs::read(path).unwrap();
    // Crate `kamadak-exif` knows no BigTIFF: an entry that nothing needs becomes the orientation.
    let resolution_unit = [0x28, 0x01, 3, 0];
    let at = file
        .windows(4)
        .position(|bytes| bytes == resolution_unit)
        .unwrap();
    file[at..at + 2].copy_from_slice(&274u16.to_le_bytes());
    file[at + 12] = 6;
    let photo = Encoded::new(file).unwrap().decode().unwrap();
    assert_eq!(photo.rgb.dimensions(), (16, 24));
}
