//! A checkpoint by its hub id: from the local cache, or downloaded from a hub that this test plays.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;

use crate::{bt_query, fixture, refused};

const MODEL: &str = "Some-Org/tiny-random";
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

#[test]
fn a_hub_id_is_downloaded_once_and_then_found_in_the_cache() {
    let cache = tempfile::tempdir().expect("tempdir");
    let endpoint = serve(fixture("checkpoints/tiny-random"));
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

/// Plays the hub for one repository whose files are those of `folder`; returns its address.
fn serve(folder: std::path::PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
    let address = listener.local_addr().expect("has an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let folder = folder.clone();
            std::thread::spawn(move || answer(stream, &folder));
        }
    });
    format!("http://{address}")
}

/// Answers requests on one connection: the repository's listing, and its files with byte ranges.
fn answer(stream: TcpStream, folder: &Path) -> Option<()> {
    let mut out = stream.try_clone().ok()?;
    let mut lines = BufReader::new(stream).lines();
    while let Some(Ok(request)) = lines.next() {
        let headers: Vec<String> = lines
            .by_ref()
            .map_while(Result::ok)
            .take_while(|line| !line.is_empty())
            .collect();
        let path = request.split_whitespace().nth(1)?.to_owned();
        let file = path.strip_prefix(&format!("/{MODEL}/resolve/main/"));
        if path.starts_with("/api/models/") {
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
        } else if let Some(bytes) = file.and_then(|name| std::fs::read(folder.join(name)).ok()) {
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
