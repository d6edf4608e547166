//! From what the user calls a model to a folder that holds it.

use std::path::{Path, PathBuf};

use hf_hub::api::{Progress, sync::ApiBuilder};
use hf_hub::{Cache, CacheRepo};

use crate::error::{Error, Result};

/// Told of each file as it comes from the hub: its name, bytes so far, bytes in all.
pub type DownloadProgress<'a> = &'a mut dyn FnMut(&str, u64, u64);

/// Small files that a checkpoint may consist of, beside its weights.
const SMALL_FILES: [&str; 7] = [
    "config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
];

/// Weight layouts, in the order in which they are preferred; shards go by their index.
const WEIGHT_FILES: [&str; 4] = [
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
];

/// What `--model` calls the checkpoint that is part of the program; a folder of that name is `./demo`.
pub const DEMO: &str = "demo";

/// The folder of `model`: a folder as it is, [`DEMO`], or a hub id (`owner/name`) through the hub's local
/// cache.
///
/// What the cache lacks is downloaded into it, unless `offline` (or `HF_HUB_OFFLINE`) is set. The cache
/// is where the hub's own tools keep it (`HF_HUB_CACHE`, `HF_HOME`), so their downloads are found.
pub fn locate(model: &str, offline: bool, progress: DownloadProgress) -> Result<PathBuf> {
    if model == DEMO {
        return demo();
    }
    if Path::new(model).is_dir() {
        return Ok(model.into());
    }
    if !is_hub_id(model) {
        return Err(no_model(model, "there is no such folder"));
    }
    let cache = hub_cache();
    if let Some(dir) = cached(&cache.model(model.to_owned())) {
        return Ok(dir);
    }
    let says_offline = |value: String| !matches!(value.as_str(), "" | "0" | "false" | "FALSE");
    if offline || std::env::var("HF_HUB_OFFLINE").is_ok_and(says_offline) {
        return Err(no_model(
            model,
            &format!(
                "neither a folder nor complete in the hub's local cache {}, and downloads are off",
                cache.path().display()
            ),
        ));
    }
    download(model, &cache, progress)
}

#[cfg(feature = "demo")]
fn demo() -> Result<PathBuf> {
    super::demo::unpack()
}

#[cfg(not(feature = "demo"))]
fn demo() -> Result<PathBuf> {
    Err(no_model(
        DEMO,
        "this program was built without the cargo feature `demo`",
    ))
}

/// `owner/name`, which cannot be mistaken for a path that someone typed.
fn is_hub_id(model: &str) -> bool {
    let plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    model
        .split_once('/')
        .is_some_and(|(owner, name)| plain(owner) && plain(name))
}

fn hub_cache() -> Cache {
    match std::env::var_os("HF_HUB_CACHE") {
        Some(path) => Cache::new(path.into()),
        None => Cache::from_env(),
    }
}

/// The snapshot folder, if the configuration, the tokenizer and all weights are there.
fn cached(repo: &CacheRepo) -> Option<PathBuf> {
    let dir = repo.get("config.json")?.parent()?.to_path_buf();
    let there = |name: &str| repo.get(name).is_some();
    let tokenizer = there("tokenizer.json") || (there("vocab.json") && there("merges.txt"));
    let weights = WEIGHT_FILES.iter().find_map(|name| repo.get(name))?;
    let shards = shard_names(&weights).ok()?;
    (tokenizer && shards.iter().all(|name| there(name))).then_some(dir)
}

fn download(model: &str, cache: &Cache, mut progress: DownloadProgress) -> Result<PathBuf> {
    let failed = |error: hf_hub::api::sync::ApiError| {
        no_model(
            model,
            &format!("not in the local cache, and the download failed: {error}"),
        )
    };
    let mut builder = ApiBuilder::from_cache(cache.clone());
    if let Ok(endpoint) = std::env::var("HF_ENDPOINT") {
        builder = builder.with_endpoint(endpoint);
    }
    if let Ok(token) = std::env::var("HF_TOKEN") {
        builder = builder.with_token(Some(token));
    }
    let repo = builder
        .with_retries(3)
        .build()
        .map_err(failed)?
        .model(model.to_owned());
    let published = repo.info().map_err(failed)?.siblings;
    let published: Vec<&str> = published
        .iter()
        .map(|file| file.rfilename.as_str())
        .collect();
    let Some(weights) = WEIGHT_FILES
        .into_iter()
        .find(|name| published.contains(name))
    else {
        return Err(no_model(
            model,
            "the hub repository holds no weights in a known layout",
        ));
    };

    let mut fetch = |name: &str| -> Result<PathBuf> {
        if let Some(path) = cache.model(model.to_owned()).get(name) {
            return Ok(path);
        }
        repo.download_with_progress(name, Reporter::new(&mut progress))
            .map_err(failed)
    };
    for name in SMALL_FILES
        .into_iter()
        .filter(|name| published.contains(name))
    {
        fetch(name)?;
    }
    for shard in shard_names(&fetch(weights)?)? {
        fetch(&shard)?;
    }
    cached(&cache.model(model.to_owned()))
        .ok_or_else(|| no_model(model, "the hub repository lacks config.json or a tokenizer"))
}

/// The shards that an index file lists; none for a file that holds the weights itself.
fn shard_names(weights: &Path) -> Result<Vec<String>> {
    if weights.extension().is_none_or(|e| e != "json") {
        return Ok(Vec::new());
    }
    super::weights::shard_names(weights)
}

/// Hands the hub library's progress on to the caller's callback.
struct Reporter<'a, 'b> {
    progress: &'a mut DownloadProgress<'b>,
    file: String,
    done: u64,
    total: u64,
}

impl<'a, 'b> Reporter<'a, 'b> {
    fn new(progress: &'a mut DownloadProgress<'b>) -> Self {
        Self {
            progress,
            file: String::new(),
            done: 0,
            total: 0,
        }
    }
}

impl Progress for Reporter<'_, '_> {
    fn init(&mut self, size: usize, filename: &str) {
        filename.clone_into(&mut self.file);
        self.total = size as u64;
        self.update(0);
    }

    fn update(&mut self, size: usize) {
        self.done += size as u64;
        (self.progress)(&self.file, self.done, self.total);
    }

    fn finish(&mut self) {
        (self.progress)(&self.file, self.total, self.total);
    }
}

fn no_model(model: &str, reason: &str) -> Error {
    Error::NoModel {
        model: model.into(),
        reason: reason.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hub_ids_are_told_from_paths() {
        assert!(is_hub_id("BridgeTower/bridgetower-large-itm-mlm-itc"));
        for path in [
            "./model",
            "/models/large",
            "models",
            "a/b/c",
            "../x",
            "a/",
            "my model/x",
        ] {
            assert!(!is_hub_id(path), "{path}");
        }
    }

    #[test]
    fn a_folder_that_is_not_there_is_no_model() {
        let error = locate("./no/such/folder", true, &mut |_, _, _| {}).expect_err("not there");
        assert!(error.to_string().contains("no such folder"), "{error}");
        assert!(!error.hint().is_empty());
    }
}
