//! The hits' pictures on a terminal of the test's own.

use std::io::Cursor;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::{Rgb, RgbImage};

use super::World;
use super::terminal::{Kind, Seen};

const RED: Rgb<u8> = Rgb([255, 0, 0]);
const BLUE: Rgb<u8> = Rgb([0, 0, 255]);

/// A photo, 80 × 40, whose upper half is red and whose lower half is blue.
fn world() -> World {
    World::of(|photos| {
        let colour = |_, y| if y < 20 { RED } else { BLUE };
        let picture = RgbImage::from_fn(80, 40, colour);
        picture.save(photos.join("flag.png")).expect("writes");
    })
}

fn seen(variables: &[(&str, &str)], answer: &[u8], arguments: &[&str]) -> Seen {
    let kind = Kind {
        rows: 24,
        columns: 80,
        variables,
        answer,
    };
    let arguments = [&["a flag", "--quiet"], arguments].concat();
    Seen::on(&world(), kind, &arguments)
}

/// Fails unless that is the flag in another size.
fn is_flag(picture: &RgbImage, size: (u32, u32)) {
    assert_eq!(picture.dimensions(), size);
    let (width, height) = size;
    for (y, colour) in [
        (0, RED),
        (height / 4, RED),
        (height * 3 / 4, BLUE),
        (height - 1, BLUE),
    ] {
        let found = picture.get_pixel(width / 2, y);
        let differs = |(a, b): (&u8, &u8)| a.abs_diff(*b) > 3;
        assert!(
            !found.0.iter().zip(&colour.0).any(differs),
            "{found:?} at {y}"
        );
    }
}

fn decoded(base64: &str) -> RgbImage {
    let png = STANDARD.decode(base64).expect("base64");
    let reader = image::ImageReader::with_format(Cursor::new(png), image::ImageFormat::Png);
    reader.decode().expect("a PNG").to_rgb8()
}

#[test]
fn kitty_gets_a_png_in_chunks() {
    for variables in [
        [("TERM", "xterm-kitty")],
        [("KITTY_WINDOW_ID", "1")],
        [("TERM_PROGRAM", "ghostty")],
    ] {
        let text = seen(&variables, b"", &["-p"]).text();
        let parts: Vec<&str> = text.split("\x1b_G").skip(1).collect();
        let mut data = String::new();
        for (number, part) in parts.iter().enumerate() {
            let (order, _) = part.split_once("\x1b\\").expect("an end");
            let (keys, chunk) = order.split_once(';').expect("keys");
            let more = u8::from(number + 1 < parts.len());
            let expected = match number {
                0 => format!("a=T,f=100,q=2,m={more}"),
                _ => format!("m={more}"),
            };
            assert_eq!(keys, expected);
            assert!(chunk.len() <= 4096);
            data.push_str(chunk);
        }
        is_flag(&decoded(&data), (800, 400));
    }
}

#[test]
fn iterm2_gets_a_png_of_the_height_asked_for() {
    for variables in [
        [("TERM_PROGRAM", "iTerm.app")],
        [("TERM_PROGRAM", "WezTerm")],
        [("LC_TERMINAL", "iTerm2")],
        [("KONSOLE_VERSION", "220400")],
    ] {
        let text = seen(&variables, b"", &["-p", "-H", "100"]).text();
        let (_, order) = text.split_once("\x1b]1337;File=").expect("a picture");
        let (order, _) = order.split_once('\x07').expect("an end");
        let (keys, data) = order.split_once(':').expect("keys");
        assert!(
            keys.contains("inline=1") && keys.contains("width=200px;height=100px"),
            "{keys}"
        );
        is_flag(&decoded(data), (200, 100));
    }
}

#[test]
fn a_terminal_that_says_it_has_sixels_gets_sixels() {
    let xterm = [("TERM", "xterm-256color")];
    for answer in [&b"\x1b[?62;4;22c"[..], b"\x1b[?64;1;2;4c"] {
        let text = seen(&xterm, answer, &["-p", "-H", "90"]).text();
        is_flag(&from_sixels(&text), (180, 90));
    }
    // Inside tmux, which has its own answer, the terminal outside does not count.
    let tmux = [
        ("TERM", "tmux-256color"),
        ("TMUX", "/tmp/x"),
        ("KITTY_WINDOW_ID", "1"),
    ];
    let text = seen(&tmux, b"\x1b[?1;2;4c", &["-p"]).text();
    assert!(text.contains("\x1bP0;1;0q"), "{text:?}");
}

/// As the manual of the VT340 has it.
fn from_sixels(text: &str) -> RgbImage {
    let (_, data) = text.split_once("\x1bP0;1;0q\"").expect("sixels");
    let (data, _) = data.split_once("\x1b\\").expect("an end");
    let mut rest = data.as_bytes();
    let numbers = |rest: &mut &[u8]| -> Vec<u32> {
        let end = rest.iter().position(|b| !b.is_ascii_digit() && *b != b';');
        let (taken, left) = rest.split_at(end.unwrap_or(rest.len()));
        *rest = left;
        let taken = std::str::from_utf8(taken).expect("digits");
        taken
            .split(';')
            .map(|n| n.parse().expect("a number"))
            .collect()
    };
    let size = numbers(&mut rest);
    let mut picture = RgbImage::new(size[2], size[3]);
    let mut colours = std::collections::HashMap::new();
    let (mut colour, mut x, mut y) = (Rgb([0; 3]), 0, 0);
    while let Some((&letter, left)) = rest.split_first() {
        rest = left;
        let mut run = 1;
        let mut bits = letter;
        match letter {
            b'#' => match numbers(&mut rest)[..] {
                [name] => colour = colours[&name],
                [name, 2, r, g, b] => {
                    let level = |share: u32| (share * 255 / 100) as u8;
                    colours.insert(name, Rgb([r, g, b].map(level)));
                }
                ref other => panic!("{other:?}"),
            },
            b'$' => x = 0,
            b'-' => (x, y) = (0, y + 6),
            b'!' => {
                run = numbers(&mut rest)[0];
                bits = rest[0];
                rest = &rest[1..];
            }
            _ => {}
        }
        if (b'?'..=b'~').contains(&bits) && !matches!(letter, b'#' | b'$' | b'-') {
            for x in x..x + run {
                for bit in (0..6).filter(|bit| (bits - b'?') >> bit & 1 == 1) {
                    picture.put_pixel(x, y + bit, colour);
                }
            }
            x += run;
        }
    }
    picture
}

#[test]
fn a_terminal_with_colours_alone_gets_half_blocks() {
    for (colours, red, blue) in [
        (
            "truecolor",
            vt100::Color::Rgb(255, 0, 0),
            vt100::Color::Rgb(0, 0, 255),
        ),
        ("", vt100::Color::Idx(196), vt100::Color::Idx(21)),
    ] {
        let variables = [("TERM", "xterm-256color"), ("COLORTERM", colours)];
        // A letter takes 10 × 20 pixels here: 6 lines.
        let screen = seen(&variables, b"\x1b[?62;22c", &["-p", "-H", "120"]).screen();
        let cell = |row, column| screen.cell(row, column).expect("is there");
        // The heading and the hit are above.
        for (line, colour) in [(2, red), (3, red), (6, blue), (7, blue)] {
            for column in [0, 12, 23] {
                let cell = cell(line, column);
                assert_eq!(cell.contents(), "▀", "{line} {column}");
                assert_eq!(
                    (cell.fgcolor(), cell.bgcolor()),
                    (colour, colour),
                    "{line} {column}"
                );
            }
        }
        assert_eq!(cell(2, 24).contents(), "");
        assert_eq!(cell(8, 0).contents(), "");
    }
}

#[test]
fn a_preview_that_cannot_be_is_said_so() {
    let dumb = seen(&[("TERM", "dumb")], b"", &["-p"]).text();
    assert!(!dumb.contains('\x1b'), "{dumb:?}");
    let world = world();
    for arguments in [["a flag", "-p"], ["a flag", "--preview=kitty"]] {
        let output = world
            .bt_query(arguments)
            .assert()
            .success()
            .get_output()
            .clone();
        let stderr = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(stderr, "warning: no preview: stdout is not a terminal\n");
        let stdout = String::from_utf8(output.stdout).expect("UTF-8");
        assert!(
            stdout.ends_with("flag.png\n") && !stdout.contains('\x1b'),
            "{stdout:?}"
        );
    }
    for other in ["-f", "-0", "--json", "--csv"] {
        super::refused(
            &mut world.bt_query(["a flag", "-p", other]),
            "cannot be used with",
        );
    }
}

#[test]
fn a_form_that_is_asked_for_needs_no_answer() {
    let text = seen(&[("TERM", "xterm")], b"", &["--preview=kitty"]).text();
    assert!(
        text.contains("\x1b_Ga=T") && !text.contains("\x1b[c"),
        "{text:?}"
    );
}
