//! What a picture's EXIF data says: which way is up, when, where, and with which camera.
//!
//! EXIF is written by thousands of programs, many of them careless. Nothing here fails: a field that is
//! missing, malformed or out of range is absent, and the others are still read.

use std::io::Cursor;

use exif::{In, Reader, Tag, Value};
use image::ImageDecoder;
use image::codecs::webp::WebPDecoder;
use image::metadata::Orientation;
use jiff::civil::DateTime;

use crate::photo::GpsPosition;

/// The fields that this library uses.
#[derive(Debug, Clone, PartialEq)]
pub struct ExifFields {
    /// How to turn the stored picture upright.
    pub orientation: Orientation,
    /// Capture time, in the camera's local time.
    pub captured_at: Option<DateTime>,
    /// Where the picture was taken.
    pub gps: Option<GpsPosition>,
    /// Make and model, such as `Apple iPhone 13`.
    pub camera: Option<String>,
}

impl ExifFields {
    /// Reads the EXIF data of a JPEG, PNG, WebP, TIFF, HEIC or AVIF file, given whole.
    pub fn read(file: &[u8]) -> Self {
        let mut reader = Reader::new();
        reader.continue_on_error(true);
        let exif = reader
            .read_from_container(&mut Cursor::new(file))
            .or_else(|error| match webp_block(file) {
                Some(block) => reader.read_raw(block),
                None => Err(error),
            })
            .or_else(|error| error.distill_partial_result(|_| ()))
            .ok();
        let exif = exif.as_ref();
        Self {
            orientation: exif.map_or(Orientation::NoTransforms, orientation),
            captured_at: exif.and_then(captured_at),
            gps: exif.and_then(gps),
            camera: exif.and_then(camera),
        }
    }
}

/// Some programs copy JPEG's `Exif\0\0` into a WebP before the data, where it does not belong.
fn webp_block(file: &[u8]) -> Option<Vec<u8>> {
    let block = WebPDecoder::new(Cursor::new(file))
        .ok()?
        .exif_metadata()
        .ok()??;
    block.strip_prefix(b"Exif\0\0").map(<[u8]>::to_vec)
}

fn orientation(exif: &exif::Exif) -> Orientation {
    value(exif, Tag::Orientation)
        .and_then(|value| value.get_uint(0))
        .and_then(|value| Orientation::from_exif(u8::try_from(value).ok()?))
        .unwrap_or(Orientation::NoTransforms)
}

fn captured_at(exif: &exif::Exif) -> Option<DateTime> {
    [Tag::DateTimeOriginal, Tag::DateTimeDigitized, Tag::DateTime]
        .into_iter()
        .find_map(|tag| {
            let Value::Ascii(texts) = value(exif, tag)? else {
                return None;
            };
            let t = exif::DateTime::from_ascii(texts.first()?).ok()?;
            DateTime::new(
                t.year.try_into().ok()?,
                t.month.try_into().ok()?,
                t.day.try_into().ok()?,
                t.hour.try_into().ok()?,
                t.minute.try_into().ok()?,
                t.second.try_into().ok()?,
                0,
            )
            .ok()
        })
}

fn gps(exif: &exif::Exif) -> Option<GpsPosition> {
    let latitude = degrees(exif, Tag::GPSLatitude, Tag::GPSLatitudeRef, b'N', b'S')?;
    let longitude = degrees(exif, Tag::GPSLongitude, Tag::GPSLongitudeRef, b'E', b'W')?;
    // A range never contains NaN, so this also refuses 0/0, which cameras without a fix write.
    ((-90.0..=90.0).contains(&latitude) && (-180.0..=180.0).contains(&longitude)).then_some(
        GpsPosition {
            latitude,
            longitude,
        },
    )
}

/// Degrees, minutes and seconds with a letter for the sign, as signed degrees.
fn degrees(exif: &exif::Exif, tag: Tag, side: Tag, positive: u8, negative: u8) -> Option<f64> {
    let Value::Rational(parts) = value(exif, tag)? else {
        return None;
    };
    let [degrees, minutes, seconds] = parts.as_slice() else {
        return None;
    };
    let magnitude = degrees.to_f64() + minutes.to_f64() / 60.0 + seconds.to_f64() / 3600.0;
    let Value::Ascii(letters) = value(exif, side)? else {
        return None;
    };
    match letters.first()?.first()?.to_ascii_uppercase() {
        letter if letter == positive => Some(magnitude),
        letter if letter == negative => Some(-magnitude),
        _ => None,
    }
}

fn camera(exif: &exif::Exif) -> Option<String> {
    let make = text(exif, Tag::Make).unwrap_or_default();
    let model = text(exif, Tag::Model).unwrap_or_default();
    // Many models repeat the make, or the part of it that people say: NIKON CORPORATION, NIKON D90.
    let brand = make.split_whitespace().next().unwrap_or_default();
    let repeated = model
        .get(..brand.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(brand));
    let camera = if repeated && !model.is_empty() {
        model
    } else {
        format!("{make} {model}")
    };
    let camera = camera.trim();
    (!camera.is_empty()).then(|| camera.to_owned())
}

/// A text without its padding of spaces and zero bytes.
fn text(exif: &exif::Exif, tag: Tag) -> Option<String> {
    let Value::Ascii(texts) = value(exif, tag)? else {
        return None;
    };
    Some(String::from_utf8_lossy(texts.first()?).trim().to_owned())
}

fn value(exif: &exif::Exif, tag: Tag) -> Option<&Value> {
    exif.get_field(tag, In::PRIMARY).map(|field| &field.value)
}

#[cfg(test)]
mod tests {
    use exif::experimental::Writer;
    use exif::{Field, Rational};

    use super::*;

    /// A TIFF file, which is nothing but EXIF data.
    fn read(fields: &[(Tag, Value)]) -> ExifFields {
        let fields: Vec<Field> = fields
            .iter()
            .map(|(tag, value)| Field {
                tag: *tag,
                ifd_num: In::PRIMARY,
                value: value.clone(),
            })
            .collect();
        let mut writer = Writer::new();
        for field in &fields {
            writer.push_field(field);
        }
        let mut file = Cursor::new(Vec::new());
        writer.write(&mut file, false).unwrap();
        ExifFields::read(file.get_ref())
    }

    fn ascii(text: &str) -> Value {
        Value::Ascii(vec![text.as_bytes().to_vec()])
    }

    fn rationals(parts: [(u32, u32); 3]) -> Value {
        Value::Rational(parts.map(|(num, denom)| Rational { num, denom }).to_vec())
    }

    fn position(latitude: [(u32, u32); 3], longitude: [(u32, u32); 3]) -> Option<GpsPosition> {
        read(&[
            (Tag::GPSLatitude, rationals(latitude)),
            (Tag::GPSLatitudeRef, ascii("S")),
            (Tag::GPSLongitude, rationals(longitude)),
            (Tag::GPSLongitudeRef, ascii("E")),
        ])
        .gps
    }

    #[test]
    fn the_earliest_valid_time_is_the_capture_time() {
        let time = |fields: &[(Tag, Value)]| read(fields).captured_at.map(|t| t.to_string());
        let edited = (Tag::DateTime, ascii("2021:01:01 00:00:00"));
        let taken = (Tag::DateTimeOriginal, ascii("2019:07:14 18:03:59"));
        let unset = (Tag::DateTimeOriginal, ascii("0000:00:00 00:00:00"));
        let scanned = (Tag::DateTimeDigitized, ascii("2020:02:29 12:00:00"));
        let no_such_day = (Tag::DateTimeDigitized, ascii("2021:02:29 12:00:00"));
        assert_eq!(
            time(&[edited.clone(), taken]).as_deref(),
            Some("2019-07-14T18:03:59")
        );
        assert_eq!(
            time(&[unset, scanned]).as_deref(),
            Some("2020-02-29T12:00:00")
        );
        assert_eq!(
            time(&[no_such_day, edited]).as_deref(),
            Some("2021-01-01T00:00:00")
        );
        assert_eq!(time(&[(Tag::DateTime, ascii("yesterday"))]), None);
    }

    #[test]
    fn positions_are_signed_degrees() {
        let sydney = position(
            [(33, 1), (51, 1), (2484, 100)],
            [(151, 1), (12_924, 1000), (0, 1)],
        );
        let sydney = sydney.unwrap();
        assert!((sydney.latitude - -33.8569).abs() < 1e-9);
        assert!((sydney.longitude - 151.2154).abs() < 1e-9);
    }

    #[test]
    fn impossible_positions_are_absent() {
        let zero = [(0, 1); 3];
        assert!(position([(90, 1), (0, 1), (1, 1)], zero).is_none());
        assert!(position(zero, [(181, 1), (0, 1), (0, 1)]).is_none());
        assert!(position([(0, 0); 3], zero).is_none());
        assert!(position([(1, 0); 3], zero).is_none());
        // Without its letter, a latitude has no sign.
        assert!(read(&[(Tag::GPSLatitude, rationals(zero))]).gps.is_none());
    }

    #[test]
    fn a_camera_is_named_once() {
        let camera = |make: &str, model: &str| {
            read(&[(Tag::Make, ascii(make)), (Tag::Model, ascii(model))]).camera
        };
        assert_eq!(
            camera("Apple", "iPhone 13").as_deref(),
            Some("Apple iPhone 13")
        );
        assert_eq!(
            camera("Canon", "Canon EOS 5D").as_deref(),
            Some("Canon EOS 5D")
        );
        assert_eq!(
            camera("NIKON CORPORATION", "NIKON D90  ").as_deref(),
            Some("NIKON D90")
        );
        assert_eq!(camera("", "X100").as_deref(), Some("X100"));
        assert_eq!(camera("FUJIFILM", " ").as_deref(), Some("FUJIFILM"));
        assert_eq!(camera(" ", ""), None);
    }

    #[test]
    fn a_malformed_field_does_not_hide_the_others() {
        let fields = read(&[
            (Tag::Orientation, Value::Short(vec![99])),
            (Tag::Model, ascii("X100")),
        ]);
        assert_eq!(fields.orientation, Orientation::NoTransforms);
        assert_eq!(fields.camera.as_deref(), Some("X100"));
        assert_eq!(ExifFields::read(b"no picture at all").camera, None);
    }
}
