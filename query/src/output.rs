//! Hits in the form that the reader wants: a table for people, lines for pipes, JSON or CSV for programs.

use std::io::{self, IsTerminal, Write};
use std::path::Path;

use bridgetower::Photo;
use bridgetower::json::path_hex;
use bridgetower::search::{Found, Hit, TermContent};
use bt_cli::{
    OutputArgs, add_path, cut_path, json_line, print_json, print_pretty_json, visible, visible_path,
};
use console::Term;
use serde_json::{Value, json};

use crate::args::FormatArgs;
use crate::preview::Preview;
use crate::terms::Query;

/// A search's outcome and how it came about.
pub struct Answer<'a> {
    pub query: Query,
    /// The filters, as a JSON object.
    pub filters: Value,
    /// Where the results end.
    pub min_score: Option<f32>,
    pub model: &'a str,
    /// The model that reranked, if one did.
    pub reranker: Option<&'a str>,
    pub found: Found,
}

/// Writes the answer to stdout, and to stderr what can't be part of it.
pub fn print(output: &OutputArgs, format: &FormatArgs, answer: &Answer) -> anyhow::Result<()> {
    let hits = &answer.found.hits;
    if format.json {
        return print_pretty_json(&document(answer));
    }
    let is_terminal = io::stdout().is_terminal();
    let preview = format
        .preview
        .map(|wanted| Preview::new(wanted, format.preview_height));
    let preview = preview.and_then(|preview| preview.map_err(|why| output.warn(why)).ok());
    bt_cli::print(|out| {
        if format.jsonl {
            let mut ranked = (1..).zip(hits);
            ranked.try_for_each(|(rank, hit)| writeln!(out, "{}", json_line(&as_json(rank, hit))))
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

/// Begins the answers to several queries.
pub fn begin_several(format: &FormatArgs) -> anyhow::Result<()> {
    if format.csv {
        bt_cli::print(|out| writeln!(out, "query,{CSV_COLUMNS}"))?;
    }
    Ok(())
}

/// Writes the answer to one of several queries, or in JSON what is wrong with it, and each with the query's words.
pub fn print_next(
    output: &OutputArgs,
    format: &FormatArgs,
    typed: &str,
    answer: Result<&Answer, &anyhow::Error>,
) -> anyhow::Result<()> {
    let answer = match answer {
        Ok(answer) if format.json || format.jsonl => return print_json(&document(answer)),
        Err(error) if format.json || format.jsonl => {
            return print_json(&json!({"query": typed, "error": format!("{error:#}")}));
        }
        Ok(answer) => answer,
        Err(_) => return Ok(()),
    };
    let hits = &answer.found.hits;
    let is_terminal = io::stdout().is_terminal();
    if format.csv {
        let query = typed.replace('"', "\"\"");
        return bt_cli::print(|out| {
            (1..).zip(hits).try_for_each(|(rank, hit)| {
                write!(out, "\"{query}\",")?;
                csv_row(out, rank, hit, is_terminal)
            })
        });
    }
    if !format.is_table() {
        return print(output, format, answer);
    }
    let query = visible(typed);
    if is_terminal {
        bt_cli::print(|out| writeln!(out, "{query}"))?;
        print(output, format, answer)?;
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

fn document(answer: &Answer) -> Value {
    let hits = answer.found.hits.iter().enumerate();
    json!({
        "query": answer.query.typed,
        "terms": answer.query.terms.iter().map(term).collect::<Vec<_>>(),
        "filters": answer.filters,
        "min_score": answer.min_score.map(as_typed),
        "model": answer.model,
        "reranker": answer.reranker,
        "reranked": answer.found.reranked,
        "warnings": answer.found.warnings,
        "hits": hits.map(|(i, hit)| as_json(i + 1, hit)).collect::<Vec<_>>(),
    })
}

fn term(term: &bridgetower::Term) -> Value {
    let weight = as_typed(term.weight);
    match &term.content {
        TermContent::Text(words) => json!({"text": words, "weight": weight}),
        TermContent::Image(path) => {
            let mut fields = json!({"weight": weight});
            add_path(&mut fields, "image", path);
            fields
        }
    }
}

/// 0.1 of a command line as 0.1, and not as the nearest 32 bits.
fn as_typed(number: f32) -> f64 {
    number.to_string().parse().unwrap_or(number.into())
}

fn as_json(rank: usize, hit: &Hit) -> Value {
    let (photo, metadata) = (&hit.photo, &hit.photo.metadata);
    let mut fields = json!({
        "rank": rank,
        "score": hit.score(),
        "match_probability": hit.match_probability,
        "similarity": hit.similarity,
        "width": metadata.width,
        "height": metadata.height,
        "bytes": photo.size,
        "captured_at": metadata.captured_at.map(|t| t.to_string()),
        "gps": metadata.gps.map(|g| json!({"latitude": g.latitude, "longitude": g.longitude})),
        "camera": metadata.camera,
    });
    add_path(&mut fields, "path", &photo.path);
    fields
}

/// `picture` is what shows a photo below its line, if anything does.
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

/// How a hit is laid out in a line for people.
#[derive(Clone, Copy)]
pub struct Columns {
    width: usize,
}

/// Fewer columns for the path make no name that anybody knows a photo by.
const LEAST_PATH: usize = 24;

impl Columns {
    pub fn of(terminal: &Term) -> Self {
        let (_, columns) = terminal.size();
        Self {
            width: columns.into(),
        }
    }

    /// Leaves the last column free.
    #[must_use]
    pub fn narrower(self) -> Self {
        Self {
            width: self.width.saturating_sub(1),
        }
    }

    /// What the columns of [`Self::row`] are.
    pub fn heading(self) -> String {
        let numbers = self.fit([
            format!("{:>4}  {:>6}  {:>10}  ", "", "match", "similarity"),
            format!("{:>4}  {:>6}   ", "", "match"),
            format!("{:>4}  ", ""),
        ]);
        self.with_path(&numbers, "photo")
    }

    /// A hit; `unread` stands in place of a match probability that it does not have.
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

    /// The first of the forms that leaves room for a path.
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
        "{rank},{},{},{},\"{}\",{}",
        hit.score(),
        matched.unwrap_or_default(),
        hit.similarity,
        shown.replace('"', "\"\""),
        path_hex(path).unwrap_or_default()
    )
}

/// The path byte for byte, so that `xargs` finds the file; but to a terminal nothing that it would obey.
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
