//! `bt-query`: searches a photo index by words or pictures.

#![warn(clippy::print_stdout, clippy::print_stderr)] // They panic where a pipe is closed or a disk is full.

mod args;
mod contact_sheet;
mod eval;
mod filter;
mod opening;
mod output;
mod preliminary;
mod preview;
mod queries;
mod search;
mod stdin;
mod tasks;
mod term;
mod terms;
mod thumbnail;

use std::process::ExitCode;

use args::{Program, Task};

fn main() -> ExitCode {
    bt_cli::main(run)
}

fn run(program: &Program) -> anyhow::Result<u8> {
    match &program.task {
        None => match &program.search.queries {
            Some(file) => queries::ask_each(program, file),
            None => search::search(program),
        },
        Some(Task::Embed(inputs)) => tasks::embed(program, inputs),
        Some(Task::Match(pair)) => tasks::match_pair(program, pair),
        Some(Task::Fill(fill)) => tasks::fill(program, fill),
        Some(Task::Contrast(inputs)) => tasks::contrast(program, inputs),
        Some(Task::Eval(args)) => eval::eval(program, args),
        Some(Task::Generate(args)) => {
            bt_cli::generate::<Program>(args)?;
            Ok(bt_cli::DONE)
        }
    }
}
