//! `bt-index gc`, with a report.

use bridgetower::cache::{Garbage, GcOptions, GcReport};
use bridgetower::search::DEFAULT_RERANKER;
use bt_cli::{DONE, OutputArgs, print_json};
use indicatif::{HumanBytes, HumanCount};
use serde_json::{Value, json};

use crate::args::{GcArgs, Program};

pub fn gc(program: &Program, args: &GcArgs) -> anyhow::Result<u8> {
    let index = program.index.place()?;
    let rerank_model = args.rerank_model.as_deref().unwrap_or(DEFAULT_RERANKER);
    let options = GcOptions {
        rerank_model: Some(rerank_model.to_owned()),
        level: args.cache,
        dry_run: args.dry_run,
    };
    let report = bridgetower::cache::gc(&index, &options)?;
    for (path, reason) in &report.kept {
        program
            .output
            .warn(format!("{} stays: {reason}", path.display()));
    }
    if args.json {
        print_json(&as_json(&report, args.dry_run))?;
    } else {
        say(&program.output, &report, args.dry_run);
    }
    Ok(DONE)
}

fn say(output: &OutputArgs, report: &GcReport, dry_run: bool) {
    for (&kind, &(files, bytes)) in &report.removed {
        let (files, what) = (HumanCount(files as u64), in_words(kind, files));
        output.say(format_args!("{:>12}  {files} {what}", HumanBytes(bytes)));
    }
    let verb = if dry_run { "would be freed" } else { "freed" };
    output.say(format_args!("{:>12}  {verb}", HumanBytes(report.bytes())));
}

fn in_words(kind: Garbage, files: usize) -> &'static str {
    match kind {
        Garbage::Snapshots if files == 1 => "state that was replaced",
        Garbage::Snapshots => "states that were replaced",
        Garbage::Drafts if files == 1 => "file that was never finished",
        Garbage::Drafts => "files that were never finished",
        Garbage::Stores if files == 1 => "file of a store that was replaced or never finished",
        Garbage::Stores => "files of stores that were replaced or never finished",
        Garbage::GonePhotos => "kept of photos that left the index",
        Garbage::Outdated => "kept by an earlier version of this program",
        Garbage::OtherModels => "kept for other models or preprocessing",
        Garbage::OtherLevels => "kept at other levels",
    }
}

fn as_json(report: &GcReport, dry_run: bool) -> Value {
    let mut fields = json!(report);
    fields["dry_run"] = dry_run.into();
    fields
}
