//! Files that want to cost time or memory, or to make a reader panic.

use std::time::{Duration, Instant};

use super::files::*;
use super::{camera, captured_at, orientation};
use crate::processor::metadata::EmbeddedMetadata;

/// Generous: each takes a tenth of it without optimisation.
const BOUND: Duration = Duration::from_secs(5);

fn in_time(what: &str, file: &[u8]) -> EmbeddedMetadata {
    let start = Instant::now();
    let metadata = EmbeddedMetadata::read(file);
    let took = start.elapsed();
    assert!(took < BOUND, "{what} took {took:?}");
    metadata
}

#[test]
fn texts_that_unpack_to_gigabytes_are_not_unpacked() {
    let bomb = zlib(&vec![b' '; 64 << 20]);
    let text = [b"Raw profile type exif\0\0", &bomb[..]].concat();
    let date = [b"Creation Time\0\0", &bomb[..]].concat();
    let mut chunks = vec![(b"zTXt", text); 200];
    chunks.extend(vec![(b"zTXt", date); 200]);
    in_time("25 gigabytes", &png(&chunks));
}

#[test]
fn directories_that_lead_in_circles_end() {
    // IFD0 is its own EXIF and GPS directory, and its own successor.
    let mut file = b"II*\0\x08\0\0\0\x02\0".to_vec();
    for tag in [0x8769_u16, 0x8825] {
        file.extend(tag.to_le_bytes());
        file.extend(b"\x04\0\x01\0\0\0\x08\0\0\0");
    }
    file.extend(b"\x08\0\0\0");
    in_time("a circle", &file);
    // Each directory begins two bytes behind the one before.
    let mut file = b"II*\0\x08\0\0\0".to_vec();
    file.resize(1 << 20, 0xff);
    in_time("a directory of 65535 fields", &file);
}

#[test]
fn counts_beyond_the_file_are_none() {
    for count in [u32::MAX, 1 << 31, 0x1000_0000] {
        for kind in 0..20_u16 {
            let mut file = b"MM\0*\0\0\0\x08\0\x02".to_vec();
            file.extend(b"\x01\x10");
            file.extend(kind.to_be_bytes());
            file.extend(count.to_be_bytes());
            file.extend(8_u32.to_be_bytes());
            file.extend(b"\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0");
            assert_eq!(camera(&file), None);
            assert_eq!(orientation(&file), 6);
        }
    }
}

#[test]
fn xml_nested_a_million_deep_is_read() {
    let deep = "<a>".repeat(1 << 20);
    let date = "<xmp:CreateDate>2014-03-05T07:05:09</xmp:CreateDate>";
    let file = Tiff {
        main: vec![entry(700, BYTE, &xmp(&format!("{date}{deep}")))],
        ..Tiff::default()
    };
    assert!(in_time("deep XML", &file.bytes()).captured_at.is_some());
    let many = "<exif:GPSLatitude xmlns:a='b'/>".repeat(200_000);
    let entities = format!(
        "<!DOCTYPE a [<!ENTITY b '{}'>]>{}",
        "x".repeat(1000),
        "&b;".repeat(100_000)
    );
    for packet in [many, entities, format!("<a {}>", "b='c' ".repeat(500_000))] {
        let main = vec![entry(700, BYTE, &xmp(&packet))];
        in_time(
            "wide XML",
            &Tiff {
                main,
                ..Tiff::default()
            }
            .bytes(),
        );
    }
}

#[test]
fn blocks_deep_within_blocks_are_not_read() {
    let nested = |depth: usize| {
        let camera = Tiff {
            main: vec![ascii(MODEL, "X100")],
            ..Tiff::default()
        };
        (0..depth).fold(camera.bytes(), |block, _| {
            let main = vec![entry(34377, BYTE, &photoshop(0x0422, &block))];
            Tiff {
                main,
                ..Tiff::default()
            }
            .bytes()
        })
    };
    assert_eq!(camera(&nested(1)).as_deref(), Some("X100"));
    assert_eq!(camera(&nested(2)), None);
    assert_eq!(camera(&nested(20)), None);
}

#[test]
fn no_more_blocks_are_read_than_any_photo_has() {
    let exif = app1_exif(&taken());
    in_time("60,000 blocks", &jpeg(&vec![exif; 60_000]));
    in_time(
        "60,000 resources",
        &jpeg(&vec![app13(&photoshop(0x0404, &[0x1c; 9])); 60_000]),
    );
}

#[test]
fn no_damage_makes_a_reader_panic() {
    let packet = xmp("<exif:GPSLatitude>48,51.5N</exif:GPSLatitude><tiff:Make>A</tiff:Make>");
    let records = photoshop(0x0404, &iptc(&[(55, "20140305"), (60, "070509")]));
    let files = [
        jpeg(&[app1_exif(&taken()), app1_xmp(&packet), app13(&records)]),
        jpeg(&extended_xmp(&packet)),
        png(&[
            (b"eXIf", taken()),
            text("Creation Time", "2014-03-05"),
            (b"tIME", vec![7, 222, 3, 5, 7, 5, 9]),
        ]),
        png(&[
            raw_profile("exif", &taken()),
            packed_unicode_text("XML:com.adobe.xmp", &packet),
        ]),
        webp(&[(b"EXIF", taken()), (b"XMP ", packet.clone())]),
        gif(&packet),
        heic(b"Exif", "", &[&[0; 4], &taken()[..]].concat()),
        heic(b"mime", "application/rdf+xml", &packet),
        taken(),
        Tiff {
            long_offsets: true,
            main: vec![ascii(MAKE, "A")],
            ..Tiff::default()
        }
        .bytes(),
    ];
    for file in files {
        for at in 0..file.len() {
            for damage in [0x00, 0x7f, 0x80, 0xff] {
                let mut damaged = file.clone();
                damaged[at] = damage;
                EmbeddedMetadata::read(&damaged);
            }
            EmbeddedMetadata::read(&file[..at]);
        }
    }
}

#[test]
fn what_is_left_of_a_cut_file_is_read() {
    let file = jpeg(&[app1_exif(&taken())]);
    assert_eq!(captured_at(&file[..file.len() - 30]), "2014-03-05T07:05:09");
    assert_eq!(camera(b"no picture at all"), None);
    assert_eq!(camera(b""), None);
}

#[test]
fn nothing_is_looked_for_among_a_jpegs_pixels() {
    let mut file = jpeg(&[app1_xmp(&xmp(""))]);
    file.extend(jpeg(&[app1_exif(&taken())]));
    assert_eq!(captured_at(&file), "");
}

fn taken() -> Vec<u8> {
    let main = vec![
        ascii(MAKE, "A"),
        ascii(MODEL, "B"),
        shorts(ORIENTATION, &[6]),
    ];
    let exif = vec![ascii(DATE_TIME_ORIGINAL, "2014:03:05 07:05:09")];
    let gps = vec![
        ascii(1, "N"),
        rationals(2, RATIONAL, &[(48, 1), (51, 1), (30, 1)]),
        ascii(3, "E"),
        rationals(4, RATIONAL, &[(2, 1), (17, 1), (40, 1)]),
        rationals(7, RATIONAL, &[(7, 1), (5, 1), (9, 1)]),
        ascii(29, "2014:03:05"),
    ];
    Tiff {
        main,
        exif,
        gps,
        ..Tiff::default()
    }
    .bytes()
}
