//! Parses the terms of a query.

use std::path::Path;

use anyhow::bail;
use bridgetower::search::TermContent;
use bridgetower::{Error, Term};
use bt_cli::OutputArgs;

use crate::term;

/// Reads `words`, the arguments that are not flags, with the terms of the flags `add` and `subtract`.
///
/// Words are one term, or several with a + or - between them. Weights count only among several.
pub fn read(
    words: &[String],
    add: &[String],
    subtract: &[String],
    output: &OutputArgs,
) -> anyhow::Result<Vec<Term>> {
    let mut typed = signed(words)?;
    typed.extend(add.iter().map(|term| Signed::new(true, term)));
    typed.extend(subtract.iter().map(|term| Signed::new(false, term)));
    let is_alone = typed.len() == 1;
    let read = |typed: &Signed| {
        let term = if is_alone {
            note_weight(typed.term, output);
            term::parse_alone(typed.term)?
        } else {
            term::parse(typed.term)?
        };
        term::check(&term)?;
        warn_of_file(&term, output);
        Ok(if typed.is_wanted {
            term
        } else {
            term.negated()
        })
    };
    let terms: Vec<Term> = typed.iter().map(read).collect::<anyhow::Result<_>>()?;
    if terms.is_empty() {
        return Err(Error::EmptyQuery.into());
    }
    Ok(terms)
}

/// A term as typed.
struct Signed<'t> {
    is_wanted: bool,
    term: &'t str,
}

impl<'t> Signed<'t> {
    fn new(is_wanted: bool, term: &'t str) -> Self {
        Self { is_wanted, term }
    }
}

/// Splits `horse + stripes - "a zoo"`. The shell has already split it, so each term must be one word to the shell.
fn signed(words: &[String]) -> anyhow::Result<Vec<Signed<'_>>> {
    let mut terms: Vec<Signed> = Vec::new();
    let mut sign = Some(true);
    for word in words {
        match (word.as_str(), sign) {
            ("+" | "-", Some(_)) if !terms.is_empty() => bail!("a term is missing before {word}"),
            ("+" | "-", _) => sign = Some(word == "+"),
            (term, Some(is_wanted)) => {
                terms.push(Signed::new(is_wanted, term));
                sign = None;
            }
            (_, None) => bail!("quote the query: bt-query {}", quoted(words)),
        }
    }
    match (sign, words.last()) {
        (Some(_), Some(last)) => bail!("a term is missing after {last}"),
        _ => Ok(terms),
    }
}

/// Returns `words` as they were probably meant, with quotes around what lies between two signs.
fn quoted(words: &[String]) -> String {
    let terms = words.split_inclusive(|word| word == "+" || word == "-");
    let quote = |words: &[String]| match words.split_last() {
        Some((sign, [])) if sign == "+" || sign == "-" => sign.clone(),
        Some((sign, term)) if sign == "+" || sign == "-" => {
            format!("\"{}\" {sign}", term.join(" "))
        }
        _ => format!("\"{}\"", words.join(" ")),
    };
    terms.map(quote).collect::<Vec<_>>().join(" ")
}

/// Notes that a lone `2:cat` is words, which may surprise.
fn note_weight(typed: &str, output: &OutputArgs) {
    let weighed = term::parse(typed);
    if weighed.is_ok_and(|term| (term.weight - 1.0).abs() > f32::EPSILON) {
        output.note(format!(
            "{typed:?} is the only term, so the number before the colon is not a weight"
        ));
    }
}

/// Warns that a path that does not begin like one is read as words, which may surprise too.
fn warn_of_file(term: &Term, output: &OutputArgs) {
    let TermContent::Text(words) = &term.content else {
        return;
    };
    let path = Path::new(words);
    let is_path = words.contains('/') || path.extension().is_some();
    if is_path && path.is_file() {
        output.warn(format!(
            "{words:?} is read as words, although there is a file of that name: ./{words} searches by the photo"
        ));
    }
}
