//! `bt-index compact`, with a progress bar, Ctrl-C and a report.

use bridgetower::Error;
use bridgetower::index::{CompactEvent, CompactReport};
use bt_cli::{DONE, Unit, print_json};
use indicatif::HumanBytes;
use serde_json::json;

use crate::args::Program;
use crate::interrupt::with_bar;

pub fn compact(program: &Program, as_json: bool) -> anyhow::Result<u8> {
    let index = program.index.place()?;
    let outcome = with_bar(&program.output, Unit::Parts, |cancel, bar| {
        index.compact(cancel, &mut |event| match event {
            CompactEvent::Graph { done, total } => {
                bar.show("building the graph", done as u64, total as u64);
            }
            CompactEvent::Store { done, total } => bar.show("writing the store", done, total),
        })
    });
    let report = match outcome? {
        Err(Error::Cancelled) => anyhow::bail!("stopped; the index works as before"),
        outcome => outcome?,
    };
    if as_json {
        print_json(&json!(report))?;
    } else {
        program.output.say(describe(&report));
    }
    Ok(DONE)
}

fn describe(report: &CompactReport) -> String {
    let done = match (report.rebuilt_graph, report.rewrote_store) {
        (true, true) => "rebuilt the graph, rewrote the store",
        (true, false) => "rebuilt the graph",
        (false, true) => "rewrote the store",
        (false, false) => "graph and store needed nothing",
    };
    format!(
        "{} before, {} now: {done}",
        HumanBytes(report.bytes_before),
        HumanBytes(report.bytes_after)
    )
}
