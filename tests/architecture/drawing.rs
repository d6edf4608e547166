//! The drawing: files, and arrows between them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::path::Path;

use crate::sources::{Item, Sources};

/// What the files of a tree name of each other.
pub(crate) struct Drawing {
    /// From file to file, with the names that make the arrow.
    pub(crate) arrows: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
}

impl Drawing {
    pub(crate) fn of(root: &Path, crates: &[(&str, &str)]) -> Self {
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

    pub(crate) fn from(&self, file: &str) -> impl Iterator<Item = &str> {
        self.arrows
            .get(file)
            .into_iter()
            .flat_map(|to| to.keys().map(String::as_str))
    }

    /// The shortest circle through each arrow that is part of one; each once, from its first file back to that.
    pub(crate) fn circles(&self) -> Vec<Vec<&str>> {
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
    pub(crate) fn climbs(&self, layer: impl Fn(&str) -> Option<usize>) -> Vec<Vec<&str>> {
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
    pub(crate) fn describe(&self, ways: &[Vec<&str>]) -> String {
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
