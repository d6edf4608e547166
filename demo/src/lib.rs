//! The demo checkpoint's files, embedded into the program: `--model demo` works wherever a binary was copied to,
//! with nothing beside it. `model/README.md` is its model card.

/// The checkpoint's files by name, in the Hugging Face layout.
pub const FILES: [(&str, &[u8]); 6] = [
    (
        "calibration.json",
        include_bytes!("../model/calibration.json"),
    ),
    ("config.json", include_bytes!("../model/config.json")),
    (
        "model.safetensors",
        include_bytes!("../model/model.safetensors"),
    ),
    (
        "preprocessor_config.json",
        include_bytes!("../model/preprocessor_config.json"),
    ),
    ("tokenizer.json", include_bytes!("../model/tokenizer.json")),
    (
        "tokenizer_config.json",
        include_bytes!("../model/tokenizer_config.json"),
    ),
];
