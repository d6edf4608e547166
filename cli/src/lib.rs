//! What `bt-index` and `bt-query` share: arguments, errors, progress bars.

use std::io::{ErrorKind, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use bridgetower::{
    CacheLevel, DeviceChoice, Engine, EngineOptions, Error, Precision, keep_freed_memory,
};
use clap::{Args, CommandFactory, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};

/// The checkpoint that is used when neither the user nor an index names one.
pub const DEFAULT_MODEL: &str = "BridgeTower/bridgetower-large-itm-mlm-itc";

/// Reranks for embedding checkpoints without a matching head.
pub const DEFAULT_RERANK_MODEL: &str = "BridgeTower/bridgetower-large-itm-mlm-gaudi";

/// Something was done or found.
pub const DONE: u8 = 0;
/// Nothing was found.
pub const NOTHING_FOUND: u8 = 1;
/// Something went wrong.
pub const FAILED: u8 = 2;

/// Which model, and where it computes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Model")]
pub struct ModelArgs {
    /// Checkpoint: a folder, a hub id such as BridgeTower/bridgetower-large-itm-mlm-itc, or demo, the small
    /// one that is part of the program and knows drawn pictures only [default: the one that the index was
    /// built with]
    #[arg(long, value_name = "DIR|ID|demo", env = "BT_MODEL", global = true)]
    pub model: Option<String>,

    /// Where to compute: auto, cpu, cuda or metal
    #[arg(long, default_value_t, env = "BT_DEVICE", global = true)]
    pub device: DeviceChoice,

    /// Number format: auto, f32, bf16, int8 (CPU) or f16 (accelerators)
    #[arg(long, default_value_t, env = "BT_PRECISION", global = true)]
    pub precision: Precision,

    /// Never touch the network: use the hub's local cache only
    #[arg(long, env = "BT_OFFLINE", global = true)]
    pub offline: bool,
}

impl ModelArgs {
    /// Loads `--model`, or else `default`, showing a bar for what has to be downloaded first.
    pub fn load(&self, default: &str, output: &OutputArgs) -> Result<Engine, Error> {
        self.load_named(self.model.as_deref().unwrap_or(default), output)
    }

    /// Loads the model `name` with these settings.
    pub fn load_named(&self, name: &str, output: &OutputArgs) -> Result<Engine, Error> {
        let options = EngineOptions {
            device: self.device,
            precision: self.precision,
            offline: self.offline,
        };
        keep_freed_memory();
        let mut bar = None;
        let engine = Engine::load(name, &options, &mut |file, done, total| {
            let template = "{msg} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
            let bar: &mut ProgressBar = bar.get_or_insert_with(|| output.bar(template));
            bar.set_message(file.to_owned());
            bar.set_length(total);
            bar.set_position(done);
        });
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
        engine
    }
}

/// Which index.
#[derive(Debug, Args)]
pub struct IndexArgs {
    /// Index folder [default: bridgetower/index in the user's data directory]
    #[arg(long, value_name = "DIR", env = "BT_INDEX", global = true)]
    pub index: Option<PathBuf>,
}

impl IndexArgs {
    /// The index folder.
    pub fn dir(&self) -> anyhow::Result<PathBuf> {
        match &self.index {
            Some(dir) => Ok(dir.clone()),
            None => Ok(dirs::data_dir()
                .context("this system names no data directory: give --index DIR")?
                .join("bridgetower")
                .join("index")),
        }
    }
}

/// [`CacheLevel`] by the words of the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum CacheArg {
    /// Nothing
    None,
    /// The preprocessed picture
    Pixels,
    /// The image tower's state half way
    Split,
    /// All that the query does not decide
    Full,
}

impl From<CacheArg> for CacheLevel {
    fn from(typed: CacheArg) -> Self {
        match typed {
            CacheArg::None => Self::None,
            CacheArg::Pixels => Self::Pixels,
            CacheArg::Split => Self::Split,
            CacheArg::Full => Self::Full,
        }
    }
}

/// How much to say on stderr.
#[derive(Debug, Args)]
pub struct OutputArgs {
    /// No progress, no warnings
    #[arg(short, long, env = "BT_QUIET", global = true)]
    pub quiet: bool,

    /// Say more: model, timings
    #[arg(short, long, env = "BT_VERBOSE", global = true)]
    pub verbose: bool,
}

impl OutputArgs {
    /// A progress bar on stderr, hidden where it would be noise.
    pub fn bar(&self, template: &str) -> ProgressBar {
        if self.quiet || !std::io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let style =
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::new(0).with_style(style.progress_chars("=> "));
        bar.enable_steady_tick(Duration::from_millis(250));
        bar
    }

    /// A warning, unless `--quiet`.
    pub fn warn(&self, message: impl std::fmt::Display) {
        if !self.quiet {
            eprintln!("warning: {message}");
        }
    }

    /// A remark for `--verbose`.
    pub fn note(&self, message: impl std::fmt::Display) {
        if self.verbose {
            eprintln!("{message}");
        }
    }
}

/// What `generate` can write.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Generated {
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
    /// The manual page
    Man,
}

/// Writes shell completions or the manual page of the program `C` to stdout.
pub fn generate<C: CommandFactory>(what: Generated) -> anyhow::Result<()> {
    use clap_complete::Shell;
    let mut command = C::command();
    let shell = match what {
        Generated::Man => {
            clap_mangen::Man::new(command).render(&mut std::io::stdout())?;
            return Ok(());
        }
        Generated::Bash => Shell::Bash,
        Generated::Elvish => Shell::Elvish,
        Generated::Fish => Shell::Fish,
        Generated::Powershell => Shell::PowerShell,
        Generated::Zsh => Shell::Zsh,
    };
    let name = command.get_name().to_owned();
    clap_complete::generate(shell, &mut command, name, &mut std::io::stdout());
    Ok(())
}

/// Turns a program's outcome into its exit code: errors in one line with a hint, a closed pipe is success.
pub fn exit(outcome: anyhow::Result<u8>) -> ExitCode {
    let error = match outcome {
        Ok(code) => return ExitCode::from(code),
        Err(error) => error,
    };
    let closed_pipe = |cause: &(dyn std::error::Error + 'static)| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|e| e.kind() == ErrorKind::BrokenPipe)
    };
    if error.chain().any(closed_pipe) {
        return ExitCode::from(DONE);
    }
    let mut stderr = std::io::stderr().lock();
    // Nothing is left to do when stderr itself is closed.
    let _ = writeln!(stderr, "error: {error:#}");
    let hint = error
        .chain()
        .find_map(|e| e.downcast_ref::<Error>())
        .map_or("", Error::hint);
    if !hint.is_empty() {
        let _ = writeln!(stderr, "hint: {hint}");
    }
    ExitCode::from(FAILED)
}
