//! Encodes pictures for terminals.

use std::fmt::Write;
use std::io::Cursor;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use color_quant::NeuQuant;
use image::{ImageFormat, Rgb, RgbImage};

/// <https://sw.kovidgoyal.net/kitty/graphics-protocol/>: a PNG, in chunks of at most 4,096 letters.
pub fn kitty(picture: &RgbImage) -> Vec<u8> {
    let data = STANDARD.encode(png(picture));
    let chunks = data.as_bytes().chunks(4096);
    let last = chunks.len() - 1;
    let mut drawn = Vec::with_capacity(data.len() + 16 * (last + 1));
    for (number, chunk) in chunks.enumerate() {
        // Transmit and display a PNG; the terminal is not to answer.
        let what = if number == 0 { "a=T,f=100,q=2," } else { "" };
        let more = u8::from(number < last);
        drawn.extend(format!("\x1b_G{what}m={more};").bytes());
        drawn.extend(chunk);
        drawn.extend(b"\x1b\\");
    }
    drawn
}

/// <https://iterm2.com/documentation-images.html>
pub fn iterm2(picture: &RgbImage) -> Vec<u8> {
    let data = png(picture);
    let (width, height) = picture.dimensions();
    let size = data.len();
    let data = STANDARD.encode(data);
    format!("\x1b]1337;File=inline=1;size={size};width={width}px;height={height}px:{data}\x07")
        .into_bytes()
}

fn png(picture: &RgbImage) -> Vec<u8> {
    let mut data = Cursor::new(Vec::new());
    picture
        .write_to(&mut data, ImageFormat::Png)
        .expect("an RGB picture is a PNG, and memory takes it");
    data.into_inner()
}

/// DEC's sixels (VT330/340, chapter 14): six rows at a time, in up to 256 colours, with a pass over the rows for each.
pub fn sixel(picture: &RgbImage) -> Vec<u8> {
    let (width, height) = picture.dimensions();
    let rgba: Vec<u8> = picture
        .pixels()
        .flat_map(|Rgb([r, g, b])| [*r, *g, *b, 255])
        .collect();
    // Looks at every third pixel.
    let palette = NeuQuant::new(3, 256, &rgba);
    let mut drawn = format!("\x1bP0;1;0q\"1;1;{width};{height}");
    for (colour, rgb) in palette.color_map_rgb().chunks(3).enumerate() {
        let [r, g, b] = [0, 1, 2].map(|i| (u32::from(rgb[i]) * 100 + 127) / 255);
        let _ = write!(drawn, "#{colour};2;{r};{g};{b}");
    }
    let colours: Vec<u8> = rgba
        .chunks(4)
        .map(|pixel| palette.index_of(pixel) as u8)
        .collect();
    for rows in colours.chunks(6 * width as usize) {
        band(&mut drawn, rows, width as usize);
    }
    drawn.push_str("\x1b\\");
    drawn.into_bytes()
}

fn band(drawn: &mut String, rows: &[u8], width: usize) {
    let mut colours = rows.to_vec();
    colours.sort_unstable();
    colours.dedup();
    for colour in colours {
        let _ = write!(drawn, "#{colour}");
        let sixel = |x: usize| {
            let column = rows.iter().skip(x).step_by(width).enumerate();
            let bits = column.map(|(y, found)| u8::from(*found == colour) << y);
            char::from(b'?' + bits.sum::<u8>())
        };
        let mut x = 0;
        while x < width {
            let letter = sixel(x);
            let run = (x..width).take_while(|x| sixel(*x) == letter).count();
            if run > 3 {
                let _ = write!(drawn, "!{run}{letter}");
            } else {
                drawn.extend(std::iter::repeat_n(letter, run));
            }
            x += run;
        }
        // Back to the beginning of these rows.
        drawn.push('$');
    }
    // On to the next ones.
    drawn.push('-');
}

/// Draws two pixels per letter: its upper half in one colour, the lower half in another.
pub fn blocks(picture: &RgbImage, is_true_colour: bool) -> Vec<u8> {
    let colour = |Rgb([r, g, b]): Rgb<u8>| {
        if is_true_colour {
            format!("2;{r};{g};{b}")
        } else {
            // xterm's cube of 6 × 6 × 6 colours, whose levels are 0, 95, 135, 175, 215 and 255.
            let [r, g, b] = [r, g, b].map(|level| match level {
                0..48 => 0,
                48..115 => 1,
                _ => (u32::from(level) - 35) / 40,
            });
            format!("5;{}", 16 + 36 * r + 6 * g + b)
        }
    };
    let mut drawn = String::new();
    for y in (0..picture.height() - 1).step_by(2) {
        for x in 0..picture.width() {
            let (upper, lower) = (*picture.get_pixel(x, y), *picture.get_pixel(x, y + 1));
            let _ = write!(drawn, "\x1b[38;{};48;{}m▀", colour(upper), colour(lower));
        }
        drawn.push_str("\x1b[0m");
        if y + 2 < picture.height() {
            drawn.push('\n');
        }
    }
    drawn.into_bytes()
}
