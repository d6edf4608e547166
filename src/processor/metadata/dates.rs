//! Times as cameras and programs write them: EXIF's colons, ISO 8601, RFC 1123, and forms written by hand.
//!
//! The result is the local time as written; a zone beside it changes nothing. An impossible time (month 13, 30
//! February, the year 0) counts as absent, so that the next source is used.

use jiff::ToSpan;
use jiff::civil::DateTime;

/// The first possible year. Photography is younger; earlier times come from clocks that were never set (year 1 and 1601
/// are the zeros of .NET and Windows).
const FIRST_YEAR: i16 = 1800;

/// The longest text to read; no form is longer.
const MAX_CHARS: usize = 64;

/// Reads a time. A date alone is its midnight, a month or a year alone its first day.
///
/// Hour 24 is the next day's first, as exiftool computes it; a leap second is the one before, as jiff reads it. Years
/// have four digits, since with two it is unclear which number is the year. `05/03/2014` is refused as ambiguous.
pub fn parse(text: &str) -> Option<DateTime> {
    let text = text.replace('\0', " ");
    let text: String = text.trim_start().chars().take(MAX_CHARS).collect();
    let numbers = text.trim_start_matches(|c: char| !c.is_ascii_digit());
    year_first(numbers)
        .or_else(|| day_first(numbers))
        .or_else(|| with_month_name(&text))
}

/// Makes a time from numbers, the year first.
pub fn civil(year: i16, month: i8, day: i8, time: Time) -> Option<DateTime> {
    let Time(hour, minute, second) = time;
    if year < FIRST_YEAR || hour > 24 || second > 60 {
        return None;
    }
    DateTime::new(year, month, day, hour % 24, minute, second.min(59), 0)
        .ok()?
        .checked_add(i64::from(hour / 24).days())
        .ok()
}

/// Hour, minute and second.
#[derive(Clone, Copy, Default)]
pub struct Time(pub i8, pub i8, pub i8);

/// `2014:03:05 07:05:09`, `2014-03-05T07:05:09.50+01:00`, `2014/3/5 7:05`, `20140305T070509Z`, `2014-03`, `2014`.
fn year_first(text: &str) -> Option<DateTime> {
    let mut rest = Rest(text);
    let digits = rest.digits();
    if !matches!(digits, 4 | 8 | 12 | 14) {
        return None;
    }
    let year = rest.number(4)?;
    let mut next = || {
        let compact = digits > 4;
        if !compact {
            rest.separator();
        }
        match rest.digits() {
            0 if rest.is_blank() => Some(None),
            1 | 2 => Some(rest.number(2)),
            _ if compact => Some(rest.number(2)),
            _ => None,
        }
    };
    let month = next()?;
    let day = match month {
        Some(_) => next()?,
        None => None,
    };
    let time = match day {
        Some(_) => rest.time_after_date()?,
        None => Time::default(),
    };
    civil(year, month.unwrap_or(1) as i8, day.unwrap_or(1) as i8, time)
}

/// Reads `25.03.2014 07:05`, if the month cannot be mistaken for the day: with dots the day always comes first, else
/// one of the two must be over 12.
fn day_first(text: &str) -> Option<DateTime> {
    let mut rest = Rest(text);
    let first = rest.number(2)?;
    let separator = rest.separator();
    let second = rest.number(2)?;
    if separator.is_empty() || rest.separator() != separator {
        return None;
    }
    let year = (rest.digits() == 4).then(|| rest.number(4)).flatten()?;
    let (day, month) = match (first, second) {
        _ if separator == "." || first > 12 || first == second => (first, second),
        _ if second > 12 => (second, first),
        _ => return None,
    };
    civil(year, month as i8, day as i8, rest.time_after_date()?)
}

/// `Wed, 05 Mar 2014 07:05:09 GMT`, `Wed Mar  5 07:05:09 2014`, `March 5, 2014 7:05 AM`, `05-Mar-14`.
fn with_month_name(text: &str) -> Option<DateTime> {
    let time = match text.find(':') {
        Some(colon) => {
            let hour = text[..colon].trim_end_matches(|c: char| c.is_ascii_digit());
            Rest(&text[hour.len()..]).time()?
        }
        None => Time::default(),
    };
    let (mut year, mut month, mut day) = (None, None, None);
    let words = text.split([' ', ',', '-', '/', '+']);
    for word in words.filter(|word| !word.contains(':')) {
        let number = Rest(word).number(4);
        match Rest(word).digits() {
            0 => month = month.or_else(|| month_named(word)),
            1 | 2 if day.is_none() => day = number,
            // As RFC 2822 reads them.
            2 if year.is_none() => {
                year = number.map(|year| if year < 50 { 2000 + year } else { 1900 + year });
            }
            // What is no year is a zone, such as -0500.
            4 if year.is_none() => year = number.filter(|year| *year >= FIRST_YEAR),
            _ => {}
        }
    }
    civil(year?, month?, day? as i8, time)
}

fn month_named(word: &str) -> Option<i8> {
    const MONTHS: [&str; 12] = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    let word = word.trim_end_matches('.').to_ascii_lowercase();
    let at = MONTHS
        .iter()
        .position(|month| word.len() >= 3 && month.starts_with(&word))?;
    Some(at as i8 + 1)
}

/// The text still to be read.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    /// Returns the number of digits that come next.
    fn digits(&self) -> usize {
        let other = |c: char| !c.is_ascii_digit();
        self.0.find(other).unwrap_or(self.0.len())
    }

    /// Reads a number of at most `digits` digits.
    fn number(&mut self, digits: usize) -> Option<i16> {
        let (number, rest) = self.0.split_at(self.digits().min(digits));
        self.0 = rest;
        number.parse().ok()
    }

    /// Skips anything but letters, digits and the sign of a zone, and returns it without its spaces.
    fn separator(&mut self) -> &'a str {
        let end = |c: char| c.is_ascii_alphanumeric() || c == '+';
        let (separator, rest) = self.0.split_at(self.0.find(end).unwrap_or(self.0.len()));
        self.0 = rest;
        separator.trim()
    }

    fn is_blank(&self) -> bool {
        !self.0.contains(|c: char| c.is_ascii_alphanumeric())
    }

    /// Reads the time after a date, midnight if there is none.
    fn time_after_date(&mut self) -> Option<Time> {
        let dash = self.separator() == "-";
        if let Some(rest) = self.0.strip_prefix(['T', 't']) {
            self.0 = rest.trim_start();
        }
        // After `2014-03-05`, `-05:00` is a zone and `-07:05:09` a time.
        let parts = self.0.split(':').count();
        if dash && parts == 2 {
            return Some(Time::default());
        }
        match self.digits() {
            1 | 2 | 4 | 6 => self.time(),
            _ => Some(Time::default()),
        }
    }

    /// `07:05:09.5 PM`, `7:05`, `070509`, `07`.
    fn time(&mut self) -> Option<Time> {
        let compact = self.digits() > 2;
        let hour = self.number(2)?;
        let between = if compact { "" } else { self.separator() };
        let minute = self.number(2).unwrap_or(0);
        // The zone of `07:05-05:00` is no second.
        let same = compact || self.separator() == between;
        let second = if same { self.number(2).unwrap_or(0) } else { 0 };
        let fraction = |c: char| c.is_ascii_digit() || matches!(c, '.' | ',' | ' ');
        let half = self.0.trim_start_matches(fraction).as_bytes();
        let hour = match (half.first().map(u8::to_ascii_lowercase), half.get(1)) {
            (Some(b'p'), Some(b'm' | b'M' | b'.')) if hour < 12 => hour + 12,
            (Some(b'a'), Some(b'm' | b'M' | b'.')) if hour == 12 => 0,
            _ => hour,
        };
        Some(Time(hour as i8, minute as i8, second as i8))
    }
}
