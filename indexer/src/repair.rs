//! `bt-index verify --repair`: the library's, with a progress bar, Ctrl-C and a report.

use bridgetower::{Error, RepairEvent, RepairReport, verify};
use bt_cli::{DONE, FAILED};
use indicatif::HumanCount;
use serde_json::json;

use crate::args::Program;
use crate::build::cancel_on_interrupt;

pub fn repair(program: &Program, as_json: bool) -> anyhow::Result<u8> {
    let dir = program.index.dir()?;
    let cancel = cancel_on_interrupt()?;
    let bar = program.output.bar("{msg} {bar:30} {percent} %  {eta} left");
    let outcome = bridgetower::repair(&dir, &cancel, &mut |event| {
        let (what, done, total) = match event {
            RepairEvent::Store { done, total } => ("writing the store", done, total),
            RepairEvent::Graph { done, total } => ("building the graph", done, total),
        };
        bar.set_message(what);
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    let report = match outcome {
        Err(Error::Cancelled) => anyhow::bail!("stopped; run it again to mend the rest"),
        outcome => outcome?,
    };
    let left = verify(&dir)?.problems;
    if as_json {
        println!(
            "{}",
            json!({
                "problems": report.problems,
                "photos": report.photos,
                "from_snapshot": report.from_snapshot,
                "lost": report.lost,
                "lost_paths": report.lost_paths.iter().map(|path| path.to_string_lossy()).collect::<Vec<_>>(),
                "rebuilt_graph": report.rebuilt_graph,
                "put_aside": report.put_aside.as_ref().map(|path| path.to_string_lossy()),
                "problems_left": left,
            })
        );
    } else {
        print(&report, &left);
    }
    if left.is_empty() {
        return Ok(DONE);
    }
    eprintln!("hint: {}", Error::BeyondRepair { path: dir }.hint());
    Ok(FAILED)
}

fn print(report: &RepairReport, left: &[String]) {
    for problem in &report.problems {
        println!("was damaged: {problem}");
    }
    for path in &report.lost_paths {
        println!("lost: {}", path.display());
    }
    for problem in left {
        println!("still damaged: {problem}");
    }
    if let Some(path) = &report.put_aside {
        println!(
            "the damaged store is kept in {}; delete it when you like",
            path.display()
        );
    }
    let photos = HumanCount(report.photos as u64);
    if report.problems.is_empty() {
        println!("nothing to mend: {photos} photos");
    } else if left.is_empty() {
        println!("mended: {photos} photos; {}", what_is_left_to_do(report));
    }
}

fn what_is_left_to_do(report: &RepairReport) -> String {
    match report.lost {
        Some(0) => "nothing is lost".into(),
        Some(lost) => format!(
            "{} photos are lost, and bt-index build embeds them again",
            HumanCount(lost as u64)
        ),
        None => "bt-index build embeds again what was newer than the published state".into(),
    }
}
