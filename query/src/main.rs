//! `bt-query`: searches a photo index by words or pictures.

mod args;
mod contact_sheet;
mod eval;
mod filter;
mod output;
mod preliminary;
mod search;
mod tasks;

use std::process::ExitCode;

use args::{Program, Task};
use clap::Parser;

fn main() -> ExitCode {
    bt_cli::exit(run(&Program::parse()))
}

fn run(program: &Program) -> anyhow::Result<u8> {
    match &program.task {
        None => search::search(program),
        Some(Task::Embed(inputs)) => tasks::embed(program, inputs),
        Some(Task::Match(pair)) => tasks::match_pair(program, pair),
        Some(Task::Fill(fill)) => tasks::fill(program, fill),
        Some(Task::Contrast(inputs)) => tasks::contrast(program, inputs),
        Some(Task::Eval(args)) => eval::eval(program, args),
        Some(Task::Generate { what }) => {
            bt_cli::generate::<Program>(*what)?;
            Ok(bt_cli::DONE)
        }
    }
}
