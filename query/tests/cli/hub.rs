//! A checkpoint by its hub id: from the local cache, or downloaded from a hub that this test plays.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;

use crate::{bt_query, fixture, refused};

const MODEL: &str = "Some-Org/tiny-random";
const TAG: &str = "v1.0";
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

#[test]
fn a_hub_id_is_downloaded_once_and_then_found_in_the_cache() {
    let cache = tempfile::tempdir().expect("tempdir");
    let endpoint = serve(fixture("checkpoints/tiny-random"), None);
    let embed = |endpoint: &str, arguments: &[&str]| {
        let mut command = bt_query();
        command
            .args(["embed", "--text", "a cat", "--json", "--model", MODEL])
            .args(arguments)
            .env("HF_HUB_CACHE", cache.path())
            .env("HF_ENDPOINT", endpoint)
            .env("HF_HUB_OFFLINE", "0");
        command
    };
    refused(&mut embed(&endpoint, &["--offline"]), "downloads are off");
    assert!(
        std::fs::read_dir(cache.path())
            .expect("lists")
            .next()
            .is_none()
    );

    let first = embed(&endpoint, &[])
        .assert()
        .success()
        .get_output()
        .stdout
        .clone();
    // From now on no server answers.
    let cached = embed("http://127.0.0.1:9", &[])
        .assert()
        .success()
        .get_output()
        .stdout
        .clone();
    assert_eq!(first, cached);
    embed("http://127.0.0.1:9", &["--offline"])
        .assert()
        .success();

    let mut other = embed("http://127.0.0.1:9", &[]);
    other.env("HF_HUB_CACHE", cache.path().join("empty"));
    let stderr = refused(&mut other, "the download failed");
    assert!(stderr.contains("hint: "), "{stderr}");
}

#[test]
fn a_revision_is_downloaded_beside_others() {
    let cache = tempfile::tempdir().expect("tempdir");
    let endpoint = serve(fixture("checkpoints/tiny-random"), None);
    let embed = |model: &str, endpoint: &str| {
        let mut command = bt_query();
        command
            .args(["embed", "--text", "a cat", "--model", model])
            .env("HF_HUB_CACHE", cache.path())
            .env("HF_ENDPOINT", endpoint)
            .env("HF_HUB_OFFLINE", "False");
        command
    };
    let tagged = format!("{MODEL}@{TAG}");
    embed(&tagged, &endpoint).assert().success();
    let nowhere = "http://127.0.0.1:9";
    embed(&tagged, nowhere).assert().success();
    embed(&format!("{MODEL}@{COMMIT}"), nowhere)
        .assert()
        .success();
    // That the tag is there says nothing of the main branch.
    refused(&mut embed(MODEL, nowhere), "the download failed");
    refused(
        &mut embed(&format!("{MODEL}@no-such"), &endpoint),
        "the download failed",
    );
    embed(MODEL, &endpoint).assert().success();
}

#[test]
fn a_token_is_sent_without_its_line_break() {
    let cache = tempfile::tempdir().expect("tempdir");
    let endpoint = serve(fixture("checkpoints/tiny-random"), Some("hf_secret"));
    let embed = || {
        let mut command = bt_query();
        command
            .args(["embed", "--text", "a cat", "--model", MODEL])
            .env("HF_HOME", cache.path())
            .env("HF_HUB_CACHE", "")
            .env("HF_ENDPOINT", &endpoint)
            .env("HF_HUB_OFFLINE", "0")
            .env_remove("HF_TOKEN");
        command
    };
    refused(&mut embed(), "the download failed");
    std::fs::write(cache.path().join("token"), "hf_wrong").expect("writes");
    embed().env("HF_TOKEN", "hf_secret\r\n").assert().success();
    std::fs::remove_dir_all(cache.path().join("hub")).expect("removes");
    std::fs::write(cache.path().join("token"), "hf_secret\n").expect("writes");
    embed().assert().success();
}

/// In a container a user may have neither a name nor a home.
#[cfg(target_os = "linux")]
#[test]
fn without_a_home_folder_a_hub_id_is_an_error_and_no_panic() {
    // The system's own list of users names a home too, so that only another user shows it.
    let nobody = 54_321;
    let dir = tempfile::tempdir().expect("tempdir");
    let mut command = crate::program();
    command
        .args(["embed", "--text", "a cat", "--model", MODEL])
        .current_dir("/");
    for name in ["HOME", "HF_HOME", "HF_HUB_CACHE", "XDG_CACHE_HOME"] {
        command.env_remove(name);
    }
    std::os::unix::process::CommandExt::uid(&mut command, nobody);
    command.env("BT_INDEX", dir.path().join("none"));
    // Only root may become another user, and it must be able to read the program.
    let Ok(output) = command.output() else {
        return;
    };
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("set HF_HOME"), "{stderr}");
}

/// Plays the hub for one repository whose files are those of `folder`, for who has `token` if there is one; returns
/// its address.
fn serve(folder: std::path::PathBuf, token: Option<&'static str>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
    let address = listener.local_addr().expect("has an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let folder = folder.clone();
            std::thread::spawn(move || answer(stream, &folder, token));
        }
    });
    format!("http://{address}")
}

/// Answers requests on one connection: the repository's listing, and its files with byte ranges.
fn answer(stream: TcpStream, folder: &Path, token: Option<&str>) -> Option<()> {
    let mut out = stream.try_clone().ok()?;
    let mut lines = BufReader::new(stream).lines();
    while let Some(Ok(request)) = lines.next() {
        let headers: Vec<String> = lines
            .by_ref()
            .map_while(Result::ok)
            .take_while(|line| !line.is_empty())
            .collect();
        let path = request.split_whitespace().nth(1)?.to_owned();
        let is_allowed = token.is_none_or(|token| {
            let wanted = format!("authorization: bearer {token}");
            headers.iter().any(|line| line.to_lowercase() == wanted)
        });
        let is_there = |revision: &&str| ["main", TAG].contains(revision);
        let file = path.strip_prefix(&format!("/{MODEL}/resolve/"));
        let file = file.and_then(|path| path.split_once('/'));
        let file = file.filter(|(revision, _)| is_there(revision));
        let listing = path.strip_prefix(&format!("/api/models/{MODEL}/revision/"));
        if !is_allowed {
            write!(
                out,
                "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"
            )
            .ok()?;
        } else if listing.is_some_and(|revision| is_there(&revision)) {
            let names = std::fs::read_dir(folder)
                .ok()?
                .flatten()
                .map(|e| e.file_name());
            let siblings: Vec<_> = names
                .map(|name| serde_json::json!({"rfilename": name.to_string_lossy()}))
                .collect();
            let body = serde_json::json!({"siblings": siblings, "sha": COMMIT}).to_string();
            let head = format!(
                "Content-Type: application/json\r\nContent-Length: {}",
                body.len()
            );
            write!(out, "HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}").ok()?;
        } else if let Some(bytes) = file.and_then(|(_, name)| std::fs::read(folder.join(name)).ok())
        {
            let range = headers.iter().find_map(|line| {
                line.to_lowercase()
                    .strip_prefix("range: bytes=")
                    .map(str::to_owned)
            });
            let (from, to) = byte_range(range.as_deref(), bytes.len());
            let head = format!(
                "X-Repo-Commit: {COMMIT}\r\nETag: \"{}-{}\"\r\nContent-Range: bytes {from}-{}/{}\r\nContent-Length: {}",
                path.len(),
                bytes.len(),
                to - 1,
                bytes.len(),
                to - from
            );
            write!(out, "HTTP/1.1 206 Partial Content\r\n{head}\r\n\r\n").ok()?;
            out.write_all(&bytes[from..to]).ok()?;
        } else {
            write!(out, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").ok()?;
        }
    }
    Some(())
}

fn byte_range(range: Option<&str>, length: usize) -> (usize, usize) {
    let (from, to) = range
        .and_then(|range| range.split_once('-'))
        .unwrap_or(("0", ""));
    let from = from.parse().unwrap_or(0);
    (
        from,
        to.parse()
            .map_or(length, |last: usize| (last + 1).min(length)),
    )
}
