use std::io::Cursor;

use image::{DynamicImage, ImageFormat, Rgb, RgbImage};

use super::files::*;
use super::orientation;
use crate::processor::Encoded;

fn tiff(field: Entry) -> Vec<u8> {
    Tiff {
        main: vec![field],
        ..Tiff::default()
    }
    .bytes()
}

fn packet(number: u8) -> Vec<u8> {
    xmp(&format!("<tiff:Orientation>{number}</tiff:Orientation>"))
}

type NamedChunk = (&'static str, fn(u8) -> Chunk);

/// Chunks of a PNG that say how to turn it.
const CHUNKS: [NamedChunk; 10] = [
    ("EXIF", |number| {
        (b"eXIf", tiff(shorts(ORIENTATION, &[number.into()])))
    }),
    ("EXIF with a JPEG's prefix", |number| {
        (
            b"eXIf",
            app1_exif(&tiff(shorts(ORIENTATION, &[number.into()]))).1,
        )
    }),
    ("EXIF of type LONG", |number| {
        (b"eXIf", tiff(longs(ORIENTATION, &[number.into()])))
    }),
    ("EXIF of type BYTE", |number| {
        (b"eXIf", tiff(entry(ORIENTATION, BYTE, &[number])))
    }),
    ("EXIF in text", |number| {
        (b"eXIf", tiff(ascii(ORIENTATION, &number.to_string())))
    }),
    ("Raw profile type exif", |number| {
        raw_profile(
            "exif",
            &app1_exif(&tiff(shorts(ORIENTATION, &[number.into()]))).1,
        )
    }),
    ("Raw profile type exif without a prefix", |number| {
        raw_profile("exif", &tiff(shorts(ORIENTATION, &[number.into()])))
    }),
    ("Raw profile type APP1", |number| {
        raw_profile(
            "APP1",
            &app1_exif(&tiff(shorts(ORIENTATION, &[number.into()]))).1,
        )
    }),
    ("XMP", |number| {
        unicode_text("XML:com.adobe.xmp", &packet(number))
    }),
    ("XMP as Raw profile type APP1", |number| {
        raw_profile("APP1", &app1_xmp(&packet(number)).1)
    }),
];

#[test]
fn pictures_lie_upright_wherever_their_orientation_is_written() {
    let upright = RgbImage::from_fn(3, 2, |x, y| Rgb([x as u8 * 100, y as u8 * 200, 50]));
    for number in 1..=8 {
        let stored = lying(&upright, number);
        let mut file = Cursor::new(Vec::new());
        stored.write_to(&mut file, ImageFormat::Png).unwrap();
        let file = file.into_inner();
        for (kind, chunk) in CHUNKS {
            // Behind the header.
            let chunk = chunk_bytes(&chunk(number));
            let file = [&file[..33], &chunk, &file[33..]].concat();
            let photo = Encoded::new(file).unwrap().decode().unwrap();
            assert_eq!(photo.rgb, upright, "orientation {number} in {kind}");
        }
    }
}

/// The picture as a camera stores it that then writes `orientation`.
fn lying(upright: &RgbImage, orientation: u8) -> DynamicImage {
    let picture = DynamicImage::from(upright.clone());
    match orientation {
        2 => picture.fliph(),
        3 => picture.rotate180(),
        4 => picture.flipv(),
        5 => picture.fliph().rotate270(),
        6 => picture.rotate270(),
        7 => picture.fliph().rotate90(),
        8 => picture.rotate90(),
        _ => picture,
    }
}

#[test]
fn orientations_are_read_from_every_kind_of_file() {
    for number in 1..=8 {
        let exif = tiff(shorts(ORIENTATION, &[number.into()]));
        let packet = packet(number);
        let attribute = format!("tiff:Orientation='{number}'");
        let resources = photoshop(0x0422, &exif);
        let files = [
            jpeg(&[app1_exif(&exif)]),
            jpeg(&[app1_xmp(&xmp("")), app1_exif(&exif)]),
            jpeg(&[app1_exif(&Tiff::default().bytes()), app1_exif(&exif)]),
            jpeg(&[app1_xmp(&packet)]),
            jpeg(&[app1_xmp(&xmp_with_attributes(&attribute, ""))]),
            jpeg(&[app13(&resources)]),
            webp(&[(b"EXIF", exif.clone())]),
            webp(&[(b"EXIF", app1_exif(&exif).1)]),
            webp(&[(b"XMP ", packet.clone())]),
            Tiff {
                big_endian: true,
                main: vec![shorts(ORIENTATION, &[number.into()])],
                ..Tiff::default()
            }
            .bytes(),
            Tiff {
                long_offsets: true,
                main: vec![shorts(ORIENTATION, &[number.into()])],
                ..Tiff::default()
            }
            .bytes(),
            Tiff {
                main: vec![entry(700, BYTE, &packet)],
                ..Tiff::default()
            }
            .bytes(),
            exif,
        ];
        for (at, file) in files.iter().enumerate() {
            assert_eq!(orientation(file), number, "file {at}");
        }
    }
}

#[test]
fn exif_says_which_way_is_up_before_xmp_does() {
    let both = |number: u16| {
        let exif = app1_exif(&tiff(shorts(ORIENTATION, &[number])));
        orientation(&jpeg(&[app1_xmp(&packet(6)), exif]))
    };
    assert_eq!(both(1), 1);
    assert_eq!(both(8), 8);
    // These are none.
    assert_eq!(both(0), 6);
    assert_eq!(both(9), 6);
    let first = app1_exif(&tiff(shorts(ORIENTATION, &[3])));
    let second = app1_exif(&tiff(shorts(ORIENTATION, &[6])));
    assert_eq!(orientation(&jpeg(&[first, second])), 3);
}

#[test]
fn numbers_that_are_no_orientation_turn_nothing() {
    for field in [
        shorts(ORIENTATION, &[0]),
        shorts(ORIENTATION, &[9]),
        longs(ORIENTATION, &[0x0106]),
        shorts(ORIENTATION, &[]),
        ascii(ORIENTATION, "Rotate 90 CW"),
        rationals(ORIENTATION, RATIONAL, &[(13, 2)]),
    ] {
        assert_eq!(orientation(&tiff(field)), 1);
    }
    for number in ["0", "9", "-1", "six", ""] {
        let packet = xmp(&format!("<tiff:Orientation>{number}</tiff:Orientation>"));
        assert_eq!(orientation(&jpeg(&[app1_xmp(&packet)])), 1, "{number:?}");
    }
}

#[test]
fn a_thumbnails_orientation_is_not_the_pictures() {
    let thumbnail = Tiff {
        next: vec![shorts(ORIENTATION, &[6])],
        ..Tiff::default()
    };
    assert_eq!(orientation(&jpeg(&[app1_exif(&thumbnail.bytes())])), 1);
    assert_eq!(orientation(&thumbnail.bytes()), 1);
    // A TIFF file whose first page is marked as a smaller copy of the second.
    let reduced = |number| vec![longs(0x00fe, &[1]), shorts(ORIENTATION, &[number])];
    let full = |number| vec![shorts(ORIENTATION, &[number])];
    let tiff = |main, next| {
        Tiff {
            main,
            next,
            ..Tiff::default()
        }
        .bytes()
    };
    assert_eq!(orientation(&tiff(reduced(6), full(3))), 3);
    assert_eq!(orientation(&tiff(full(3), reduced(6))), 3);
    assert_eq!(orientation(&tiff(reduced(3), reduced(6))), 3);
}
