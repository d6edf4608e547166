//! The command line of `bt-index`.

use std::path::PathBuf;

use bridgetower::ScanOptions;
use bt_cli::{Generated, IndexArgs, ModelArgs, OutputArgs};
use clap::{Args, Parser, Subcommand};

/// Builds and keeps the photo index that bt-query searches
#[derive(Debug, Parser)]
#[command(name = "bt-index", version, max_term_width = 100)]
pub struct Program {
    #[command(subcommand)]
    pub command: Command,

    #[command(flatten)]
    pub index: IndexArgs,

    #[command(flatten)]
    pub output: OutputArgs,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Bring the index up to date with folders of photos
    ///
    /// New and changed photos are embedded, moved ones keep their vectors, deleted ones leave the index. A
    /// build that was stopped, even by a power cut, goes on where it was. Queries work meanwhile.
    Build(BuildArgs),

    /// Show what the index holds; works while a build is running
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
    },

    /// Check records, vectors, graph and published state against each other; --repair mends them
    Verify {
        /// Mend what is damaged: publish again, build the graph anew from the vectors, replace a damaged store
        /// by what can still be read of the index; bt-index build then embeds what was lost, and only that
        #[arg(long)]
        repair: bool,

        /// As JSON
        #[arg(long)]
        json: bool,
    },

    /// Take photos out of the index; the files stay where they are
    Remove {
        /// Photos, or folders with all photos below them
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
    },

    /// List photos that are there twice: exact copies, and pictures that are nearly the same
    ///
    /// Only reports; no file is touched. The best of a group comes first: most pixels, then largest file.
    /// Links, and files that are gone, are left out. Exits with 1 when nothing is there twice.
    Dedupe(DedupeArgs),

    /// Make the index small and quick: graph, store and leftovers
    ///
    /// Builds the graph anew, drops vectors of deleted photos, writes the store anew where it takes far more
    /// space than its content, and removes what killed builds left. Queries work meanwhile.
    Compact {
        /// As JSON
        #[arg(long)]
        json: bool,
    },

    /// Write records and vectors to a folder that other programs can read
    ///
    /// embeddings.npy holds the vectors (f32, C order), photos.jsonl a record a line with the row of its
    /// vector, index.json the model and the folders. Works while a build is running, on what was last
    /// published.
    Export {
        /// Folder to write to: a new or empty one, or an earlier export
        #[arg(value_name = "DIR")]
        target: PathBuf,

        /// Write there although other files are there; they stay
        #[arg(long)]
        force: bool,
    },

    /// Make a new index of an export
    ///
    /// Everything is checked before anything is written. Needs neither the model nor the photos.
    Import {
        /// Folder that bt-index export wrote
        #[arg(value_name = "DIR")]
        source: PathBuf,
    },

    /// Write shell completions or the manual page
    Generate { what: Generated },
}

#[derive(Debug, Args)]
pub struct BuildArgs {
    /// Folders of photos [default: those of earlier builds]
    #[arg(value_name = "DIR")]
    pub folders: Vec<PathBuf>,

    #[command(flatten)]
    pub select: SelectArgs,

    #[command(flatten)]
    pub model: ModelArgs,

    /// Throw the index away first and build it anew
    #[arg(long)]
    pub rebuild: bool,

    /// Photos embedded at once [default: what suits the device]
    #[arg(long, value_name = "N", env = "BT_BATCH", value_parser = clap::value_parser!(u16).range(1..=512))]
    pub batch: Option<u16>,

    /// Threads that read and decode photos [default: all cores]
    #[arg(long, value_name = "N", env = "BT_THREADS", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: Option<u16>,

    /// Longest time between commits, seconds: what a power cut can cost, beside the batch in work
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 10,
        env = "BT_COMMIT_EVERY"
    )]
    pub commit_every: u64,

    /// Report as JSON on stdout
    #[arg(long)]
    pub json: bool,
}

/// Which files of the folders count.
#[derive(Debug, Args)]
#[command(next_help_heading = "What to leave out")]
pub struct SelectArgs {
    /// Leave out files and folders that match a line of .gitignore syntax; may be repeated
    ///
    /// Counts for this build only: what earlier builds took in leaves the index, and a later build without
    /// it takes that in again. The lasting way is a file .btignore in the folder, with such lines in it.
    // No variable: a list of patterns has no separator that could not be part of one.
    #[arg(long, value_name = "GLOB")]
    pub exclude: Vec<String>,

    /// Take in hidden files and folders too, those whose name starts with a dot
    #[arg(long, env = "BT_HIDDEN")]
    pub hidden: bool,

    /// Stay on the file system of each folder; photos on others leave the index
    #[arg(long, env = "BT_ONE_FILE_SYSTEM")]
    pub one_file_system: bool,
}

impl SelectArgs {
    /// What the library makes of them.
    pub fn options(&self) -> ScanOptions {
        ScanOptions {
            exclude: self.exclude.clone(),
            hidden: self.hidden,
            one_file_system: self.one_file_system,
        }
    }
}

#[derive(Debug, Args)]
pub struct DedupeArgs {
    /// Only exact copies, the same bytes; --similarity does not matter then
    #[arg(long, env = "BT_EXACT")]
    pub exact: bool,

    /// Least cosine similarity of pictures that are nearly the same, 0 to 1
    #[arg(
        long,
        value_name = "S",
        default_value_t = 0.98,
        env = "BT_SIMILARITY",
        value_parser = similarity
    )]
    pub similarity: f32,

    /// As JSON
    #[arg(long)]
    pub json: bool,
}

fn similarity(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(similarity) if (0.0..=1.0).contains(&similarity) => Ok(similarity),
        _ => Err("not a number from 0 to 1".into()),
    }
}
