//! The hits of a search as one picture: thumbnails in a grid, ranked by embeddings alone, and ranked after reading them
//! together with the query.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use bridgetower::Error;
use bridgetower::processor::Encoded;
use bridgetower::search::{Found, Hit};
use bt_cli::visible;
use image::imageops;
use image::{Rgb, RgbImage};
use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};

use crate::thumbnail::{fit, resized};

/// The content of a sheet.
pub struct Sheet {
    title: String,
    sections: Vec<Section>,
}

struct Section {
    label: &'static str,
    tiles: Vec<Tile>,
}

struct Tile {
    /// None if the photo cannot be read.
    thumbnail: Option<RgbImage>,
    /// Rank and score.
    place: String,
    /// The rank without reranking.
    remark: String,
    file_name: String,
}

const WIDTH: u32 = 1000;
const MARGIN: u32 = 24;
const COLUMNS: u32 = 5;
const GAP: u32 = 13;
/// Side of the square that a thumbnail fits into.
const SIDE: u32 = (WIDTH - 2 * MARGIN - (COLUMNS - 1) * GAP) / COLUMNS;
/// The distance between rows of tiles: the thumbnail, two lines, and space.
const ROW: u32 = SIDE + 56;
/// The title with the space below it.
const TITLE: u32 = 40;
/// A section's label with the space below it.
const LABEL: u32 = 34;
const BETWEEN_SECTIONS: u32 = 12;
/// The most hits on a sheet; nobody looks at more.
const MOST_TILES: usize = 50;

const PAPER: Rgb<u8> = Rgb([255, 255, 255]);
const INK: Rgb<u8> = Rgb([28, 28, 30]);
const PALE_INK: Rgb<u8> = Rgb([110, 110, 115]);
const RULE: Rgb<u8> = Rgb([222, 222, 226]);
const MAT: Rgb<u8> = Rgb([244, 244, 246]);
const MISSING: Rgb<u8> = Rgb([200, 200, 204]);

/// Reads the photos of the first `top` hits. Also returns those that could not be read, and why.
pub fn compose(title: &str, found: &Found, top: usize) -> (Sheet, Vec<(PathBuf, Error)>) {
    let mut photos = Photos::default();
    let mut section = |label, hits: &[Hit], remark: &dyn Fn(&Hit) -> String| Section {
        label,
        tiles: (1..)
            .zip(hits.iter().take(top.min(MOST_TILES)))
            .map(|(rank, hit)| Tile {
                thumbnail: photos.thumbnail(hit),
                place: place(rank, hit),
                remark: remark(hit),
                file_name: file_name(hit),
            })
            .collect(),
    };
    let mut sections = vec![section(
        "By embeddings alone (ITC)",
        &found.by_similarity,
        &|_| String::new(),
    )];
    if found.reranked > 0 {
        let was: HashMap<&Path, usize> = (1..)
            .zip(&found.by_similarity)
            .map(|(rank, hit)| (hit.photo.path.as_path(), rank))
            .collect();
        let remark = |hit: &Hit| {
            let rank = was.get(hit.photo.path.as_path());
            rank.map_or(String::new(), |rank| format!("was {rank}"))
        };
        sections.push(section(
            "Read together with the query (ITM)",
            &found.hits,
            &remark,
        ));
    }
    let title = visible(title).into_owned();
    (Sheet { title, sections }, photos.unreadable)
}

/// Draws a sheet, whose height depends on the number of tiles.
pub fn draw(sheet: &Sheet) -> RgbImage {
    let rows = |section: &Section| (section.tiles.len() as u32).div_ceil(COLUMNS).max(1);
    let sections = sheet.sections.len() as u32;
    let all_rows: u32 = sheet.sections.iter().map(rows).sum();
    let height =
        2 * MARGIN + TITLE + sections * LABEL + all_rows * ROW + (sections - 1) * BETWEEN_SECTIONS;
    let mut canvas = RgbImage::from_pixel(WIDTH, height, PAPER);
    let title = end_cut(&sheet.title, TITLE_FONT.letters(WIDTH - 2 * MARGIN));
    TITLE_FONT.write(&mut canvas, MARGIN, MARGIN, &title);
    let mut y = MARGIN + TITLE;
    for section in &sheet.sections {
        let x = LABEL_FONT.write(&mut canvas, MARGIN, y, section.label);
        rule(&mut canvas, x + GAP, y + LABEL_FONT.line() / 2 + 1);
        y += LABEL;
        if section.tiles.is_empty() {
            NAME_FONT.write(&mut canvas, MARGIN, y, "nothing found");
        }
        for (row, tiles) in (0..).zip(section.tiles.chunks(COLUMNS as usize)) {
            for (column, tile) in (0..).zip(tiles) {
                draw_tile(
                    &mut canvas,
                    MARGIN + column * (SIDE + GAP),
                    y + row * ROW,
                    tile,
                );
            }
        }
        y += rows(section) * ROW + BETWEEN_SECTIONS;
    }
    canvas
}

fn draw_tile(canvas: &mut RgbImage, x: u32, y: u32, tile: &Tile) {
    fill(canvas, x, y, MAT);
    match &tile.thumbnail {
        Some(picture) => {
            let (left, top) = ((SIDE - picture.width()) / 2, (SIDE - picture.height()) / 2);
            imageops::replace(canvas, picture, i64::from(x + left), i64::from(y + top));
        }
        None => cross(canvas, x, y),
    }
    let line = y + SIDE + 6;
    let end = PLACE_FONT.write(canvas, x, line, &tile.place);
    let remark_width = tile.remark.chars().count() as u32 * NAME_FONT.letter();
    if end + NAME_FONT.letter() + remark_width <= x + SIDE {
        NAME_FONT.write(canvas, x + SIDE - remark_width, line, &tile.remark);
    }
    let name = middle_cut(&tile.file_name, NAME_FONT.letters(SIDE));
    NAME_FONT.write(canvas, x, line + PLACE_FONT.line() + 2, &name);
}

fn place(rank: usize, hit: &Hit) -> String {
    match hit.match_probability {
        Some(p) => format!("{rank}  {:.1} %", p * 100.0),
        None => format!("{rank}  {:.3}", hit.similarity),
    }
}

fn file_name(hit: &Hit) -> String {
    let path = &hit.photo.path;
    let name = path.file_name().unwrap_or(path.as_os_str());
    visible(&name.to_string_lossy()).into_owned()
}

// --- photos ---

/// Thumbnails of photos, each read once.
#[derive(Default)]
struct Photos {
    thumbnails: HashMap<PathBuf, Option<RgbImage>>,
    unreadable: Vec<(PathBuf, Error)>,
}

impl Photos {
    fn thumbnail(&mut self, hit: &Hit) -> Option<RgbImage> {
        let path = &hit.photo.path;
        if let Some(known) = self.thumbnails.get(path) {
            return known.clone();
        }
        let photo = Encoded::of(&hit.photo).and_then(|encoded| encoded.decode());
        let thumbnail = match photo {
            Ok(photo) => {
                let size = fit(photo.rgb.dimensions(), (SIDE, SIDE));
                Some(resized(&photo.rgb, size))
            }
            Err(error) => {
                self.unreadable.push((path.clone(), error));
                None
            }
        };
        self.thumbnails.insert(path.clone(), thumbnail.clone());
        thumbnail
    }
}

// --- shapes and letters ---

fn fill(canvas: &mut RgbImage, x: u32, y: u32, colour: Rgb<u8>) {
    for dy in 0..SIDE {
        for dx in 0..SIDE {
            canvas.put_pixel(x + dx, y + dy, colour);
        }
    }
}

/// Draws a grey tile with both diagonals.
fn cross(canvas: &mut RgbImage, x: u32, y: u32) {
    fill(canvas, x, y, MISSING);
    for i in 0..SIDE {
        for thick in 0..3 {
            let j = (i + thick).min(SIDE - 1);
            canvas.put_pixel(x + j, y + i, PAPER);
            canvas.put_pixel(x + SIDE - 1 - j, y + i, PAPER);
        }
    }
}

/// Draws a line from `x` to the right margin.
fn rule(canvas: &mut RgbImage, x: u32, y: u32) {
    for x in x..WIDTH - MARGIN {
        canvas.put_pixel(x, y, RULE);
    }
}

struct Font {
    weight: FontWeight,
    height: RasterHeight,
    colour: Rgb<u8>,
}

const TITLE_FONT: Font = Font {
    weight: FontWeight::Bold,
    height: RasterHeight::Size24,
    colour: INK,
};
const LABEL_FONT: Font = Font {
    weight: FontWeight::Bold,
    height: RasterHeight::Size20,
    colour: PALE_INK,
};
const PLACE_FONT: Font = Font {
    weight: FontWeight::Bold,
    height: RasterHeight::Size16,
    colour: INK,
};
const NAME_FONT: Font = Font {
    weight: FontWeight::Regular,
    height: RasterHeight::Size16,
    colour: PALE_INK,
};

impl Font {
    /// Returns the width of every letter.
    fn letter(&self) -> u32 {
        get_raster_width(self.weight, self.height) as u32
    }

    fn line(&self) -> u32 {
        self.height.val() as u32
    }

    /// Returns the number of letters that fit into `width`.
    fn letters(&self, width: u32) -> usize {
        (width / self.letter()) as usize
    }

    /// Writes `text` from its upper left corner and returns where it ends.
    fn write(&self, canvas: &mut RgbImage, mut x: u32, y: u32, text: &str) -> u32 {
        for letter in text.chars().filter(|c| !is_combining(*c)) {
            let raster = get_raster(plain(letter), self.weight, self.height)
                .or_else(|| get_raster('?', self.weight, self.height));
            let rows = raster
                .iter()
                .flat_map(noto_sans_mono_bitmap::RasterizedChar::rows);
            for (dy, row) in (0..).zip(rows) {
                for (dx, coverage) in (0..).zip(row) {
                    if x + dx < canvas.width() {
                        let under = canvas.get_pixel_mut(x + dx, y + dy);
                        *under = blend(*under, self.colour, *coverage);
                    }
                }
            }
            x += self.letter();
        }
        x
    }
}

/// Replaces letters that the font lacks with similar ones. It has Latin letters with their accents.
fn plain(letter: char) -> char {
    match letter {
        '‘' | '’' => '\'',
        '“' | '”' | '„' => '"',
        '‐'..='―' | '−' => '-',
        '\t' | '\u{a0}' | '\u{202f}' => ' ',
        _ => letter,
    }
}

/// Returns whether this is an accent stored apart from its letter, as macOS does: the letter alone is better than two
/// signs.
fn is_combining(letter: char) -> bool {
    ('\u{300}'..='\u{36f}').contains(&letter)
}

fn blend(under: Rgb<u8>, ink: Rgb<u8>, coverage: u8) -> Rgb<u8> {
    let mix = |under: u8, ink: u8| {
        let sum =
            u32::from(under) * u32::from(255 - coverage) + u32::from(ink) * u32::from(coverage);
        ((sum + 127) / 255) as u8
    };
    Rgb([0, 1, 2].map(|i| mix(under[i], ink[i])))
}

const CUT: &str = "...";

fn end_cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept = most.saturating_sub(CUT.len());
    text.chars().take(kept).chain(CUT.chars()).collect()
}

/// Keeps the beginning and the end, the most telling parts of a file name.
fn middle_cut(text: &str, most: usize) -> String {
    let letters: Vec<char> = text.chars().collect();
    if letters.len() <= most {
        return text.to_owned();
    }
    let kept = most.saturating_sub(CUT.len());
    let (head, tail) = (kept.div_ceil(2), kept / 2);
    let tail = &letters[letters.len() - tail..];
    letters[..head]
        .iter()
        .copied()
        .chain(CUT.chars())
        .chain(tail.iter().copied())
        .collect()
}
