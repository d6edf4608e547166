//! `bt-index export` and `import`, with a progress bar and Ctrl-C.

use std::path::Path;

use bridgetower::Error;
use bridgetower::index::ImportEvent;
use bt_cli::{DONE, Unit, counted};
use indicatif::HumanBytes;

use crate::args::{ExportFormat, Program};
use crate::interrupt::with_bar;

pub fn export(
    program: &Program,
    target: &Path,
    force: bool,
    format: ExportFormat,
) -> anyhow::Result<u8> {
    let index = program.index.place()?.reader()?;
    let bar = program.output.progress(Unit::Things("photos"));
    let mut progress = |done, total| bar.show("exporting", done as u64, total as u64);
    let report = match format {
        ExportFormat::Npy => index.export(target, force, &mut progress),
        ExportFormat::Parquet => index.export_parquet(target, force, &mut progress),
    }?;
    bar.finish();
    program.output.say(format_args!(
        "{} with {} exported to {} ({})",
        counted(report.photos, "photo"),
        counted(report.vectors, "vector"),
        target.display(),
        HumanBytes(report.bytes)
    ));
    Ok(DONE)
}

pub fn import(program: &Program, source: &Path) -> anyhow::Result<u8> {
    let index = program.index.place()?;
    let outcome = with_bar(&program.output, Unit::Things("photos"), |cancel, bar| {
        index.import(source, cancel, &mut |event| {
            let (what, done, total) = match event {
                ImportEvent::Checking { done, total } => ("checking", done, total),
                ImportEvent::Importing { done, total } => ("importing", done, total),
                ImportEvent::Graph { done, total } => ("building the graph", done, total),
            };
            bar.show(what, done as u64, total as u64);
        })
    });
    let report = match outcome? {
        Err(Error::Cancelled) if index.status().is_ok() => anyhow::bail!(
            "stopped; all photos are in the index, and the next build builds its graph"
        ),
        Err(Error::Cancelled) => anyhow::bail!("stopped; nothing was imported"),
        outcome => outcome?,
    };
    program.output.say(format_args!(
        "{} with {} imported into {}",
        counted(report.photos, "photo"),
        counted(report.vectors, "vector"),
        index.dir().display()
    ));
    Ok(DONE)
}
