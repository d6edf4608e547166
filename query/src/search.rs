//! A search: query in, hits out.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, bail};
use bridgetower::{
    CacheLevel, Engine, Error, Found, IndexReader, Photo, PhotoCache, PhotoPredicate, QueryOptions,
    SearchEvent, Searcher, Term, TermContent, cache_path, default_rerank,
};
use bt_cli::{DEFAULT_RERANK_MODEL, DONE, NOTHING_FOUND, Unit, counted};

use crate::args::{Program, SearchArgs};
use crate::contact_sheet;
use crate::output::{self, Answer};
use crate::preliminary::Preliminary;

pub fn search(program: &Program) -> anyhow::Result<u8> {
    let args = &program.search;
    let terms = terms(args)?;
    let filter = args.filter.read()?;
    let passes = filter
        .as_ref()
        .map(|filter| move |photo: &Photo| filter.matches(photo));
    let index = IndexReader::open(&program.index.dir()?)?;
    let started = Instant::now();
    let embedder = program
        .model
        .load(&index.pins().model_name, &program.output)?;
    let other = if args.no_rerank {
        None
    } else {
        match &args.rerank_model {
            None if args.rerank == Some(0) => None,
            name => rerank_model(program, &embedder, name.as_deref())?,
        }
    };
    let reranker = other.as_ref().unwrap_or(&embedder);
    let cache = cache(&program.index.dir()?, args, reranker)?;
    let searcher = Searcher {
        index: &index,
        embedder: &embedder,
        reranker,
        cache: cache.as_ref(),
    };
    searcher.check()?;
    let loaded = started.elapsed();

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
            None => calibrated_cut_off(args, &terms, rerank, searcher.reranker),
        },
        filter: passes.as_ref().map(|passes| passes as &PhotoPredicate),
    };
    let bar = program.output.progress(Unit::Things("photos"));
    let mut preliminary = Preliminary::new(program);
    let outcome = searcher.search(&terms, &options, &mut |event| match event {
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
    let found = outcome?;

    report(program, &index, &found, &options)?;
    program.output.note(format!(
        "model loaded in {loaded:.1?}, {} searched and {} reranked in {:.1?}",
        counted(index.len(), "photo"),
        found.reranked,
        started.elapsed().checked_sub(loaded).unwrap_or_default()
    ));
    if let Some(path) = &args.contact_sheet {
        draw(program, path, &found)?;
    }
    output::print(
        &program.output,
        &args.format,
        &Answer {
            query: &args.query[0],
            model: embedder.name(),
            reranker: (found.reranked > 0).then(|| searcher.reranker.name()),
            found: &found,
        },
    )?;
    Ok(if found.hits.is_empty() {
        NOTHING_FOUND
    } else {
        DONE
    })
}

/// What is kept of photos beside the index. An accelerator computes it as fast as a disk reads it.
fn cache(index: &Path, args: &SearchArgs, reranker: &Engine) -> Result<Option<PhotoCache>, Error> {
    let level = match args.cache {
        Some(level) => level.into(),
        None if reranker.model().device().is_cpu() => CacheLevel::Split,
        None => CacheLevel::None,
    };
    if args.no_rerank || level == CacheLevel::None {
        return Ok(None);
    }
    let limit = u64::from(args.cache_limit) << 20;
    PhotoCache::new(&cache_path(index), reranker, level, limit).map(Some)
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

fn terms(args: &SearchArgs) -> anyhow::Result<Vec<Term>> {
    let [query] = args.query.as_slice() else {
        if args.query.is_empty() {
            return Err(Error::EmptyQuery.into());
        }
        bail!("quote the query: bt-query \"{}\"", args.query.join(" "));
    };
    let mut terms = vec![Term::parse(query)?];
    for typed in &args.add {
        terms.push(Term::parse(typed)?);
    }
    for typed in &args.subtract {
        terms.push(Term::parse(typed)?.negated());
    }
    Ok(terms)
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

fn draw(program: &Program, path: &Path, found: &Found) -> anyhow::Result<()> {
    let args = &program.search;
    let mut title = args.query[0].clone();
    for (sign, terms) in [('+', &args.add), ('-', &args.subtract)] {
        for term in terms {
            title.extend([' ', sign, ' ']);
            title.push_str(term);
        }
    }
    let (sheet, unreadable) = contact_sheet::compose(&title, found, args.top as usize);
    for (photo, error) in unreadable {
        let photo = photo.display().to_string();
        // What the search could not read it has reported.
        if !found.warnings.iter().any(|known| known.starts_with(&photo)) {
            program
                .output
                .warn(format!("{photo} is not drawn: {error}"));
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
    let read_none = found.reranked == 0 && !found.by_similarity.is_empty();
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
