//! The end of a program: its exit code, and its error message.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use crate::advice::advice;
use crate::environment::{self, Refused, Variables};
use crate::output::{self, hint, tell};
use crate::text::is_misleading;

/// The command succeeded, or found something.
pub const DONE: u8 = 0;
/// Nothing was found.
pub const NOTHING_FOUND: u8 = 1;
/// Something went wrong.
pub const FAILED: u8 = 2;

/// Runs a program: reads its command line and its variables, and turns the outcome into an exit code. Prints an error
/// as one line with a hint; a closed stdout is not an error.
pub fn main<P: Parser>(run: impl FnOnce(&P) -> anyhow::Result<u8>) -> ExitCode {
    let line: Vec<_> = std::env::args_os().collect();
    let (outcome, variables) = match environment::parse::<P>(&line) {
        Ok((program, variables)) => (run(&program), variables),
        Err(Refused::CommandLine(error)) => (answer(&error), Variables::default()),
        Err(Refused::Variable { message, advice }) => {
            tell(format_args!("error: {message}"));
            hint(advice);
            return ExitCode::from(FAILED);
        }
    };
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) if output::has_no_reader(&error) => ExitCode::from(DONE),
        Err(error) => {
            report(&error, &variables);
            ExitCode::from(FAILED)
        }
    }
}

/// Writes help or version to stdout, and errors of the command line to stderr.
fn answer(error: &clap::Error) -> anyhow::Result<u8> {
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    ) {
        let written = error.print().and_then(|()| io::stdout().flush());
        written.map_err(output::named)?;
        return Ok(DONE);
    }
    let plain = error.render().to_string();
    if plain.contains(|letter| letter != '\n' && is_misleading(letter)) {
        plain.trim_end().lines().for_each(tell);
    } else {
        // In colour. Nothing is left to do where stderr itself is closed.
        let _ = error.print();
    }
    Ok(FAILED)
}

fn report(error: &anyhow::Error, variables: &Variables) {
    let messages = error.chain().map(ToString::to_string);
    let message = said_once(messages.map(|message| variables.name_instead(message)));
    tell(format_args!("error: {message}"));
    let advice = advice(error);
    let set = variables.mentioned(&format!("{message} {advice}"));
    match (advice, set) {
        ("", None) => {}
        ("", Some(set)) => hint(set),
        (advice, None) => hint(advice),
        (advice, Some(set)) => hint(format_args!("{advice}; {set}")),
    }
}

/// Returns an error and its causes in one line.
pub fn message(error: &anyhow::Error) -> String {
    said_once(error.chain().map(ToString::to_string))
}

/// Joins messages into one line. Many messages contain that of their cause, and a context may be the path that its
/// error begins with; neither is repeated.
fn said_once(messages: impl Iterator<Item = String>) -> String {
    let mut parts: Vec<String> = Vec::new();
    for message in messages {
        match parts.last_mut() {
            Some(last) if *last == message || last.ends_with(&format!(": {message}")) => {}
            Some(last) if message.starts_with(&format!("{last}: ")) => *last = message,
            _ => parts.push(message),
        }
    }
    parts.join(": ")
}

#[cfg(test)]
mod tests {
    use anyhow::Context;
    use bridgetower::Error;

    use super::*;

    #[test]
    fn the_reason_of_an_io_error_is_said_once() {
        let io = |path: &str| Error::Io {
            path: path.into(),
            source: io::Error::other("Permission denied"),
        };
        let alone = anyhow::Error::from(io("a.jpg"));
        assert_eq!(message(&alone), "a.jpg: Permission denied");
        let named = Err::<(), _>(io("a.jpg")).context("a.jpg").unwrap_err();
        assert_eq!(message(&named), "a.jpg: Permission denied");
        let other = Err::<(), _>(io("a.jpg")).context("--images").unwrap_err();
        assert_eq!(message(&other), "--images: a.jpg: Permission denied");
    }
}
