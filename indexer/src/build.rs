//! `bt-index build`: the library's build with a progress bar, Ctrl-C and a report.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use bridgetower::{
    BuildEvent, BuildOptions, BuildReport, Engine, Error, IndexWriter, Status, destroy,
};
use bt_cli::{DEFAULT_MODEL, DONE, OutputArgs};
use indicatif::{HumanCount, ProgressBar};
use serde_json::json;

use crate::args::{BuildArgs, Program};

pub fn build(program: &Program, args: &BuildArgs) -> anyhow::Result<u8> {
    let started = Instant::now();
    let dir = program.index.dir()?;
    let published = published(&dir, args)?;
    let folders = match &published {
        Some(status) if args.folders.is_empty() => &status.roots,
        _ => &args.folders,
    };
    check_folders(folders)?;
    let scan = args.select.options();
    scan.check()?;
    let built_with = published.as_ref().filter(|_| !args.rebuild);
    let default = built_with.map_or(DEFAULT_MODEL, |status| &status.pins.model_name);
    let engine = args.model.load(default, &program.output)?;
    let pins = engine.pins()?;
    if args.rebuild {
        destroy(&dir)?;
    }
    let mut writer = IndexWriter::open(&dir, &pins)?;
    program.output.note(describe(&engine, &dir));

    let cancel = cancel_on_interrupt()?;
    let mut screen = Screen::new(&program.output);
    let options = BuildOptions {
        batch_size: args.batch.map(usize::from),
        threads: args
            .threads
            .map_or(BuildOptions::default().threads, usize::from),
        commit_every: Duration::from_secs(args.commit_every),
        scan,
        ..BuildOptions::default()
    };
    let outcome = bridgetower::build(
        &mut writer,
        &engine,
        folders,
        &options,
        &cancel,
        &mut |event| screen.show(&event),
    );
    screen.bar.finish_and_clear();
    let report = match outcome {
        Err(Error::Cancelled) => {
            anyhow::bail!(
                "stopped; {} photos are in the index, and the next build goes on from there",
                writer.len()
            )
        }
        outcome => outcome?,
    };
    if args.json {
        println!("{}", as_json(&report, writer.len(), started.elapsed()));
    } else if !program.output.quiet {
        print_report(&report, writer.len(), started.elapsed());
    }
    Ok(DONE)
}

/// What an earlier build published, if anything. One that is damaged is mended by this build, unless only that
/// would have told folders and model.
fn published(dir: &Path, args: &BuildArgs) -> Result<Option<Status>, Error> {
    match Status::read(dir) {
        Ok(status) => Ok(Some(status)),
        Err(Error::NoIndex { .. }) => Ok(None),
        Err(_) if args.rebuild => Ok(None),
        Err(Error::Corrupt { .. }) if !args.folders.is_empty() && args.model.model.is_some() => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Wrong folders should be told before minutes of download, as wrong patterns are.
fn check_folders(folders: &[PathBuf]) -> Result<(), Error> {
    if folders.is_empty() {
        return Err(Error::NoFolders);
    }
    match folders.iter().find(|folder| !folder.exists()) {
        Some(folder) => Err(Error::NoFolder {
            path: folder.clone(),
        }),
        None => Ok(()),
    }
}

/// Ctrl-C asks the build to commit and stop; a second one ends the process at once, which is safe too.
pub fn cancel_on_interrupt() -> anyhow::Result<Arc<AtomicBool>> {
    let cancel = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&cancel);
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        eprintln!("\nstopping after this batch; Ctrl-C again to stop at once");
    })
    .context("cannot listen for Ctrl-C")?;
    Ok(cancel)
}

fn describe(engine: &Engine, index: &Path) -> String {
    let model = engine.model();
    format!(
        "model {} on {:?} in {}, index {}",
        engine.name(),
        model.device().location(),
        model.number_format(),
        index.display()
    )
}

/// What a build shows on stderr while it runs.
struct Screen<'a> {
    output: &'a OutputArgs,
    bar: ProgressBar,
}

impl<'a> Screen<'a> {
    fn new(output: &'a OutputArgs) -> Self {
        Self {
            bar: output
                .bar("{bar:30} {human_pos}/{human_len} photos  {per_sec}  {eta} left  {msg}"),
            output,
        }
    }

    fn show(&mut self, event: &BuildEvent) {
        match event {
            BuildEvent::Planned { found, to_read } => {
                self.output.note(format!(
                    "{found} photos found, {to_read} of them new or changed"
                ));
                self.bar.set_length(*to_read as u64);
                self.bar.reset();
            }
            BuildEvent::Progress { done } => self.bar.set_position(*done as u64),
            BuildEvent::Skipped { path, reason } => self.bar.suspend(|| {
                self.output
                    .warn(format!("skipped {}: {reason}", path.display()));
            }),
            BuildEvent::Committed { photos } => {
                self.bar
                    .set_message(format!("{} safe", HumanCount(*photos as u64)));
            }
            BuildEvent::Graph { done, total } => {
                self.bar.set_message("building the graph");
                self.bar.set_length(*total as u64);
                self.bar.set_position(*done as u64);
            }
            BuildEvent::Published => {}
        }
    }
}

fn print_report(report: &BuildReport, photos: usize, took: Duration) {
    let parts = [
        (report.embedded, "embedded"),
        (report.recognised, "recognised by content"),
        (report.unchanged, "unchanged"),
        (report.removed, "removed"),
        (report.skipped.len(), "skipped"),
    ];
    let parts: Vec<String> = parts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{} {what}", HumanCount(*count as u64)))
        .collect();
    eprintln!(
        "{} photos in the index ({}) after {took:.1?}",
        HumanCount(photos as u64),
        parts.join(", ")
    );
}

fn as_json(report: &BuildReport, photos: usize, took: Duration) -> serde_json::Value {
    let skipped: Vec<_> = report
        .skipped
        .iter()
        .map(|(path, reason)| json!({"path": path.to_string_lossy(), "reason": reason}))
        .collect();
    json!({
        "photos": photos,
        "found": report.found,
        "unchanged": report.unchanged,
        "embedded": report.embedded,
        "recognised": report.recognised,
        "removed": report.removed,
        "skipped": skipped,
        "seconds": took.as_secs_f64(),
    })
}
