//! Every stage of the model against `transformers`, for every shape in `tests/fixtures/golden`.

use std::path::Path;

use bridgetower::model::{BridgeTower, Format};
use candle_core::{DType, Device, Tensor};

use crate::fixtures::{Formula, Golden, Inputs, fixture, read_json};

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

#[test]
fn packed_weights_stay_faithful() {
    for (format, least_cosine, logits_off) in
        [(Format::Bf16, 0.999, 0.02), (Format::Int8, 0.99, 0.1)]
    {
        if !format.is_supported() {
            continue;
        }
        for case in [
            "tiny",
            "wide_vision",
            "unshared_transforms",
            "base_like",
            "large_like",
        ] {
            let folder = fixture("golden").join(case);
            let (model, _checkpoint) = load(&folder);
            let (golden, model) = (Golden::read(&folder), model.with_weights_in(format));
            let inputs: Inputs = read_json(&folder.join("inputs.json"));
            let image = model
                .image_states(&inputs.pixel_values.tensor())
                .expect("image tower");
            let batch = model.text_batch(&golden.texts()).expect("batch");
            let text = model.text_states(&batch).expect("text tower");
            if model.has_itc() {
                let ours = model.image_embeds(&image).expect("image embeddings");
                let cosine = golden.least_cosine("image_embeds", &ours);
                assert!(cosine >= least_cosine, "{case} {format:?}: cosine {cosine}");
            }
            if model.has_itm() {
                let (text, image) = (model.bridge_text(&text), model.bridge_image(&image));
                let ours = model
                    .match_logits(&text.expect("text bridge"), &image.expect("image bridge"))
                    .expect("ITM");
                let off = golden.largest_difference("itm_logits", &ours);
                assert!(off <= logits_off, "{case} {format:?}: logits off by {off}");
            }
        }
    }
}

fn check_case(case: &str) {
    let folder = fixture("golden").join(case);
    let inputs: Inputs = read_json(&folder.join("inputs.json"));
    let (model, _checkpoint) = load(&folder);
    let golden = Golden::read(&folder);
    check_outputs(&model, &golden, &inputs);
    if Format::F32.is_supported() {
        check_outputs(&model.with_weights_in(Format::F32), &golden, &inputs);
    }
}

/// The model of a golden case, in f32, and the folder that it reads from.
fn load(case: &Path) -> (BridgeTower, tempfile::TempDir) {
    let checkpoint = tempfile::tempdir().expect("tempdir");
    write_checkpoint(case, checkpoint.path());
    let model = BridgeTower::load(checkpoint.path(), &Device::Cpu, DType::F32).expect("loads");
    (model, checkpoint)
}

/// Compares all stages of `model`, and all heads that the golden has, with the golden.
pub fn check_outputs(model: &BridgeTower, golden: &Golden, inputs: &Inputs) {
    let (pixels, tokens) = (inputs.pixel_values.tensor(), &inputs.tokens);
    let batch = model.text_batch(&golden.texts()).expect("batch");
    let text = model.text_states(&batch).expect("text tower");
    let image = model.image_states(&pixels).expect("image tower");
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
    assert_eq!(model.has_itm(), golden.has("itm_logits"));
    if model.has_itm() {
        golden.check("itm_logits", &model.itm_logits(&fused).expect("ITM"));
        let shorter = model.match_logits(&bridged_text, &bridged_image);
        golden.check("itm_logits", &shorter.expect("ITM"));
    }
    if golden.has("mlm_logits") {
        golden.check("mlm_logits", &model.mlm_logits(&fused).expect("MLM"));
    }

    assert_eq!(model.has_itc(), golden.has("loss"));
    if model.has_itc() {
        let text = model.text_embeds(&text).expect("text embeddings");
        let image = model.image_embeds(&image).expect("image embeddings");
        let cross = model.cross_embeds(&fused).expect("cross embeddings");
        golden.check("text_embeds", &text);
        golden.check("image_embeds", &image);
        let shorter = model.embed_pixels(&pixels).expect("image embeddings");
        golden.check("image_embeds", &shorter);
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
