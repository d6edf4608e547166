use super::files::*;
use super::place;

const EIFFEL: (f64, f64) = (48.8583, 2.2944);
const SYDNEY: (f64, f64) = (-33.8569, 151.2153);

const LATITUDE_REF: u16 = 1;
const LATITUDE: u16 = 2;
const LONGITUDE_REF: u16 = 3;
const LONGITUDE: u16 = 4;
const STATUS: u16 = 9;

/// A JPEG with this GPS directory.
fn gps(fields: &[Entry]) -> Vec<u8> {
    let gps = fields.to_vec();
    jpeg(&[app1_exif(
        &Tiff {
            gps,
            ..Tiff::default()
        }
        .bytes(),
    )])
}

/// Latitude and longitude in fractions, with letters.
fn fractions(
    kind: u16,
    latitude: &[(i64, i64)],
    north: &str,
    longitude: &[(i64, i64)],
    east: &str,
) -> Vec<u8> {
    gps(&[
        ascii(LATITUDE_REF, north),
        rationals(LATITUDE, kind, latitude),
        ascii(LONGITUDE_REF, east),
        rationals(LONGITUDE, kind, longitude),
    ])
}

const PARIS: [[(i64, i64); 3]; 2] = [
    [(48, 1), (51, 1), (2988, 100)],
    [(2, 1), (17, 1), (3984, 100)],
];

#[test]
fn fractions_of_every_kind_are_places() {
    let [latitude, longitude] = PARIS;
    for kind in [RATIONAL, SRATIONAL] {
        assert_eq!(
            place(&fractions(kind, &latitude, "N", &longitude, "E")),
            Some(EIFFEL)
        );
        // Minutes with decimals, with and without seconds; degrees with decimals.
        let minutes = [&[(48, 1), (51_498, 1000)][..], &[(2, 1), (17_664, 1000)]];
        assert_eq!(
            place(&fractions(kind, minutes[0], "N", minutes[1], "E")),
            Some(EIFFEL)
        );
        let padded = [
            &[(48, 1), (51_498, 1000), (0, 1)][..],
            &[(2, 1), (17_664, 1000), (0, 1)],
        ];
        assert_eq!(
            place(&fractions(kind, padded[0], "N", padded[1], "E")),
            Some(EIFFEL)
        );
        let degrees = [&[(488_583, 10_000)][..], &[(22_944, 10_000)]];
        assert_eq!(
            place(&fractions(kind, degrees[0], "N", degrees[1], "E")),
            Some(EIFFEL)
        );
        let padded = [
            &[(488_583, 10_000), (0, 1), (0, 1)][..],
            &[(22_944, 10_000), (0, 1), (0, 1)],
        ];
        assert_eq!(
            place(&fractions(kind, padded[0], "N", padded[1], "E")),
            Some(EIFFEL)
        );
    }
    let south = [(33, 1), (51, 1), (24_984, 1000)];
    let east = [(151, 1), (12, 1), (55_008, 1000)];
    assert_eq!(
        place(&fractions(RATIONAL, &south, "S", &east, "E")),
        Some(SYDNEY)
    );
    assert_eq!(
        place(&fractions(SRATIONAL, &south, "S", &east, "E")),
        Some(SYDNEY)
    );
}

#[test]
fn letters_in_any_spelling_and_type_tell_the_side() {
    let [latitude, longitude] = PARIS;
    for (south, west) in [
        ("S", "W"),
        ("s", "w"),
        ("South", "West"),
        ("SOUTH", "WEST"),
        (" S", "W "),
        ("S\0\0", "W\0"),
    ] {
        let file = fractions(RATIONAL, &latitude, south, &longitude, west);
        assert_eq!(place(&file), Some((-48.8583, -2.2944)), "{south:?}");
    }
    for kind in [BYTE, UNDEFINED, UTF8] {
        let file = gps(&[
            entry(LATITUDE_REF, kind, b"S"),
            rationals(LATITUDE, RATIONAL, &latitude),
            entry(LONGITUDE_REF, kind, b"W\0"),
            rationals(LONGITUDE, RATIONAL, &longitude),
        ]);
        assert_eq!(place(&file), Some((-48.8583, -2.2944)), "type {kind}");
    }
    let numbers = gps(&[
        shorts(LATITUDE_REF, &[u16::from(b'S')]),
        rationals(LATITUDE, RATIONAL, &latitude),
        shorts(LONGITUDE_REF, &[u16::from(b'E')]),
        rationals(LONGITUDE, RATIONAL, &longitude),
    ]);
    assert_eq!(place(&numbers), Some((-48.8583, 2.2944)));
}

/// exiftool makes no position of what has no letters, and adds minutes to negative degrees as if they were positive.
#[test]
fn a_minus_tells_the_side_where_letters_are_missing() {
    let south = [(-33, 1), (51, 1), (24_984, 1000)];
    let all_minus = [(-33, 1), (-51, 1), (-24_984, 1000)];
    let east = [(151, 1), (12, 1), (55_008, 1000)];
    for south in [south, all_minus] {
        let fields = [
            rationals(LATITUDE, SRATIONAL, &south),
            rationals(LONGITUDE, SRATIONAL, &east),
        ];
        assert_eq!(place(&gps(&fields)), Some(SYDNEY));
        // Whoever writes both means the south; and N, where it is always written, means nothing.
        for letter in ["S", "N", "", "?"] {
            assert_eq!(
                place(&fractions(SRATIONAL, &south, letter, &east, "E")),
                Some(SYDNEY),
                "{letter:?}"
            );
        }
    }
    for kind in [FLOAT, DOUBLE] {
        let file = gps(&[
            floats(LATITUDE, kind, &[-33.856_94]),
            floats(LONGITUDE, kind, &[151.215_28]),
        ]);
        assert_eq!(place(&file), Some(SYDNEY), "type {kind}");
    }
    // Without its letter, a number that cannot be negative has no side.
    let [latitude, longitude] = PARIS;
    let file = gps(&[
        rationals(LATITUDE, RATIONAL, &latitude),
        rationals(LONGITUDE, RATIONAL, &longitude),
    ]);
    assert_eq!(place(&file), None);
    assert_eq!(
        place(&fractions(RATIONAL, &latitude, "?", &longitude, "E")),
        None
    );
}

#[test]
fn numbers_of_other_types_and_texts_are_places() {
    let with_letters = |latitude: Entry, longitude: Entry| {
        place(&gps(&[
            ascii(LATITUDE_REF, "N"),
            latitude,
            ascii(LONGITUDE_REF, "E"),
            longitude,
        ]))
    };
    for kind in [FLOAT, DOUBLE] {
        let place = with_letters(
            floats(LATITUDE, kind, &[48.0, 51.0, 29.88]),
            floats(LONGITUDE, kind, &[2.0, 17.0, 39.84]),
        );
        assert_eq!(place, Some(EIFFEL), "type {kind}");
        let place = with_letters(
            floats(LATITUDE, kind, &[48.8583]),
            floats(LONGITUDE, kind, &[2.2944]),
        );
        assert_eq!(place, Some(EIFFEL), "type {kind}");
    }
    assert_eq!(
        with_letters(
            shorts(LATITUDE, &[48, 30, 0]),
            shorts(LONGITUDE, &[2, 15, 0])
        ),
        Some((48.5, 2.25))
    );
    assert_eq!(
        with_letters(longs(LATITUDE, &[48, 30]), longs(LONGITUDE, &[2])),
        Some((48.5, 2.0))
    );
    for (latitude, longitude) in TEXTS {
        let place = with_letters(ascii(LATITUDE, latitude), ascii(LONGITUDE, longitude));
        assert_eq!(place, Some(EIFFEL), "{latitude}");
    }
}

type Carrier = fn(&[u8]) -> Vec<u8>;

/// The same place in texts.
const TEXTS: [(&str, &str); 12] = [
    ("48,51.498N", "2,17.664E"),
    ("48,51,29.88N", "2,17,39.84E"),
    ("48.8583N", "2.2944E"),
    ("48.8583 N", "2.2944 E"),
    ("N 48.8583", "E 2.2944"),
    ("48.8583", "2.2944"),
    ("+48.8583", "+2.2944"),
    ("48.8583 north", "2.2944 East"),
    ("48 deg 51' 29.88\" N", "2 deg 17' 39.84\" E"),
    ("48°51'29.88\"N", "2°17'39.84\"E"),
    // exiftool takes the 1 for minutes.
    ("48/1,51498/1000N", "2/1 17664/1000"),
    ("4.88583e+1", "2.2944e0"),
];

#[test]
fn places_in_xmp_are_read_in_every_form_from_every_kind_of_file() {
    let files: [Carrier; 7] = [
        |packet| jpeg(&[app1_xmp(packet)]),
        |packet| jpeg(&extended_xmp(packet)),
        |packet| png(&[unicode_text("XML:com.adobe.xmp", packet)]),
        |packet| png(&[raw_profile("xmp", packet)]),
        |packet| webp(&[(b"XMP ", packet.to_vec())]),
        |packet| heic(b"mime", "application/rdf+xml", packet),
        |packet| {
            Tiff {
                main: vec![entry(700, UNDEFINED, packet)],
                ..Tiff::default()
            }
            .bytes()
        },
    ];
    for file in files {
        for (latitude, longitude) in TEXTS {
            let packet = coordinates(latitude, longitude, "");
            assert_eq!(place(&file(&packet)), Some(EIFFEL), "{latitude}");
        }
    }
    let south = |latitude: &str, more: &str| {
        place(&jpeg(&[app1_xmp(&coordinates(
            latitude,
            "151.21528",
            more,
        ))]))
    };
    for latitude in [
        "33,51,24.984S",
        "33,51.4164S",
        "-33.85694",
        "−33.85694",
        "33.85694S",
        "-33.85694S",
        "-33,51.4164",
        "33.85694 south",
    ] {
        assert_eq!(south(latitude, ""), Some(SYDNEY), "{latitude}");
    }
    for letter in ["S", "South"] {
        let more = format!("<exif:GPSLatitudeRef>{letter}</exif:GPSLatitudeRef>");
        assert_eq!(south("33.85694", &more), Some(SYDNEY));
    }
    let attributes = "exif:GPSLatitude='48,51.498N' exif:GPSLongitude='2,17.664E'";
    assert_eq!(
        place(&jpeg(&[app1_xmp(&xmp_with_attributes(attributes, ""))])),
        Some(EIFFEL)
    );
}

#[test]
fn exif_counts_before_xmp_unless_its_place_is_none() {
    let [latitude, longitude] = PARIS;
    let sydney = app1_xmp(&coordinates("33,51.4164S", "151,12.9168E", ""));
    let both = |latitude: &[(i64, i64)]| {
        let gps = vec![
            ascii(LATITUDE_REF, "N"),
            rationals(LATITUDE, RATIONAL, latitude),
            ascii(LONGITUDE_REF, "E"),
            rationals(LONGITUDE, RATIONAL, &longitude),
        ];
        let exif = app1_exif(
            &Tiff {
                gps,
                ..Tiff::default()
            }
            .bytes(),
        );
        place(&jpeg(&[sydney.clone(), exif]))
    };
    assert_eq!(both(&latitude), Some(EIFFEL));
    assert_eq!(both(&[(0, 0); 3]), Some(SYDNEY));
}

/// exiftool shows all of these but 0/0, and leaves it to its reader to look at the status.
#[test]
fn what_is_written_without_a_fix_is_no_place() {
    let [latitude, longitude] = PARIS;
    let zero = [(0, 1); 3];
    for kind in [RATIONAL, SRATIONAL] {
        assert_eq!(
            place(&fractions(kind, &[(0, 0); 3], "N", &[(0, 0); 3], "E")),
            None
        );
        assert_eq!(place(&fractions(kind, &zero, "N", &zero, "E")), None);
        assert_eq!(
            place(&fractions(
                kind,
                &[(48, 1), (51, 1), (0, 0)],
                "N",
                &longitude,
                "E"
            )),
            None
        );
        assert_eq!(
            place(&fractions(
                kind,
                &[(90, 1), (0, 1), (1, 1)],
                "N",
                &longitude,
                "E"
            )),
            None
        );
        assert_eq!(
            place(&fractions(kind, &latitude, "N", &[(181, 1)], "E")),
            None
        );
        assert_eq!(
            place(&fractions(
                kind,
                &latitude,
                "N",
                &[(1, 0), (0, 1), (0, 1)],
                "E"
            )),
            None
        );
    }
    for status in ["V", "v", "V\0"] {
        let file = gps(&[
            ascii(LATITUDE_REF, "N"),
            rationals(LATITUDE, RATIONAL, &latitude),
            ascii(LONGITUDE_REF, "E"),
            rationals(LONGITUDE, RATIONAL, &longitude),
            ascii(STATUS, status),
        ]);
        assert_eq!(place(&file), None, "status {status:?}");
        let status = format!(
            "<exif:GPSStatus>{}</exif:GPSStatus>",
            status.trim_end_matches('\0')
        );
        assert_eq!(
            place(&jpeg(&[app1_xmp(&coordinates(
                "48.8583", "2.2944", &status
            ))])),
            None
        );
    }
    for (latitude, longitude) in [
        ("0", "0"),
        ("0,0.0N", "0,0.0E"),
        ("91", "2"),
        ("48", "-180.5"),
        ("nan", "2"),
        ("", ""),
    ] {
        assert_eq!(
            place(&jpeg(&[app1_xmp(&coordinates(latitude, longitude, ""))])),
            None,
            "{latitude}"
        );
    }
}

#[test]
fn the_equator_the_meridian_and_the_poles_are_places() {
    let zero = [(0, 1); 3];
    let [latitude, longitude] = PARIS;
    assert_eq!(
        place(&fractions(RATIONAL, &zero, "N", &longitude, "E")),
        Some((0.0, 2.2944))
    );
    assert_eq!(
        place(&fractions(RATIONAL, &latitude, "N", &zero, "E")),
        Some((48.8583, 0.0))
    );
    assert_eq!(
        place(&fractions(RATIONAL, &[(90, 1)], "S", &[(180, 1)], "W")),
        Some((-90.0, -180.0))
    );
}

#[test]
fn an_active_status_and_a_place_inside_a_structure_change_nothing() {
    let active = "<exif:GPSStatus>A</exif:GPSStatus>";
    let shown = "<Iptc4xmpExt:LocationShown><rdf:Bag><rdf:li rdf:parseType='Resource'>\
        <exif:GPSLatitude>10,0N</exif:GPSLatitude><exif:GPSLongitude>10,0E</exif:GPSLongitude>\
        </rdf:li></rdf:Bag></Iptc4xmpExt:LocationShown>";
    assert_eq!(place(&jpeg(&[app1_xmp(&xmp(shown))])), None);
    let packet = format!(
        "{shown}{active}<exif:GPSLatitude>48,51.498N</exif:GPSLatitude><exif:GPSLongitude>2,17.664E</exif:GPSLongitude>"
    );
    assert_eq!(place(&jpeg(&[app1_xmp(&xmp(&packet))])), Some(EIFFEL));
}

fn coordinates(latitude: &str, longitude: &str, more: &str) -> Vec<u8> {
    let latitude = format!("<exif:GPSLatitude>{latitude}</exif:GPSLatitude>");
    xmp(&format!(
        "{latitude}<exif:GPSLongitude>{longitude}</exif:GPSLongitude>{more}"
    ))
}
