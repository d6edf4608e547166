//! `bt-index dedupe`: groups of duplicates as a table or as JSON.

use std::io::Write;

use bridgetower::index::{DuplicateGroup, DuplicateOptions, Duplicates, IndexReader};
use bt_cli::{DONE, NOTHING_FOUND, Unit, counted, print, print_pretty_json, visible_path};
use indicatif::HumanBytes;
use serde_json::{Value, json};

use crate::args::{DedupeArgs, Program};

pub fn dedupe(program: &Program, args: &DedupeArgs) -> anyhow::Result<u8> {
    let index = program.index.place()?.reader()?;
    let options = DuplicateOptions {
        similarity: (!args.exact).then_some(args.similarity),
        ..DuplicateOptions::default()
    };
    let bar = program.output.progress(Unit::Things("pictures"));
    let found = index.duplicates(&options, &mut |done, total| {
        bar.show("comparing", done as u64, total as u64);
    })?;
    bar.finish();
    if args.json {
        print_pretty_json(&as_json(&index, &options, &found))?;
    } else {
        print(|out| {
            let mut groups = found.groups.iter();
            groups.try_for_each(|group| print_group(out, group))
        })?;
    }
    program.output.say(summary(&found));
    Ok(if found.groups.is_empty() {
        NOTHING_FOUND
    } else {
        DONE
    })
}

/// ```text
/// 4 alike, 2.31 MiB beside the best
///   4000×3000   3.10 MiB          /photos/a.jpg
///                exact copy       /photos/copy of a.jpg
///   2000×1500   1.20 MiB   0.993  /photos/small.jpg
/// ```
fn print_group(out: &mut impl Write, group: &DuplicateGroup) -> std::io::Result<()> {
    let photos: usize = group.contents.iter().map(|c| c.photos.len()).sum();
    let kind = if group.is_exact() {
        "exact copies"
    } else {
        "alike"
    };
    writeln!(
        out,
        "{photos} {kind}, {} beside the best",
        HumanBytes(group.waste())
    )?;
    for (number, content) in group.contents.iter().enumerate() {
        let photo = content.photo();
        let pixels = format!("{}×{}", photo.metadata.width, photo.metadata.height);
        let bytes = HumanBytes(photo.size).to_string();
        let similarity = match number {
            0 => String::new(),
            _ => format!("{:.3}", content.similarity),
        };
        let path = visible_path(&photo.path);
        writeln!(out, "  {pixels:>11}  {bytes:>10}  {similarity:>5}  {path}")?;
        for (_, copy) in &content.photos[1..] {
            writeln!(
                out,
                "  {:>23}  {:>5}  {}",
                "exact copy",
                "",
                visible_path(&copy.path)
            )?;
        }
    }
    writeln!(out)
}

fn summary(found: &Duplicates) -> String {
    let groups = found.groups.len();
    let waste = found.groups.iter().map(DuplicateGroup::waste).sum();
    let twice = match groups {
        0 => "no duplicates".to_owned(),
        _ => format!(
            "{}, {} beside the best of each",
            counted(groups, "group"),
            HumanBytes(waste)
        ),
    };
    match found.left_out {
        0 => twice,
        1 => format!("{twice}; 1 link or missing file left out"),
        count => format!("{twice}; {count} links or missing files left out"),
    }
}

fn as_json(index: &IndexReader, options: &DuplicateOptions, found: &Duplicates) -> Value {
    let mut fields = json!(found);
    fields["photos"] = index.len().into();
    fields["similarity"] = options.similarity.into();
    fields
}
