//! Which model a command takes, and what it makes of a damaged one.

use std::path::Path;

use serde_json::Value;

use crate::{World, bt_query, fixture, json, refused, stdout};

fn tiny() -> String {
    let folder = fixture("checkpoints/tiny-random");
    folder.to_str().expect("UTF-8").to_owned()
}

/// A copy of the small checkpoint in `folder`.
fn copy(folder: &Path) {
    std::fs::create_dir(folder).expect("creates");
    for entry in std::fs::read_dir(tiny()).expect("lists") {
        let path = entry.expect("reads").path();
        let name = path.file_name().expect("a name");
        std::fs::copy(&path, folder.join(name)).expect("copies");
    }
}

#[test]
fn the_models_other_uses_take_the_model_of_the_index() {
    let world = World::new();
    std::fs::write(
        world.dir.path().join("captions.jsonl"),
        r#"{"image": "photos/square.png", "caption": "a square"}"#,
    )
    .expect("writes");
    let photo = "./photos/square.png";
    let without_times = |mut answer: Value| {
        for measured in ["latency", "work", "skipped"] {
            answer.as_object_mut().expect("an object").remove(measured);
        }
        answer
    };
    for task in [
        &["embed", "--text", "a cat"][..],
        &["match", "--text", "a cat", "--image", photo],
        &["fill", "--text", "a <mask>", "--image", photo],
        &["contrast", "--text", "a cat", "--image", photo],
        &["eval", "captions.jsonl"],
    ] {
        let run = |model: &[&str]| {
            let mut command = world.bt_query([]);
            command
                .args(task)
                .args(["--json", "--precision=f32"])
                .args(model);
            without_times(json(&mut command.assert().success()))
        };
        assert_eq!(run(&[]), run(&["--model", &tiny()]), "{task:?}");
    }
    // Without an index it is the published one, of which there is none here.
    let nowhere = tempfile::tempdir().expect("tempdir");
    let mut command = bt_query();
    command
        .args(["embed", "--text", "a cat", "--offline"])
        .env("BT_INDEX", nowhere.path())
        .env("HF_HUB_CACHE", nowhere.path());
    refused(&mut command, "BridgeTower/bridgetower-large-itm-mlm-itc");
    let help = stdout(bt_query().args(["embed", "--help"]));
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        help.contains(
            "[default: the one that the index was built with; BridgeTower/bridgetower-large-itm-mlm-itc without an index]"
        ),
        "{help}"
    );
}

#[test]
fn a_model_that_was_moved_is_asked_for_and_taken() {
    let dir = tempfile::tempdir().expect("tempdir");
    let (old, new) = (dir.path().join("old"), dir.path().join("new"));
    copy(&old);
    let world = World::by(old.to_str().expect("UTF-8"), |photos| {
        std::fs::copy(fixture("pixels/square.png"), photos.join("a.png")).expect("copies");
    });
    std::fs::rename(&old, &new).expect("moves");
    let stderr = refused(
        &mut world.bt_query(["a cat"]),
        "that folder no longer exists",
    );
    assert!(
        stderr.contains("hint: if it was moved, --model"),
        "{stderr}"
    );
    let mut command = world.bt_query(["a cat", "-f", "--model"]);
    assert!(stdout(command.arg(&new)).ends_with("a.png\n"));
}

/// The `safetensors` file holds a header and then the numbers: see its length and the tensors' places in it.
fn spoil(checkpoint: &Path, tensor: &str) {
    let path = checkpoint.join("model.safetensors");
    let mut bytes = std::fs::read(&path).expect("reads");
    let (length, _) = bytes.split_first_chunk().expect("a length");
    let start = 8 + u64::from_le_bytes(*length) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..start]).expect("a header");
    assert_eq!(header[tensor]["dtype"], "F16");
    let place = |i: usize| {
        header[tensor]["data_offsets"][i]
            .as_u64()
            .expect("a number")
    };
    let values = &mut bytes[start + place(0) as usize..start + place(1) as usize];
    // NaN.
    values
        .chunks_exact_mut(2)
        .for_each(|value| value.copy_from_slice(&[0, 0x7e]));
    std::fs::write(path, bytes).expect("writes");
}

#[test]
fn a_damaged_head_is_an_error_and_no_score() {
    let dir = tempfile::tempdir().expect("tempdir");
    let spoilt = |tensor: &str| {
        let folder = dir.path().join(tensor);
        copy(&folder);
        spoil(&folder, tensor);
        folder.to_str().expect("UTF-8").to_owned()
    };
    let world = World::new();
    let no_number = |command: &mut assert_cmd::Command| {
        let stderr = refused(command, "came out as NaN or infinite");
        assert!(stderr.contains("--precision f32"), "{stderr}");
    };
    let matching = spoilt("itm_score.fc.bias");
    no_number(&mut world.bt_query(["a cat", "--json", "--model", &matching]));
    let photo = "photos/square.png";
    no_number(&mut world.bt_query([
        "match", "--text", "a cat", "--image", photo, "--json", "--model", &matching,
    ]));
    let contrastive = spoilt("itc_text_head.fc.weight");
    no_number(&mut world.bt_query(["embed", "--text", "a cat", "--model", &contrastive]));
    let masked = spoilt("mlm_score.bias");
    no_number(&mut world.bt_query([
        "fill", "--text", "a <mask>", "--image", photo, "--model", &masked,
    ]));
}

/// With the words of `transformers` (`tests/fixtures/make_pipeline.py`).
#[test]
fn a_sentence_is_filled_where_the_mask_was_and_nowhere_else() {
    let folder = fixture("checkpoints/tiny-random");
    let read = std::fs::read_to_string(folder.join("pipeline.json")).expect("reads");
    let expected: Value = serde_json::from_str(&read).expect("parses");
    let typed = expected["fill"]["text"].as_str().expect("a text");
    let best = expected["fill"]["mask_best_words"][0]
        .as_str()
        .expect("a word");
    let sentence = typed.replacen("<mask>", best.trim(), 1);
    let mut command = bt_query();
    command
        .args(["fill", "--precision", "f32", "--text", typed, "--image"])
        .arg(folder.join("picture.png"))
        .env("BT_MODEL", &folder);
    let shown = stdout(&mut command);
    assert_eq!(shown.lines().next(), Some(sentence.as_str()));
    let filled = json(&mut command.arg("--json").assert().success());
    assert_eq!(filled["text"], sentence);
    assert_eq!(filled["token_ids"], expected["fill"]["argmax_ids"]);
}
