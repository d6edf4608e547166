//! Code that `bt-index` and `bt-query` share: arguments, output, errors and exit codes.

#![warn(clippy::print_stdout, clippy::print_stderr)] // They panic where a pipe is closed or a disk is full.

mod advice;
mod advised;
mod args;
mod environment;
mod generate;
mod json;
mod outcome;
mod output;
mod progress;
mod text;

pub use advice::advice;
pub use advised::Advised;
pub use args::{CacheArg, DEFAULT_MODEL, IndexArgs, ModelArgs};
pub use generate::{GenerateArgs, generate};
pub use json::{add_path, add_paths, json_line, print_json, print_pretty_json};
pub use outcome::{DONE, FAILED, NOTHING_FOUND, main, message};
pub use output::{OutputArgs, Stdout, hint, print, tell};
pub use progress::{Progress, Unit};
pub use text::{counted, cut_path, cut_right, visible, visible_path, width};
