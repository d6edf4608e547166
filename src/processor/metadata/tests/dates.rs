use super::captured_at;
use super::files::*;

const TAKEN: &str = "2014-03-05T07:05:09";

/// Forms of a date, and what exiftool reads in them too.
const FORMS: [(&str, &str); 48] = [
    ("2014:03:05 07:05:09", TAKEN),
    ("2014-03-05 07:05:09", TAKEN),
    ("2014/03/05 07:05:09", TAKEN),
    ("2014.03.05 07:05:09", TAKEN),
    ("2014.03.05 07.05.09", TAKEN),
    ("2014:03:05:07:05:09", TAKEN),
    ("2014-03-05-07-05-09", TAKEN),
    ("2014_03_05_07_05_09", TAKEN),
    ("2014 03 05 07 05 09", TAKEN),
    ("2014-03-05T07:05:09", TAKEN),
    ("2014:03:05T07:05:09", TAKEN),
    // The zone changes nothing: the local time is kept.
    ("2014-03-05T07:05:09Z", TAKEN),
    ("2014-03-05T07:05:09+01:00", TAKEN),
    ("2014-03-05T07:05:09-05:00", TAKEN),
    ("2014-03-05T07:05:09.123+01:00", TAKEN),
    ("2014:03:05 07:05:09+01:00", TAKEN),
    ("2014:03:05 07:05:09 -0500", TAKEN),
    ("2014:03:05 07:05:09 DST", TAKEN),
    ("2014:03:05 07:05:09.12", TAKEN),
    ("2014-03-05 07:05:09,5", TAKEN),
    // Padded with spaces or not at all, quoted, with something behind.
    ("2014: 3: 5  7:05:09", TAKEN),
    ("2014: 3: 5  7: 5: 9", TAKEN),
    ("2014:3:5 7:5:9", TAKEN),
    ("  2014:03:05 07:05:09  ", TAKEN),
    ("2014:03:05  07:05:09", TAKEN),
    ("2014:03:05\u{a0}07:05:09", TAKEN),
    ("2014:03:05 07:05:09 junk 9", TAKEN),
    ("\"2014-03-05 07:05:09\"", TAKEN),
    ("2014年03月05日 07:05:09", TAKEN),
    // Without seconds, without a time, without a day.
    ("2014:03:05 07:05", "2014-03-05T07:05:00"),
    ("2014-03-05T07:05", "2014-03-05T07:05:00"),
    ("2014-03-05T07:05Z", "2014-03-05T07:05:00"),
    ("2014-03-05T07:05-05:00", "2014-03-05T07:05:00"),
    ("2014-03-05T07:05+01:00", "2014-03-05T07:05:00"),
    ("2014:03:05", "2014-03-05T00:00:00"),
    ("2014-03-05", "2014-03-05T00:00:00"),
    ("2014/3/5", "2014-03-05T00:00:00"),
    ("2014-03-05+01:00", "2014-03-05T00:00:00"),
    ("2014:03:05   :  :  ", "2014-03-05T00:00:00"),
    ("2014-03", "2014-03-01T00:00:00"),
    ("2014:03:  :  :  :  ", "2014-03-01T00:00:00"),
    ("2014", "2014-01-01T00:00:00"),
    // The next day's first hour.
    ("2014:03:05 24:00:00", "2014-03-06T00:00:00"),
    ("2014:02:28 24:10:00", "2014-03-01T00:10:00"),
    // None at all.
    ("    :  :     :  :  ", ""),
    ("0000:00:00 00:00:00", ""),
    ("0001:01:01 00:00:00", ""),
    ("14:03:05 07:05:09", ""),
];

/// Forms that exiftool shows as they stand, or reads in another way.
const FURTHER_FORMS: [(&str, &str); 29] = [
    ("20140305T070509", TAKEN),
    ("20140305 070509+0100", TAKEN),
    ("20140305070509", TAKEN),
    ("20140305", "2014-03-05T00:00:00"),
    ("05.03.2014 07:05:09", TAKEN),
    ("25/03/2014", "2014-03-25T00:00:00"),
    ("Wed, 05 Mar 2014 07:05:09 GMT", TAKEN),
    ("Wed, 5 Mar 2014 07:05:09 -0500", TAKEN),
    ("Wed Mar  5 07:05:09 2014", TAKEN),
    ("March 5, 2014 7:05:09 AM", TAKEN),
    ("05-Mar-14 07:05:09", TAKEN),
    // exiftool takes no notice of these letters,
    ("2014-03-05 07:05:09 AM", TAKEN),
    ("2014-03-05 07:05:09 pm", "2014-03-05T19:05:09"),
    ("2014/03/05 12:05:09 a.m.", "2014-03-05T00:05:09"),
    // takes this zone for the time of day,
    ("2014-03-05-05:00", "2014-03-05T00:00:00"),
    // leaves the leap second, which our times do not have,
    ("2014:03:05 07:05:60", "2014-03-05T07:05:59"),
    ("2014:12:31 23:59:60", "2014-12-31T23:59:59"),
    // and computes with what cannot be: 30 February is its 2 March.
    ("2014:00:00 00:00:00", ""),
    ("2014:13:05 07:05:09", ""),
    ("2014:02:30 07:05:09", ""),
    ("2014:03:05 25:05:09", ""),
    ("2014:03:05 07:61:09", ""),
    ("2014:03:05 07:05:61", ""),
    ("9999:99:99 99:99:99", ""),
    ("1601-01-01T00:00:00", ""),
    // 5 March or 3 May.
    ("03/05/2014 07:05:09", ""),
    ("yesterday", ""),
    ("2014 was a good year", ""),
    ("", ""),
];

/// A name, and what makes a file of a date.
type Carrier<T> = (&'static str, fn(&T) -> Vec<u8>);

/// Every place in which a date may lie in a file. (Of type BYTE and SHORT, exiftool shows numbers.)
const CARRIERS: [Carrier<str>; 43] = [
    ("EXIF in a JPEG", |date| jpeg(&[exif(ASCII, date)])),
    ("EXIF of type BYTE", |date| jpeg(&[exif(BYTE, date)])),
    ("EXIF of type UNDEFINED", |date| {
        jpeg(&[exif(UNDEFINED, date)])
    }),
    ("EXIF of type UTF-8", |date| jpeg(&[exif(UTF8, date)])),
    ("EXIF in letters of type SHORT", |date| {
        let letters: Vec<u16> = date.bytes().map(u16::from).collect();
        let main = vec![shorts(DATE_TIME_ORIGINAL, &letters)];
        jpeg(&[app1_exif(
            &Tiff {
                main,
                ..Tiff::default()
            }
            .bytes(),
        )])
    }),
    ("DateTimeOriginal in IFD0", |date| {
        let main = vec![ascii(DATE_TIME_ORIGINAL, date)];
        jpeg(&[app1_exif(
            &Tiff {
                main,
                ..Tiff::default()
            }
            .bytes(),
        )])
    }),
    ("DateTimeOriginal in IFD1", |date| {
        let next = vec![ascii(DATE_TIME_ORIGINAL, date)];
        jpeg(&[app1_exif(
            &Tiff {
                next,
                ..Tiff::default()
            }
            .bytes(),
        )])
    }),
    ("DateTime in the EXIF directory", |date| {
        let exif = vec![ascii(DATE_TIME, date)];
        jpeg(&[app1_exif(
            &Tiff {
                exif,
                ..Tiff::default()
            }
            .bytes(),
        )])
    }),
    ("EXIF behind other bytes", |date| {
        let (marker, segment) = exif(ASCII, date);
        jpeg(&[(marker, [b"\0\0", &segment[..]].concat())])
    }),
    ("EXIF with another number than 42", |date| {
        let (marker, mut segment) = exif(ASCII, date);
        segment[8] = 0;
        jpeg(&[(marker, segment)])
    }),
    ("EXIF after XMP", |date| {
        jpeg(&[app1_xmp(&xmp("")), exif(ASCII, date)])
    }),
    ("a second EXIF", |date| {
        jpeg(&[app1_exif(&Tiff::default().bytes()), exif(ASCII, date)])
    }),
    ("EXIF in a PNG", |date| {
        png(&[(b"eXIf", taken(ASCII, date))])
    }),
    ("EXIF in a PNG, with a JPEG's prefix", |date| {
        png(&[(b"eXIf", exif(ASCII, date).1)])
    }),
    ("EXIF in a WebP", |date| {
        webp(&[(b"EXIF", taken(ASCII, date))])
    }),
    ("EXIF in a HEIC", |date| {
        heic(b"Exif", "", &[&[0; 4], &taken(ASCII, date)[..]].concat())
    }),
    ("EXIF in a HEIC, inside the list of items", |date| {
        heic_with_item_data(b"Exif", "", &[&[0; 4], &taken(ASCII, date)[..]].concat())
    }),
    ("a TIFF", |date| taken(ASCII, date)),
    ("a big-endian TIFF", |date| {
        let exif = vec![ascii(DATE_TIME_ORIGINAL, date)];
        Tiff {
            big_endian: true,
            exif,
            ..Tiff::default()
        }
        .bytes()
    }),
    ("a BigTIFF", |date| {
        let exif = vec![ascii(DATE_TIME_ORIGINAL, date)];
        Tiff {
            long_offsets: true,
            exif,
            ..Tiff::default()
        }
        .bytes()
    }),
    ("Raw profile type exif", |date| {
        png(&[raw_profile("exif", &taken(ASCII, date))])
    }),
    ("Raw profile type APP1", |date| {
        png(&[raw_profile("APP1", &exif(ASCII, date).1)])
    }),
    ("an XMP element", |date| {
        jpeg(&[app1_xmp(&element("exif:DateTimeOriginal", date))])
    }),
    ("XMP behind another word", |date| {
        let packet = element("exif:DateTimeOriginal", date);
        jpeg(&[(0xe1, [b"XMP\0", &packet[..]].concat())])
    }),
    ("XMP behind no word", |date| {
        jpeg(&[(0xe1, element("exif:DateTimeOriginal", date))])
    }),
    ("an XMP attribute", |date| {
        jpeg(&[app1_xmp(&xmp_with_attributes(
            &format!("exif:DateTimeOriginal='{}'", escaped(date)),
            "",
        ))])
    }),
    ("XMP under another prefix", |date| {
        let namespace = "xmlns:e='http://ns.adobe.com/exif/1.0/'";
        jpeg(&[app1_xmp(&xmp_with_attributes(
            namespace,
            &format!("<e:DateTimeOriginal>{}</e:DateTimeOriginal>", escaped(date)),
        ))])
    }),
    ("photoshop:DateCreated", |date| {
        jpeg(&[app1_xmp(&element("photoshop:DateCreated", date))])
    }),
    ("xmp:CreateDate", |date| {
        jpeg(&[app1_xmp(&element("xmp:CreateDate", date))])
    }),
    ("extended XMP", |date| {
        jpeg(&extended_xmp(&element("exif:DateTimeOriginal", date)))
    }),
    ("XMP in a PNG", |date| {
        png(&[unicode_text(
            "XML:com.adobe.xmp",
            &element("xmp:CreateDate", date),
        )])
    }),
    ("packed XMP in a PNG", |date| {
        png(&[packed_unicode_text(
            "XML:com.adobe.xmp",
            &element("xmp:CreateDate", date),
        )])
    }),
    ("Raw profile type xmp", |date| {
        png(&[raw_profile("xmp", &element("xmp:CreateDate", date))])
    }),
    ("XMP in a WebP", |date| {
        webp(&[(b"XMP ", element("xmp:CreateDate", date))])
    }),
    ("XMP in a TIFF", |date| {
        let main = vec![entry(700, BYTE, &element("xmp:CreateDate", date))];
        Tiff {
            main,
            ..Tiff::default()
        }
        .bytes()
    }),
    ("XMP in a GIF", |date| gif(&element("xmp:CreateDate", date))),
    ("XMP in a HEIC", |date| {
        heic(
            b"mime",
            "application/rdf+xml",
            &element("xmp:CreateDate", date),
        )
    }),
    ("tEXt create-date", |date| png(&[text("create-date", date)])),
    ("tEXt of an EXIF field", |date| {
        png(&[text("exif:DateTimeOriginal", date)])
    }),
    ("tEXt", |date| png(&[text("Creation Time", date)])),
    ("zTXt", |date| png(&[packed_text("Creation Time", date)])),
    ("iTXt", |date| {
        png(&[unicode_text("Creation Time", date.as_bytes())])
    }),
    ("packed iTXt", |date| {
        png(&[packed_unicode_text("Creation Time", date.as_bytes())])
    }),
];

#[test]
fn dates_in_forms_of_the_field_are_read_from_every_kind_of_file() {
    for (carrier, file) in CARRIERS {
        for (date, expected) in FORMS.iter().chain(&FURTHER_FORMS) {
            assert_eq!(captured_at(&file(date)), *expected, "{date:?} as {carrier}");
        }
    }
}

#[test]
fn a_date_between_zeros_and_junk_is_read() {
    for date in [
        "2014:03:05 07:05:09\0\0\0",
        "2014:03:05 07:05:09\0\x7f1",
        "\0\0 2014:03:05 07:05:09",
        "2014:03:05\x0007:05:09",
    ] {
        assert_eq!(captured_at(&jpeg(&[exif(ASCII, date)])), TAKEN, "{date:?}");
    }
}

#[test]
fn a_date_in_numbers_is_read() {
    let date = |numbers: &[u16]| {
        let exif = vec![shorts(DATE_TIME_ORIGINAL, numbers)];
        captured_at(
            &Tiff {
                exif,
                ..Tiff::default()
            }
            .bytes(),
        )
    };
    assert_eq!(date(&[2014, 3, 5, 7, 5, 9]), TAKEN);
    assert_eq!(date(&[2014, 3, 5]), "2014-03-05T00:00:00");
    assert_eq!(date(&[2014, 13, 5, 7, 5, 9]), "");
    assert_eq!(date(&[7, 5, 9]), "");
}

/// IPTC's date and time, alone and in what other formats make of the block.
#[test]
fn dates_in_iptc_are_read_from_every_kind_of_file() {
    let carriers: [Carrier<[u8]>; 7] = [
        ("JPEG", |records| {
            jpeg(&[app13(&photoshop(0x0404, records))])
        }),
        ("JPEG in two segments", |records| {
            let resources = photoshop(0x0404, records);
            let (first, second) = resources.split_at(40);
            jpeg(&[app13(first), app13(second)])
        }),
        ("PNG", |records| {
            png(&[raw_profile("iptc", &photoshop(0x0404, records))])
        }),
        ("PNG without resources", |records| {
            png(&[raw_profile("iptc", records)])
        }),
        ("TIFF", |records| {
            let main = vec![entry(33723, UNDEFINED, records)];
            Tiff {
                main,
                ..Tiff::default()
            }
            .bytes()
        }),
        ("TIFF in numbers of the other byte order", |records| {
            let numbers = records
                .as_chunks()
                .0
                .iter()
                .map(|bytes| u32::from_le_bytes(*bytes));
            let main = vec![longs(33723, &numbers.collect::<Vec<_>>())];
            Tiff {
                big_endian: true,
                main,
                ..Tiff::default()
            }
            .bytes()
        }),
        ("Photoshop's resources in a TIFF", |records| {
            let main = vec![entry(34377, BYTE, &photoshop(0x0404, records))];
            Tiff {
                main,
                ..Tiff::default()
            }
            .bytes()
        }),
    ];
    let tables: [(&[(u8, &str)], &str); 9] = [
        (&[(55, "20140305"), (60, "070509+0100")], TAKEN),
        (&[(55, "20140305"), (60, "070509")], TAKEN),
        (&[(55, "2014-03-05"), (60, "07:05:09")], TAKEN),
        (&[(55, "20140305")], "2014-03-05T00:00:00"),
        (&[(62, "20140305"), (63, "070509-0500")], TAKEN),
        (&[(62, "20140306"), (55, "20140305"), (60, "070509")], TAKEN),
        (&[(55, "00000000"), (62, "20140305"), (63, "070509")], TAKEN),
        // The month is known, or the year.
        (&[(55, "20140300")], "2014-03-01T00:00:00"),
        (&[(55, "20140000")], "2014-01-01T00:00:00"),
    ];
    for (carrier, file) in carriers {
        for (records, expected) in tables {
            // A caption, so that four bytes always end with the records.
            let mut records = iptc(records);
            records.extend([0x1c, 2, 120, 0, 4, b'a', b' ', b'c', b'a']);
            records.resize(records.len().next_multiple_of(4), 0);
            assert_eq!(
                captured_at(&file(&records)),
                expected,
                "{records:?} in a {carrier}"
            );
        }
    }
}

fn taken(kind: u16, date: &str) -> Vec<u8> {
    let exif = vec![entry(DATE_TIME_ORIGINAL, kind, date.as_bytes())];
    Tiff {
        exif,
        ..Tiff::default()
    }
    .bytes()
}

fn exif(kind: u16, date: &str) -> (u8, Vec<u8>) {
    app1_exif(&taken(kind, date))
}

fn escaped(text: &str) -> String {
    quick_xml::escape::escape(text).into_owned()
}

fn element(name: &str, value: &str) -> Vec<u8> {
    xmp(&format!("<{name}>{}</{name}>", escaped(value)))
}
