//! The checkpoint in the box keeps what its model card promises, measured on part of the gallery beside it.

use std::path::Path;

use bridgetower::Engine;
use bridgetower::engine::EngineOptions;
use bridgetower::eval::{Dataset, evaluate};

const PICTURES: usize = 100;
const DEPTH: usize = 20;

#[test]
fn the_demo_model_finds_and_reranks() {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo");
    let model = demo.join("model");
    let options = EngineOptions::default();
    let engine =
        Engine::load(model.to_str().expect("UTF-8"), &options, &mut |_, _, _| {}).expect("loads");
    let mut dataset =
        Dataset::read(&demo.join("gallery/captions.jsonl"), None, "").expect("a dataset");
    dataset.truncate(PICTURES);
    let measured =
        evaluate(&engine, Some(&engine), dataset, &[DEPTH], &mut |_, _, _| {}).expect("measures");

    let itc = measured.itc.expect("an ITC head").text_to_image;
    assert!(itc.recall_at_1 >= 0.88, "{itc:?}");
    assert!(itc.recall_at_10 >= 0.98, "{itc:?}");
    let reranked = &measured.search[0].found;
    assert!(reranked.recall_at_1 >= 0.96, "{reranked:?}");
    let foils = measured.foils.expect("swaps");
    assert!(foils.itm.is_some_and(|right| right >= 0.90), "{foils:?}");
    let cloze = measured.cloze.expect("an MLM head");
    assert!(cloze.top_1 >= 0.75, "{cloze:?}");
}
