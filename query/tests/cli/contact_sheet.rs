//! `bt-query --contact-sheet`: the picture that it draws.

use std::path::Path;

use image::{Rgb, RgbImage};
use serde_json::Value;

use super::{World, paths, refused};

const COLOURS: [(&str, [u8; 3]); 6] = [
    ("red", [200, 40, 40]),
    ("green", [40, 160, 70]),
    ("blue", [50, 80, 200]),
    ("yellow", [230, 200, 50]),
    ("black", [25, 25, 25]),
    ("a-very-long-name-of-a-pink-picture", [230, 150, 200]),
];

/// An index of pictures of one colour each, wide and high ones.
fn world() -> World {
    World::of(|photos| {
        for (i, (name, colour)) in COLOURS.iter().enumerate() {
            let (width, height) = if i % 2 == 0 { (400, 300) } else { (60, 90) };
            let picture = RgbImage::from_pixel(width, height, Rgb(*colour));
            picture
                .save(photos.join(format!("{name}.png")))
                .expect("saves");
        }
    })
}

/// Where the sheet has its tiles: five columns of 180 pixels, 13 apart, from 24.
fn centre(column: usize, top: u32) -> (u32, u32) {
    (24 + 90 + column as u32 * 193, top + 90)
}

fn colour_of(path: &str) -> Rgb<u8> {
    let name = Path::new(path).file_stem().expect("a name");
    let known = COLOURS.iter().find(|(known, _)| name == *known);
    Rgb(known.expect("one of the pictures").1)
}

/// What the tiles of a section show, whose first row begins at `top`.
fn shown(sheet: &RgbImage, top: u32) -> Vec<Rgb<u8>> {
    (0..COLOURS.len())
        .map(|i| {
            let (x, y) = centre(i % 5, top + i as u32 / 5 * 236);
            *sheet.get_pixel(x, y)
        })
        .collect()
}

fn colours(hits: &[Value]) -> Vec<Rgb<u8>> {
    paths(hits).into_iter().map(colour_of).collect()
}

fn open(world: &World, name: &str) -> RgbImage {
    let path = world.dir.path().join(name);
    image::open(path).expect("decodes").into_rgb8()
}

#[test]
fn a_sheet_shows_both_orders() {
    let world = world();
    let alone = world.hits(["a cat", "--no-rerank", "--contact-sheet", "one.png"]);
    let sheet = open(&world, "one.png");
    // Margins, title, one label, two rows.
    assert_eq!(sheet.dimensions(), (1000, 48 + 40 + 34 + 2 * 236));
    assert_eq!(shown(&sheet, 24 + 40 + 34), colours(&alone));
    assert_eq!(*sheet.get_pixel(2, 2), Rgb([255; 3]));

    let read = world.hits(["a cat", "--contact-sheet", "both.png"]);
    let sheet = open(&world, "both.png");
    let section = 34 + 2 * 236 + 12;
    assert_eq!(sheet.dimensions(), (1000, 48 + 40 + 2 * section - 12));
    assert_eq!(shown(&sheet, 24 + 40 + 34), colours(&alone));
    assert_eq!(shown(&sheet, 24 + 40 + section + 34), colours(&read));
    assert_ne!(paths(&alone), paths(&read), "the orders should differ");
    // A high picture keeps its shape: there is nothing of it at the tile's side.
    let high = colours(&alone)
        .iter()
        .position(|c| *c == Rgb(COLOURS[1].1))
        .expect("is shown");
    let (x, y) = centre(high % 5, 24 + 40 + 34 + high as u32 / 5 * 236);
    assert_ne!(*sheet.get_pixel(x - 85, y), Rgb(COLOURS[1].1));
    assert_eq!(*sheet.get_pixel(x, y - 85), Rgb(COLOURS[1].1));
}

#[test]
fn every_output_form_can_have_a_sheet_and_its_words_are_drawn() {
    let world = world();
    for form in ["-f", "--jsonl", "--csv", "-0"] {
        let sheet = format!("sheet{form}.jpg");
        world
            .bt_query(["zoë's kůň", "--top", "2", form, "--contact-sheet", &sheet])
            .assert()
            .success();
        let sheet = open(&world, &sheet);
        assert_eq!(sheet.dimensions(), (1000, 48 + 40 + 2 * (34 + 236) + 12));
        let dark = |x0: u32, y0: u32, width: u32, height: u32| {
            (x0..x0 + width)
                .flat_map(|x| (y0..y0 + height).map(move |y| (x, y)))
                .filter(|(x, y)| sheet.get_pixel(*x, *y)[0] < 128)
                .count()
        };
        assert!(dark(24, 24, 140, 24) > 200, "the title");
        assert!(dark(24, 24 + 40 + 34 + 186, 80, 16) > 30, "rank and score");
    }
}

#[test]
fn a_photo_that_went_away_leaves_a_grey_tile() {
    let world = world();
    let hits = world.hits(["a cat", "--no-rerank"]);
    let first = paths(&hits)[0];
    std::fs::remove_file(first).expect("deletes");
    for arguments in [&["--no-rerank"][..], &[]] {
        let output = world
            .bt_query(["a cat", "--contact-sheet", "sheet.png"])
            .args(arguments)
            .assert()
            .success()
            .get_output()
            .clone();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let warning = format!("warning: {first} ");
        assert_eq!(stderr.matches(&warning).count(), 1, "{stderr}");
        let (x, y) = centre(0, 24 + 40 + 34);
        let sheet = open(&world, "sheet.png");
        assert_eq!(*sheet.get_pixel(x + 50, y), Rgb([200, 200, 204]));
        assert_eq!(*sheet.get_pixel(x, y), Rgb([255; 3]), "the cross");
    }
}

#[test]
fn a_cut_off_that_leaves_nothing_still_draws_the_candidates() {
    let world = world();
    let arguments = ["a cat", "--min-score", "1", "--contact-sheet", "sheet.png"];
    world.bt_query(arguments).assert().code(1);
    let alone = world.hits(["a cat", "--no-rerank"]);
    let sheet = open(&world, "sheet.png");
    assert_eq!(shown(&sheet, 24 + 40 + 34), colours(&alone));
    assert_eq!(sheet.height(), 48 + 40 + 2 * 34 + 3 * 236 + 12);
}

#[test]
fn a_sheet_is_png_or_jpeg_in_a_folder_that_exists() {
    let world = world();
    refused(
        &mut world.bt_query(["a cat", "--contact-sheet", "sheet.gif"]),
        "must end in .png or .jpg",
    );
    refused(
        &mut world.bt_query(["a cat", "--contact-sheet", "nowhere/sheet.png"]),
        "nowhere/sheet.png",
    );
}
