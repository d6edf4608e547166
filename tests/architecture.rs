//! ARCHITECTURE.md says that dependencies point one way. This reads every source file that is no test, draws an arrow
//! to each file whose items it names, and holds the drawing to two rules: no circle, and no arrow that runs up.
//!
//! An arrow leads to the file that defines the item, however many `pub use` lie between, and carries the item's name.
//! `mod` draws nothing, and neither does naming a module. Methods and fields need no import, so they are not seen.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, Group, Spacing, TokenStream, TokenTree};

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
#[ignore = "circles remain"]
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
    let climbs = drawing.climbs();
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
        drawing.climbs(),
        [
            vec!["src/engine.rs", "src/search/mod.rs"],
            vec!["src/engine.rs", "src/search/rerank.rs"],
            vec!["src/model.rs", "src/photo.rs", "src/search/mod.rs"],
        ]
    );
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

/// What the files of a tree name of each other.
struct Drawing {
    /// From file to file, with the names that make the arrow.
    arrows: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
}

impl Drawing {
    fn of(root: &Path, crates: &[(&str, &str)]) -> Self {
        let sources = Sources::read(root, crates);
        let mut arrows = BTreeMap::<_, BTreeMap<_, BTreeSet<_>>>::new();
        for (index, module) in sources.modules.iter().enumerate() {
            for Item { file, name } in sources.named_by(index) {
                if file != module.file {
                    arrows
                        .entry(module.file.clone())
                        .or_default()
                        .entry(file)
                        .or_default()
                        .insert(name);
                }
            }
        }
        Self { arrows }
    }

    fn from(&self, file: &str) -> impl Iterator<Item = &str> {
        self.arrows
            .get(file)
            .into_iter()
            .flat_map(|to| to.keys().map(String::as_str))
    }

    /// The shortest circle through each arrow that is part of one; each once, from its first file back to that.
    fn circles(&self) -> Vec<Vec<&str>> {
        let mut circles = BTreeSet::new();
        for start in self.arrows.keys().map(String::as_str) {
            for next in self.from(start) {
                if let Some(mut circle) = self.walk(next, |_| true, |file| file == start).pop() {
                    let first = circle
                        .iter()
                        .enumerate()
                        .min_by_key(|&(_, file)| file)
                        .map_or(0, |(first, _)| first);
                    circle.rotate_left(first);
                    circle.push(circle[0]);
                    circles.insert((circle.len(), circle));
                }
            }
        }
        circles.into_iter().map(|(_, circle)| circle).collect()
    }

    /// The shortest ways from a file of one layer to files of a higher one, through files that have no layer.
    fn climbs(&self) -> Vec<Vec<&str>> {
        let mut climbs = Vec::new();
        for start in self.arrows.keys().map(String::as_str) {
            if let Some(from) = layer(start) {
                let up = |file: &str| layer(file).is_some_and(|to| to > from);
                climbs.extend(self.walk(start, |file| file == start || layer(file).is_none(), up));
            }
        }
        climbs
    }

    /// The shortest ways from `start` to each file that `ends` accepts, through files that `passes` accepts.
    fn walk<'a>(
        &'a self,
        start: &'a str,
        passes: impl Fn(&str) -> bool,
        ends: impl Fn(&str) -> bool,
    ) -> Vec<Vec<&'a str>> {
        let mut before = BTreeMap::from([(start, None)]);
        let mut queue = VecDeque::from([start]);
        let mut ways = Vec::new();
        while let Some(file) = queue.pop_front() {
            if ends(file) {
                let mut way: Vec<_> =
                    std::iter::successors(Some(file), |file| before[file]).collect();
                way.reverse();
                ways.push(way);
            } else if passes(file) {
                for next in self.from(file) {
                    before.entry(next).or_insert_with(|| {
                        queue.push_back(next);
                        Some(file)
                    });
                }
            }
        }
        ways
    }

    /// Ways as text: each arrow on a line, with its names.
    fn describe(&self, ways: &[Vec<&str>]) -> String {
        let mut text = String::new();
        for way in ways {
            text.push('\n');
            for (number, pair) in way.windows(2).enumerate() {
                let names: Vec<_> = self.arrows[pair[0]][pair[1]]
                    .iter()
                    .map(String::as_str)
                    .collect();
                let from = if number == 0 { pair[0] } else { " " };
                writeln!(text, "{from} → {}: {}", pair[1], names.join(", ")).unwrap();
            }
        }
        text
    }
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

/// The modules of all crates, as read.
struct Sources {
    root: PathBuf,
    crates: BTreeMap<String, usize>,
    modules: Vec<Module>,
    /// Modules that only tests have: their paths without `.rs`.
    tests: Vec<String>,
}

/// A module, in a file of its own or within its parent's.
struct Module {
    file: String,
    /// Where the files of its children lie.
    folder: String,
    parent: Option<usize>,
    children: BTreeMap<String, usize>,
    items: BTreeSet<String>,
    imports: Vec<Import>,
    paths: BTreeSet<Vec<String>>,
    /// Every word of its code, for what a glob import brings.
    words: BTreeSet<String>,
}

/// One name of a `use`; `*` for a glob.
struct Import {
    name: String,
    path: Vec<String>,
}

/// A name with the file that defines it.
#[derive(Clone)]
struct Item {
    file: String,
    name: String,
}

#[derive(Clone)]
enum Found {
    Module(usize),
    Item(Item),
}

impl Sources {
    fn read(root: &Path, crates: &[(&str, &str)]) -> Self {
        let mut sources = Self {
            root: root.to_owned(),
            crates: BTreeMap::new(),
            modules: Vec::new(),
            tests: Vec::new(),
        };
        for &(name, file) in crates {
            let (folder, _) = file.rsplit_once('/').unwrap();
            let index = sources.add_file(file.to_owned(), folder.to_owned(), None);
            sources.crates.insert(name.to_owned(), index);
            sources.miss_nothing_in(folder);
        }
        sources
    }

    /// Panics over a file that no `mod` led to.
    fn miss_nothing_in(&self, folder: &str) {
        for entry in fs::read_dir(self.root.join(folder)).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{folder}/{}", entry.file_name().into_string().unwrap());
            let stem = path.strip_suffix(".rs").unwrap_or(&path);
            if self.tests.iter().any(|test| test == stem) {
                continue;
            }
            if entry.file_type().unwrap().is_dir() {
                self.miss_nothing_in(&path);
            } else if stem != path {
                assert!(
                    self.modules.iter().any(|module| module.file == path),
                    "{path} is in no module"
                );
            }
        }
    }

    fn add_file(&mut self, file: String, folder: String, parent: Option<usize>) -> usize {
        let text = fs::read_to_string(self.root.join(&file)).unwrap();
        let tokens: TokenStream = text
            .parse()
            .unwrap_or_else(|error| panic!("{file}: {error}"));
        self.add_module(file, folder, parent, tokens)
    }

    fn add_module(
        &mut self,
        file: String,
        folder: String,
        parent: Option<usize>,
        tokens: TokenStream,
    ) -> usize {
        let index = self.modules.len();
        self.modules.push(Module {
            file,
            folder,
            parent,
            children: BTreeMap::new(),
            items: BTreeSet::new(),
            imports: Vec::new(),
            paths: BTreeSet::new(),
            words: BTreeSet::new(),
        });
        self.read_tokens(index, tokens, true);
        index
    }

    /// Reads code of a module: its items where it is the module's own level, else what lies within them.
    fn read_tokens(&mut self, module: usize, tokens: TokenStream, own_level: bool) {
        let tokens: Vec<_> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            let rest = &tokens[at..];
            at += match rest {
                [TokenTree::Punct(hash), TokenTree::Group(attribute), ..]
                    if hash.as_char() == '#' && only_in_tests(attribute) =>
                {
                    2 + self.skip(module, &rest[2..])
                }
                // Not `use<'a>`, which tells what a type captures.
                [TokenTree::Ident(word), next, ..] if word == "use" && !is(next, '<') => {
                    let end = rest
                        .iter()
                        .position(|token| is(token, ';'))
                        .unwrap_or(rest.len());
                    read_use(&rest[1..end], &[], &mut self.modules[module].imports);
                    end
                }
                [TokenTree::Ident(word), TokenTree::Ident(name), body, ..]
                    if word == "mod" && own_level =>
                {
                    self.read_mod(module, &name.to_string(), body);
                    3
                }
                [
                    TokenTree::Ident(bang),
                    TokenTree::Punct(mark),
                    TokenTree::Ident(name),
                    ..,
                ] if bang == "macro_rules" && mark.as_char() == '!' => {
                    self.modules[module].items.insert(name.to_string());
                    3
                }
                // What a macro is given may be items.
                [
                    TokenTree::Ident(_),
                    TokenTree::Punct(mark),
                    TokenTree::Group(given),
                    ..,
                ] if mark.as_char() == '!' => {
                    self.read_tokens(module, given.stream(), own_level);
                    3
                }
                [TokenTree::Ident(_), ..] => {
                    if let (true, Some(name)) = (own_level, item_name(rest)) {
                        self.modules[module].items.insert(name);
                    }
                    self.read_path(module, &tokens, at)
                }
                [TokenTree::Group(group), ..] => {
                    self.read_tokens(module, group.stream(), false);
                    1
                }
                _ => 1,
            };
        }
    }

    fn read_mod(&mut self, module: usize, name: &str, body: &TokenTree) {
        let Module { file, folder, .. } = &self.modules[module];
        let within = format!("{folder}/{name}");
        let child = if let TokenTree::Group(body) = body {
            self.add_module(file.clone(), within, Some(module), body.stream())
        } else {
            let files = [format!("{within}.rs"), format!("{within}/mod.rs")];
            let file = files
                .into_iter()
                .find(|file| self.root.join(file).is_file());
            self.add_file(
                file.unwrap_or_else(|| panic!("no file for {within}")),
                within,
                Some(module),
            )
        };
        self.modules[module].children.insert(name.to_owned(), child);
    }

    /// Reads the path that begins at `at`, and returns its length in tokens.
    fn read_path(&mut self, module: usize, tokens: &[TokenTree], at: usize) -> usize {
        let (path, length) = path(&tokens[at..]);
        // A method's name, or what follows `<T as Trait>`, begins no path.
        let method = at > 0 && is(&tokens[at - 1], '.') && !(at > 1 && is(&tokens[at - 2], '.'));
        let continued = at > 2
            && is(&tokens[at - 1], ':')
            && is(&tokens[at - 2], ':')
            && is(&tokens[at - 3], '>');
        if !method && !continued {
            self.modules[module].words.insert(path[0].clone());
            if path.len() > 1 {
                self.modules[module].paths.insert(path);
            }
        }
        length
    }

    /// Returns the length of the item, statement, field or variant at hand.
    fn skip(&mut self, module: usize, tokens: &[TokenTree]) -> usize {
        let mut at = 0;
        while matches!(&tokens[at..], [hash, TokenTree::Group(_), ..] if is(hash, '#')) {
            at += 2;
        }
        let word = |at: usize| {
            matches!(&tokens.get(at), Some(TokenTree::Ident(_))).then(|| tokens[at].to_string())
        };
        if word(at).as_deref() == Some("pub") {
            at += if matches!(tokens.get(at + 1), Some(TokenTree::Group(_))) {
                2
            } else {
                1
            };
        }
        if let (Some("mod"), Some(name)) = (word(at).as_deref(), word(at + 1)) {
            self.tests
                .push(format!("{}/{name}", self.modules[module].folder));
        }
        let starts = [
            "for", "if", "impl", "loop", "match", "unsafe", "use", "while",
        ];
        let field = word(at).is_some_and(|first| !starts.contains(&first.as_str()))
            && word(at + 1).is_none();
        for (index, token) in tokens.iter().enumerate().skip(at) {
            let body =
                matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace);
            if is(token, ';') || (body && !field) || (field && is(token, ',')) {
                return index + 1;
            }
        }
        tokens.len()
    }

    /// The items that a module names, each with the file that defines it.
    fn named_by(&self, module: usize) -> Vec<Item> {
        let Module {
            imports,
            paths,
            words,
            ..
        } = &self.modules[module];
        let named = imports
            .iter()
            .filter(|import| import.name != "*")
            .map(|import| &import.path)
            .chain(paths);
        let mut found: Vec<_> = named
            .flat_map(|path| self.resolve(module, path, &mut Vec::new()))
            .collect();
        for glob in imports.iter().filter(|import| import.name == "*") {
            for target in self.resolve(module, &glob.path, &mut Vec::new()) {
                let Found::Module(target) = target else {
                    found.push(target);
                    continue;
                };
                found.extend(
                    words
                        .iter()
                        .flat_map(|word| self.member(target, word, true, &mut Vec::new())),
                );
            }
        }
        let item = |found| {
            if let Found::Item(item) = found {
                Some(item)
            } else {
                None
            }
        };
        found.into_iter().filter_map(item).collect()
    }

    /// What a path leads to; nothing if that is another's crate. `seen` are the imports that led here.
    fn resolve(
        &self,
        module: usize,
        path: &[String],
        seen: &mut Vec<(usize, usize)>,
    ) -> Vec<Found> {
        let mut at = module;
        for (index, name) in path.iter().enumerate() {
            let last = index + 1 == path.len();
            let found = match name.as_str() {
                "crate" => vec![Found::Module(self.crate_of(at))],
                "self" => vec![Found::Module(at)],
                "super" => vec![Found::Module(self.modules[at].parent.expect("a parent"))],
                _ => self.member(at, name, last, seen),
            };
            match (&found[..], index) {
                ([], 0) => match self.crates.get(name) {
                    Some(&root) => at = root,
                    None => return Vec::new(),
                },
                // Made by a macro, or from another's crate: this module is as near as we get.
                ([], _) => {
                    return vec![Found::Item(Item {
                        file: self.modules[at].file.clone(),
                        name: name.clone(),
                    })];
                }
                ([Found::Module(next)], _) => at = *next,
                _ => return found,
            }
        }
        vec![Found::Module(at)]
    }

    /// What a name stands for in a module. A name may be an item's and a module's; only a module has more behind it.
    fn member(
        &self,
        module: usize,
        name: &str,
        last: bool,
        seen: &mut Vec<(usize, usize)>,
    ) -> Vec<Found> {
        let Module {
            file,
            children,
            items,
            imports,
            ..
        } = &self.modules[module];
        let item = items.contains(name).then(|| {
            Found::Item(Item {
                file: file.clone(),
                name: name.to_owned(),
            })
        });
        let child = children.get(name).map(|&child| Found::Module(child));
        let own = if last { item.or(child) } else { child.or(item) };
        let mut imported = Vec::new();
        for (index, import) in imports
            .iter()
            .enumerate()
            .filter(|(_, import)| import.name == name)
        {
            if !seen.contains(&(module, index)) {
                seen.push((module, index));
                imported.extend(self.resolve(module, &import.path, seen));
                seen.pop();
            }
        }
        match own {
            Some(Found::Module(_)) if last && !imported.is_empty() => imported,
            Some(own) => vec![own],
            None => imported,
        }
    }

    fn crate_of(&self, module: usize) -> usize {
        std::iter::successors(Some(module), |&module| self.modules[module].parent)
            .last()
            .unwrap()
    }
}

/// Is it `#[cfg(test)]`, or that and more?
fn only_in_tests(attribute: &Group) -> bool {
    let text: String = attribute.stream().to_string().split_whitespace().collect();
    text == "cfg(test)" || text.starts_with("cfg(all(test,")
}

fn is(token: &TokenTree, mark: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == mark)
}

/// The name of the item that begins here, if one does.
fn item_name(tokens: &[TokenTree]) -> Option<String> {
    let kinds = [
        "const", "enum", "fn", "static", "struct", "trait", "type", "union",
    ];
    let [TokenTree::Ident(kind), TokenTree::Ident(name), rest @ ..] = tokens else {
        return None;
    };
    if !kinds.iter().any(|known| kind == known) {
        return None;
    }
    match (name.to_string().as_str(), rest) {
        ("mut", [TokenTree::Ident(name), ..]) => Some(name.to_string()),
        ("async" | "extern" | "fn" | "mut" | "unsafe", _) => None,
        (name, _) => Some(name.to_owned()),
    }
}

/// The words of a path, with its length in tokens.
fn path(tokens: &[TokenTree]) -> (Vec<String>, usize) {
    let mut words = vec![tokens[0].to_string()];
    let mut length = 1;
    while let [
        TokenTree::Punct(first),
        TokenTree::Punct(second),
        TokenTree::Ident(word),
        ..,
    ] = &tokens[length..]
        && (first.as_char(), first.spacing(), second.as_char()) == (':', Spacing::Joint, ':')
    {
        words.push(word.to_string());
        length += 3;
    }
    (words, length)
}

/// Reads `a::{b, c as d, e::*}`, all of it below `above`.
fn read_use(tokens: &[TokenTree], above: &[String], imports: &mut Vec<Import>) {
    let commas = |tokens: &[TokenTree]| {
        tokens
            .split(|token| is(token, ','))
            .map(<[_]>::to_vec)
            .collect::<Vec<_>>()
    };
    for tree in commas(tokens).iter().filter(|tree| !tree.is_empty()) {
        let mut whole = above.to_vec();
        let mut name = None;
        for (at, token) in tree.iter().enumerate() {
            match token {
                TokenTree::Ident(word) if word == "as" => {
                    name = tree.get(at + 1).map(ToString::to_string);
                    break;
                }
                // `a::{self}` is `a`.
                TokenTree::Ident(word) if word == "self" && !whole.is_empty() => {}
                TokenTree::Ident(word) => whole.push(word.to_string()),
                TokenTree::Punct(star) if star.as_char() == '*' => name = Some("*".to_owned()),
                TokenTree::Group(group) => {
                    let inside: Vec<_> = group.stream().into_iter().collect();
                    read_use(&inside, &whole, imports);
                    whole.clear();
                }
                _ => {}
            }
        }
        if let Some(last) = whole.last() {
            imports.push(Import {
                name: name.unwrap_or_else(|| last.clone()),
                path: whole,
            });
        }
    }
}
