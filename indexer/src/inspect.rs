//! `bt-index status`, `verify` and `remove`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bridgetower::Error;
use bridgetower::index::{Changes, Status};
use bridgetower::ingest::indexed_path;
use bt_cli::{
    DONE, FAILED, NOTHING_FOUND, add_path, advice, counted, hint, print, print_json, visible,
    visible_path,
};
use indicatif::{HumanBytes, HumanCount};
use serde_json::{Value, json};

use crate::args::Program;
use crate::build::EARLIER_READING;

pub fn status(program: &Program, as_json: bool) -> anyhow::Result<u8> {
    let index = program.index.place()?;
    let status = index.status()?;
    if as_json {
        print_json(&status_as_json(index.dir(), &status))?;
    } else {
        print(|out| describe(out, index.dir(), &status))?;
    }
    Ok(DONE)
}

fn status_as_json(dir: &Path, status: &Status) -> Value {
    let mut fields = json!(status);
    add_path(&mut fields, "index", dir);
    fields
}

fn describe(out: &mut impl Write, dir: &Path, status: &Status) -> io::Result<()> {
    let model = &status.model;
    let count = |rows| HumanCount(rows as u64);
    let roots: Vec<_> = status.roots.iter().map(|root| visible_path(root)).collect();
    let bytes = HumanBytes(status.bytes_on_disk);
    writeln!(out, "index    {} ({bytes})", visible_path(dir))?;
    writeln!(out, "photos   {}", count(status.photos))?;
    writeln!(out, "folders  {}", roots.join(", "))?;
    let name = visible(&model.name);
    writeln!(out, "model    {name} ({:.12})", model.fingerprint)?;
    if model.is_of_earlier_reading() {
        writeln!(out, "reading  {EARLIER_READING}")?;
    }
    let vectors = count(status.vectors);
    writeln!(out, "vectors  {vectors} of {} coordinates", model.dim)?;
    match status.graph_rows {
        0 => writeln!(out, "graph    none: searches compare every photo")?,
        rows => writeln!(
            out,
            "graph    {}, {} of them deleted; newer ones, which searches compare one by one: {}",
            counted(rows, "vector"),
            count(status.dead_rows),
            count(status.tail_rows)
        )?,
    }
    if status.cache_bytes > 0 {
        let bytes = HumanBytes(status.cache_bytes);
        writeln!(out, "cache    {bytes} of photos, kept for reranking")?;
    }
    if status.rebuild_bytes > 0 {
        let bytes = HumanBytes(status.rebuild_bytes);
        writeln!(
            out,
            "rebuild  not finished, {bytes} so far: bt-index build --rebuild continues it"
        )?;
    }
    match status.builder {
        Some(pid) => writeln!(out, "builder  process {pid} is changing it"),
        None => Ok(()),
    }
}

pub fn verify(program: &Program, as_json: bool) -> anyhow::Result<u8> {
    let index = program.index.place()?;
    let report = index.verify()?;
    if as_json {
        print_json(&json!(report))?;
    } else {
        let recall = report
            .recall
            .map_or(String::new(), |r| format!(", Recall@10 {r:.3}"));
        let verdict = if report.problems.is_empty() {
            "all is well"
        } else if report.needs_graph {
            "needs a new graph"
        } else {
            "damaged"
        };
        let photos = counted(report.photos, "photo");
        let vectors = counted(report.vectors, "vector");
        print(|out| {
            for problem in &report.problems {
                writeln!(out, "problem: {}", visible(problem))?;
            }
            writeln!(out, "{verdict}: {photos}, {vectors}{recall}")
        })?;
    }
    if report.problems.is_empty() {
        return Ok(DONE);
    }
    let damaged = Error::Corrupt {
        path: index.dir().to_owned(),
        reason: report.problems.join("; "),
    };
    hint(if report.needs_graph {
        "bt-index compact rebuilds the graph; nothing has to be embedded again"
    } else {
        advice(&damaged.into())
    });
    Ok(FAILED)
}

pub fn remove(program: &Program, paths: &[PathBuf]) -> anyhow::Result<u8> {
    let index = program.index.place()?;
    let model = index.reader()?.model().clone();
    let mut writer = index.writer(&model)?;
    // The file itself may be gone already.
    let unwanted: Vec<_> = paths.iter().map(|path| indexed_path(path)).collect();
    let is_unwanted = |path: &Path| unwanted.iter().any(|unwanted| path.starts_with(unwanted));
    let remove: Vec<_> = writer
        .photos()
        .filter(|(_, photo)| is_unwanted(&photo.path))
        .map(|(id, _)| id)
        .collect();
    let count = remove.len();
    let roots = writer
        .roots()
        .iter()
        .filter(|root| !is_unwanted(root))
        .cloned()
        .collect();
    writer.commit(Changes {
        remove,
        roots: Some(roots),
        ..Changes::default()
    })?;
    writer.publish()?;
    program.output.say(format_args!(
        "{} left the index, {} remain",
        counted(count, "photo"),
        HumanCount(writer.len() as u64)
    ));
    Ok(if count == 0 { NOTHING_FOUND } else { DONE })
}
