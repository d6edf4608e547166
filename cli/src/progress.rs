//! A progress line on stderr, as wide as the terminal allows.

use std::fmt::Write;
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use console::Term;
use indicatif::{HumanBytes, HumanCount, HumanDuration, ProgressBar, ProgressState, ProgressStyle};

use crate::text::{cut_right, visible, width};

/// The unit of progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things of this name, with the number per second.
    Rate(&'static str),
    /// Things of this name.
    Things(&'static str),
    /// Bytes, with the number per second.
    Bytes,
    /// A percentage, where the unit means nothing to users.
    Parts,
}

/// A progress bar.
///
/// ```text
/// embedding  =========>                     1,234/4,321 photos  123/s  25s left  1,200 safe
/// ```
///
/// On narrow terminals the bar is shorter, and then parts of the line are left out.
pub struct Progress {
    bar: ProgressBar,
    words: Arc<Mutex<Words>>,
}

#[derive(Clone, Default)]
struct Words {
    stage: String,
    remark: String,
}

impl Progress {
    /// Returns a bar on stderr; hidden if that is not a terminal.
    pub(crate) fn new(unit: Unit) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self::hidden(unit);
        }
        let progress = Self::on(ProgressBar::no_length(), unit);
        progress.bar.enable_steady_tick(Duration::from_millis(250));
        progress
    }

    /// Returns a hidden bar.
    pub(crate) fn hidden(unit: Unit) -> Self {
        Self::on(ProgressBar::hidden(), unit)
    }

    fn on(bar: ProgressBar, unit: Unit) -> Self {
        let words = Arc::new(Mutex::new(Words::default()));
        let said = Arc::clone(&words);
        let draw = move |state: &ProgressState, out: &mut dyn Write| {
            let columns = usize::from(Term::stderr().size().1);
            let words = said.lock().unwrap_or_else(PoisonError::into_inner).clone();
            // The last column stays free: some terminals begin a new line there.
            let line = line(&Shown::of(state, unit, words), columns.saturating_sub(1));
            let _ = out.write_str(&line);
        };
        let style = ProgressStyle::with_template("{line}");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style.with_key("line", draw));
        Self { bar, words }
    }

    /// Shows the current stage and how much of it is done; `total` is 0 if unknown.
    pub fn show(&self, stage: &str, done: u64, total: u64) {
        if self.enter(stage) {
            self.bar.reset();
        }
        self.bar.set_length(total);
        self.bar.set_position(done);
    }

    /// Adds a remark to the end of the line.
    pub fn remark(&self, remark: &str) {
        self.words().remark = visible(remark).into_owned();
    }

    /// Runs `write`, which may write to the terminal, without the bar.
    pub fn suspend(&self, write: impl FnOnce()) {
        self.bar.suspend(write);
    }

    /// Removes the line.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    /// Returns whether the stage is new; its remaining time is not known then.
    fn enter(&self, stage: &str) -> bool {
        let stage = visible(stage);
        let mut words = self.words();
        if words.stage == stage {
            return false;
        }
        *words = Words {
            stage: stage.into_owned(),
            remark: String::new(),
        };
        true
    }

    fn words(&self) -> std::sync::MutexGuard<'_, Words> {
        self.words.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The parts of a line.
struct Shown {
    words: Words,
    /// From 0 to 1; none if unknown.
    fraction: Option<f32>,
    /// `1,234/4,321 photos`
    count: String,
    /// `123/s`
    rate: String,
    /// `25s left`
    left: String,
}

impl Shown {
    fn of(state: &ProgressState, unit: Unit, words: Words) -> Self {
        let (done, total) = (state.pos(), state.len().unwrap_or(0));
        if total == 0 {
            return Self {
                words,
                fraction: None,
                count: String::new(),
                rate: String::new(),
                left: String::new(),
            };
        }
        let fraction = state.fraction();
        Self {
            words,
            fraction: Some(fraction),
            count: match unit {
                Unit::Rate(things) | Unit::Things(things) => {
                    format!("{}/{} {things}", HumanCount(done), HumanCount(total))
                }
                Unit::Bytes => format!("{}/{}", HumanBytes(done), HumanBytes(total)),
                Unit::Parts => format!("{:.0} %", fraction * 100.0),
            },
            rate: match unit {
                Unit::Rate(_) => format!("{}/s", rounded(state.per_sec())),
                Unit::Bytes => format!("{}/s", HumanBytes(state.per_sec() as u64)),
                Unit::Things(_) | Unit::Parts => String::new(),
            },
            left: format!("{:#} left", HumanDuration(state.eta())),
        }
    }
}

/// Formats a rate with only its significant digits.
fn rounded(rate: f64) -> String {
    match rate {
        _ if rate >= 9.95 => HumanCount(rate.round() as u64).to_string(),
        _ if rate >= 0.995 => format!("{rate:.1}"),
        _ => format!("{rate:.2}"),
    }
}

const WIDEST_BAR: usize = 30;
const SHORTEST_BAR: usize = 10;

/// Returns the line in at most `columns`: first the bar shrinks, then the least important parts are left out.
fn line(shown: &Shown, columns: usize) -> String {
    let Words { stage, remark } = &shown.words;
    let Some(fraction) = shown.fraction else {
        return cut_right(stage, columns).into_owned();
    };
    let Shown {
        count, rate, left, ..
    } = shown;
    let mut after: Vec<&str> = vec![count, left, rate, remark];
    while !after.is_empty() {
        let parts = std::iter::once(stage.as_str()).chain(after.iter().copied());
        let parts: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
        let taken = parts.iter().map(|part| width(part) + 2).sum::<usize>();
        let bar = columns.saturating_sub(taken).min(WIDEST_BAR);
        if bar >= SHORTEST_BAR {
            return in_order(stage, &drawn(fraction, bar), &after);
        }
        if taken <= columns + 2 {
            return in_order(stage, "", &after);
        }
        after.pop();
    }
    let shortest = format!("{:.0} %  {stage}", fraction * 100.0);
    cut_right(&shortest, columns).into_owned()
}

/// Joins the parts; the rate comes before the remaining time, although it is left out first.
fn in_order(stage: &str, bar: &str, after: &[&str]) -> String {
    let at = |place: usize| after.get(place).copied().unwrap_or("");
    let parts = [stage, bar, at(0), at(2), at(1), at(3)];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join("  ")
}

fn drawn(fraction: f32, columns: usize) -> String {
    let full = ((fraction * columns as f32) as usize).min(columns);
    let head = if full < columns { ">" } else { "" };
    format!("{:columns$}", "=".repeat(full) + head)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown() -> Shown {
        Shown {
            words: Words {
                stage: "embedding".into(),
                remark: "1,200 safe".into(),
            },
            fraction: Some(0.3),
            count: "1,234/4,321 photos".into(),
            rate: "123/s".into(),
            left: "25s left".into(),
        }
    }

    #[test]
    fn a_narrow_terminal_gets_a_shorter_line() {
        let all = "embedding  =========>                      1,234/4,321 photos  123/s  25s left  1,200 safe";
        for (columns, expected) in [
            (200, all),
            (90, all),
            (
                75,
                "embedding  ====>            1,234/4,321 photos  123/s  25s left  1,200 safe",
            ),
            (
                60,
                "embedding  1,234/4,321 photos  123/s  25s left  1,200 safe",
            ),
            (50, "embedding  1,234/4,321 photos  123/s  25s left"),
            (40, "embedding  1,234/4,321 photos  25s left"),
            (30, "embedding  1,234/4,321 photos"),
            (20, "30 %  embedding"),
            (12, "30 %  embed…"),
            (5, "30 %…"),
            (0, ""),
        ] {
            assert_eq!(line(&shown(), columns), expected, "{columns}");
        }
        for columns in 0..120 {
            assert!(width(&line(&shown(), columns)) <= columns, "{columns}");
        }
    }

    #[test]
    fn a_stage_of_unknown_length_has_no_bar() {
        let scanning = Shown {
            fraction: None,
            ..shown()
        };
        assert_eq!(line(&scanning, 80), "embedding");
    }

    #[test]
    fn a_rate_has_no_senseless_digits() {
        for (rate, shown) in [
            (12_345.6, "12,346"),
            (122.9916, "123"),
            (9.96, "10"),
            (3.449, "3.4"),
            (0.127, "0.13"),
            (0.0, "0.00"),
        ] {
            assert_eq!(rounded(rate), shown);
        }
    }
}
