//! A query on stdin.

use std::io::Read;

use anyhow::{Context, bail};

/// The name that stands for stdin.
pub const STDIN: &str = "-";

/// Reads the one query that stdin holds.
pub fn read_query() -> anyhow::Result<String> {
    let mut text = String::new();
    let stdin = std::io::stdin().read_to_string(&mut text);
    stdin.context("cannot read the query from stdin")?;
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let query = lines.next().unwrap_or_default().trim().to_owned();
    if lines.next().is_some() {
        bail!(
            "stdin holds several lines, but a query is one: --queries - searches for each of them"
        );
    }
    Ok(query)
}
