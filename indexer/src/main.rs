//! `bt-index`: builds and keeps the photo index that `bt-query` searches.

mod args;
mod build;
mod check_precision;
mod compact;
mod dedupe;
mod gc;
mod inspect;
mod model;
mod repair;
mod transfer;
mod watch;

use std::process::ExitCode;

use args::{Command, Program};
use clap::Parser;

fn main() -> ExitCode {
    bt_cli::exit(run(&Program::parse()))
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
        Command::Generate { what } => {
            bt_cli::generate::<Program>(*what)?;
            Ok(bt_cli::DONE)
        }
    }
}
