//! `bt-index compact`, with a progress bar, Ctrl-C and a report.

use bridgetower::Error;
use bridgetower::index::{CompactEvent, CompactReport};
use bt_cli::{DONE, Unit, print_json};
use indicatif::HumanBytes;
use serde_json::json;

use crate::args::Program;
use crate::build::cancel_on_interrupt;

pub fn compact(program: &Program, as_json: bool) -> anyhow::Result<u8> {
    let index = program.index.place()?;
    let cancel = cancel_on_interrupt()?;
    let bar = program.output.progress(Unit::Parts);
    let outcome = index.compact(&cancel, &mut |event| {
        let (what, done, total) = match event {
            CompactEvent::Graph { done, total } => {
                ("building the graph", done as u64, total as u64)
            }
            CompactEvent::Store { done, total } => ("writing the store", done, total),
        };
        bar.show(what, done, total);
    });
    bar.finish();
    let report = match outcome {
        Err(Error::Cancelled) => anyhow::bail!("stopped; the index works as before"),
        outcome => outcome?,
    };
    if as_json {
        print_json(&json!({
            "bytes_before": report.bytes_before,
            "bytes_after": report.bytes_after,
            "rebuilt_graph": report.rebuilt_graph,
            "rewrote_store": report.rewrote_store,
        }))?;
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
