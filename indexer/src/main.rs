//! `bt-index`: builds and maintains the photo index that `bt-query` searches.

#![warn(clippy::print_stdout, clippy::print_stderr)] // They panic where a pipe is closed or a disk is full.

mod args;
mod build;
mod check_precision;
mod compact;
mod dedupe;
mod gc;
mod inspect;
mod interrupt;
mod model;
mod repair;
mod transfer;
mod watch;

use std::process::ExitCode;

use args::{Command, Program};

fn main() -> ExitCode {
    bt_cli::main(run)
}

fn run(program: &Program) -> anyhow::Result<u8> {
    match &program.command {
        Command::Build(build) => build::build(program, build),
        Command::Watch(watch) => watch::watch(program, watch),
        Command::Status { json } => inspect::status(program, *json),
        Command::Verify { repair: true, json } => repair::repair(program, *json),
        Command::Verify { json, .. } => inspect::verify(program, *json),
        Command::Remove { paths } => inspect::remove(program, paths),
        Command::Dedupe(dedupe) => dedupe::dedupe(program, dedupe),
        Command::Compact { json } => compact::compact(program, *json),
        Command::Gc(args) => gc::gc(program, args),
        Command::Export {
            target,
            force,
            format,
        } => transfer::export(program, target, *force, *format),
        Command::Import { source } => transfer::import(program, source),
        Command::CheckPrecision(check) => check_precision::check_precision(program, check),
        Command::Model(model) => model::run(program, model),
        Command::Generate(args) => {
            bt_cli::generate::<Program>(args)?;
            Ok(bt_cli::DONE)
        }
    }
}
