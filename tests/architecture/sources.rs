//! Source files as modules: what each defines, imports and names, and which file defines what it names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, Group, Spacing, TokenStream, TokenTree};

/// The modules of all crates, as read.
pub(crate) struct Sources {
    root: PathBuf,
    crates: BTreeMap<String, usize>,
    pub(crate) modules: Vec<Module>,
    /// Modules that only tests have: their paths without `.rs`.
    tests: Vec<String>,
}

/// A module, in a file of its own or within its parent's.
pub(crate) struct Module {
    pub(crate) file: String,
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
pub(crate) struct Item {
    pub(crate) file: String,
    pub(crate) name: String,
}

#[derive(Clone)]
enum Found {
    Module(usize),
    Item(Item),
}

impl Sources {
    pub(crate) fn read(root: &Path, crates: &[(&str, &str)]) -> Self {
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
    pub(crate) fn named_by(&self, module: usize) -> Vec<Item> {
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
