//! Every stage of the model against `transformers`, for every shape in `tests/fixtures/golden`.

use std::path::Path;

use bridgetower::model::BridgeTower;
use candle_core::{DType, Device, Tensor};
use serde::Deserialize;

use crate::fixtures::{Formula, Golden, fixture};

#[test]
fn tiny() {
    check_case("tiny");
}

#[test]
fn scaled_add_link_towers() {
    check_case("scaled_add");
}

#[test]
fn interpolate_link_towers() {
    check_case("interpolate");
}

#[test]
fn unshared_transforms() {
    check_case("unshared_transforms");
}

#[test]
fn vision_tower_wider_than_text_tower() {
    check_case("wide_vision");
}

#[test]
fn structure_of_the_base_checkpoints() {
    check_case("base_like");
}

#[test]
fn structure_of_the_large_checkpoints() {
    check_case("large_like");
}

#[derive(Deserialize)]
struct Inputs {
    pixel_values: Formula,
    tokens: Tokens,
}

/// Which tokens of the hidden states the golden keeps.
#[derive(Deserialize)]
#[serde(untagged)]
enum Tokens {
    All(String),
    Some(Vec<i64>),
}

impl Tokens {
    fn of(&self, states: &Tensor) -> Tensor {
        match self {
            Self::All(all) => {
                assert_eq!(all, "all");
                states.clone()
            }
            Self::Some(kept) => {
                let length = states.dim(1).expect("a sequence") as i64;
                let kept: Vec<u32> = kept.iter().map(|i| i.rem_euclid(length) as u32).collect();
                let kept = Tensor::new(kept, &Device::Cpu).expect("indices");
                states.index_select(&kept, 1).expect("selects")
            }
        }
    }
}

fn check_case(case: &str) {
    let folder = fixture("golden").join(case);
    let checkpoint = tempfile::tempdir().expect("tempdir");
    write_checkpoint(&folder, checkpoint.path());
    let model = BridgeTower::load(checkpoint.path(), &Device::Cpu, DType::F32).expect("loads");
    let inputs: Inputs = read_json(&folder.join("inputs.json"));
    check_outputs(
        &model,
        &Golden::read(&folder),
        &inputs.pixel_values.tensor(),
        &inputs.tokens,
    );
}

/// Compares all stages of `model` with the golden.
fn check_outputs(model: &BridgeTower, golden: &Golden, pixels: &Tensor, tokens: &Tokens) {
    let batch = model.text_batch(&golden.texts()).expect("batch");
    let text = model.text_states(&batch).expect("text tower");
    let image = model.image_states(pixels).expect("image tower");
    for (i, state) in text.layers.iter().enumerate() {
        golden.check(
            &format!("text_states.{}", model.config().split() + i),
            &tokens.of(state),
        );
    }
    for (i, state) in image.layers.iter().enumerate() {
        golden.check(
            &format!("image_states.{}", model.config().split() + i),
            &tokens.of(state),
        );
    }

    let bridged_text = model.bridge_text(&text).expect("text bridge");
    let bridged_image = model.bridge_image(&image).expect("image bridge");
    let fused = model
        .fuse(&bridged_text, &bridged_image)
        .expect("cross-modal layers");
    golden.check("cross_text", &tokens.of(&fused.text));
    golden.check("cross_image", &tokens.of(&fused.image));
    golden.check("pooler_output", &fused.pooled);
    golden.check("itm_logits", &model.itm_logits(&fused).expect("ITM"));
    golden.check("mlm_logits", &model.mlm_logits(&fused).expect("MLM"));

    assert_eq!(model.has_itc(), golden.has("loss"));
    if model.has_itc() {
        let text = model.text_embeds(&text).expect("text embeddings");
        let image = model.image_embeds(&image).expect("image embeddings");
        let cross = model.cross_embeds(&fused).expect("cross embeddings");
        golden.check("text_embeds", &text);
        golden.check("image_embeds", &image);
        golden.check("cross_embeds", &cross);
        let loss = model.contrastive_loss(&text, &image, &cross).expect("loss");
        golden.check("loss", &Tensor::new(loss, &Device::Cpu).expect("scalar"));
    }
}

/// Writes the case's weights, made by formula, as a checkpoint.
fn write_checkpoint(case: &Path, folder: &Path) {
    let formulas: Vec<Formula> = read_json(&case.join("tensors.json"));
    let tensors = formulas
        .iter()
        .map(|f| (f.name.clone(), f.tensor()))
        .collect();
    candle_core::safetensors::save(&tensors, folder.join("model.safetensors")).expect("saves");
    std::fs::copy(case.join("config.json"), folder.join("config.json")).expect("copies");
}

fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> T {
    serde_json::from_str(&std::fs::read_to_string(path).expect("reads")).expect("parses")
}
