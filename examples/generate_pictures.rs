//! Draws pictures to try the programs on: `cargo run --example generate_pictures -- FOLDER [COUNT]`.
//!
//! Coloured shapes on coloured skies, the same for the same count. They stand in for photos where there are
//! none; nothing is claimed about how well any model finds them.

use std::path::PathBuf;

use anyhow::Context;
use image::{Rgb, RgbImage};

const COLOURS: [(&str, [u8; 3]); 6] = [
    ("red", [200, 40, 40]),
    ("green", [40, 160, 70]),
    ("blue", [50, 80, 200]),
    ("yellow", [230, 200, 50]),
    ("white", [235, 235, 235]),
    ("black", [25, 25, 25]),
];

const SHAPES: [&str; 3] = ["circle", "square", "triangle"];

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(
        arguments
            .next()
            .context("usage: generate_pictures FOLDER [COUNT]")?,
    );
    let count: usize = arguments.next().map_or(Ok(60), |n| n.parse())?;
    std::fs::create_dir_all(&folder)?;
    for i in 0..count {
        let (colour_name, colour) = COLOURS[i % COLOURS.len()];
        let shape = SHAPES[i / COLOURS.len() % SHAPES.len()];
        let (sky_name, sky) = COLOURS[(i * 7 + i / 18 + 1) % COLOURS.len()];
        let picture = draw(shape, colour, sky, i);
        picture.save(folder.join(format!("{i:03}-{colour_name}-{shape}-on-{sky_name}.png")))?;
    }
    Ok(())
}

/// A shape of the given colour on a vertical gradient; size and place follow from `i`.
fn draw(shape: &str, colour: [u8; 3], sky: [u8; 3], i: usize) -> RgbImage {
    let (width, height) = if i.is_multiple_of(2) {
        (320, 240)
    } else {
        (240, 320)
    };
    let (centre_x, centre_y) = (80 + (i * 37 % 80) as i32, 80 + (i * 53 % 80) as i32);
    let radius = 30 + (i * 11 % 40) as i32;
    RgbImage::from_fn(width, height, |x, y| {
        let (dx, dy) = (x as i32 - centre_x, y as i32 - centre_y);
        let inside = match shape {
            "circle" => dx * dx + dy * dy < radius * radius,
            "square" => dx.abs() < radius && dy.abs() < radius,
            _ => dy.abs() < radius && 2 * dx.abs() < radius + dy,
        };
        let fade = 255 - 120 * y / height;
        let shaded = |channel: u8| (u32::from(channel) * fade / 255) as u8;
        Rgb(if inside { colour } else { sky.map(shaded) })
    })
}
