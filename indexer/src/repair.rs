//! `bt-index verify --repair`, with a progress bar, Ctrl-C and a report.

use std::io::{self, Write};

use bridgetower::Error;
use bridgetower::index::{RepairEvent, RepairReport};
use bt_cli::{DONE, FAILED, Unit, advice, counted, hint, print, print_json, visible, visible_path};
use serde_json::{Value, json};

use crate::args::Program;
use crate::interrupt::with_bar;

pub fn repair(program: &Program, as_json: bool) -> anyhow::Result<u8> {
    let index = program.index.place()?;
    let outcome = with_bar(&program.output, Unit::Parts, |cancel, bar| {
        index.repair(cancel, &mut |event| {
            let (what, done, total) = match event {
                RepairEvent::Store { done, total } => ("writing the store", done, total),
                RepairEvent::Graph { done, total } => ("building the graph", done, total),
            };
            bar.show(what, done as u64, total as u64);
        })
    });
    let report = match outcome? {
        Err(Error::Cancelled) => anyhow::bail!("stopped; run it again to repair the rest"),
        outcome => outcome?,
    };
    let left = index.verify()?.problems;
    if as_json {
        print_json(&in_json(&report, &left))?;
    } else {
        print(|out| describe(out, &report, &left))?;
    }
    if left.is_empty() {
        return Ok(DONE);
    }
    let beyond = Error::BeyondRepair {
        path: index.dir().to_owned(),
    };
    hint(advice(&beyond.into()));
    Ok(FAILED)
}

fn in_json(report: &RepairReport, left: &[String]) -> Value {
    let mut fields = json!(report);
    fields["problems_left"] = left.into();
    fields
}

fn describe(out: &mut impl Write, report: &RepairReport, left: &[String]) -> io::Result<()> {
    for problem in &report.problems {
        writeln!(out, "was damaged: {}", visible(problem))?;
    }
    for path in &report.lost_paths {
        writeln!(out, "lost: {}", visible_path(path))?;
    }
    for problem in left {
        writeln!(out, "still damaged: {}", visible(problem))?;
    }
    if let Some(path) = &report.put_aside {
        let path = visible_path(path);
        writeln!(
            out,
            "the damaged store is kept in {path}; you can delete it"
        )?;
    }
    let photos = counted(report.photos, "photo");
    if report.problems.is_empty() {
        writeln!(out, "nothing to repair: {photos}")
    } else if left.is_empty() {
        writeln!(out, "repaired: {photos}; {}", what_is_left_to_do(report))
    } else {
        Ok(())
    }
}

fn what_is_left_to_do(report: &RepairReport) -> String {
    match report.lost {
        Some(0) => "nothing is lost".into(),
        Some(1) => "1 photo is lost; bt-index build embeds it again".into(),
        Some(lost) => format!(
            "{} are lost; bt-index build embeds them again",
            counted(lost, "photo")
        ),
        None => "bt-index build embeds again what was newer than the published state".into(),
    }
}
