//! The command line of `bt-index`.

use std::path::PathBuf;

use bridgetower::cache::CacheLevel;
use bridgetower::ingest::{Compare, ScanOptions};
use bt_cli::{CacheArg, GenerateArgs, IndexArgs, ModelArgs, OutputArgs};
use clap::{Args, Parser, Subcommand, ValueEnum};

/// Builds and maintains the photo index that bt-query searches
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
    /// build that was stopped, even by a power cut, continues where it was. Queries work during a build.
    Build(BuildArgs),

    /// Watch folders of photos: build, and build again whenever something in them has changed
    ///
    /// Between builds, other commands can change the index. If a folder disappears, such as an unplugged
    /// drive, the watch waits for it and its photos stay in the index. Ctrl-C ends the watch.
    Watch(WatchArgs),

    /// Show what the index holds; works while a build is running
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },

    /// Check records, vectors, graph and published state against each other; --repair repairs them
    Verify {
        /// Repair what is damaged: publish again, rebuild the graph from the vectors, replace a damaged store
        /// with what can still be read of the index; bt-index build then embeds only what was lost
        #[arg(long)]
        repair: bool,

        /// Print JSON
        #[arg(long)]
        json: bool,
    },

    /// Remove photos from the index; the files stay where they are
    Remove {
        /// Photos, or folders with all photos below them
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
    },

    /// List duplicate photos: exact copies, and pictures that are nearly the same
    ///
    /// Only reports; no file is changed. The best of a group comes first: most pixels, then largest file.
    /// Links, and files that are gone, are left out. Exits with 1 when there are no duplicates.
    Dedupe(DedupeArgs),

    /// Make the index smaller and faster
    ///
    /// Rebuilds the graph, drops vectors of deleted photos, rewrites the store if it takes far more space
    /// than its content, and removes what killed builds left. Queries work meanwhile.
    Compact {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },

    /// Remove what nothing needs any more, and report how much space that frees
    ///
    /// That is what killed processes left behind, and the cached data of photos that have left the index,
    /// or of models that neither the index nor reranking uses. Queries work meanwhile.
    Gc(GcArgs),

    /// Write records and vectors to a folder that other programs can read
    ///
    /// embeddings.npy holds the vectors (f32, C order), photos.jsonl one record per line with the row of its
    /// vector, index.json the model and the folders. Works while a build is running, on the state that was
    /// last published.
    Export {
        /// Folder to write to: a new or empty one, or an earlier export
        #[arg(value_name = "DIR")]
        target: PathBuf,

        /// Write to DIR even if it holds other files; they stay
        #[arg(long)]
        force: bool,

        /// npy: the three files above; parquet: one file, photos.parquet, with a row and a vector per photo
        #[arg(long, value_enum, default_value_t, env = "BT_EXPORT_FORMAT")]
        format: ExportFormat,
    },

    /// Make a new index from an export
    ///
    /// Everything is checked before anything is written. Needs neither the model nor the photos.
    Import {
        /// Folder that bt-index export wrote, or its photos.parquet
        #[arg(value_name = "PATH")]
        source: PathBuf,
    },

    /// Check on your own photos that a faster number format gives the same answers as f32
    ///
    /// Matches every text with every photo, in f32 and in the format that --precision names, or else in the
    /// default one and in int8. Reports how close embeddings and match probabilities are, whether photos keep
    /// their order, and how fast each format is. Changes nothing.
    CheckPrecision(CheckPrecisionArgs),

    /// Store a model's weights in the form that this machine's CPU computes with
    ///
    /// Commands also do this themselves, the first time that packing weights takes long; later commands then
    /// start at once.
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
    /// Pack the weights of --model for --precision now, and check those that are already packed
    Prepare,

    /// Remove the packed weights of all models; they are packed again when needed
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

    /// Build a new index from scratch, and switch to it when it is complete
    ///
    /// Until then queries see the old index, and the disk holds both. If the rebuild is stopped, the next build with
    /// --rebuild continues it; one without brings the old index up to date and leaves the rebuild for later.
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

    /// Longest time between commits, seconds; a power cut can cost that much work, and the current batch
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 10,
        env = "BT_COMMIT_EVERY"
    )]
    pub commit_every: u64,

    /// Keep what reranking needs of each embedded photo, so that the first query is fast: pixels (the small picture),
    /// split (the image tower's state half way) or full (everything that does not depend on the query); 0.26, 0.9 and
    /// 5.4 MB per photo with the large checkpoints
    ///
    /// bt-query finds the same photos without it. To use it, run bt-query with the same --cache (its default is split)
    /// and a --cache-limit that is no lower.
    #[arg(long, value_name = "LEVEL", default_value = "none", env = "BT_CACHE")]
    pub cache: CacheArg,

    /// Most that the cache may hold, MiB; further photos are not kept
    #[arg(
        long,
        value_name = "MIB",
        default_value_t = 2048,
        env = "BT_CACHE_LIMIT"
    )]
    pub cache_limit: u32,

    /// Print the report as JSON on stdout
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct WatchArgs {
    #[command(flatten)]
    pub build: BuildArgs,

    /// Seconds without any change before a build; a file that changed more recently may not be complete yet
    #[arg(long, value_name = "SECONDS", default_value_t = 2, env = "BT_SETTLE")]
    pub settle: u64,

    /// Seconds between scans when no event arrives; they find changes that network drives do not report
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 600,
        env = "BT_RESCAN",
        value_parser = clap::value_parser!(u64).range(1..)
    )]
    pub rescan: u64,

    /// Only scan every --rescan seconds, without events from the system
    #[arg(long, env = "BT_NO_EVENTS")]
    pub no_events: bool,
}

/// How to recognise a file that has not changed.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// Read every file and compare its content, whatever its size and times; with watch, at the first build
    ///
    /// Otherwise a file is read only if its size, its modification time or the time of its last change of any kind
    /// (ctime) differs from what the index holds.
    #[arg(long, env = "BT_CHECKSUM")]
    checksum: bool,

    /// Compare size and modification time only; for file systems that make up change times (ctime), where every build
    /// would otherwise read every file
    #[arg(long, env = "BT_IGNORE_CTIME")]
    ignore_ctime: bool,
}

impl CompareArgs {
    /// The same for the library.
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
    /// Applies to this build only: matching photos leave the index, and a later build without the option
    /// includes them again. To leave them out for good, put such lines into a file .btignore in the folder. A line that
    /// begins with ! includes what is otherwise left out, such as '!@eaDir/'.
    // No variable: a list of patterns has no separator that could not be part of one.
    #[arg(long, value_name = "GLOB")]
    pub exclude: Vec<String>,

    /// Include hidden files and folders, those whose name starts with a dot
    #[arg(long, env = "BT_HIDDEN")]
    pub hidden: bool,

    /// Stay on the file system of each folder; photos on others leave the index
    #[arg(long, env = "BT_ONE_FILE_SYSTEM")]
    pub one_file_system: bool,

    /// Follow links to folders, into each folder once; without it, photos behind links leave the index
    #[arg(long, env = "BT_FOLLOW")]
    pub follow: bool,
}

impl SelectArgs {
    /// The same for the library.
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
    /// Only report what would be removed
    #[arg(short = 'n', long, env = "BT_DRY_RUN")]
    pub dry_run: bool,

    /// Checkpoint that queries rerank with if the index's own has no matching head; its cached data stays
    /// [default: the one that bt-query uses]
    #[arg(long, value_name = "DIR|ID", env = "BT_RERANK_MODEL")]
    pub rerank_model: Option<String>,

    /// The level at which queries keep photos, as in their --cache; data at other levels is removed [default: all
    /// levels stay]
    #[arg(long, value_name = "LEVEL", env = "BT_CACHE", value_parser = level)]
    pub cache: Option<CacheLevel>,

    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

fn level(text: &str) -> Result<CacheLevel, String> {
    match text {
        "none" => Ok(CacheLevel::None),
        "pixels" => Ok(CacheLevel::Pixels),
        "split" => Ok(CacheLevel::Split),
        "full" => Ok(CacheLevel::Full),
        _ => Err("must be none, pixels, split or full".into()),
    }
}

#[derive(Debug, Args)]
pub struct DedupeArgs {
    /// List only exact copies, with the same bytes; --similarity has no effect then
    #[arg(long, env = "BT_EXACT")]
    pub exact: bool,

    /// Lowest cosine similarity of pictures that count as nearly the same, 0 to 1
    #[arg(
        long,
        value_name = "S",
        default_value_t = 0.98,
        env = "BT_SIMILARITY",
        value_parser = similarity
    )]
    pub similarity: f32,

    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct CheckPrecisionArgs {
    /// Folders of photos [default: those that --texts names, if any, else those of the index]
    #[arg(value_name = "DIR")]
    pub folders: Vec<PathBuf>,

    /// Queries: a text file with one per line, or pictures with captions as bt-query eval reads them
    /// (.jsonl or .json) [default: a few queries that suit any collection]
    #[arg(long, value_name = "FILE", env = "BT_TEXTS")]
    pub texts: Option<PathBuf>,

    /// Number of photos to read, taken evenly from all
    #[arg(long, value_name = "N", default_value_t = 64, env = "BT_PHOTOS",
          value_parser = clap::value_parser!(u32).range(2..))]
    pub photos: u32,

    /// Number of texts to match, taken evenly from all
    #[arg(long, value_name = "N", default_value_t = 8, env = "BT_QUERIES",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub queries: u32,

    #[command(flatten)]
    pub model: ModelArgs,

    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

fn similarity(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(similarity) if (0.0..=1.0).contains(&similarity) => Ok(similarity),
        _ => Err("must be a number from 0 to 1".into()),
    }
}
