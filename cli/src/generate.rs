//! Shell completions and manual pages, generated from the command line's definition.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Command, CommandFactory, ValueEnum};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::output::print;

/// The arguments of `generate`.
#[derive(Debug, Args)]
pub struct GenerateArgs {
    /// What to write
    what: Generated,

    /// Command whose manual page to write, which may be two words [default: the program itself]
    #[arg(value_name = "COMMAND", conflicts_with = "out")]
    command: Vec<String>,

    /// Write all manual pages, of the program and each command, or the completions, to this folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// The texts that `generate` can write.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Generated {
    /// Completions for Bash
    Bash,
    /// Completions for Elvish
    Elvish,
    /// Completions for Fish
    Fish,
    /// Completions for `PowerShell`
    Powershell,
    /// Completions for Zsh
    Zsh,
    /// Manual pages
    Man,
}

/// Writes shell completions or manual pages of the program `C`.
pub fn generate<C: CommandFactory>(args: &GenerateArgs) -> anyhow::Result<()> {
    let shell = match args.what {
        Generated::Man => return manual(C::command(), args),
        Generated::Bash => Shell::Bash,
        Generated::Elvish => Shell::Elvish,
        Generated::Fish => Shell::Fish,
        Generated::Powershell => Shell::PowerShell,
        Generated::Zsh => Shell::Zsh,
    };
    if !args.command.is_empty() {
        bail!(
            "completions are for the whole program: leave out {}",
            args.command.join(" ")
        );
    }
    let mut command = C::command();
    let name = command.get_name().to_owned();
    if let Some(dir) = &args.out {
        fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
        clap_complete::generate_to(shell, &mut command, name, dir)
            .with_context(|| dir.display().to_string())?;
        return Ok(());
    }
    // Written to memory first: clap_complete 4 panics where it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    print(|out| out.write_all(&script))
}

fn manual(program: Command, args: &GenerateArgs) -> anyhow::Result<()> {
    let source = format!(
        "{} {}",
        program.get_name(),
        program.get_version().unwrap_or_default()
    );
    let mut command = program.disable_help_subcommand(true);
    command.build();
    if let Some(dir) = &args.out {
        return fs::create_dir_all(dir)
            .and_then(|()| write_pages(&command, &source, dir))
            .with_context(|| dir.display().to_string());
    }
    for name in &args.command {
        let Some(below) = command.find_subcommand(name) else {
            bail!("{} has no command {name}", command.get_name());
        };
        command = below.clone();
    }
    print(|out| page(&command, &source).render(out))
}

/// Writes the pages of a command and of all below it.
fn write_pages(command: &Command, source: &str, dir: &Path) -> io::Result<()> {
    page(command, source).generate_to(dir)?;
    let mut below = command.get_subcommands();
    below.try_for_each(|command| write_pages(command, source, dir))
}

fn page(command: &Command, source: &str) -> Man {
    let name = command.get_display_name();
    let title = name.unwrap_or(command.get_name()).to_uppercase();
    Man::new(command.clone()).title(title).source(source)
}
