//! Filters: which photos pass, what is refused, and what is said when nothing is left.

use std::fs::File;
use std::io::Cursor;
use std::path::Path;
use std::time::{Duration, SystemTime};

use exif::experimental::Writer;
use exif::{Field, In, Rational, Tag, Value};
use image::codecs::jpeg::JpegEncoder;
use image::{ImageEncoder, Rgb, RgbImage};

use super::{World, fixture, paths, refused};

/// Noon of 2022-03-01, UTC: the same day in almost any time zone.
const SCANNED: u64 = 1_646_136_000;

/// Two photos by cameras and a scan that knows of nothing but its size.
fn world() -> World {
    World::of(|photos| {
        photo(
            &photos.join("2023/paris.jpg"),
            (64, 48),
            &[
                (Tag::DateTimeOriginal, ascii("2023:07:14 18:30:00")),
                (Tag::Make, ascii("Apple")),
                (Tag::Model, ascii("iPhone 13")),
                (Tag::GPSLatitude, degrees([(48, 1), (51, 1), (3024, 100)])),
                (Tag::GPSLatitudeRef, ascii("N")),
                (Tag::GPSLongitude, degrees([(2, 1), (17, 1), (4020, 100)])),
                (Tag::GPSLongitudeRef, ascii("E")),
            ],
        );
        photo(
            &photos.join("2024/fiji.JPG"),
            (96, 128),
            &[
                (Tag::DateTimeOriginal, ascii("2024:01:01 00:00:00")),
                (Tag::Make, ascii("Canon")),
                (Tag::Model, ascii("Canon EOS 5D")),
                (Tag::GPSLatitude, degrees([(16, 1), (48, 1), (0, 1)])),
                (Tag::GPSLatitudeRef, ascii("S")),
                (Tag::GPSLongitude, degrees([(179, 1), (54, 1), (0, 1)])),
                (Tag::GPSLongitudeRef, ascii("W")),
            ],
        );
        let scan = photos.join("scan.png");
        std::fs::copy(fixture("pixels/square.png"), &scan).expect("copies");
        File::options()
            .write(true)
            .open(&scan)
            .and_then(|file| {
                file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(SCANNED))
            })
            .expect("sets the time");
    })
}

/// Writes a JPEG with EXIF data.
fn photo(path: &Path, (width, height): (u32, u32), fields: &[(Tag, Value)]) {
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
    let mut exif = Cursor::new(Vec::new());
    writer.write(&mut exif, false).expect("writes");

    std::fs::create_dir_all(path.parent().expect("has a parent")).expect("creates");
    let picture = RgbImage::from_fn(width, height, |x, y| Rgb([x as u8, y as u8, width as u8]));
    let mut encoder = JpegEncoder::new(File::create(path).expect("creates"));
    encoder
        .set_exif_metadata(exif.into_inner())
        .expect("JPEG has EXIF data");
    encoder.encode_image(&picture).expect("encodes");
}

fn ascii(text: &str) -> Value {
    Value::Ascii(vec![text.as_bytes().to_vec()])
}

fn degrees(parts: [(u32, u32); 3]) -> Value {
    Value::Rational(parts.map(|(num, denom)| Rational { num, denom }).to_vec())
}

#[test]
fn filters_leave_the_photos_that_pass_all_of_them() {
    let world = world();
    let photos = world
        .dir
        .path()
        .join("photos")
        .canonicalize()
        .expect("is there");
    let below = photos.join("202?/**").display().to_string();
    let found = |filters: &[&str]| {
        let mut command = world.bt_query(["a cat", "--no-rerank", "-f"]);
        let output = command.args(filters).assert().get_output().clone();
        let lines = String::from_utf8(output.stdout).expect("UTF-8");
        let mut names: Vec<String> = lines
            .lines()
            .map(|line| {
                let name = Path::new(line).file_stem().expect("a name");
                name.to_string_lossy().into_owned()
            })
            .collect();
        names.sort();
        let code = i32::from(names.is_empty());
        assert_eq!(output.status.code(), Some(code), "{filters:?}");
        names
    };
    let cases: &[(&[&str], &[&str])] = &[
        (&[], &["fiji", "paris", "scan"]),
        // Times: from the one it names, up to the one it names.
        (&["--after", "2023"], &["fiji", "paris"]),
        (&["--after", "2024"], &["fiji"]),
        (&["--before", "2024"], &["paris", "scan"]),
        (&["--after", "2023", "--before", "2024"], &["paris"]),
        (
            &["--after", "2023-07-14 18:30", "--before", "2024-01-01"],
            &["paris"],
        ),
        (&["--after", "2023-07-14 18:31", "--before", "2024-01"], &[]),
        (&["--after", "yesterday"], &[]),
        (&["--before", "2 days ago"], &["fiji", "paris", "scan"]),
        // The scan has the time of its file.
        (
            &["--after", "2022-02-28", "--before", "2022-03-03"],
            &["scan"],
        ),
        // Places: the Eiffel Tower, 4 km west of Notre-Dame; over the antimeridian; all of Earth.
        (&["--near", "48.853,2.35,5"], &["paris"]),
        (&["--near", "48.853,2.35,3"], &[]),
        (&["--near", "-16.8,179.9,25"], &["fiji"]),
        (&["--near", "-16.8,179.9,20"], &[]),
        (&["--near=-90,0,20000"], &["fiji", "paris"]),
        // Cameras.
        (&["--camera", "IPHONE"], &["paris"]),
        (&["--camera", "apple"], &["paris"]),
        (&["--camera", "eos 5d"], &["fiji"]),
        (&["--camera", "nikon"], &[]),
        // Paths.
        (&["--path", "*.jpg"], &["fiji", "paris"]),
        (&["--path", "2023/**"], &["paris"]),
        (&["--path", "2023"], &["paris"]),
        (&["--path", &below], &["fiji", "paris"]),
        (&["--path", "*.png", "--path", "2024/*"], &["fiji", "scan"]),
        // Sizes: the scan has 77 × 77 pixels.
        (&["--min-size", "77"], &["fiji", "scan"]),
        (&["--min-size", "64x48"], &["fiji", "paris", "scan"]),
        (&["--min-size", "0.01MP"], &["fiji"]),
        // All together.
        (
            &[
                "--after",
                "2023",
                "--path",
                "*.jpg",
                "--camera",
                "canon",
                "--near",
                "-17,180,100",
            ],
            &["fiji"],
        ),
        (&["--after", "2024", "--camera", "apple"], &[]),
    ];
    for (filters, expected) in cases {
        assert_eq!(found(filters), *expected, "{filters:?}");
    }
}

#[test]
fn filters_go_with_reranking_and_come_from_the_environment() {
    let world = world();
    let hits = world.hits(["a cat", "--camera", "canon"]);
    assert!(hits[0]["match_probability"].is_f64());
    assert!(paths(&hits)[0].ends_with("fiji.JPG"));
    assert_eq!(hits.len(), 1);
    for (name, value, left) in [
        ("BT_AFTER", "2024", 1),
        ("BT_BEFORE", "2024", 2),
        ("BT_NEAR", "48.853,2.35,5", 1),
        ("BT_CAMERA", "canon", 1),
        ("BT_PATH", "*.{jpg,gif}", 2),
        ("BT_MIN_SIZE", "1", 3),
    ] {
        let mut command = world.bt_query(["a cat", "--no-rerank", "-f"]);
        let lines = super::stdout(command.env(name, value));
        assert_eq!(lines.lines().count(), left, "{name}");
    }
}

#[test]
fn a_filter_that_leaves_nothing_says_so() {
    let world = world();
    let stderr = |arguments: &[&str]| {
        let mut command = world.bt_query(["a cat", "--rerank", "1"]);
        let output = command
            .args(arguments)
            .assert()
            .code(1)
            .get_output()
            .clone();
        assert!(output.stdout.is_empty());
        String::from_utf8(output.stderr).expect("UTF-8")
    };
    assert_eq!(
        stderr(&["--after", "2025", "--min-score", "0.5"]),
        "warning: nothing found: the filters left 0 of 3 photos\n"
    );
    let both = stderr(&["--camera", "canon", "--min-score", "1"]);
    assert!(both.contains("none of 1 candidate matches"), "{both}");
    assert!(both.contains("the filters left 1 of 3 photos"), "{both}");
    assert_eq!(stderr(&["--near", "0,0,1", "--quiet"]), "");
}

/// Before the index or a model is looked for: there is neither here.
#[test]
fn impossible_filters_are_refused_with_what_is_possible() {
    let nowhere = tempfile::tempdir().expect("tempdir");
    let cases: &[(&[&str], &str, &str)] = &[
        (&["--near", "200,2,10"], "--near: latitude 200", "48.858"),
        (&["--near", "48.8,2.3"], "--near: \"48.8,2.3\"", "48.858"),
        (&["--near", "48.8,2.3,nan"], "NaN km", "48.858"),
        (
            &["--after", "2024-13"],
            "--after: \"2024-13\" is not a date",
            "2024-06-15",
        ),
        (
            &["--before", "last summer"],
            "--before: \"last summer\"",
            "2 weeks ago",
        ),
        (
            &["--after", "2024", "--before", "2023"],
            "no photo can be captured",
            "--after 2023 --before 2024",
        ),
        (
            &["--after", "2024", "--before", "2024"],
            "no photo can be captured",
            "excludes",
        ),
        (
            &["--path", "*.jpg", "--path", "IMG_[0-9"],
            "--path: \"IMG_[0-9\"",
            "2023/**",
        ),
        (&["--path", "./x.jpg"], "--path: \"./x.jpg\"", "2023/**"),
        (&["--min-size", "huge"], "--min-size: \"huge\"", "12MP"),
        (&["--camera", ""], "camera's name is empty", "iphone"),
    ];
    for (filters, what, hint) in cases {
        let mut command = super::bt_query();
        command
            .args(["a cat", "--model", "./no-such-model"])
            .args(*filters)
            .env("BT_INDEX", nowhere.path());
        let stderr = refused(&mut command, what);
        let lines: Vec<&str> = stderr.lines().collect();
        assert_eq!(lines.len(), 2, "{stderr}");
        assert!(
            lines[1].starts_with("hint: ") && lines[1].contains(hint),
            "{stderr}"
        );
    }
}

#[test]
fn the_help_tells_what_filters_take() {
    let help = super::stdout(super::bt_query().arg("--help"));
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "Filters",
        "--after 2023 --before 2024",
        "LAT,LON,KM",
        "12MP",
        "BT_AFTER",
        "BT_MIN_SIZE",
    ] {
        assert!(help.contains(part), "{part}: {help}");
    }
}
