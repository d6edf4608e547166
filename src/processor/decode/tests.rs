use std::io::Cursor;
use std::path::PathBuf;

use image::codecs::webp::WebPEncoder;
use image::{ImageEncoder, ImageFormat, Rgb};

use super::*;
use crate::processor::shared;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/pixels")
        .join(name)
}

fn decode(name: &str) -> DecodedPhoto {
    Encoded::read(&fixture(name)).unwrap().decode().unwrap()
}

fn encode(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    picture.write_to(&mut file, format).unwrap();
    file.into_inner()
}

fn reason(bytes: Vec<u8>) -> String {
    match Encoded::new(bytes).unwrap().decode() {
        Err(Error::Photo { reason }) => reason,
        other => panic!("should be refused: {other:?}"),
    }
}

#[test]
fn names_of_photos_are_recognised() {
    for name in ["a.jpg", "a.JPEG", "b.c.WebP", "x.heic", "é 日本.png"] {
        assert!(is_photo(Path::new(name)), "{name}");
    }
    for name in ["jpg", ".jpg", "a.jpg.txt", "a.mp4", "a."] {
        assert!(!is_photo(Path::new(name)), "{name}");
    }
}

#[cfg(unix)]
#[test]
fn a_pipe_named_like_a_photo_is_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe.jpg");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || send.send(Encoded::read(&pipe).map(drop)));
    let waited = receive.recv_timeout(std::time::Duration::from_secs(20));
    let refused = waited.expect("does not block").expect_err("no photo");
    assert!(refused.to_string().contains("a pipe"), "{refused}");
}

#[test]
fn every_orientation_is_turned_upright() {
    let upright = decode("orientation-1.png");
    assert_eq!((upright.metadata.width, upright.metadata.height), (7, 5));
    for tag in 2..=8 {
        let turned = decode(&format!("orientation-{tag}.png"));
        assert_eq!(turned.rgb, upright.rgb, "orientation {tag}");
        assert_eq!(turned.metadata, upright.metadata, "orientation {tag}");
    }
}

#[test]
fn exif_with_the_prefix_of_jpeg_is_read_from_a_webp() {
    let orientation_6 = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
    let mut file = Vec::new();
    let mut encoder = WebPEncoder::new_lossless(&mut file);
    encoder.set_exif_metadata(orientation_6.to_vec()).unwrap();
    RgbImage::new(7, 5).write_with_encoder(encoder).unwrap();
    let photo = Encoded::new(file).unwrap().decode().unwrap();
    assert_eq!(photo.rgb.dimensions(), (5, 7));
}

#[test]
fn a_jpegs_exif_data_is_read() {
    let photo = decode("exif.jpg");
    let gps = photo.metadata.gps.unwrap();
    assert!((gps.latitude - -33.8569).abs() < 1e-6 && (gps.longitude - 151.2154).abs() < 1e-6);
    assert_eq!(photo.metadata.camera.as_deref(), Some("NIKON D90"));
    assert_eq!(
        photo.metadata.captured_at.unwrap().to_string(),
        "2019-07-14T18:03:59"
    );
    // Stored as 24x16, lying on its side.
    assert_eq!((photo.metadata.width, photo.metadata.height), (16, 24));
}

#[test]
fn cmyk_as_adobe_writes_it_keeps_its_colour() {
    let photo = decode("cmyk.jpg");
    for (value, expected) in photo
        .rgb
        .get_pixel(12, 8)
        .0
        .into_iter()
        .zip([200u8, 40, 90])
    {
        assert!(
            value.abs_diff(expected) <= 2,
            "{value} instead of {expected}"
        );
    }
}

#[test]
fn every_format_is_told_from_its_content() {
    let picture = DynamicImage::ImageRgb8(RgbImage::from_pixel(9, 4, Rgb([255, 0, 0])));
    for format in [
        ImageFormat::Bmp,
        ImageFormat::Gif,
        ImageFormat::Jpeg,
        ImageFormat::Png,
        ImageFormat::Tiff,
        ImageFormat::WebP,
    ] {
        let photo = Encoded::new(encode(&picture, format))
            .unwrap()
            .decode()
            .unwrap();
        assert_eq!(photo.rgb.dimensions(), (9, 4), "{format:?}");
        assert!(photo.rgb.get_pixel(8, 3)[0] > 250, "{format:?}");
    }
}

#[test]
fn transparency_shows_white_gray_is_repeated_and_16_bits_are_scaled() {
    let pixel = |picture: DynamicImage| {
        let bytes = encode(&picture, ImageFormat::Png);
        let photo = Encoded::new(bytes).unwrap().decode().unwrap();
        photo.rgb.get_pixel(0, 0).0
    };
    let clear = image::RgbaImage::from_pixel(1, 1, image::Rgba([10, 20, 30, 0]));
    assert_eq!(pixel(clear.into()), [255; 3]);
    // 51 of 255 is a fifth.
    let faint = image::RgbaImage::from_pixel(1, 1, image::Rgba([10, 20, 255, 51]));
    assert_eq!(pixel(faint.into()), [206, 208, 255]);
    let gray = image::GrayAlphaImage::from_pixel(1, 1, image::LumaA([155, 51]));
    assert_eq!(pixel(gray.into()), [235; 3]);
    let deep = image::ImageBuffer::from_pixel(1, 1, image::Luma([0x8000u16]));
    assert_eq!(pixel(DynamicImage::ImageLuma16(deep)), [128; 3]);
    let deep_and_faint = image::Rgba([0x0a0au16, 0x1414, 0xffff, 0x3333]);
    let deep_and_faint = image::ImageBuffer::from_pixel(1, 1, deep_and_faint);
    assert_eq!(
        pixel(DynamicImage::ImageRgba16(deep_and_faint)),
        [206, 208, 255]
    );
}

#[test]
fn ink_on_transparency_is_seen_whatever_colours_lie_below() {
    // A black cross; all else is transparent, and its colours are another picture.
    let is_ink = |x: u32, y: u32| x == 12 || y == 8;
    let drawing = image::RgbaImage::from_fn(25, 17, |x, y| {
        if is_ink(x, y) {
            image::Rgba([0, 0, 0, 255])
        } else {
            image::Rgba([(x * 10) as u8, 0, (y * 15) as u8, 0])
        }
    });
    for format in [
        ImageFormat::Png,
        ImageFormat::WebP,
        ImageFormat::Tiff,
        ImageFormat::Gif,
    ] {
        let file = encode(&drawing.clone().into(), format);
        let seen = Encoded::new(file).unwrap().decode().unwrap().rgb;
        for (x, y, pixel) in seen.enumerate_pixels() {
            let expected = if is_ink(x, y) { 0 } else { 255 };
            assert_eq!(pixel.0, [expected; 3], "{format:?} at {x}, {y}");
        }
    }
}

#[test]
fn pictures_of_more_memory_than_a_photo_gets_are_refused_before_it_is_taken() {
    // 268 megapixels of 16 bits with opacity: 2.1 GB to a decoder that holds them, in a file of 60 bytes.
    let mut png = encode(&DynamicImage::new_rgba16(1, 1), ImageFormat::Png);
    png[16..24].copy_from_slice(&[0, 0, 0x40, 0, 0, 0, 0x40, 0]);
    let sum = crc32(&png[12..29]).to_be_bytes();
    png[29..33].copy_from_slice(&sum);
    assert_eq!(
        reason(png),
        "decoding takes 774 MB of memory; the limit is 768 MB"
    );
}

/// As PNG has it.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            sum >> 1 ^ if sum & 1 == 1 { 0xedb8_8320 } else { 0 }
        })
    })
}

#[test]
fn what_is_no_photo_is_refused_in_plain_words() {
    assert_eq!(reason(vec![]), "the file is empty");
    assert!(reason(b"just some text, named .jpg".to_vec()).starts_with("not a picture"));
    assert_eq!(
        reason(b"\0\0\x01\0\x01\0icon".to_vec()),
        "image/x-icon files are not supported"
    );
    let mut gif = encode(&DynamicImage::new_rgb8(1, 1), ImageFormat::Gif);
    gif[6..10].copy_from_slice(&[0xff; 4]);
    assert_eq!(
        reason(gif.clone()),
        "the picture has 4294836225 pixels (65535x65535); the limit is 268435456"
    );
    gif[6..10].copy_from_slice(&[0, 0, 5, 0]);
    assert_eq!(reason(gif), "the picture has no pixels: 0x5");
}

#[test]
fn truncated_pngs_are_refused_and_truncated_jpegs_are_not() {
    let picture = RgbImage::from_fn(64, 64, |x, y| Rgb([(x * 4) as u8, (y * 4) as u8, 7]));
    let mut png = encode(&picture.clone().into(), ImageFormat::Png);
    png.truncate(png.len() / 2);
    reason(png);
    let mut jpeg = encode(&picture.into(), ImageFormat::Jpeg);
    jpeg.truncate(jpeg.len() - 20);
    let photo = Encoded::new(jpeg).unwrap().decode().unwrap();
    assert_eq!(photo.rgb.dimensions(), (64, 64));
    assert!(photo.rgb.get_pixel(60, 4)[0] > 200);
}

#[test]
fn no_damage_gets_past_the_decoder() {
    // Every byte of small files, flipped in turn: a picture or a reason, never a panic.
    for name in ["orientation-6.png", "exif.jpg", "cmyk.jpg"] {
        let file = std::fs::read(fixture(name)).unwrap();
        for at in 0..file.len() {
            let mut damaged = file.clone();
            damaged[at] ^= 0xff;
            let result = Encoded::new(damaged).unwrap().decode();
            assert!(
                matches!(result, Ok(_) | Err(Error::Photo { .. })),
                "{name}, byte {at}"
            );
        }
    }
}

#[test]
fn a_panicking_decoder_is_a_broken_photo() {
    let result: Result<()> = shielded(|| panic!("a decoder's bug"));
    assert!(matches!(result, Err(Error::Photo { .. })));
}

#[cfg(not(feature = "heif"))]
#[test]
fn heic_says_which_feature_reads_it() {
    let file = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic".to_vec();
    assert!(reason(file).contains("--features heif"));
}

#[test]
fn odd_files_are_read_where_they_can_be() {
    let Some(folder) = shared("data/odd") else {
        return;
    };
    for (name, size) in [
        ("alpha.png", (200, 150)),
        ("animated.gif", (245, 245)),
        ("animated.webp", (245, 245)),
        ("animated_apng.png", (245, 245)),
        ("bad_exif.jpg", (500, 500)),
        ("cmyk_adobe.jpg", (100, 100)),
        ("exif_landscape_1.jpg", (1800, 1200)),
        ("exif_landscape_6.jpg", (1800, 1200)),
        ("exif_orientation6.webp", (128, 128)),
        ("exif_portrait_6.jpg", (1200, 1800)),
        ("extreme_aspect_4000x3.png", (4000, 3)),
        ("fuzz_panic.webp", (100, 30)),
        ("gray16.png", (64, 64)),
        ("gray8.jpg", (640, 480)),
        ("hopper.bmp", (128, 128)),
        ("name with spaces é 日本.png", (32, 32)),
        ("png_named.jpg", (640, 480)),
        ("png_text_bomb.png", (1, 1)),
        ("progressive_cat.jpg", (320, 240)),
        ("rgb16.tiff", (100, 40)),
        ("stereo.mpo", (640, 480)),
        ("truncated.jpg", (100, 100)),
    ] {
        let photo = Encoded::read(&folder.join(name)).unwrap().decode();
        assert_eq!(photo.unwrap().rgb.dimensions(), size, "{name}");
    }
    for name in [
        "bomb_50000x50000_1bit.png",
        "bomb_dims.gif",
        "bomb_dims.ico",
        "bomb_hdr_only_2e31.png",
        "broken_stream.png",
        "fuzz_oss36829.jpg",
        "text_named.jpg",
        "truncated.png",
        // Ends where its first scan should begin.
        "ultrahdr.jpg",
        "zero_bytes.jpg",
        "zero_width.gif",
    ] {
        let photo = Encoded::read(&folder.join(name)).unwrap().decode();
        assert!(matches!(photo, Err(Error::Photo { .. })), "{name}");
    }
}

#[cfg(feature = "heif")]
#[test]
fn heic_and_avif_are_read_and_turned_once() {
    let Some(folder) = shared("data/odd") else {
        return;
    };
    for (name, size) in [
        ("example.heic", (1280, 854)),
        ("example.avif", (800, 533)),
        ("hopper.avif", (128, 128)),
        ("rot1_irot.avif", (640, 427)),
    ] {
        let photo = Encoded::read(&folder.join(name)).unwrap().decode();
        assert_eq!(photo.unwrap().rgb.dimensions(), size, "{name}");
    }
}
