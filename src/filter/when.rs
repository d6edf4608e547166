//! Times as people type them.

use jiff::civil::{Date, DateTime, Time};
use jiff::{Span, ZonedDateTime};

use crate::error::{Error, Result};

const ACCEPTED: &str =
    "write 2024, 2024-06, 2024-06-15, \"2024-06-15 18:30\", today, yesterday or \"2 weeks ago\"";

/// Parses a time. `2024`, `2024-06` and `2024-06-15` are the start of that year, month or day; `2024-06-15 18:30` is a
/// time of day; `today` and `yesterday` are the start of the day; `2 weeks ago` and `3 months ago` keep the present
/// time of day.
///
/// As in a photo, it is local time, wherever that was.
pub fn parse_when(typed: &str) -> Result<DateTime> {
    parse_at(typed, &ZonedDateTime::now())
}

fn parse_at(typed: &str, now: &ZonedDateTime) -> Result<DateTime> {
    let text = typed.trim();
    calendar(text)
        .or_else(|| relative(text, now))
        .ok_or_else(|| Error::Filter {
            reason: format!("{typed:?} is not a date or time"),
            accepted: ACCEPTED,
        })
}

/// Parses a date. Jiff's own parser does not accept a lone year or month, and accepts more than is wanted, such as
/// offsets, which it would ignore.
fn calendar(text: &str) -> Option<DateTime> {
    let (date, time) = match text.split_once([' ', 'T']) {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let year_digits = date.split('-').next()?.len();
    let fields: Vec<i16> = date.split('-').map(number).collect::<Option<_>>()?;
    let small = |field: i16| i8::try_from(field).ok();
    let date = match *fields.as_slice() {
        [year] => Date::new(year, 1, 1),
        [year, month] => Date::new(year, small(month)?, 1),
        [year, month, day] => Date::new(year, small(month)?, small(day)?),
        _ => return None,
    };
    let date = date.ok().filter(|_| year_digits == 4)?;
    match time {
        None => Some(date.to_datetime(Time::midnight())),
        Some(time) if fields.len() == 3 => Some(date.to_datetime(time_of_day(time)?)),
        Some(_) => None,
    }
}

fn time_of_day(text: &str) -> Option<Time> {
    let is_plain = text
        .chars()
        .all(|c| c.is_ascii_digit() || matches!(c, ':' | '.'));
    text.parse::<Time>()
        .ok()
        .filter(|_| is_plain && text.contains(':'))
}

fn relative(text: &str, now: &ZonedDateTime) -> Option<DateTime> {
    let text = text.to_lowercase();
    let midnight = |date: Date| date.to_datetime(Time::midnight());
    match text.as_str() {
        "today" => Some(midnight(now.date())),
        "yesterday" => now.date().yesterday().ok().map(midnight),
        // Jiff also reads spans that lie ahead. No photo does.
        _ if text.ends_with(" ago") => {
            let span: Span = text.parse().ok()?;
            now.checked_add(span).ok().map(|then| then.datetime())
        }
        _ => None,
    }
}

fn number(digits: &str) -> Option<i16> {
    digits
        .parse::<i16>()
        .ok()
        .filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use jiff::tz::TimeZone;

    use super::*;

    fn now() -> ZonedDateTime {
        // Two days after the clocks of Central Europe went back.
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        date(2024, 10, 29)
            .at(12, 0, 0, 0)
            .to_zoned_datetime(zone)
            .unwrap()
    }

    #[test]
    fn times_are_read_as_typed() {
        for (typed, expected) in [
            ("2024", date(2024, 1, 1).at(0, 0, 0, 0)),
            ("2024-06", date(2024, 6, 1).at(0, 0, 0, 0)),
            ("2024-6-5", date(2024, 6, 5).at(0, 0, 0, 0)),
            (" 2024-02-29 ", date(2024, 2, 29).at(0, 0, 0, 0)),
            ("2024-06-15 18:30", date(2024, 6, 15).at(18, 30, 0, 0)),
            ("2024-06-15T18:30:59", date(2024, 6, 15).at(18, 30, 59, 0)),
            ("today", date(2024, 10, 29).at(0, 0, 0, 0)),
            ("Yesterday", date(2024, 10, 28).at(0, 0, 0, 0)),
            ("2 weeks ago", date(2024, 10, 15).at(12, 0, 0, 0)),
            ("3 months ago", date(2024, 7, 29).at(12, 0, 0, 0)),
            ("1 year, 2 days ago", date(2023, 10, 27).at(12, 0, 0, 0)),
            ("72 hours ago", date(2024, 10, 26).at(13, 0, 0, 0)),
        ] {
            assert_eq!(parse_at(typed, &now()).unwrap(), expected, "{typed}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused_with_what_is() {
        for typed in [
            "",
            "24",
            "24-06-15",
            "12024",
            "2024-13",
            "2024-00",
            "2024-257",
            "2023-02-29",
            "2024-06-15-1",
            "2024-",
            "+2024",
            "2024/06/15",
            "2024 18:30",
            "2024-06-15 25:00",
            "2024-06-15 18",
            "2024-06-15 18:30+02:00",
            "2024-06-15 18:30-04:00",
            "2024-06-15T18:30Z",
            "2 weeks",
            "ago",
            "some time ago",
            "99999 years ago",
            "last summer",
        ] {
            let error = parse_at(typed, &now()).expect_err(typed);
            assert!(error.to_string().contains(typed), "{error}");
            assert!(error.hint().contains("2024-06-15"));
        }
    }
}
