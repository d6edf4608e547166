use super::camera;
use super::files::*;

fn named(make: &[u8], model: &[u8]) -> Option<String> {
    let main = vec![entry(MAKE, ASCII, make), entry(MODEL, ASCII, model)];
    camera(
        &Tiff {
            main,
            ..Tiff::default()
        }
        .bytes(),
    )
}

#[test]
fn a_camera_is_named_once() {
    for (make, model, expected) in [
        ("Apple", "iPhone 13", Some("Apple iPhone 13")),
        ("Canon", "Canon EOS 5D", Some("Canon EOS 5D")),
        ("NIKON CORPORATION", "NIKON D90  ", Some("NIKON D90")),
        ("", "X100", Some("X100")),
        ("FUJIFILM", " ", Some("FUJIFILM")),
        (" ", "", None),
    ] {
        assert_eq!(
            named(make.as_bytes(), model.as_bytes()).as_deref(),
            expected
        );
    }
}

#[test]
fn a_camera_in_any_type_or_only_in_xmp_is_known() {
    for kind in [ASCII, BYTE, UNDEFINED, UTF8] {
        let main = vec![
            entry(MAKE, kind, b"Apple\0"),
            entry(MODEL, kind, b"iPhone 13\0\0"),
        ];
        let file = Tiff {
            main,
            ..Tiff::default()
        }
        .bytes();
        assert_eq!(
            camera(&file).as_deref(),
            Some("Apple iPhone 13"),
            "type {kind}"
        );
    }
    let texts = png(&[text("Make", "Apple"), packed_text("Model", "iPhone 13")]);
    assert_eq!(camera(&texts).as_deref(), Some("Apple iPhone 13"));
    let elements = xmp("<tiff:Make>Apple</tiff:Make><tiff:Model>iPhone 13</tiff:Model>");
    let attributes = xmp_with_attributes("tiff:Make='Apple' tiff:Model='iPhone 13'", "");
    for packet in [elements, attributes] {
        for file in [
            jpeg(&[app1_xmp(&packet)]),
            png(&[unicode_text("XML:com.adobe.xmp", &packet)]),
            webp(&[(b"XMP ", packet.clone())]),
        ] {
            assert_eq!(camera(&file).as_deref(), Some("Apple iPhone 13"));
        }
        let main = vec![ascii(MAKE, "Canon"), ascii(MODEL, "Canon EOS 5D")];
        let exif = app1_exif(
            &Tiff {
                main,
                ..Tiff::default()
            }
            .bytes(),
        );
        let both = jpeg(&[app1_xmp(&packet), exif]);
        assert_eq!(camera(&both).as_deref(), Some("Canon EOS 5D"));
    }
}

#[test]
fn control_characters_of_a_camera_do_not_reach_the_index() {
    for (model, expected) in [
        (&b"X\x1b[31m100\x07"[..], "X[31m100"),
        (b"X\x1b]0;title\x07100", "X]0;title100"),
        (b"X100\r\n", "X100"),
        (b"X\t100", "X 100"),
        (b"X100\0\x1b[2J", "X100"),
        (b"\0X100", "X100"),
        (b"X\x7f100", "X100"),
        ("X\u{9b}31m100".as_bytes(), "X31m100"),
        ("X\u{202e}001".as_bytes(), "X001"),
        // Latin-1, and UTF-8.
        (b"Cam\xe9ra", "Caméra"),
        ("Caméra 日本".as_bytes(), "Caméra 日本"),
    ] {
        assert_eq!(named(b"", model).as_deref(), Some(expected));
        let text = String::from_utf8_lossy(model).replace('\0', "");
        let packet = xmp(&format!("<tiff:Model>{text}</tiff:Model>"));
        let name = camera(&jpeg(&[app1_xmp(&packet)])).unwrap_or_default();
        assert!(
            !name.contains(|c: char| c.is_control() || c == '\u{202e}'),
            "{name:?}"
        );
    }
    assert_eq!(named(b"\x1b\x07", b"\r\n"), None);
}

#[test]
fn a_camera_with_an_endless_name_is_cut() {
    let name = named(b"", "x".repeat(100_000).as_bytes()).unwrap();
    assert!(name.len() <= 256, "{}", name.len());
}
