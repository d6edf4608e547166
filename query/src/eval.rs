//! `bt-query eval`: a model's figures on pictures with captions, for people or as JSON.

use std::io::Write;
use std::sync::Arc;

use bridgetower::eval::{
    BothWays, CutOffs, Dataset, EvalStage, Evaluation, Latency, Reliability, Retrieval, Times,
    evaluate,
};
use bridgetower::search::Reranker;
use bt_cli::{DONE, Unit, print_pretty_json, visible};

use crate::args::{EvalArgs, Program};
use crate::opening::Opening;

pub fn eval(program: &Program, args: &EvalArgs) -> anyhow::Result<u8> {
    let mut dataset = Dataset::read(&args.file, args.images.as_deref(), &args.split)?;
    if let Some(limit) = args.limit {
        dataset.truncate(limit as usize);
    }
    let embedder = program.model.load_for(&program.index, &program.output)?;
    let embedder = Arc::new(embedder);
    let reranker = match &args.rerank_model {
        _ if args.no_match => Reranker::None,
        Some(name) => Reranker::Named(name.clone()),
        None => Reranker::Auto,
    };
    let mut opening = Opening::new(&program.output);
    let options = program.model.options();
    let reranker = reranker.load_beside(&embedder, &options, &mut |event| opening.show(event));
    opening.finish();
    let reranker = reranker?;
    let depths: Vec<usize> = args.k.iter().map(|k| *k as usize).collect();

    let bar = program.output.progress(Unit::Things(""));
    let outcome = evaluate(
        &embedder,
        reranker.as_deref(),
        dataset,
        &depths,
        &mut |stage, done, total| {
            let stage = match stage {
                EvalStage::Photos => "embedding pictures",
                EvalStage::Texts => "embedding texts",
                EvalStage::Pairs => "reading pictures with texts",
                EvalStage::Latency => "timing single queries",
            };
            bar.show(stage, done as u64, total as u64);
        },
    );
    bar.finish();
    let evaluation = outcome?;
    for photo in &evaluation.unreadable {
        program.output.warn(format!(
            "{} left out, with its captions: {}",
            photo.path.display(),
            photo.reason
        ));
    }
    if args.json {
        print_pretty_json(&evaluation)?;
    } else {
        bt_cli::print(|out| print(out, &evaluation))?;
    }
    Ok(DONE)
}

fn print(out: &mut impl Write, evaluation: &Evaluation) -> std::io::Result<()> {
    let Evaluation { counts, .. } = evaluation;
    writeln!(out, "model     {}", visible(&evaluation.model))?;
    if let Some(reranker) = &evaluation.reranker {
        writeln!(out, "reranker  {}", visible(reranker))?;
    }
    writeln!(
        out,
        "computed  on {}, {}, {} threads, {:.1} s, {} pairs read",
        evaluation.device,
        evaluation.precision,
        evaluation.threads,
        evaluation.work.seconds,
        evaluation.work.pairs
    )?;
    writeln!(
        out,
        "data      {} photos ({} more could not be read), {} captions, {} absent queries",
        counts.photos, counts.unreadable, counts.captions, counts.absent_queries
    )?;
    retrieval(out, evaluation)?;
    if let Some(reliability) = &evaluation.reliability {
        print_reliability(out, reliability)?;
    }
    if let Some(cut_offs) = &evaluation.cut_offs {
        print_cut_offs(out, cut_offs)?;
    }
    if let Some(foils) = &evaluation.foils {
        writeln!(
            out,
            "\nCaption preferred to a false one, of {} pairs",
            foils.pairs
        )?;
        for (name, score) in [
            ("matching (ITM)", foils.itm),
            ("embeddings (ITC)", foils.itc),
        ] {
            if let Some(score) = score {
                writeln!(out, "  {name:<20}{}", percent(score))?;
            }
        }
    }
    if let Some(cloze) = &evaluation.cloze {
        writeln!(out, "\nMasked words guessed, of {}", cloze.items)?;
        writeln!(out, "  first guess         {}", percent(cloze.top_1))?;
        writeln!(out, "  one of five         {}", percent(cloze.top_5))?;
    }
    if let Some(latency) = &evaluation.latency {
        print_latency(out, latency)?;
    }
    if !evaluation.skipped.is_empty() {
        writeln!(out, "\nLeft out")?;
        for skipped in &evaluation.skipped {
            writeln!(out, "  {:<20}{}", skipped.section, skipped.reason)?;
        }
    }
    Ok(())
}

fn retrieval(out: &mut impl Write, evaluation: &Evaluation) -> std::io::Result<()> {
    if evaluation.itc.is_none() {
        return Ok(());
    }
    heading(out, "Photos for a text")?;
    let text = |both: &BothWays| both.text_to_image;
    if let Some(itc) = &evaluation.itc {
        row(out, "embeddings alone (ITC)", &text(itc))?;
    }
    for depth in &evaluation.search {
        row(
            out,
            &format!("search, {} read (ITM)", depth.k),
            &depth.found,
        )?;
    }
    for depth in &evaluation.authors {
        let name = format!("authors' protocol, k = {}", depth.k);
        row(out, &name, &text(&depth.found))?;
    }
    heading(out, "Captions for a photo")?;
    let image = |both: &BothWays| both.image_to_text;
    if let Some(itc) = &evaluation.itc {
        row(out, "embeddings alone (ITC)", &image(itc))?;
    }
    for depth in &evaluation.authors {
        let name = format!("authors' protocol, k = {}", depth.k);
        row(out, &name, &image(&depth.found))?;
    }
    Ok(())
}

fn heading(out: &mut impl Write, title: &str) -> std::io::Result<()> {
    writeln!(
        out,
        "\n{title:<36}{:>8}{:>8}{:>8}{:>13}",
        "R@1", "R@5", "R@10", "median rank"
    )
}

fn row(out: &mut impl Write, name: &str, found: &Retrieval) -> std::io::Result<()> {
    writeln!(
        out,
        "  {name:<34}{:>8}{:>8}{:>8}{:>13.1}",
        percent(found.recall_at_1),
        percent(found.recall_at_5),
        percent(found.recall_at_10),
        found.median_rank
    )
}

fn print_reliability(out: &mut impl Write, found: &Reliability) -> std::io::Result<()> {
    writeln!(
        out,
        "\nAre match probabilities right? {} pairs, {} read per query",
        found.pairs, found.k
    )?;
    writeln!(
        out,
        "  {:<14}{:>9}{:>9}{:>12}{:>12}",
        "probability", "pairs", "right", "of them", "mean"
    )?;
    for bin in &found.bins {
        let or_dash = |value: Option<f64>| value.map_or("–".into(), percent);
        writeln!(
            out,
            "  {:<14}{:>9}{:>9}{:>12}{:>12}",
            format!("{:.1} to {:.1}", bin.from, bin.to),
            bin.pairs,
            bin.right,
            or_dash(bin.fraction_right),
            or_dash(bin.mean_probability)
        )?;
    }
    writeln!(
        out,
        "  expected calibration error {:.4}",
        found.expected_calibration_error
    )
}

fn print_cut_offs(out: &mut impl Write, found: &CutOffs) -> std::io::Result<()> {
    writeln!(
        out,
        "\nEffect of --min-score, {} read per query: {} captions whose photo was read, {} absent queries",
        found.k, found.answerable, found.absent_queries
    )?;
    writeln!(
        out,
        "  {:<14}{:>18}{:>22}",
        "--min-score", "right photo stays", "absent finds nothing"
    )?;
    for cut in &found.cuts {
        writeln!(
            out,
            "  {:<14.2}{:>18}{:>22}",
            cut.min_score,
            percent(cut.right_kept),
            cut.absent_quiet.map_or("–".into(), percent)
        )?;
    }
    match (&found.suggested, found.absent_queries) {
        (Some(cut), _) => writeln!(
            out,
            "  suggested: --min-score {} keeps {} of the right photos; {} of the absent queries find nothing",
            cut.min_score,
            percent(cut.right_kept),
            cut.absent_quiet.map_or("–".into(), percent)
        ),
        (None, 0) => Ok(()),
        (None, _) => writeln!(out, "  none keeps 95 % of the right photos"),
    }
}

fn print_latency(out: &mut impl Write, found: &Latency) -> std::io::Result<()> {
    writeln!(
        out,
        "\nTimes, one at a time{:>20}{:>12}{:>10}",
        "p50", "p95", "samples"
    )?;
    let mut line = |name: &str, times: &Times| {
        writeln!(
            out,
            "  {name:<26}{:>9.2} ms{:>9.2} ms{:>10}",
            times.p50, times.p95, times.samples
        )
    };
    if let Some(times) = &found.text_ms {
        line("text: embed and search", times)?;
    }
    line("photo: read the file", &found.photo_read_ms)?;
    line("photo: image tower", &found.photo_tower_ms)?;
    if let Some(times) = &found.pair_ms {
        line("pair: cross-modal layers", times)?;
    }
    for rerank in &found.rerank {
        writeln!(
            out,
            "  to rerank {:>4} photos      {:>9.0} ms from their files, {:.0} ms with their image sides cached",
            rerank.k, rerank.from_files_ms, rerank.pairs_ms
        )?;
    }
    if !found.rerank.is_empty() {
        writeln!(
            out,
            "  The evaluation computes a photo's image side once for all its texts; a query computes it again for\n  \
             every photo that it reads. The times to rerank are sums of the medians above."
        )?;
    }
    Ok(())
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}
