//! The model's published uses one by one: embeddings, matching, masked words, the contrastive loss.

use std::path::Path;

use anyhow::{Context, ensure};
use bridgetower::{Embedding, Engine, Error, PairScore, Pixels, TokenIds};
use bt_cli::{DEFAULT_MODEL, DONE};
use serde_json::json;

use crate::args::{FillArgs, Inputs, Pair, Program};

pub fn embed(program: &Program, inputs: &Inputs) -> anyhow::Result<u8> {
    ensure!(
        !(inputs.texts.is_empty() && inputs.images.is_empty()),
        "nothing to embed: give --text or --image"
    );
    let engine = load(program)?;
    let mut embeddings = Vec::new();
    for text in &inputs.texts {
        let tokens = read_text(program, &engine, text)?;
        embeddings.push((
            "text",
            text.clone(),
            engine.embed_texts(&[tokens])?.remove(0),
        ));
    }
    for image in &inputs.images {
        let pixels = read_photo(&engine, image)?;
        let input = image.to_string_lossy().into_owned();
        embeddings.push(("image", input, engine.embed_photos(&[pixels])?.remove(0)));
    }
    if inputs.json {
        let rows: Vec<_> = embeddings
            .iter()
            .map(
                |(kind, input, e)| json!({"kind": kind, "input": input, "embedding": e.as_slice()}),
            )
            .collect();
        println!("{}", json!({"embeddings": rows}));
    } else {
        for (kind, input, embedding) in &embeddings {
            println!("{kind} {input}\n{}", numbers(embedding));
        }
    }
    Ok(DONE)
}

pub fn match_pair(program: &Program, pair: &Pair) -> anyhow::Result<u8> {
    let engine = load(program)?;
    let text = read_text(program, &engine, &pair.text)?;
    let photo = read_photo(&engine, &pair.image)?;
    let PairScore { logits, similarity } = engine.score_pair(&text, &photo)?;
    if pair.json {
        println!(
            "{}",
            json!({
                "itm_logits": [logits.no, logits.yes],
                "match_probability": logits.match_probability(),
                "similarity": similarity,
            })
        );
    } else {
        println!("match probability  {:.4}", logits.match_probability());
        match similarity {
            Some(similarity) => println!("similarity         {similarity:.4}"),
            None => println!("similarity         – (the checkpoint has no contrastive head)"),
        }
    }
    Ok(DONE)
}

pub fn fill(program: &Program, args: &FillArgs) -> anyhow::Result<u8> {
    let engine = load(program)?;
    let text = read_text(program, &engine, &args.pair.text)?;
    let photo = read_photo(&engine, &args.pair.image)?;
    let filled = engine.fill(&text, &photo, args.top)?;
    if filled.masks.is_empty() {
        program.output.warn("the text holds no <mask>");
    }
    if args.pair.json {
        let masks: Vec<_> = filled
            .masks
            .iter()
            .map(|mask| {
                let candidates = mask.candidates.iter();
                let candidates = candidates.map(|(t, p)| json!({"token": t, "probability": p}));
                json!({"position": mask.position, "candidates": candidates.collect::<Vec<_>>()})
            })
            .collect();
        println!(
            "{}",
            json!({"token_ids": filled.token_ids, "text": filled.text, "masks": masks})
        );
    } else {
        println!("{}", filled.text);
        for mask in &filled.masks {
            let candidates = mask.candidates.iter();
            let shown: Vec<String> = candidates
                .map(|(token, p)| format!("{} {:.1} %", token.trim(), p * 100.0))
                .collect();
            println!("position {}: {}", mask.position, shown.join(", "));
        }
    }
    Ok(DONE)
}

pub fn contrast(program: &Program, inputs: &Inputs) -> anyhow::Result<u8> {
    let engine = load(program)?;
    let texts = inputs
        .texts
        .iter()
        .map(|text| read_text(program, &engine, text));
    let texts = texts.collect::<anyhow::Result<Vec<_>>>()?;
    let photos = inputs.images.iter().map(|image| read_photo(&engine, image));
    let contrast = engine.contrast(&texts, &photos.collect::<anyhow::Result<Vec<_>>>()?)?;
    if inputs.json {
        let rows = |e: &[Embedding]| e.iter().map(|e| e.as_slice().to_vec()).collect::<Vec<_>>();
        println!(
            "{}",
            json!({
                "loss": contrast.loss,
                "text_embeds": rows(&contrast.text_embeds),
                "image_embeds": rows(&contrast.image_embeds),
                "cross_embeds": rows(&contrast.cross_embeds),
            })
        );
    } else {
        println!("loss  {:.6}", contrast.loss);
    }
    Ok(DONE)
}

fn load(program: &Program) -> anyhow::Result<Engine> {
    Ok(program.model.load(DEFAULT_MODEL, &program.output)?)
}

fn read_text(program: &Program, engine: &Engine, text: &str) -> anyhow::Result<TokenIds> {
    if text.trim().is_empty() {
        return Err(Error::EmptyQuery.into());
    }
    let tokens = engine.processor().text().encode(text)?;
    if tokens.truncated {
        let kept = tokens.ids.len();
        program.output.warn(format!(
            "the text is longer than {kept} tokens; its end was ignored"
        ));
    }
    Ok(tokens)
}

fn read_photo(engine: &Engine, path: &Path) -> anyhow::Result<Pixels> {
    let (pixels, _) = engine
        .processor()
        .read_photo(path)
        .with_context(|| path.display().to_string())?;
    Ok(pixels)
}

fn numbers(embedding: &Embedding) -> String {
    let values: Vec<String> = embedding.as_slice().iter().map(f32::to_string).collect();
    values.join(" ")
}
