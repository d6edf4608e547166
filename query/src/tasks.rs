//! The model's published uses, each as a command: embeddings, matching, masked words, the contrastive loss.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, ensure};
use bridgetower::engine::{FilledMask, PairScore};
use bridgetower::json::path_hex;
use bridgetower::processor::{Pixels, TokenIds};
use bridgetower::{Embedding, Engine, Error};
use bt_cli::{DONE, print, print_json, visible};
use serde_json::json;

use crate::args::{FillArgs, Inputs, Pair, Program};

/// The notation of a masked word.
const MASK: &str = "<mask>";

pub fn embed(program: &Program, inputs: &Inputs) -> anyhow::Result<u8> {
    ensure!(
        !(inputs.texts.is_empty() && inputs.images.is_empty()),
        "nothing to embed: give --text or --image"
    );
    let engine = load(program)?;
    // What it is of: a kind, the text or path, and the bytes of a path that is no text.
    let mut embeddings = Vec::new();
    for text in &inputs.texts {
        let tokens = read_text(program, &engine, text)?;
        embeddings.push((
            "text",
            text.clone(),
            None,
            engine.embed_texts(&[tokens])?.remove(0),
        ));
    }
    for image in &inputs.images {
        let pixels = read_photo(&engine, image)?;
        let input = image.to_string_lossy().into_owned();
        let embedding = engine.embed_photos(&[pixels])?.remove(0);
        embeddings.push(("image", input, path_hex(image), embedding));
    }
    if inputs.json {
        let rows: Vec<_> = embeddings
            .iter()
            .map(|(kind, input, hex, e)| {
                let mut row = json!({"kind": kind, "input": input, "embedding": e.as_slice()});
                if let Some(digits) = hex {
                    row["input_hex"] = digits.as_str().into();
                }
                row
            })
            .collect();
        print_json(&json!({"embeddings": rows}))?;
    } else {
        print(|out| {
            embeddings
                .iter()
                .try_for_each(|(kind, input, _, embedding)| {
                    writeln!(out, "{kind} {}\n{}", visible(input), numbers(embedding))
                })
        })?;
    }
    Ok(DONE)
}

pub fn match_pair(program: &Program, pair: &Pair) -> anyhow::Result<u8> {
    let engine = load(program)?;
    let text = read_text(program, &engine, &pair.text)?;
    let photo = read_photo(&engine, &pair.image)?;
    let PairScore { logits, similarity } = engine.score_pair(&text, &photo)?;
    if pair.json {
        print_json(&json!({
            "itm_logits": [logits.no, logits.yes],
            "match_probability": logits.match_probability(),
            "similarity": similarity,
        }))?;
    } else {
        let similarity = match similarity {
            Some(similarity) => format!("{similarity:.4}"),
            None => "– (the checkpoint has no contrastive head)".into(),
        };
        print(|out| {
            writeln!(out, "match probability  {:.4}", logits.match_probability())?;
            writeln!(out, "similarity         {similarity}")
        })?;
    }
    Ok(DONE)
}

pub fn fill(program: &Program, args: &FillArgs) -> anyhow::Result<u8> {
    let engine = load(program)?;
    let text = read_text(program, &engine, &args.pair.text)?;
    let photo = read_photo(&engine, &args.pair.image)?;
    // The first candidate is needed for the text, shown or not.
    let filled = engine.fill(&text, &photo, args.top.max(1))?;
    let sentence = filled_in(&args.pair.text, &filled.masks);
    if filled.masks.is_empty() {
        program.output.warn("the text holds no <mask>");
    }
    if args.pair.json {
        let masks: Vec<_> = filled
            .masks
            .iter()
            .map(|mask| {
                let candidates = mask.candidates.iter().take(args.top);
                let candidates = candidates.map(|(t, p)| json!({"token": t, "probability": p}));
                json!({"position": mask.position, "candidates": candidates.collect::<Vec<_>>()})
            })
            .collect();
        print_json(&json!({"token_ids": filled.token_ids, "text": sentence, "masks": masks}))?;
    } else {
        print(|out| {
            writeln!(out, "{}", visible(&sentence))?;
            filled.masks.iter().try_for_each(|mask| {
                let candidates = mask.candidates.iter().take(args.top);
                let shown: Vec<String> = candidates
                    .map(|(token, p)| format!("{} {:.1} %", visible(token.trim()), p * 100.0))
                    .collect();
                writeln!(out, "position {}: {}", mask.position, shown.join(", "))
            })
        })?;
    }
    Ok(DONE)
}

/// Returns the text as typed, with the likeliest word in place of each mask.
fn filled_in(typed: &str, masks: &[FilledMask]) -> String {
    let mut parts = typed.split(MASK);
    let mut text = parts.next().unwrap_or_default().to_owned();
    let mut masks = masks.iter();
    for part in parts {
        match masks.next().and_then(|mask| mask.candidates.first()) {
            // Most tokens bring along the space before them, which may have been typed too.
            Some((word, _)) if text.is_empty() || text.ends_with(char::is_whitespace) => {
                text.push_str(word.trim_start());
            }
            Some((word, _)) => text.push_str(word),
            // It is in the end that was cut off.
            None => text.push_str(MASK),
        }
        text.push_str(part);
    }
    text
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
        print_json(&json!({
            "loss": contrast.loss,
            "text_embeds": rows(&contrast.text_embeds),
            "image_embeds": rows(&contrast.image_embeds),
            "cross_embeds": rows(&contrast.cross_embeds),
        }))?;
    } else {
        print(|out| writeln!(out, "loss  {:.6}", contrast.loss))?;
    }
    Ok(DONE)
}

fn load(program: &Program) -> anyhow::Result<Engine> {
    program.model.load_for(&program.index, &program.output)
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
