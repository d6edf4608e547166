//! `bt-index status`, `verify` and `remove`.

use std::path::PathBuf;

use bridgetower::{Changes, Error, IndexReader, IndexWriter, Status, indexed_path};
use bt_cli::{DONE, FAILED, NOTHING_FOUND};
use indicatif::{HumanBytes, HumanCount};
use serde_json::json;

use crate::args::Program;

pub fn status(program: &Program, as_json: bool) -> anyhow::Result<u8> {
    let dir = program.index.dir()?;
    let status = Status::read(&dir)?;
    let pins = &status.pins;
    let roots: Vec<_> = status
        .roots
        .iter()
        .map(|root| root.to_string_lossy())
        .collect();
    if as_json {
        println!(
            "{}",
            json!({
                "index": dir.to_string_lossy(),
                "photos": status.photos,
                "vectors": status.vectors,
                "graph_rows": status.graph_rows,
                "tail_rows": status.tail_rows,
                "dead_rows": status.dead_rows,
                "generation": status.generation,
                "model": pins.model_name,
                "model_fingerprint": pins.model_fingerprint,
                "preprocessing": pins.preprocessing,
                "dim": pins.dim,
                "folders": roots,
                "created_by": status.created_by,
                "bytes": status.bytes_on_disk,
                "cache_bytes": status.cache_bytes,
                "builder": status.builder,
            })
        );
        return Ok(DONE);
    }
    println!(
        "index    {} ({})",
        dir.display(),
        HumanBytes(status.bytes_on_disk)
    );
    println!("photos   {}", HumanCount(status.photos as u64));
    println!("folders  {}", roots.join(", "));
    println!(
        "model    {} ({:.12})",
        pins.model_name, pins.model_fingerprint
    );
    println!(
        "vectors  {} of {} coordinates",
        HumanCount(status.vectors as u64),
        pins.dim
    );
    match status.graph_rows {
        0 => println!("graph    none: searches compare every photo"),
        rows => println!(
            "graph    {} vectors, {} of them deleted; {} newer ones are compared one by one",
            HumanCount(rows as u64),
            HumanCount(status.dead_rows as u64),
            HumanCount(status.tail_rows as u64)
        ),
    }
    if status.cache_bytes > 0 {
        println!(
            "cache    {} of photos, kept for reranking",
            HumanBytes(status.cache_bytes)
        );
    }
    if let Some(pid) = status.builder {
        println!("builder  process {pid} is changing it");
    }
    Ok(DONE)
}

pub fn verify(program: &Program, as_json: bool) -> anyhow::Result<u8> {
    let dir = program.index.dir()?;
    let report = bridgetower::verify(&dir)?;
    if as_json {
        println!(
            "{}",
            json!({
                "photos": report.photos,
                "vectors": report.vectors,
                "recall": report.recall,
                "problems": report.problems,
            })
        );
    } else {
        for problem in &report.problems {
            println!("problem: {problem}");
        }
        let recall = report
            .recall
            .map_or(String::new(), |r| format!(", Recall@10 {r:.3}"));
        let verdict = if report.problems.is_empty() {
            "all is well"
        } else {
            "damaged"
        };
        println!(
            "{verdict}: {} photos, {} vectors{recall}",
            HumanCount(report.photos as u64),
            HumanCount(report.vectors as u64)
        );
    }
    if report.problems.is_empty() {
        return Ok(DONE);
    }
    let damaged = Error::Corrupt {
        path: dir,
        reason: report.problems.join("; "),
    };
    eprintln!("hint: {}", damaged.hint());
    Ok(FAILED)
}

pub fn remove(program: &Program, paths: &[PathBuf]) -> anyhow::Result<u8> {
    let dir = program.index.dir()?;
    let pins = IndexReader::open(&dir)?.pins().clone();
    let mut writer = IndexWriter::open(&dir, &pins)?;
    // The file itself may be gone already.
    let unwanted: Vec<_> = paths.iter().map(|path| indexed_path(path)).collect();
    let is_unwanted =
        |path: &std::path::Path| unwanted.iter().any(|unwanted| path.starts_with(unwanted));
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
    if !program.output.quiet {
        eprintln!(
            "{} photos left the index, {} remain",
            HumanCount(count as u64),
            HumanCount(writer.len() as u64)
        );
    }
    Ok(if count == 0 { NOTHING_FOUND } else { DONE })
}
