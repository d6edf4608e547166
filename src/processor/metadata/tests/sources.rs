//! Which source of a date counts, and XMP in every way of writing it.

use super::captured_at;
use super::files::*;

const TAKEN: &str = "2014-03-05T07:05:09";

/// All sources of a date, the most trustworthy first; each says another year, from 2001 on.
const SOURCES: usize = 15;

/// A PNG with these sources, the others absent or with an impossible date.
fn png_with(sources: std::ops::Range<usize>, others: Option<&str>) -> Vec<u8> {
    let date = |source: usize| match others {
        _ if sources.contains(&source) => Some(format!("{}-06-07T08:09:10", 2001 + source)),
        others => others.map(str::to_owned),
    };
    let field = |tag: u16, source| date(source).map(|date| ascii(tag, &date));
    let property = |name: &str, source| {
        date(source).map_or(String::new(), |date| format!("<{name}>{date}</{name}>"))
    };
    let record = |number: u8, source| date(source).map(|date| (number, date));
    let text_of = |keyword: &str, source| date(source).map(|date| text(keyword, &date));

    let fields = [
        field(DATE_TIME_ORIGINAL, 0),
        field(DATE_TIME_DIGITIZED, 5),
        field(DATE_TIME, 10),
    ];
    let satellites = date(13).map(|date| {
        let (day, _) = date.split_at(10);
        vec![
            ascii(29, day),
            rationals(7, RATIONAL, &[(8, 1), (9, 1), (1099, 100)]),
        ]
    });
    let exif = Tiff {
        exif: fields.into_iter().flatten().collect(),
        gps: satellites.unwrap_or_default(),
        ..Tiff::default()
    };
    let packet = [
        ("tiff:DateTime", 12),
        ("xmp:ModifyDate", 11),
        ("exif:DateTimeDigitized", 7),
        ("xmp:CreateDate", 6),
        ("photoshop:DateCreated", 2),
        ("exif:DateTimeOriginal", 1),
    ];
    let packet: String = packet.map(|(name, source)| property(name, source)).concat();
    let records: Vec<_> = [record(62, 8), record(55, 3)]
        .into_iter()
        .flatten()
        .collect();
    let records: Vec<_> = records
        .iter()
        .map(|(number, date)| (*number, date.as_str()))
        .collect();
    let clock = [
        u8::try_from(2015 >> 8).unwrap(),
        2015_u16 as u8,
        6,
        7,
        8,
        9,
        10,
    ];
    let chunks = [
        sources.contains(&14).then(|| (b"tIME", clock.to_vec())),
        text_of("Creation Time", 9),
        text_of("exif:DateTimeOriginal", 4),
        Some(raw_profile("iptc", &photoshop(0x0404, &iptc(&records)))),
        Some(unicode_text("XML:com.adobe.xmp", &xmp(&packet))),
        Some((b"eXIf", exif.bytes())),
    ];
    png(&chunks.into_iter().flatten().collect::<Vec<_>>())
}

#[test]
fn the_shutters_time_counts_first_then_digitising_then_changes() {
    for source in 0..SOURCES {
        let expected = format!("{}-06-07T08:09:10", 2001 + source);
        let absent = png_with(source..SOURCES, None);
        assert_eq!(
            captured_at(&absent),
            expected,
            "source {source}, those above absent"
        );
        let impossible = png_with(source..SOURCES, Some("2000-02-30T00:00:00"));
        assert_eq!(
            captured_at(&impossible),
            expected,
            "source {source}, those above impossible"
        );
    }
    assert_eq!(
        captured_at(&png_with(0..0, Some("0000:00:00 00:00:00"))),
        ""
    );
}

#[test]
fn an_impossible_date_gives_way_to_one_in_another_directory() {
    let file = Tiff {
        exif: vec![ascii(DATE_TIME_ORIGINAL, "0000:00:00 00:00:00")],
        main: vec![
            ascii(DATE_TIME, "2019:01:01 00:00:00"),
            ascii(DATE_TIME_ORIGINAL, "2014:03:05 07:05:09"),
        ],
        ..Tiff::default()
    };
    assert_eq!(captured_at(&file.bytes()), TAKEN);
}

#[test]
fn a_date_of_something_else_in_xmp_is_not_the_photos() {
    let history = "<xmpMM:DerivedFrom rdf:parseType='Resource'>\
        <exif:DateTimeOriginal>2001-01-01</exif:DateTimeOriginal></xmpMM:DerivedFrom>";
    let foreign =
        "<rdf:Description xmlns:exif='http://example.org/' exif:DateTimeOriginal='2001-01-01'/>";
    for packet in [history, foreign] {
        assert_eq!(captured_at(&jpeg(&[app1_xmp(&xmp(packet))])), "");
        let both = format!("{packet}<xmp:CreateDate>2014-03-05T07:05:09</xmp:CreateDate>");
        assert_eq!(captured_at(&jpeg(&[app1_xmp(&xmp(&both))])), TAKEN);
    }
}

#[test]
fn xmp_is_read_in_every_way_of_writing_it() {
    let date = "2014-03-05T07:05:09";
    let list = format!("<rdf:Seq><rdf:li>{date}</rdf:li><rdf:li>2001-01-01</rdf:li></rdf:Seq>");
    let properties = [
        format!("<exif:DateTimeOriginal>{list}</exif:DateTimeOriginal>"),
        format!("<exif:DateTimeOriginal>\n  {date}\n</exif:DateTimeOriginal>"),
        format!("<exif:DateTimeOriginal><![CDATA[{date}]]></exif:DateTimeOriginal>"),
        "<exif:DateTimeOriginal>&#50;014-03-05T07&#x3a;05:09</exif:DateTimeOriginal>".to_owned(),
        format!("<exif:DateTimeOriginal/><exif:DateTimeOriginal>{date}</exif:DateTimeOriginal>"),
        format!(
            "<e:DateTimeOriginal xmlns:e='http://ns.adobe.com/exif/1.0/'>{date}</e:DateTimeOriginal>"
        ),
        format!(
            "<DateTimeOriginal xmlns='http://ns.adobe.com/exif/1.0/'>{date}</DateTimeOriginal>"
        ),
        // Broken behind the property, or all around it.
        format!("<exif:DateTimeOriginal>{date}</exif:DateTimeOriginal></x></y><a b=c & <"),
        format!("<xmp:Rating>5</xmp:Label><exif:DateTimeOriginal>{date}"),
    ];
    for property in &properties {
        assert_eq!(
            captured_at(&jpeg(&[app1_xmp(&xmp(property))])),
            TAKEN,
            "{property}"
        );
    }
    // Without declarations, without a frame, and in UTF-16.
    let bare = format!("<xap:CreateDate>{date}</xap:CreateDate>");
    assert_eq!(captured_at(&gif(bare.as_bytes())), TAKEN);
    let bare = format!("<exif:DateTimeOriginal>{date}</exif:DateTimeOriginal>");
    assert_eq!(captured_at(&gif(bare.as_bytes())), TAKEN);
    let packet = String::from_utf8(xmp(&bare)).unwrap();
    let big_endian: Vec<u8> = packet.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let little_endian: Vec<u8> = packet.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for packet in [big_endian, little_endian] {
        assert_eq!(captured_at(&webp(&[(b"XMP ", packet)])), TAKEN);
    }
}
