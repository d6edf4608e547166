//! A search: from what was typed to a query, to a session, to output.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use anyhow::Context;
use bridgetower::search::{
    Found, Query, Reranker, SearchEvent, SessionOptions, Warning, WhyNothing,
};
use bridgetower::{Error, Filter, Session, Term};
use bt_cli::{DONE, NOTHING_FOUND, OutputArgs, Unit, counted, hint};

use crate::args::{Program, SearchArgs};
use crate::contact_sheet;
use crate::opening::Opening;
use crate::output;
use crate::preliminary::Preliminary;
use crate::stdin;
use crate::terms;

pub fn search(program: &Program) -> anyhow::Result<u8> {
    let args = &program.search;
    let words = match args.query.as_slice() {
        [only] if only == stdin::STDIN => vec![stdin::read_query()?],
        words => words.to_vec(),
    };
    let terms = read_terms(program, &words)?;
    let search = Search::open(program)?;
    let found = search.ask(words.join(" "), terms)?;
    if let Some(path) = &args.contact_sheet {
        draw(program, path, &found)?;
    }
    output::print(&program.output, &args.format, &found)?;
    Ok(if found.hits.is_empty() {
        NOTHING_FOUND
    } else {
        DONE
    })
}

/// Reads the terms of `words` and of the flags.
pub fn read_terms(program: &Program, words: &[String]) -> anyhow::Result<Vec<Term>> {
    let args = &program.search;
    terms::read(words, &args.add, &args.subtract, &program.output)
}

/// A session with the settings of the command line, for any number of queries.
pub struct Search<'p> {
    program: &'p Program,
    filter: Filter,
    session: Session,
}

impl<'p> Search<'p> {
    pub fn open(program: &'p Program) -> anyhow::Result<Self> {
        let args = &program.search;
        let filter = args.filter.read()?;
        let index = program.index.place()?;
        let started = Instant::now();
        let options = SessionOptions {
            model: program.model.model.clone(),
            reranker: reranker(args),
            engine: program.model.options(),
            cache: args.cache.map(Into::into),
            cache_limit: u64::from(args.cache_limit) << 20,
        };
        let mut opening = Opening::new(&program.output);
        let session = Session::open(&index, &options, &mut |event| opening.show(event));
        opening.finish();
        let session = session?;
        let loaded = started.elapsed();
        program.output.note(format!("model loaded in {loaded:.1?}"));
        Ok(Self {
            program,
            filter,
            session,
        })
    }

    /// Asks a query, and reports on stderr what users should know about the answer.
    pub fn ask(&self, typed: String, terms: Vec<Term>) -> anyhow::Result<Found> {
        let args = &self.program.search;
        let query = Query {
            typed,
            terms,
            filter: self.filter.clone(),
            top: args.top as usize,
            candidates: args.candidates as usize,
            rerank: args.rerank.map(|depth| depth as usize),
            min_score: args.min_score,
        };
        let started = Instant::now();
        let found = self.find(&query)?;
        report(&self.program.output, &found);
        self.program.output.note(format!(
            "{} searched and {} reranked in {:.1?}",
            counted(found.photos, "photo"),
            found.reranked,
            started.elapsed()
        ));
        Ok(found)
    }

    /// Searches, and shows progress and preliminary hits.
    fn find(&self, query: &Query) -> anyhow::Result<Found> {
        let bar = self.program.output.progress(Unit::Things("photos"));
        let mut preliminary = Preliminary::new(self.program);
        let never = AtomicBool::new(false);
        let outcome = self
            .session
            .search(query, &never, &mut |event| match event {
                // Hits on the way are a courtesy: a terminal that cannot show them will say so of the answer.
                SearchEvent::Candidates(hits) => bar.suspend(|| {
                    let _ = preliminary.show(hits, query.top);
                }),
                SearchEvent::Reading { done, total } => {
                    bar.show("reading", done as u64, total as u64);
                }
            });
        bar.finish();
        preliminary.clear()?;
        Ok(outcome?)
    }
}

fn reranker(args: &SearchArgs) -> Reranker {
    match &args.rerank_model {
        _ if args.no_rerank => Reranker::None,
        Some(name) => Reranker::Named(name.clone()),
        // Nothing will be read, so no other model is needed.
        None if args.rerank == Some(0) => Reranker::Own,
        None => Reranker::Auto,
    }
}

fn draw(program: &Program, path: &Path, found: &Found) -> anyhow::Result<()> {
    let args = &program.search;
    let mut title = found.query.typed.clone();
    for (sign, terms) in [('+', &args.add), ('-', &args.subtract)] {
        for term in terms {
            title.extend([' ', sign, ' ']);
            title.push_str(term);
        }
    }
    let title = title.trim_start().to_owned();
    let (sheet, unreadable) = contact_sheet::compose(&title, found, args.top as usize);
    for (photo, error) in unreadable {
        // What the search could not read it has reported.
        if !found.has_left_out(&photo) {
            let reason = match error {
                Error::Changed { .. } => "the photo changed since it was indexed".into(),
                Error::Io { source, .. } => source.to_string(),
                error => error.to_string(),
            };
            let photo = photo.display();
            program
                .output
                .warn(format!("{photo} could not be drawn: {reason}"));
        }
    }
    contact_sheet::draw(&sheet)
        .save(path)
        .with_context(|| path.display().to_string())
}

/// Reports on stderr what users should know, and what to do about it.
fn report(output: &OutputArgs, found: &Found) {
    for warning in &found.warnings {
        output.warn(warning);
        match warning {
            Warning::Changed { .. } => hint("bt-index build brings the index up to date"),
            Warning::NoNumber { .. } => {
                hint(
                    "the checkpoint is damaged, or the number format is too narrow: try --precision f32",
                );
            }
            _ => {}
        }
    }
    if !found.hits.is_empty() {
        return;
    }
    let reasons: Vec<String> = found.nothing.iter().filter_map(in_words).collect();
    output.warn(match reasons.as_slice() {
        [] => "nothing found".into(),
        reasons => format!("nothing found: {}", reasons.join("; ")),
    });
    if found.nothing.contains(&WhyNothing::NoWords) {
        output.warn("--min-score needs words in the query: photos alone have no match probability");
    }
}

fn in_words(reason: &WhyNothing) -> Option<String> {
    Some(match *reason {
        WhyNothing::BelowCutOff { candidates, least } => format!(
            "none of {} matches with a probability of {least} or more (--min-score 0 shows them)",
            counted(candidates, "candidate")
        ),
        WhyNothing::Filtered { passing, photos } => {
            format!("the filters left {passing} of {}", counted(photos, "photo"))
        }
        _ => return None,
    })
}
