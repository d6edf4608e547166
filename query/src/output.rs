//! Hits in the form that the reader wants: a table for people, lines for pipes, JSON or CSV for programs.

use std::io::{IsTerminal, Write};

use bridgetower::{Found, Hit};
use serde_json::{Value, json};

use crate::args::FormatArgs;

/// A search's outcome and how it came about.
pub struct Answer<'a> {
    pub query: &'a str,
    pub model: &'a str,
    /// The model that reranked, if one did.
    pub reranker: Option<&'a str>,
    pub found: &'a Found,
}

/// Writes the answer to stdout.
pub fn print(format: &FormatArgs, answer: &Answer) -> anyhow::Result<()> {
    let stdout = std::io::stdout();
    let is_terminal = stdout.is_terminal();
    let mut out = std::io::BufWriter::new(stdout.lock());
    let hits = &answer.found.hits;
    if format.json {
        serde_json::to_writer_pretty(&mut out, &document(answer))?;
        writeln!(out)?;
    } else if format.csv {
        csv(&mut out, hits)?;
    } else {
        for (i, hit) in hits.iter().enumerate() {
            if format.jsonl {
                serde_json::to_writer(&mut out, &as_json(i + 1, hit))?;
                writeln!(out)?;
            } else if format.print0 {
                write_path(&mut out, hit)?;
                out.write_all(b"\0")?;
            } else if format.filepath_only {
                write_path(&mut out, hit)?;
                writeln!(out)?;
            } else if is_terminal {
                if i == 0 {
                    writeln!(out, "{}", heading())?;
                }
                write!(out, "{}", numbers(i + 1, hit, "–"))?;
                write_path(&mut out, hit)?;
                writeln!(out)?;
            } else {
                write!(out, "{:.4}\t", hit.score())?;
                write_path(&mut out, hit)?;
                writeln!(out)?;
            }
        }
    }
    out.flush()?;
    Ok(())
}

fn document(answer: &Answer) -> Value {
    let hits = answer.found.hits.iter().enumerate();
    json!({
        "query": answer.query,
        "model": answer.model,
        "reranker": answer.reranker,
        "reranked": answer.found.reranked,
        "warnings": answer.found.warnings,
        "hits": hits.map(|(i, hit)| as_json(i + 1, hit)).collect::<Vec<_>>(),
    })
}

fn as_json(rank: usize, hit: &Hit) -> Value {
    let (photo, metadata) = (&hit.photo, &hit.photo.metadata);
    json!({
        "rank": rank,
        "path": photo.path.to_string_lossy(),
        "score": hit.score(),
        "match_probability": hit.match_probability,
        "similarity": hit.similarity,
        "width": metadata.width,
        "height": metadata.height,
        "bytes": photo.size,
        "captured_at": metadata.captured_at.map(|t| t.to_string()),
        "gps": metadata.gps.map(|g| json!({"latitude": g.latitude, "longitude": g.longitude})),
        "camera": metadata.camera,
    })
}

/// What the columns of [`row`] are.
pub fn heading() -> String {
    format!("{:>4}  {:>6}  {:>10}  photo", "", "match", "similarity")
}

/// A hit for people; `unread` stands in place of a match probability that it does not have.
pub fn row(rank: usize, hit: &Hit, unread: &str) -> String {
    format!("{}{}", numbers(rank, hit, unread), hit.photo.path.display())
}

fn numbers(rank: usize, hit: &Hit, unread: &str) -> String {
    let matched = match hit.match_probability {
        Some(p) => format!("{:.1} %", p * 100.0),
        None => unread.into(),
    };
    format!("{rank:>4}  {matched:>7}  {:>9.3}  ", hit.similarity)
}

fn csv(out: &mut impl Write, hits: &[Hit]) -> std::io::Result<()> {
    writeln!(out, "rank,score,match_probability,similarity,path")?;
    for (i, hit) in hits.iter().enumerate() {
        let matched = hit
            .match_probability
            .map_or(String::new(), |p| p.to_string());
        let path = hit.photo.path.to_string_lossy().replace('"', "\"\"");
        writeln!(
            out,
            "{},{},{matched},{},\"{path}\"",
            i + 1,
            hit.score(),
            hit.similarity
        )?;
    }
    Ok(())
}

/// The path byte for byte where the system has such paths, so that `xargs` finds the file.
fn write_path(out: &mut impl Write, hit: &Hit) -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        out.write_all(hit.photo.path.as_os_str().as_bytes())
    }
    #[cfg(not(unix))]
    write!(out, "{}", hit.photo.path.display())
}
