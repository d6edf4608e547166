//! A search: queries in, hits out.

use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use bridgetower::cache::{CacheLevel, PhotoCache};
use bridgetower::index::{IndexReader, PhotoPredicate};
use bridgetower::search::{
    Found, QueryOptions, SearchEvent, Searcher, TermContent, default_rerank,
};
use bridgetower::{Engine, Error, Filter, Index, Photo, Term};
use bt_cli::{DEFAULT_RERANK_MODEL, DONE, NOTHING_FOUND, Unit, counted};
use serde_json::json;

use crate::args::{Program, SearchArgs};
use crate::contact_sheet;
use crate::output::{self, Answer};
use crate::preliminary::Preliminary;
use crate::queries;
use crate::terms::Query;

pub fn search(program: &Program) -> anyhow::Result<u8> {
    let args = &program.search;
    if let Some(file) = &args.queries {
        return queries::ask_each(program, file);
    }
    let query = query(program)?;
    let search = Search::open(program)?;
    let answer = search.ask(query)?;
    if let Some(path) = &args.contact_sheet {
        draw(program, path, &answer)?;
    }
    output::print(&program.output, &args.format, &answer)?;
    Ok(if answer.found.hits.is_empty() {
        NOTHING_FOUND
    } else {
        DONE
    })
}

/// What was typed, or what stands on stdin.
fn query(program: &Program) -> anyhow::Result<Query> {
    let args = &program.search;
    let (add, subtract, output) = (&args.add, &args.subtract, &program.output);
    match args.query.as_slice() {
        [only] if only == queries::STDIN => {
            Query::read(&[queries::from_stdin()?], add, subtract, output)
        }
        words => Query::read(words, add, subtract, output),
    }
}

/// An index with the models that search it, open for any number of queries.
pub struct Search<'p> {
    program: &'p Program,
    filter: Option<Filter>,
    index: IndexReader,
    embedder: Engine,
    /// Reranks, where the embedder does not.
    other: Option<Engine>,
    cache: Option<PhotoCache>,
}

impl<'p> Search<'p> {
    pub fn open(program: &'p Program) -> anyhow::Result<Self> {
        let args = &program.search;
        let filter = args.filter.read()?;
        let place = program.index.place()?;
        let index = place.reader()?;
        let started = Instant::now();
        let name = &index.model().name;
        let embedder = program.model.load(name, &program.output)?;
        let other = if args.no_rerank {
            None
        } else {
            match &args.rerank_model {
                None if args.rerank == Some(0) => None,
                name => rerank_model(program, &embedder, name.as_deref())?,
            }
        };
        let cache = cache(&place, args, other.as_ref().unwrap_or(&embedder))?;
        let search = Self {
            program,
            filter,
            index,
            embedder,
            other,
            cache,
        };
        search.searcher().check()?;
        let loaded = started.elapsed();
        program.output.note(format!("model loaded in {loaded:.1?}"));
        Ok(search)
    }

    /// Asks a query, and says on stderr what the reader should know of the answer.
    pub fn ask(&self, query: Query) -> anyhow::Result<Answer<'_>> {
        let args = &self.program.search;
        let searcher = self.searcher();
        let passes = self
            .filter
            .as_ref()
            .map(|filter| move |photo: &Photo| filter.matches(photo));
        let rerank = match args.rerank {
            _ if args.no_rerank => 0,
            Some(k) => k as usize,
            None => default_rerank(searcher.reranker),
        };
        let options = QueryOptions {
            top: args.top as usize,
            candidates: args.candidates as usize,
            rerank,
            min_score: match args.min_score {
                Some(least) => Some(least).filter(|least| *least > 0.0),
                None => calibrated_cut_off(args, &query.terms, rerank, searcher.reranker),
            },
            filter: passes.as_ref().map(|passes| passes as &PhotoPredicate),
        };
        let started = Instant::now();
        let found = self.find(&query, &options)?;
        report(self.program, &self.index, &found, &options)?;
        self.program.output.note(format!(
            "{} searched and {} reranked in {:.1?}",
            counted(self.index.len(), "photo"),
            found.reranked,
            started.elapsed()
        ));
        Ok(Answer {
            filters: match &self.filter {
                Some(filter) => args.filter.as_json(filter),
                None => json!({}),
            },
            min_score: options.min_score,
            model: self.embedder.name(),
            reranker: (found.reranked > 0).then(|| searcher.reranker.name()),
            query,
            found,
        })
    }

    /// Searches, and shows meanwhile what there is to see.
    fn find(&self, query: &Query, options: &QueryOptions) -> anyhow::Result<Found> {
        let output = &self.program.output;
        let bar = output.progress(Unit::Things("photos"));
        let mut preliminary = Preliminary::new(self.program);
        let outcome = self
            .searcher()
            .search(&query.terms, options, &mut |event| match event {
                // Hits on the way are a courtesy: a terminal that cannot show them will say so of the answer.
                SearchEvent::Candidates(hits) => bar.suspend(|| {
                    let _ = preliminary.show(hits, options.top);
                }),
                SearchEvent::Reading { done, total } => {
                    bar.show("reading", done as u64, total as u64);
                }
            });
        bar.finish();
        preliminary.clear()?;
        Ok(outcome?)
    }

    fn searcher(&self) -> Searcher<'_> {
        Searcher {
            index: &self.index,
            embedder: &self.embedder,
            reranker: self.other.as_ref().unwrap_or(&self.embedder),
            cache: self.cache.as_ref(),
        }
    }
}

/// What is kept of photos beside the index. An accelerator computes it as fast as a disk reads it.
fn cache(index: &Index, args: &SearchArgs, reranker: &Engine) -> Result<Option<PhotoCache>, Error> {
    let level = match args.cache {
        Some(level) => level.into(),
        None if reranker.model().device().is_cpu() => CacheLevel::Split,
        None => CacheLevel::None,
    };
    if args.no_rerank || level == CacheLevel::None {
        return Ok(None);
    }
    let limit = u64::from(args.cache_limit) << 20;
    PhotoCache::new(&index.cache_dir(), reranker, level, limit).map(Some)
}

/// Where the reranker's own calibration ends the results. Not where it would end them for want of a match
/// probability: of a photo's likeness, and of more hits than are read together with the query.
fn calibrated_cut_off(
    args: &SearchArgs,
    terms: &[Term],
    rerank: usize,
    reranker: &Engine,
) -> Option<f32> {
    let asks_in_words = terms
        .iter()
        .any(|term| matches!(term.content, TermContent::Text(_)));
    let reads_all_hits = args.top as usize <= rerank;
    reranker
        .min_score()
        .filter(|_| asks_in_words && reads_all_hits)
}

/// The second checkpoint, where one is asked for or the first has no matching head.
pub fn rerank_model(
    program: &Program,
    embedder: &Engine,
    name: Option<&str>,
) -> Result<Option<Engine>, Error> {
    let name = match name {
        Some(name) => name,
        None if embedder.model().has_itm() => return Ok(None),
        None => {
            program.output.warn(format!(
                "{} has no matching head: reranking with {DEFAULT_RERANK_MODEL} (--rerank-model chooses another)",
                embedder.name()
            ));
            DEFAULT_RERANK_MODEL
        }
    };
    program.model.load_named(name, &program.output).map(Some)
}

fn draw(program: &Program, path: &Path, answer: &Answer) -> anyhow::Result<()> {
    let (args, found) = (&program.search, &answer.found);
    let mut title = answer.query.typed.clone();
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
        if !found.left_out.contains(&photo) {
            let reason = match error {
                Error::Changed { .. } => "it changed since it was indexed".into(),
                Error::Io { source, .. } => source.to_string(),
                error => error.to_string(),
            };
            let photo = photo.display();
            program
                .output
                .warn(format!("{photo} is not drawn: {reason}"));
        }
    }
    contact_sheet::draw(&sheet)
        .save(path)
        .with_context(|| path.display().to_string())
}

fn report(
    program: &Program,
    index: &IndexReader,
    found: &Found,
    options: &QueryOptions,
) -> anyhow::Result<()> {
    for warning in &found.warnings {
        program.output.warn(warning);
    }
    if found.hits.is_empty() {
        program.output.warn(why_nothing(index, found, options)?);
    }
    let read_none =
        found.reranked == 0 && found.left_out.is_empty() && !found.by_similarity.is_empty();
    if options.min_score.is_some() && read_none {
        program
            .output
            .warn("--min-score needs words in the query: photos alone have no match probability");
    }
    Ok(())
}

fn why_nothing(
    index: &IndexReader,
    found: &Found,
    options: &QueryOptions,
) -> anyhow::Result<String> {
    let mut reasons = Vec::new();
    if let Some(least) = options.min_score.filter(|_| found.reranked > 0) {
        reasons.push(format!(
            "none of {} matches with a probability of {least} or more (--min-score 0 shows them)",
            counted(found.reranked, "candidate")
        ));
    }
    if let Some(filter) = options.filter {
        reasons.push(format!(
            "the filters left {} of {}",
            index.count(filter)?,
            counted(index.len(), "photo")
        ));
    }
    Ok(if reasons.is_empty() {
        "nothing found".into()
    } else {
        format!("nothing found: {}", reasons.join("; "))
    })
}
