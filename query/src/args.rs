//! The command line of `bt-query`.

use std::path::PathBuf;

use bt_cli::{CacheArg, GenerateArgs, IndexArgs, ModelArgs, OutputArgs};
use clap::{Args, Parser, Subcommand};

use crate::filter::FilterArgs;
use crate::preview::Protocol;

/// Finds photos by what they show, and reads each candidate together with the query before it answers
///
/// The query is text ("a cat by a window"), a photo whose path starts with ./, ../, /, ~/ or `file:///`, or
/// several such terms with + and - between them: horse + stripes - "a zoo". Among several terms, a number and
/// a colon weight one: "2:a cat". Put -- before a query that is a command's name.
/// Photos must pass all filters that are given.
///
/// Exit status: 0 found, 1 nothing found, 2 error.
#[derive(Debug, Parser)]
#[command(
    name = "bt-query",
    version,
    max_term_width = 100,
    args_conflicts_with_subcommands = true,
    arg_required_else_help = true
)]
pub struct Program {
    #[command(subcommand)]
    pub task: Option<Task>,

    #[command(flatten)]
    pub search: SearchArgs,

    #[command(flatten)]
    pub index: IndexArgs,

    #[command(flatten)]
    pub model: ModelArgs,

    #[command(flatten)]
    pub output: OutputArgs,
}

#[derive(Debug, Args)]
pub struct SearchArgs {
    /// What to look for: text or the path of a photo; - reads it from stdin
    #[arg(value_name = "QUERY", num_args = 1..)]
    pub query: Vec<String>,

    /// Also look for this; repeat for more
    #[arg(short, long, value_name = "TERM")]
    pub add: Vec<String>,

    /// Look for photos without this; repeat for more
    #[arg(short, long, value_name = "TERM", alias = "sub")]
    pub subtract: Vec<String>,

    /// Search for each line of FILE, or of stdin (-), as a separate query, loading the model once; --json and
    /// --jsonl then write one document per line and query
    #[arg(long, value_name = "FILE", conflicts_with_all = ["query", "contact_sheet"])]
    pub queries: Option<PathBuf>,

    /// Hits to show
    #[arg(short, long, value_name = "N", default_value_t = 10, env = "BT_TOP",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub top: u32,

    /// Photos to take from the index before reranking
    #[arg(long, value_name = "N", default_value_t = 100, env = "BT_CANDIDATES",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub candidates: u32,

    /// Candidates to read together with the query [default: 50, or on a CPU as many as 4 TFLOP allow, but at
    /// least 10]
    #[arg(long, value_name = "K", env = "BT_RERANK")]
    pub rerank: Option<u32>,

    /// Rank by embeddings alone
    #[arg(long, conflicts_with_all = ["rerank", "min_score"])]
    pub no_rerank: bool,

    /// Checkpoint with the matching head, if --model has none
    #[arg(long, value_name = "DIR|ID", env = "BT_RERANK_MODEL")]
    pub rerank_model: Option<String>,

    /// Show only photos that match with at least this probability, 0 to 1; 0 shows all [default: the
    /// checkpoint's calibration, if it has one, as demo does]
    #[arg(long, value_name = "P", env = "BT_MIN_SCORE", value_parser = probability)]
    pub min_score: Option<f32>,

    /// How much to keep beside the index of each photo that was read, for the next query: none, pixels (the small
    /// picture), split (the image tower's state half way, a megabyte with the large checkpoints) or full (everything
    /// that does not depend on the query, six megabytes) [default: split; none on accelerators]
    #[arg(long, value_name = "LEVEL", env = "BT_CACHE")]
    pub cache: Option<CacheArg>,

    /// Most that the cache may hold, MiB; what was used least recently is removed first
    #[arg(
        long,
        value_name = "MIB",
        default_value_t = 2048,
        env = "BT_CACHE_LIMIT"
    )]
    pub cache_limit: u32,

    /// Also draw the hits, ranked with and without reranking, to this .png or .jpg
    #[arg(long, value_name = "FILE", env = "BT_CONTACT_SHEET", value_parser = picture)]
    pub contact_sheet: Option<PathBuf>,

    /// Has no effect, since bt-query never indexes; accepted because rclip has it
    #[arg(short, long, aliases = ["skip-index", "skip-indexing"])]
    #[allow(dead_code)] // Accepted, so that commands typed out of habit work.
    pub no_indexing: bool,

    #[command(flatten)]
    pub filter: FilterArgs,

    #[command(flatten)]
    pub format: FormatArgs,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
#[allow(clippy::struct_excessive_bools)] // Flags of which one at most is set, but for -f -0.
pub struct FormatArgs {
    /// Print one JSON document
    #[arg(long, conflicts_with_all = ["jsonl", "csv", "filepath_only", "print0", "preview"])]
    pub json: bool,

    /// Print one JSON document per hit, each on a line
    #[arg(long, conflicts_with_all = ["csv", "filepath_only", "print0", "preview"])]
    pub jsonl: bool,

    /// Print comma-separated values with a header
    #[arg(long, conflicts_with_all = ["filepath_only", "print0", "preview"])]
    pub csv: bool,

    /// Print only paths, one per line; with -0, each ends in a NUL byte instead
    #[arg(short, long, conflicts_with = "preview")]
    pub filepath_only: bool,

    /// Print only paths, each ending in a NUL byte, for xargs -0
    #[arg(short = '0', long, conflicts_with = "preview")]
    pub print0: bool,

    /// Also show the hits' pictures on the terminal
    #[arg(short, long, value_name = "HOW", num_args = 0..=1, require_equals = true,
          default_missing_value = "auto")]
    pub preview: Option<Protocol>,

    /// Largest height of a picture shown by --preview, in pixels
    #[arg(short = 'H', long, value_name = "PX", default_value_t = 400, env = "BT_PREVIEW_HEIGHT",
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub preview_height: u32,
}

impl FormatArgs {
    /// Returns whether hits are printed for people, if stdout is a terminal.
    pub fn is_table(&self) -> bool {
        !(self.json || self.jsonl || self.csv || self.filepath_only || self.print0)
    }
}

#[derive(Debug, Subcommand)]
pub enum Task {
    /// Embed texts and photos with the contrastive (ITC) heads
    Embed(Inputs),
    /// Compute how well a text matches a photo (ITM)
    Match(Pair),
    /// Fill in the masked words of a text, each written `<mask>`, from what a photo shows (MLM)
    Fill(FillArgs),
    /// Compute the contrastive loss of photos and texts, paired in order
    Contrast(Inputs),
    /// Measure a model on pictures with captions: recall, match probabilities, latency
    #[command(after_long_help = EVAL_FILE)]
    Eval(EvalArgs),
    /// Write shell completions or manual pages
    Generate(GenerateArgs),
}

const EVAL_FILE: &str = r#"FILE is JSON Lines, one record per line:

  {"image": "cat.jpg", "caption": "a cat left of a dog"}
  {"image": "dog.jpg", "captions": ["two dogs", "dogs at play"]}
  {"image": null, "caption": "a submarine"}

Paths are relative to FILE's folder, or to --images. Where "image" is null, nothing in the
collection shows the caption; such queries serve to suggest a --min-score. Optional fields:

  "foils": ["a dog left of a cat"]
      false captions of the picture, to be compared with its first caption
  "cloze": [{"text": "a <mask> left of a dog", "answer": "cat"}]
      masked words to fill in

FILE can also be Karpathy's split file of Flickr30k (dataset_flickr30k.json) or COCO
(dataset_coco.json); the first five captions of each picture count.

The report leaves out whatever the data or the checkpoint does not allow. On a CPU, setting
CANDLE_NUM_THREADS=1 in the environment makes a small model up to twice as fast here."#;

#[derive(Debug, Args)]
pub struct Inputs {
    /// A photo; repeat for more
    #[arg(long = "image", value_name = "FILE")]
    pub images: Vec<PathBuf>,

    /// A text; repeat for more
    #[arg(long = "text", value_name = "TEXT")]
    pub texts: Vec<String>,

    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Pair {
    /// The photo
    #[arg(long, value_name = "FILE")]
    pub image: PathBuf,

    /// The text
    #[arg(long, value_name = "TEXT")]
    pub text: String,

    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct FillArgs {
    #[command(flatten)]
    pub pair: Pair,

    /// Candidates to show for each mask
    #[arg(short, long, value_name = "N", default_value_t = 5)]
    pub top: usize,
}

#[derive(Debug, Args)]
pub struct EvalArgs {
    /// Pictures and captions: JSON Lines, or Karpathy's split file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// Folder of the pictures [default: FILE's folder]
    #[arg(long, value_name = "DIR")]
    pub images: Option<PathBuf>,

    /// Split of Karpathy's file
    #[arg(long, value_name = "NAME", default_value = "test")]
    pub split: String,

    /// Numbers of candidates to read together with each query
    #[arg(short, long, value_name = "K,…", value_delimiter = ',', default_value = "10,50,128",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub k: Vec<u32>,

    /// Use only the first N pictures with their captions, and the first N queries without a picture
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: Option<u32>,

    /// Measure embeddings alone: read no picture together with a text
    #[arg(long)]
    pub no_match: bool,

    /// Checkpoint with the matching and masked-word heads, if --model has none
    #[arg(long, value_name = "DIR|ID", env = "BT_RERANK_MODEL")]
    pub rerank_model: Option<String>,

    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Parses the path of a picture to write; its extension gives the format.
fn picture(typed: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(typed);
    match path.extension().map(std::ffi::OsStr::to_ascii_lowercase) {
        Some(e) if e == "png" || e == "jpg" || e == "jpeg" => Ok(path),
        _ => Err("must end in .png or .jpg".into()),
    }
}

fn probability(typed: &str) -> Result<f32, String> {
    match typed.parse::<f32>() {
        Ok(p) if (0.0..=1.0).contains(&p) => Ok(p),
        _ => Err("must be a probability, from 0 to 1".into()),
    }
}
