//! Real checkpoint folders in every published layout, and broken ones.

use std::path::Path;

use bridgetower::model::BridgeTower;
use bridgetower::{Engine, Error};
use candle_core::{DType, Device};

use crate::fixtures::{EXACT, Golden, Inputs, fixture, read_json};
use crate::golden::check_outputs;

#[test]
fn one_safetensors_file_with_every_head() {
    check_checkpoint("tiny-random");
}

#[test]
fn old_style_configuration_with_bin_weights() {
    check_checkpoint("old-bin");
}

#[test]
fn sharded_safetensors() {
    check_checkpoint("sharded-safetensors");
}

#[test]
fn sharded_bin() {
    check_checkpoint("sharded-bin");
}

fn check_checkpoint(name: &str) {
    let folder = fixture("checkpoints").join(name);
    let model = BridgeTower::load(&folder, &Device::Cpu, DType::F32).expect("loads");
    let inputs: Inputs = read_json(&folder.join("inputs.json"));
    check_outputs(&model, &Golden::read(&folder), &inputs);
}

/// One published checkpoint saved twice is one model to an index.
#[test]
fn the_fingerprint_does_not_depend_on_the_file_layout() {
    let original = fixture("checkpoints/tiny-random");
    let converted = tempfile::tempdir().expect("tempdir");
    copy_checkpoint(&original, converted.path());
    let weights = original.join("model.safetensors");
    let tensors = candle_core::safetensors::load(weights, &Device::Cpu).expect("reads");
    let (first, second): (Vec<_>, Vec<_>) = tensors
        .into_iter()
        .partition(|(name, _)| name.len() % 2 == 0);
    std::fs::remove_file(converted.path().join("model.safetensors")).expect("removes");
    let mut weight_map = serde_json::Map::new();
    for (shard, tensors) in [("a.safetensors", first), ("b.safetensors", second)] {
        for (name, _) in &tensors {
            weight_map.insert(name.clone(), shard.into());
        }
        let tensors = tensors.into_iter().collect();
        candle_core::safetensors::save(&tensors, converted.path().join(shard)).expect("saves");
    }
    let index = serde_json::json!({ "weight_map": weight_map });
    std::fs::write(
        converted.path().join("model.safetensors.index.json"),
        index.to_string(),
    )
    .expect("writes");

    let fingerprint = |folder: &Path| {
        let model = BridgeTower::load(folder, &Device::Cpu, DType::F32).expect("loads");
        model.fingerprint().expect("has ITC heads")
    };
    assert_eq!(fingerprint(&original), fingerprint(converted.path()));

    for shard in ["a.safetensors", "b.safetensors"] {
        let shard = converted.path().join(shard);
        let mut tensors = candle_core::safetensors::load(&shard, &Device::Cpu).expect("reads");
        for (_, tensor) in tensors
            .iter_mut()
            .filter(|(name, _)| name.ends_with("ln_1.bias"))
        {
            *tensor = (&*tensor + 0.01).expect("adds");
        }
        candle_core::safetensors::save(&tensors, &shard).expect("saves");
    }
    assert_ne!(fingerprint(&original), fingerprint(converted.path()));
}

#[test]
fn a_missing_tensor_is_named() {
    let error = load_after(|tensors| {
        tensors
            .remove("bridgetower.vision_model.visual.ln_pre.bias")
            .expect("was there");
    });
    assert!(error.contains("visual.ln_pre.bias is missing"), "{error}");
}

#[test]
fn a_misshapen_tensor_is_named() {
    let error = load_after(|tensors| {
        let name = "bridgetower.cross_modal_image_transform.weight";
        let narrow = tensors[name].narrow(1, 0, 32).and_then(|t| t.contiguous());
        tensors.insert(name.into(), narrow.expect("narrows"));
    });
    assert!(
        error.contains("cross_modal_image_transform.weight has shape [64, 32]"),
        "{error}"
    );
    assert!(error.contains("[64, 64]"), "{error}");
}

#[test]
fn a_missing_head_is_named_and_the_hint_says_where_it_is() {
    let engine = engine(&fixture("checkpoints/old-bin")).expect("loads");
    let error = engine.identity().expect_err("has no ITC heads");
    assert!(
        matches!(&error, Error::MissingHead { head, .. } if head.contains("ITC")),
        "{error}"
    );
    assert!(error.hint().contains("bridgetower-large-itm-mlm-itc"));
}

#[test]
fn truncated_weights_are_refused() {
    for (name, file) in [
        ("tiny-random", "model.safetensors"),
        ("sharded-safetensors", "model-00002-of-00003.safetensors"),
        ("old-bin", "pytorch_model.bin"),
    ] {
        let folder = tempfile::tempdir().expect("tempdir");
        copy_checkpoint(&fixture("checkpoints").join(name), folder.path());
        let path = folder.path().join(file);
        let bytes = std::fs::read(&path).expect("reads");
        for length in [0, 5, bytes.len() / 2, bytes.len() - 1] {
            std::fs::write(&path, &bytes[..length]).expect("writes");
            let error = engine(folder.path())
                .err()
                .unwrap_or_else(|| panic!("{name} loads with {length} of {} bytes", bytes.len()));
            assert!(
                matches!(&error, Error::Checkpoint { path: named, .. } if named == &path),
                "{error}"
            );
        }
    }
}

#[test]
fn a_folder_without_weights_or_configuration_is_no_model() {
    let folder = tempfile::tempdir().expect("tempdir");
    assert!(matches!(engine(folder.path()), Err(Error::NoModel { .. })));
    copy_checkpoint(&fixture("checkpoints/tiny-random"), folder.path());
    std::fs::remove_file(folder.path().join("model.safetensors")).expect("removes");
    assert!(matches!(engine(folder.path()), Err(Error::NoModel { .. })));
}

/// The error of embedding a photo with tiny-random after `change` to its tensors.
fn load_after(
    change: impl FnOnce(&mut std::collections::HashMap<String, candle_core::Tensor>),
) -> String {
    let folder = tempfile::tempdir().expect("tempdir");
    copy_checkpoint(&fixture("checkpoints/tiny-random"), folder.path());
    let path = folder.path().join("model.safetensors");
    let mut tensors = candle_core::safetensors::load(&path, &Device::Cpu).expect("reads");
    change(&mut tensors);
    candle_core::safetensors::save(&tensors, &path).expect("saves");
    let engine = engine(folder.path()).expect("the tensor is read when it is needed");
    let picture = fixture("checkpoints/tiny-random/picture.png");
    let (pixels, _) = engine.processor().read_photo(&picture).expect("reads");
    engine
        .embed_photos(&[pixels])
        .expect_err("a tensor is wrong")
        .to_string()
}

fn engine(folder: &Path) -> Result<Engine, Error> {
    let folder = folder.to_str().expect("UTF-8");
    Engine::load(folder, &EXACT, &mut |_, _, _| {})
}

fn copy_checkpoint(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).expect("lists") {
        let path = entry.expect("lists").path();
        std::fs::copy(&path, to.join(path.file_name().expect("a file"))).expect("copies");
    }
}
