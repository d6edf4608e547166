//! The command line of `bt-index`.

use std::path::PathBuf;

use bridgetower::cache::CacheLevel;
use bridgetower::ingest::{Compare, ScanOptions};
use bt_cli::{CacheArg, GenerateArgs, IndexArgs, ModelArgs, OutputArgs};
use clap::{Args, Parser, Subcommand, ValueEnum};

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

    /// Follow folders of photos: build, and build again whenever something in them has changed
    ///
    /// Queries, and other changes of the index, work between builds. A folder that goes away, such as an
    /// unplugged drive, is waited for, and the index keeps what it knows of it. Ctrl-C ends the watch.
    Watch(WatchArgs),

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

    /// Remove what nothing needs any more, and say how much space that frees
    ///
    /// That is what killed processes left, and what queries keep of photos that have left the index, or for
    /// models that neither the index nor reranking uses. Queries work meanwhile.
    Gc(GcArgs),

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

        /// npy: the three files above; parquet: the one file photos.parquet, a row a photo with its vector
        #[arg(long, value_enum, default_value_t, env = "BT_EXPORT_FORMAT")]
        format: ExportFormat,
    },

    /// Make a new index of an export
    ///
    /// Everything is checked before anything is written. Needs neither the model nor the photos.
    Import {
        /// Folder that bt-index export wrote, or its photos.parquet
        #[arg(value_name = "PATH")]
        source: PathBuf,
    },

    /// Check, on your own photos, that a faster number format answers as f32 does
    ///
    /// Every text is asked of every photo, in f32 and in the format that --precision names, or in the default
    /// one and in int8. Reports how near embeddings and match probabilities are, whether photos keep their
    /// order, and how fast each is. Changes nothing.
    CheckPrecision(CheckPrecisionArgs),

    /// Keep a model's weights as this machine's CPU computes with them
    ///
    /// Every command does that by itself when it first takes long to pack weights; later commands start at once.
    Model(ModelCommandArgs),

    /// Write shell completions or manual pages
    Generate(GenerateArgs),
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    #[default]
    Npy,
    Parquet,
}

#[derive(Debug, Args)]
pub struct ModelCommandArgs {
    #[command(subcommand)]
    pub command: ModelCommand,

    #[command(flatten)]
    pub model: ModelArgs,
}

#[derive(Debug, Subcommand)]
pub enum ModelCommand {
    /// Pack the weights of --model for --precision now, and check those that are packed already
    Prepare,

    /// Remove the packed weights of all models; they are made again when they are needed
    Clear,
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

    /// Build the index anew, and switch to it when it is complete
    ///
    /// Queries see the old index until then, and the disk holds both. If that is stopped, the next build with --rebuild
    /// goes on with it; one without brings the old index up to date, and leaves it for later.
    #[arg(long)]
    pub rebuild: bool,

    #[command(flatten)]
    pub compare: CompareArgs,

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

    /// Keep what reranking needs of each photo embedded, so that the first query finds it: pixels (the small picture),
    /// split (the image tower's state half way) or full (all that the query does not decide); 0.26, 0.9 and 5.4 MB a
    /// photo with the large checkpoints
    ///
    /// What bt-query finds is the same without. It must be asked with the same --cache (split is its own default), and
    /// with a --cache-limit no lower.
    #[arg(long, value_name = "LEVEL", default_value = "none", env = "BT_CACHE")]
    pub cache: CacheArg,

    /// What may be kept in all, MiB; further photos are not kept
    #[arg(
        long,
        value_name = "MIB",
        default_value_t = 2048,
        env = "BT_CACHE_LIMIT"
    )]
    pub cache_limit: u32,

    /// Report as JSON on stdout
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct WatchArgs {
    #[command(flatten)]
    pub build: BuildArgs,

    /// Seconds without any change before a build; a file that changed later than that may still be being written
    #[arg(long, value_name = "SECONDS", default_value_t = 2, env = "BT_SETTLE")]
    pub settle: u64,

    /// Seconds between scans without any event, which find what network drives do not tell
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 600,
        env = "BT_RESCAN",
        value_parser = clap::value_parser!(u64).range(1..)
    )]
    pub rescan: u64,

    /// Only scan every --rescan seconds, and ask the system for no events
    #[arg(long, env = "BT_NO_EVENTS")]
    pub no_events: bool,
}

/// What tells that a file is the one that the index knows.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// Read every file and compare its content, whatever its size and times say; with watch, at the first build
    ///
    /// Otherwise a file is read if its size, its modification time or the time of its last change of any kind (ctime)
    /// differs from what the index holds.
    #[arg(long, env = "BT_CHECKSUM")]
    checksum: bool,

    /// Go by size and modification time alone: for file systems that make up change times (ctime), so that every build
    /// reads every file
    #[arg(long, env = "BT_IGNORE_CTIME")]
    ignore_ctime: bool,
}

impl CompareArgs {
    /// What the library makes of them.
    pub fn compare(&self) -> Compare {
        match (self.checksum, self.ignore_ctime) {
            (true, _) => Compare::Content,
            (false, true) => Compare::Times,
            (false, false) => Compare::default(),
        }
    }
}

/// Which files of the folders count.
#[derive(Debug, Args)]
#[command(next_help_heading = "What to leave out")]
pub struct SelectArgs {
    /// Leave out files and folders that match a line of .gitignore syntax; may be repeated
    ///
    /// Counts for this build only: what earlier builds took in leaves the index, and a later build without
    /// it takes that in again. The lasting way is a file .btignore in the folder, with such lines in it. A line that
    /// begins with ! takes in again what is left out otherwise, such as '!@eaDir/'.
    // No variable: a list of patterns has no separator that could not be part of one.
    #[arg(long, value_name = "GLOB")]
    pub exclude: Vec<String>,

    /// Take in hidden files and folders too, those whose name starts with a dot
    #[arg(long, env = "BT_HIDDEN")]
    pub hidden: bool,

    /// Stay on the file system of each folder; photos on others leave the index
    #[arg(long, env = "BT_ONE_FILE_SYSTEM")]
    pub one_file_system: bool,

    /// Go into folders that links lead to, each folder once; photos behind links leave the index without it
    #[arg(long, env = "BT_FOLLOW")]
    pub follow: bool,
}

impl SelectArgs {
    /// What the library makes of them.
    pub fn options(&self) -> ScanOptions {
        ScanOptions {
            exclude: self.exclude.clone(),
            hidden: self.hidden,
            one_file_system: self.one_file_system,
            follow: self.follow,
        }
    }
}

#[derive(Debug, Args)]
pub struct GcArgs {
    /// Only say what would be removed
    #[arg(short = 'n', long, env = "BT_DRY_RUN")]
    pub dry_run: bool,

    /// Checkpoint that queries rerank with, where the index's own has no matching head: what is kept for it stays
    /// [default: the one that bt-query takes]
    #[arg(long, value_name = "DIR|ID", env = "BT_RERANK_MODEL")]
    pub rerank_model: Option<String>,

    /// The one level at which queries keep photos, as their --cache: what is kept at others goes [default: all
    /// levels stay]
    #[arg(long, value_name = "LEVEL", env = "BT_CACHE", value_parser = level)]
    pub cache: Option<CacheLevel>,

    /// As JSON
    #[arg(long)]
    pub json: bool,
}

fn level(text: &str) -> Result<CacheLevel, String> {
    match text {
        "none" => Ok(CacheLevel::None),
        "pixels" => Ok(CacheLevel::Pixels),
        "split" => Ok(CacheLevel::Split),
        "full" => Ok(CacheLevel::Full),
        _ => Err("none of none, pixels, split, full".into()),
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

#[derive(Debug, Args)]
pub struct CheckPrecisionArgs {
    /// Folders of photos [default: those of --texts, where it names some, else those of the index]
    #[arg(value_name = "DIR")]
    pub folders: Vec<PathBuf>,

    /// What to ask: a text file, one query a line, or pictures with captions as bt-query eval reads them
    /// (.jsonl or .json) [default: a few queries that suit any collection]
    #[arg(long, value_name = "FILE", env = "BT_TEXTS")]
    pub texts: Option<PathBuf>,

    /// How many photos to read, taken evenly from all
    #[arg(long, value_name = "N", default_value_t = 64, env = "BT_PHOTOS",
          value_parser = clap::value_parser!(u32).range(2..))]
    pub photos: u32,

    /// How many texts to ask, taken evenly from all
    #[arg(long, value_name = "N", default_value_t = 8, env = "BT_QUERIES",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub queries: u32,

    #[command(flatten)]
    pub model: ModelArgs,

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
