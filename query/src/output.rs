//! Prints hits in the requested form: a table for people, lines for pipes, JSON or CSV for programs.

use std::io::{self, IsTerminal, Write};
use std::path::Path;

use bridgetower::Photo;
use bridgetower::json::path_hex;
use bridgetower::search::{Found, Hit};
use bt_cli::{
    OutputArgs, cut_path, json_line, message, print_json, print_pretty_json, visible, visible_path,
};
use console::Term;
use serde_json::json;

use crate::args::FormatArgs;
use crate::preview::Preview;

/// Writes the answer to stdout, and what cannot be part of it to stderr.
pub fn print(output: &OutputArgs, format: &FormatArgs, found: &Found) -> anyhow::Result<()> {
    let hits = &found.hits;
    if format.json {
        return print_pretty_json(&serde_json::to_value(found)?);
    }
    let is_terminal = io::stdout().is_terminal();
    let preview = format
        .preview
        .map(|wanted| Preview::new(wanted, format.preview_height));
    let preview = preview.and_then(|preview| preview.map_err(|why| output.warn(why)).ok());
    bt_cli::print(|out| {
        if format.jsonl {
            let mut ranked = (1..).zip(hits);
            ranked.try_for_each(|(rank, hit)| {
                let line = serde_json::to_value(hit.ranked(rank))?;
                writeln!(out, "{}", json_line(&line))
            })
        } else if format.csv {
            csv(out, hits, is_terminal)
        } else if format.print0 || format.filepath_only {
            let end: &[u8] = if format.print0 { b"\0" } else { b"\n" };
            hits.iter().try_for_each(|hit| {
                write_path(out, &hit.photo.path, is_terminal)?;
                out.write_all(end)
            })
        } else if is_terminal {
            table(out, hits, &|photo| {
                let drawn = preview.as_ref()?.of(photo);
                let unseen = |error| {
                    output.warn(format_args!(
                        "{} is not shown: {error}",
                        photo.path.display()
                    ));
                };
                drawn.map_err(unseen).ok()
            })
        } else {
            hits.iter().try_for_each(|hit| {
                write!(out, "{:.4}\t", hit.score())?;
                write_path(out, &hit.photo.path, false)?;
                writeln!(out)
            })
        }
    })
}

/// Starts the output for several queries.
pub fn begin_several(format: &FormatArgs) -> anyhow::Result<()> {
    if format.csv {
        bt_cli::print(|out| writeln!(out, "query,{CSV_COLUMNS}"))?;
    }
    Ok(())
}

/// Writes the answer to one of several queries, with the query's words; in JSON, also its error.
pub fn print_next(
    output: &OutputArgs,
    format: &FormatArgs,
    typed: &str,
    answer: Result<&Found, &anyhow::Error>,
) -> anyhow::Result<()> {
    let found = match answer {
        Ok(found) if format.json || format.jsonl => {
            return print_json(&serde_json::to_value(found)?);
        }
        Err(error) if format.json || format.jsonl => {
            return print_json(&json!({"query": typed, "error": message(error)}));
        }
        Ok(found) => found,
        Err(_) => return Ok(()),
    };
    let hits = &found.hits;
    let is_terminal = io::stdout().is_terminal();
    if format.csv {
        let query = if is_terminal {
            visible(typed)
        } else {
            typed.into()
        };
        let query = quoted(&query);
        return bt_cli::print(|out| {
            (1..).zip(hits).try_for_each(|(rank, hit)| {
                write!(out, "{query},")?;
                csv_row(out, rank, hit, is_terminal)
            })
        });
    }
    if !format.is_table() {
        return print(output, format, found);
    }
    let query = visible(typed);
    if is_terminal {
        bt_cli::print(|out| writeln!(out, "{query}"))?;
        print(output, format, found)?;
        return bt_cli::print(|out| writeln!(out));
    }
    bt_cli::print(|out| {
        hits.iter().try_for_each(|hit| {
            write!(out, "{query}\t{:.4}\t", hit.score())?;
            write_path(out, &hit.photo.path, false)?;
            writeln!(out)
        })
    })
}

/// Writes a table; `picture` draws a photo below its line, if pictures are shown.
fn table(
    out: &mut impl Write,
    hits: &[Hit],
    picture: &dyn Fn(&Photo) -> Option<Vec<u8>>,
) -> io::Result<()> {
    if hits.is_empty() {
        return Ok(());
    }
    let columns = Columns::of(&Term::stdout());
    writeln!(out, "{}", columns.heading())?;
    for (rank, hit) in (1..).zip(hits) {
        writeln!(out, "{}", columns.row(rank, hit, "–"))?;
        if let Some(drawn) = picture(&hit.photo) {
            out.write_all(&drawn)?;
            out.flush()?;
        }
    }
    Ok(())
}

/// The layout of a hit in a line for people.
#[derive(Clone, Copy)]
pub struct Columns {
    width: usize,
}

/// The fewest columns for a path; a photo could not be recognised by less.
const LEAST_PATH: usize = 24;

impl Columns {
    pub fn of(terminal: &Term) -> Self {
        let (_, columns) = terminal.size();
        Self {
            width: columns.into(),
        }
    }

    /// Makes the line narrower by the last column.
    #[must_use]
    pub fn narrower(self) -> Self {
        Self {
            width: self.width.saturating_sub(1),
        }
    }

    /// Returns the headings of the columns of [`Self::row`].
    pub fn heading(self) -> String {
        let numbers = self.fit([
            format!("{:>4}  {:>6}  {:>10}  ", "", "match", "similarity"),
            format!("{:>4}  {:>6}   ", "", "match"),
            format!("{:>4}  ", ""),
        ]);
        self.with_path(&numbers, "photo")
    }

    /// Returns a line for a hit; `unread` replaces a missing match probability.
    pub fn row(self, rank: usize, hit: &Hit, unread: &str) -> String {
        let matched = match hit.match_probability {
            Some(p) => format!("{:.1} %", p * 100.0),
            None => unread.into(),
        };
        let numbers = self.fit([
            format!("{rank:>4}  {matched:>7}  {:>9.3}  ", hit.similarity),
            format!("{rank:>4}  {matched:>7}  "),
            format!("{rank:>4}  "),
        ]);
        self.with_path(&numbers, &visible_path(&hit.photo.path))
    }

    /// Returns the first of the forms that leaves room for a path.
    fn fit(self, forms: [String; 3]) -> String {
        let fits = |form: &String| form.chars().count() + LEAST_PATH <= self.width;
        forms.into_iter().find(fits).unwrap_or_default()
    }

    fn with_path(self, numbers: &str, path: &str) -> String {
        let room = self.width - numbers.chars().count();
        format!("{numbers}{}", cut_path(path, room))
    }
}

const CSV_COLUMNS: &str = "rank,score,match_probability,similarity,path,path_hex";

fn csv(out: &mut impl Write, hits: &[Hit], is_terminal: bool) -> io::Result<()> {
    writeln!(out, "{CSV_COLUMNS}")?;
    (1..)
        .zip(hits)
        .try_for_each(|(rank, hit)| csv_row(out, rank, hit, is_terminal))
}

fn csv_row(out: &mut impl Write, rank: usize, hit: &Hit, is_terminal: bool) -> io::Result<()> {
    let matched = hit.match_probability.map(|p| p.to_string());
    let path = &hit.photo.path;
    let shown = if is_terminal {
        visible_path(path)
    } else {
        path.to_string_lossy().into_owned()
    };
    writeln!(
        out,
        "{rank},{},{},{},{},{}",
        hit.score(),
        matched.unwrap_or_default(),
        hit.similarity,
        quoted(&shown),
        path_hex(path).unwrap_or_default()
    )
}

/// Quotes a field of CSV if necessary.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// Writes the path byte for byte, so that `xargs` finds the file; escaped for a terminal.
fn write_path(out: &mut impl Write, path: &Path, is_terminal: bool) -> io::Result<()> {
    if is_terminal {
        return write!(out, "{}", visible_path(path));
    }
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        out.write_all(path.as_os_str().as_bytes())
    }
    #[cfg(not(unix))]
    write!(out, "{}", path.display())
}
