//! Many queries, from stdin or a file.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::Context;
use bridgetower::search::Found;
use bt_cli::{DONE, FAILED, NOTHING_FOUND, advice, hint, message, tell};

use crate::args::Program;
use crate::output;
use crate::search::{Search, read_terms};
use crate::stdin::STDIN;

/// Searches for each line of `file`, or of stdin (`-`), and answers before it reads the next one. A query that fails is
/// reported and does not stop the others.
pub fn ask_each(program: &Program, file: &Path) -> anyhow::Result<u8> {
    let name = file.display().to_string();
    let lines = open(file).with_context(|| name.clone())?.split(b'\n');
    let search = Search::open(program)?;
    output::begin_several(&program.search.format)?;
    let (mut is_found, mut is_failed) = (false, false);
    for line in lines {
        let line = line.with_context(|| name.clone())?;
        let typed = String::from_utf8_lossy(&line);
        let typed = typed.trim();
        if typed.is_empty() {
            continue;
        }
        let answer = ask(program, &search, typed);
        match &answer {
            Ok(found) => is_found |= !found.hits.is_empty(),
            Err(error) => {
                is_failed = true;
                report(typed, error);
            }
        }
        output::print_next(
            &program.output,
            &program.search.format,
            typed,
            answer.as_ref(),
        )?;
    }
    Ok(match (is_failed, is_found) {
        (true, _) => FAILED,
        (false, true) => DONE,
        (false, false) => NOTHING_FOUND,
    })
}

fn open(file: &Path) -> std::io::Result<Box<dyn BufRead>> {
    Ok(if file == Path::new(STDIN) {
        Box::new(std::io::stdin().lock())
    } else {
        Box::new(BufReader::new(File::open(file)?))
    })
}

fn ask(program: &Program, search: &Search, typed: &str) -> anyhow::Result<Found> {
    let terms = read_terms(program, &[typed.to_owned()])?;
    search.ask(typed.to_owned(), terms)
}

fn report(typed: &str, error: &anyhow::Error) {
    tell(format_args!("error: {typed}: {}", message(error)));
    let advice = advice(error);
    if !advice.is_empty() {
        hint(advice);
    }
}
