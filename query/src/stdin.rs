//! A query on stdin.

use std::io::Read;

use anyhow::{Context, bail};

/// What stands for stdin.
pub const STDIN: &str = "-";

/// The one query that stdin holds.
pub fn read_query() -> anyhow::Result<String> {
    let mut text = String::new();
    let stdin = std::io::stdin().read_to_string(&mut text);
    stdin.context("cannot read the query from stdin")?;
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let query = lines.next().unwrap_or_default().trim().to_owned();
    if lines.next().is_some() {
        bail!("stdin holds several lines, and a query is one: --queries - asks each of them");
    }
    Ok(query)
}
