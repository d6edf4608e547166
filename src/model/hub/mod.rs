//! From what the user calls a model to a folder that holds it.

mod settings;

use std::path::{Path, PathBuf};

use hf_hub::api::{Progress, sync::ApiBuilder};
use hf_hub::{Cache, Repo, RepoType};

use crate::error::{Error, Result};
use settings::HubSettings;

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

/// The name of the checkpoint that is part of the program; a folder of that name is `./demo`.
pub const DEMO: &str = "demo";

/// The folder of `model`: a folder as it is, [`DEMO`], or a hub id (`owner/name`, or `owner/name@revision`) through
/// the hub's local cache.
///
/// What the cache lacks is downloaded into it, unless `offline` (or `HF_HUB_OFFLINE`) is set. The cache is where the
/// hub's own tools keep it, so their downloads are found.
pub fn locate(model: &str, offline: bool, progress: DownloadProgress) -> Result<PathBuf> {
    if model == DEMO {
        return demo();
    }
    if Path::new(model).is_dir() {
        return Ok(model.into());
    }
    let Some(repo) = hub_repo(model) else {
        return Err(no_model(model, "there is no such folder"));
    };
    let settings = HubSettings::read();
    let Some(cache) = settings.cache.clone() else {
        return Err(no_model(
            model,
            "this system names no home folder for the hub's local cache: set HF_HOME",
        ));
    };
    let hub = Hub {
        model,
        cache: Cache::new(cache),
        repo,
    };
    if let Some(dir) = hub.cached() {
        return Ok(dir);
    }
    if offline || settings.offline {
        return Err(no_model(
            model,
            &format!(
                "neither a folder nor complete in the hub's local cache {}, and downloads are off",
                hub.cache.path().display()
            ),
        ));
    }
    hub.download(settings, progress)
}

#[cfg(feature = "demo")]
fn demo() -> Result<PathBuf> {
    crate::model::demo::unpack()
}

#[cfg(not(feature = "demo"))]
fn demo() -> Result<PathBuf> {
    Err(no_model(
        DEMO,
        "this program was built without the cargo feature `demo`",
    ))
}

/// Reads `owner/name` or `owner/name@revision`, unless it could be a path that someone typed.
fn hub_repo(model: &str) -> Option<Repo> {
    let is_plain = |part: &str| {
        let mut letters = part.chars();
        !part.is_empty()
            && !part.starts_with('.')
            && letters.all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    let (id, revision) = model.split_once('@').unwrap_or((model, "main"));
    let (owner, name) = id.split_once('/')?;
    // A revision is a branch, a tag, a commit, or such as refs/pr/1.
    let is_repo = is_plain(owner) && is_plain(name) && revision.split('/').all(is_plain);
    is_repo.then(|| Repo::with_revision(id.into(), RepoType::Model, revision.into()))
}

/// One model on the hub, and the hub's local cache.
struct Hub<'a> {
    /// As the user calls it.
    model: &'a str,
    cache: Cache,
    repo: Repo,
}

impl Hub<'_> {
    /// A file of it in the cache.
    fn file(&self, name: &str) -> Option<PathBuf> {
        let repo = self.cache.repo(self.repo.clone());
        repo.get(name).or_else(|| {
            // The hub's own tools write down what a branch or tag leads to, but not that a commit leads to itself.
            let path = repo.pointer_path(self.repo.revision()).join(name);
            path.exists().then_some(path)
        })
    }

    /// The snapshot folder, if the configuration, the tokenizer and all weights are there.
    fn cached(&self) -> Option<PathBuf> {
        let dir = self.file("config.json")?.parent()?.to_path_buf();
        let there = |name: &str| self.file(name).is_some();
        let tokenizer = there("tokenizer.json") || (there("vocab.json") && there("merges.txt"));
        let weights = WEIGHT_FILES.iter().find_map(|name| self.file(name))?;
        let shards = shard_names(&weights).ok()?;
        (tokenizer && shards.iter().all(|name| there(name))).then_some(dir)
    }

    fn download(&self, settings: HubSettings, mut progress: DownloadProgress) -> Result<PathBuf> {
        let refused = |reason: &str| no_model(self.model, reason);
        let failed = |error: hf_hub::api::sync::ApiError| {
            refused(&format!(
                "not in the local cache, and the download failed: {error}"
            ))
        };
        let mut builder = ApiBuilder::from_cache(self.cache.clone()).with_token(settings.token);
        if let Some(endpoint) = settings.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        let api = builder.with_retries(3).build().map_err(failed)?;
        let repo = api.repo(self.repo.clone());
        let published = repo.info().map_err(failed)?.siblings;
        let published: Vec<&str> = published
            .iter()
            .map(|file| file.rfilename.as_str())
            .collect();
        let is_published = |name: &&str| published.contains(name);
        let Some(weights) = WEIGHT_FILES.into_iter().find(is_published) else {
            return Err(refused(
                "the hub repository holds no weights in a known layout",
            ));
        };

        let mut fetch = |name: &str| match self.file(name) {
            Some(path) => Ok(path),
            None => repo
                .download_with_progress(name, Reporter::new(&mut progress))
                .map_err(failed),
        };
        for name in SMALL_FILES.into_iter().filter(is_published) {
            fetch(name)?;
        }
        for shard in shard_names(&fetch(weights)?)? {
            fetch(&shard)?;
        }
        self.cached()
            .ok_or_else(|| refused("the hub repository lacks config.json or a tokenizer"))
    }
}

/// The shards that an index file lists; none for a file that holds the weights itself.
fn shard_names(weights: &Path) -> Result<Vec<String>> {
    if weights.extension().is_none_or(|e| e != "json") {
        return Ok(Vec::new());
    }
    crate::model::weights::shard_names(weights)
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
        for (id, revision) in [
            ("BridgeTower/bridgetower-large-itm-mlm-itc", "main"),
            ("a/b@main", "main"),
            ("a/b@v1.0", "v1.0"),
            ("a/b@refs/pr/1", "refs/pr/1"),
            (
                "a/b@0123456789abcdef0123456789abcdef01234567",
                "0123456789abcdef0123456789abcdef01234567",
            ),
        ] {
            let repo = hub_repo(id).expect(id);
            assert_eq!(repo.revision(), revision, "{id}");
            assert_eq!(Some(repo.url().as_str()), id.split('@').next(), "{id}");
        }
        for path in [
            "./model",
            "/models/large",
            "models",
            "a/b/c",
            "../x",
            "a/",
            "my model/x",
            "a/b@",
            "a/b@../../x",
            "a/b@/etc",
            "a/b@c@d",
        ] {
            assert!(hub_repo(path).is_none(), "{path}");
        }
    }

    /// As `huggingface_hub` leaves it where a commit was asked for: no entry in refs.
    #[test]
    fn a_commit_in_the_cache_of_the_hubs_own_tools_is_found() {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        let dir = tempfile::tempdir().expect("tempdir");
        let snapshot = dir.path().join("models--a--b/snapshots").join(commit);
        std::fs::create_dir_all(&snapshot).expect("creates");
        for name in ["config.json", "tokenizer.json", "model.safetensors"] {
            std::fs::write(snapshot.join(name), "{}").expect("writes");
        }
        let cached = |model: &str| {
            let hub = Hub {
                model,
                cache: Cache::new(dir.path().into()),
                repo: hub_repo(model).expect("an id"),
            };
            hub.cached()
        };
        assert_eq!(cached(&format!("a/b@{commit}")), Some(snapshot));
        assert_eq!(cached("a/b"), None);
    }

    #[test]
    fn a_folder_that_is_not_there_is_no_model() {
        let error = locate("./no/such/folder", true, &mut |_, _, _| {}).expect_err("not there");
        assert!(error.to_string().contains("no such folder"), "{error}");
        assert!(!error.hint().is_empty());
    }
}
