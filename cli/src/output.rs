//! Data goes to stdout, everything else to stderr. Neither makes a program panic when it is closed or full.

use std::fmt::Display;
use std::io::{self, BufWriter, ErrorKind, StdoutLock, Write};

use clap::Args;

use crate::progress::{Progress, Unit};
use crate::text::visible;

/// The amount of output on stderr.
#[derive(Debug, Args)]
pub struct OutputArgs {
    /// Show neither progress nor warnings
    #[arg(short, long, env = "BT_QUIET", global = true)]
    pub quiet: bool,

    /// Show more: model, timings
    #[arg(short, long, env = "BT_VERBOSE", global = true)]
    pub verbose: bool,
}

impl OutputArgs {
    /// Returns a progress bar on stderr, hidden with `--quiet`.
    pub fn progress(&self, unit: Unit) -> Progress {
        if self.quiet {
            return Progress::hidden(unit);
        }
        Progress::new(unit)
    }

    /// Prints a command's outcome, unless `--quiet`.
    pub fn say(&self, message: impl Display) {
        if !self.quiet {
            tell(message);
        }
    }

    /// Prints a warning, unless `--quiet`.
    pub fn warn(&self, message: impl Display) {
        if !self.quiet {
            tell(format_args!("warning: {message}"));
        }
    }

    /// Prints a remark with `--verbose`.
    pub fn note(&self, message: impl Display) {
        if self.verbose {
            tell(message);
        }
    }
}

/// Prints advice after an error.
pub fn hint(message: impl Display) {
    tell(format_args!("hint: {message}"));
}

/// Prints a line on stderr.
pub fn tell(message: impl Display) {
    let line = message.to_string();
    // Nothing is left to do where stderr itself is closed.
    let _ = writeln!(io::stderr(), "{}", visible(&line));
}

/// Writes everything to stdout, or returns an error.
pub fn print(write: impl FnOnce(&mut Stdout) -> io::Result<()>) -> anyhow::Result<()> {
    let mut out = Stdout(BufWriter::new(io::stdout().lock()));
    write(&mut out)?;
    out.flush()?;
    Ok(())
}

/// Stdout, with errors that name it.
pub struct Stdout(BufWriter<StdoutLock<'static>>);

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(named)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(named)
    }
}

/// A failure to write to stdout.
#[derive(Debug)]
struct Unwritten(io::Error);

impl Display for Unwritten {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "cannot write to stdout: {}", self.0)
    }
}

impl std::error::Error for Unwritten {}

pub(crate) fn named(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), Unwritten(error))
}

/// Returns whether the reader of stdout has gone, as `head` does when it has read enough.
pub(crate) fn has_no_reader(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| {
        let is_stdout = error
            .get_ref()
            .is_some_and(|inner| inner.downcast_ref::<Unwritten>().is_some());
        is_stdout && error.kind() == ErrorKind::BrokenPipe
    })
}
