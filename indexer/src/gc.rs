//! `bt-index gc`: the library's, with a report.

use bridgetower::{Garbage, GcOptions, GcReport};
use bt_cli::{DEFAULT_RERANK_MODEL, DONE};
use indicatif::{HumanBytes, HumanCount};
use serde_json::{Value, json};

use crate::args::{GcArgs, Program};

pub fn gc(program: &Program, args: &GcArgs) -> anyhow::Result<u8> {
    let dir = program.index.dir()?;
    let rerank_model = args.rerank_model.as_deref().unwrap_or(DEFAULT_RERANK_MODEL);
    let options = GcOptions {
        rerank_model: Some(rerank_model.to_owned()),
        level: args.cache,
        dry_run: args.dry_run,
    };
    let report = bridgetower::gc(&dir, &options)?;
    for (path, reason) in &report.kept {
        program
            .output
            .warn(format!("{} stays: {reason}", path.display()));
    }
    if args.json {
        println!("{}", as_json(&report, args.dry_run));
    } else if !program.output.quiet {
        print(&report, args.dry_run);
    }
    Ok(DONE)
}

fn print(report: &GcReport, dry_run: bool) {
    for (&kind, &(files, bytes)) in &report.removed {
        let (files, bytes) = (HumanCount(files as u64), HumanBytes(bytes));
        eprintln!("{bytes:>12}  {files} {}", in_words(kind));
    }
    let verb = if dry_run { "would be freed" } else { "freed" };
    eprintln!("{:>12}  {verb}", HumanBytes(report.bytes()));
}

fn in_words(kind: Garbage) -> &'static str {
    match kind {
        Garbage::Snapshots => "states that were replaced",
        Garbage::Drafts => "files that were never finished",
        Garbage::Stores => "files of stores that were replaced or never finished",
        Garbage::GonePhotos => "kept of photos that left the index",
        Garbage::Outdated => "kept by an earlier version of this program",
        Garbage::OtherModels => "kept for other models or preprocessing",
        Garbage::OtherLevels => "kept at other levels",
    }
}

fn as_json(report: &GcReport, dry_run: bool) -> Value {
    let name = |kind| match kind {
        Garbage::Snapshots => "snapshots",
        Garbage::Drafts => "drafts",
        Garbage::Stores => "stores",
        Garbage::GonePhotos => "gone_photos",
        Garbage::Outdated => "outdated",
        Garbage::OtherModels => "other_models",
        Garbage::OtherLevels => "other_levels",
    };
    let removed = report.removed.iter().map(|(&kind, (files, bytes))| {
        let amount = json!({"files": files, "bytes": bytes});
        (name(kind).to_owned(), amount)
    });
    let kept = report
        .kept
        .iter()
        .map(|(path, reason)| json!({"path": path.to_string_lossy(), "reason": reason}));
    json!({
        "dry_run": dry_run,
        "bytes": report.bytes(),
        "removed": removed.collect::<serde_json::Map<_, _>>(),
        "kept": kept.collect::<Vec<_>>(),
    })
}
