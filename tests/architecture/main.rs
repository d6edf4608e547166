//! ARCHITECTURE.md says that dependencies point one way. This reads every source file that is no test, draws an arrow
//! to each file whose items it names, and holds the drawing to two rules: no circle, and no arrow that runs up.
//!
//! An arrow leads to the file that defines the item, however many `pub use` lie between, and carries the item's name.
//! `mod` draws nothing, and neither does naming a module. Methods and fields need no import, so they are not seen.

mod drawing;
mod sources;

use std::fs;
use std::path::Path;

use drawing::Drawing;

/// The layers of ARCHITECTURE.md, bottom to top. The other files at the library's root (`photo.rs`, `error.rs`, ...) have
/// none: what a layer reaches through them counts as its own.
const LAYERS: [&[&str]; 6] = [
    &["kernels"],
    &["model", "processor"],
    &["engine", "index"],
    &["cache"],
    &["eval", "ingest", "search"],
    &["programs"],
];

/// The crates by the name that code gives them, each with the file that it starts from.
const CRATES: [(&str, &str); 5] = [
    ("bridgetower", "src/lib.rs"),
    ("bt_cli", "cli/src/lib.rs"),
    ("bt_index", "indexer/src/main.rs"),
    ("bt_kernels", "kernels/src/lib.rs"),
    ("bt_query", "query/src/main.rs"),
];

#[test]
fn no_circle_between_files() {
    let drawing = Drawing::of(Path::new(env!("CARGO_MANIFEST_DIR")), &CRATES);
    let circles = drawing.circles();
    assert!(
        circles.is_empty(),
        "{} circles between files:\n{}",
        circles.len(),
        drawing.describe(&circles)
    );
}

#[test]
fn no_arrow_runs_up() {
    let drawing = Drawing::of(Path::new(env!("CARGO_MANIFEST_DIR")), &CRATES);
    let climbs = drawing.climbs(layer);
    assert!(
        climbs.is_empty(),
        "{} arrows run up:\n{}",
        climbs.len(),
        drawing.describe(&climbs)
    );
}

#[test]
fn the_layers_are_those_of_the_document() {
    let document =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md")).unwrap();
    let (_, rest) = document
        .split_once("Dependencies point one way:")
        .expect("the sentence on dependencies");
    let (sentence, _) = rest.split_once('.').expect("its end");
    let names = |layer: &str| {
        layer
            .split(',')
            .map(|name| name.trim().trim_matches('`').to_owned())
            .collect::<Vec<_>>()
    };
    let stated: Vec<_> = sentence.split('→').rev().map(names).collect();
    assert_eq!(stated, LAYERS);
}

#[test]
fn a_drawing_shows_what_code_names_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    for (file, text) in TOY {
        let path = folder.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    let drawing = Drawing::of(folder.path(), &[("toy", "src/lib.rs")]);

    let arrows: Vec<_> = drawing
        .arrows
        .keys()
        .flat_map(|from| drawing.from(from).map(|to| vec![from.as_str(), to]))
        .collect();
    let expected = "
src/engine.rs → src/search/mod.rs: Hit

src/engine.rs → src/search/rerank.rs: rerank

src/lib.rs → src/error.rs: Error

src/lib.rs → src/search/mod.rs: Hit

src/lib.rs → src/search/rerank.rs: rerank

src/model.rs → src/error.rs: Error

src/model.rs → src/photo.rs: show

src/photo.rs → src/search/mod.rs: Hit

src/search/mod.rs → src/search/rerank.rs: rerank

src/search/rerank.rs → src/engine.rs: run
";
    assert_eq!(drawing.describe(&arrows), expected);
    assert_eq!(
        drawing.circles(),
        [
            vec!["src/engine.rs", "src/search/rerank.rs", "src/engine.rs"],
            vec![
                "src/engine.rs",
                "src/search/mod.rs",
                "src/search/rerank.rs",
                "src/engine.rs"
            ],
        ]
    );
    assert_eq!(
        drawing.climbs(layer),
        [
            vec!["src/engine.rs", "src/search/mod.rs"],
            vec!["src/engine.rs", "src/search/rerank.rs"],
            vec!["src/model.rs", "src/photo.rs", "src/search/mod.rs"],
        ]
    );
}

/// The place of a file's layer in [`LAYERS`].
fn layer(file: &str) -> Option<usize> {
    let name = match file.split_once("src/")? {
        ("", inside) => inside.split(['/', '.']).next()?,
        ("kernels/", _) => "kernels",
        _ => "programs",
    };
    LAYERS.iter().position(|layer| layer.contains(&name))
}

/// A small library with what could lead the drawing astray.
const TOY: [(&str, &str); 8] = [
    (
        "src/lib.rs",
        "mod engine; mod error; mod model; mod photo; pub mod search;
         pub use error::Error;
         pub use search::{Hit as Found, rerank};",
    ),
    (
        "src/error.rs",
        "/// See [`crate::search::Hit`].
         pub enum Error { Other }
         macro_rules! fail { () => { $crate::Error::Other } }",
    ),
    (
        "src/photo.rs",
        "use std::path::Path;
         /* crate::engine::run */
         pub fn show<T>(_: crate::search::Hit) { \"crate::engine::run\".rerank(); <T as Path>::search(); }
         #[cfg(test)]
         mod tests { use crate::engine::run; }",
    ),
    ("src/model.rs", "use crate::{self as root, Error};
         fn show() { root::photo::show::<Error>(); }"),
    ("src/engine.rs", "use crate::*;
         pub fn run(_: Found) {}
         mod inner { fn deep() { super::super::rerank() } }"),
    ("src/search/mod.rs", "mod rerank; #[cfg(test)] mod tests;
         pub struct Hit { #[cfg(test)] seen: crate::Error }
         pub use rerank::rerank;"),
    ("src/search/rerank.rs", "#[cfg(test)] use super::Hit;
         pub fn rerank() { vec![crate::engine::run()]; }"),
    ("src/search/tests.rs", "use crate::Error;"),
];
