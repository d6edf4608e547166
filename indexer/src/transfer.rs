//! `bt-index export` and `import`: the library's, with a progress bar and Ctrl-C.

use std::path::Path;

use bridgetower::{Error, ImportEvent, IndexReader, Status};
use bt_cli::DONE;
use indicatif::{HumanBytes, HumanCount};

use crate::args::{ExportFormat, Program};
use crate::build::cancel_on_interrupt;

const BAR: &str = "{msg} {bar:30} {human_pos}/{human_len} photos  {eta} left";

pub fn export(
    program: &Program,
    target: &Path,
    force: bool,
    format: ExportFormat,
) -> anyhow::Result<u8> {
    let index = IndexReader::open(&program.index.dir()?)?;
    let bar = program.output.bar(BAR);
    bar.set_message("exporting");
    let mut progress = |done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    };
    let report = match format {
        ExportFormat::Npy => bridgetower::export(&index, target, force, &mut progress),
        ExportFormat::Parquet => bridgetower::export_parquet(&index, target, force, &mut progress),
    }?;
    bar.finish_and_clear();
    if !program.output.quiet {
        eprintln!(
            "{} photos with {} vectors exported to {} ({})",
            HumanCount(report.photos as u64),
            HumanCount(report.vectors as u64),
            target.display(),
            HumanBytes(report.bytes)
        );
    }
    Ok(DONE)
}

pub fn import(program: &Program, source: &Path) -> anyhow::Result<u8> {
    let dir = program.index.dir()?;
    let cancel = cancel_on_interrupt()?;
    let bar = program.output.bar(BAR);
    let outcome = bridgetower::import(&dir, source, &cancel, &mut |event| {
        let (what, done, total) = match event {
            ImportEvent::Checking { done, total } => ("checking", done, total),
            ImportEvent::Importing { done, total } => ("importing", done, total),
            ImportEvent::Graph { done, total } => ("building the graph", done, total),
        };
        bar.set_message(what);
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    let report = match outcome {
        Err(Error::Cancelled) if Status::read(&dir).is_ok() => anyhow::bail!(
            "stopped; all photos are in the index, and the next build makes its graph"
        ),
        Err(Error::Cancelled) => anyhow::bail!("stopped; nothing was imported"),
        outcome => outcome?,
    };
    if !program.output.quiet {
        eprintln!(
            "{} photos with {} vectors imported into {}",
            HumanCount(report.photos as u64),
            HumanCount(report.vectors as u64),
            dir.display()
        );
    }
    Ok(DONE)
}
