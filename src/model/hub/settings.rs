//! Where the hub's own tools keep their files, and how they reach the hub: by the variables that they read.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// What `huggingface_hub` 2.4 would do; see `huggingface_hub/constants.py` and `utils/_auth.py` there. Variables
/// inside of paths (`$HOME`) are not replaced.
#[derive(Debug, PartialEq)]
pub(super) struct HubSettings {
    /// The folder of downloaded models; none where the system names no home folder and no variable says more.
    pub cache: Option<PathBuf>,
    /// The token that proves to the hub who asks.
    pub token: Option<String>,
    /// The hub's address, if it is another one.
    pub endpoint: Option<String>,
    /// Never ask the hub.
    pub offline: bool,
}

impl HubSettings {
    pub fn read() -> Self {
        let home = dirs::home_dir();
        Self::from(|name| std::env::var_os(name), home.as_deref())
    }

    fn from(variable: impl Fn(&str) -> Option<OsString>, home: Option<&Path>) -> Self {
        // An empty variable is how many scripts unset one.
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let path = |name: &str| set(name).map(|value| expanded(value.into(), home));
        let text = |name: &str| set(name).and_then(|value| value.into_string().ok());
        let hub_home = path("HF_HOME").or_else(|| {
            let caches = path("XDG_CACHE_HOME").or_else(|| Some(home?.join(".cache")));
            Some(caches?.join("huggingface"))
        });
        let token_file = path("HF_TOKEN_PATH").or_else(|| Some(hub_home.as_ref()?.join("token")));
        let token = text("HF_TOKEN").or_else(|| text("HUGGING_FACE_HUB_TOKEN"));
        Self {
            cache: path("HF_HUB_CACHE")
                .or_else(|| path("HUGGINGFACE_HUB_CACHE"))
                .or_else(|| Some(hub_home?.join("hub"))),
            token: token
                .and_then(|token| clean(&token))
                .or_else(|| clean(&std::fs::read_to_string(token_file?).ok()?)),
            endpoint: text("HF_ENDPOINT").map(|address| address.trim_end_matches('/').to_owned()),
            offline: text("HF_HUB_OFFLINE")
                .or_else(|| text("TRANSFORMERS_OFFLINE"))
                .is_some_and(|value| is_true(&value)),
        }
    }
}

fn is_true(value: &str) -> bool {
    ["1", "on", "yes", "true"]
        .iter()
        .any(|word| value.eq_ignore_ascii_case(word))
}

/// A token as it is meant: files and pasted ones end in a line break, which no HTTP header may hold.
fn clean(token: &str) -> Option<String> {
    let token = token.replace(['\r', '\n'], "");
    Some(token.trim().to_owned()).filter(|token| !token.is_empty())
}

/// `~` and what begins with `~/` are in the home folder.
fn expanded(path: PathBuf, home: Option<&Path>) -> PathBuf {
    match (path.strip_prefix("~"), home) {
        (Ok(below), Some(home)) => home.join(below),
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> HubSettings {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| value.into())
        };
        HubSettings::from(variable, Some(Path::new("/home/ann")))
    }

    /// Each right answer is what `huggingface_hub` 2.4 says with these variables, but for empty ones, which it
    /// takes for the current folder.
    #[test]
    fn the_cache_is_where_the_hubs_own_tools_keep_it() {
        for (variables, cache) in [
            (&[][..], "/home/ann/.cache/huggingface/hub"),
            (&[("XDG_CACHE_HOME", "/c")], "/c/huggingface/hub"),
            (&[("HF_HOME", "/h"), ("XDG_CACHE_HOME", "/c")], "/h/hub"),
            (&[("HF_HOME", "~/h")], "/home/ann/h/hub"),
            (
                &[("HUGGINGFACE_HUB_CACHE", "/old"), ("HF_HOME", "/h")],
                "/old",
            ),
            (
                &[("HF_HUB_CACHE", "/new"), ("HUGGINGFACE_HUB_CACHE", "/old")],
                "/new",
            ),
            (&[("HF_HUB_CACHE", ""), ("HF_HOME", "/h")], "/h/hub"),
            (
                &[
                    ("HF_HUB_CACHE", ""),
                    ("HF_HOME", ""),
                    ("XDG_CACHE_HOME", ""),
                ],
                "/home/ann/.cache/huggingface/hub",
            ),
        ] {
            let found = settings(variables).cache;
            assert_eq!(found, Some(cache.into()), "{variables:?}");
        }
    }

    #[test]
    fn without_a_home_folder_there_is_no_cache_and_no_panic() {
        let settings = HubSettings::from(|_| None, None);
        assert_eq!((settings.cache, settings.token), (None, None));
    }

    #[test]
    fn offline_is_what_the_hubs_own_tools_call_so() {
        for (value, offline) in [
            ("1", true),
            ("true", true),
            ("True", true),
            ("YES", true),
            ("on", true),
            ("0", false),
            ("False", false),
            ("no", false),
            ("off", false),
            ("", false),
        ] {
            let found = settings(&[("HF_HUB_OFFLINE", value)]);
            assert_eq!(found.offline, offline, "{value:?}");
        }
        let both = [("HF_HUB_OFFLINE", "0"), ("TRANSFORMERS_OFFLINE", "1")];
        assert!(!settings(&both).offline);
        assert!(settings(&both[1..]).offline);
    }

    #[test]
    fn a_token_loses_its_line_break() {
        let dir = tempfile::tempdir().expect("tempdir");
        std::fs::write(dir.path().join("token"), "hf_file\r\n").expect("writes");
        std::fs::write(dir.path().join("other"), "\n hf_other \n\n").expect("writes");
        std::fs::write(dir.path().join("empty"), "\n").expect("writes");
        let home = dir.path().to_str().expect("UTF-8");
        let path = |name: &str| format!("{home}/{name}");
        for (variables, token) in [
            (
                vec![("HF_TOKEN", "hf_typed\n".to_owned())],
                Some("hf_typed"),
            ),
            (
                vec![("HUGGING_FACE_HUB_TOKEN", " hf_old".to_owned())],
                Some("hf_old"),
            ),
            (vec![("HF_TOKEN", "\n".to_owned())], Some("hf_file")),
            (vec![], Some("hf_file")),
            (vec![("HF_TOKEN_PATH", path("other"))], Some("hf_other")),
            (vec![("HF_TOKEN_PATH", path("empty"))], None),
            (vec![("HF_TOKEN_PATH", path("missing"))], None),
        ] {
            let mut all = vec![("HF_HOME", home)];
            all.extend(
                variables
                    .iter()
                    .map(|(name, value)| (*name, value.as_str())),
            );
            let found = settings(&all).token;
            assert_eq!(found.as_deref(), token, "{variables:?}");
        }
    }

    #[test]
    fn the_hubs_address_needs_no_slash() {
        let found = settings(&[("HF_ENDPOINT", "https://mirror.example/")]).endpoint;
        assert_eq!(found.as_deref(), Some("https://mirror.example"));
        assert_eq!(settings(&[("HF_ENDPOINT", "")]).endpoint, None);
    }
}
