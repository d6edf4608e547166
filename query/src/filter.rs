//! The filters of the command line.

use anyhow::Context;
use bridgetower::filter::{Area, MinSize, PathPatterns, parse_when};
use bridgetower::{Error, Filter};
use bt_cli::Advised;
use clap::Args;

/// The filters as typed. clap does not parse them, since its errors have no room to say what is accepted.
#[derive(Debug, Args)]
#[command(next_help_heading = "Filters")]
pub struct FilterArgs {
    /// Only photos captured at WHEN or later: 2024 (from January 1st, 0:00), 2024-06, 2024-06-15,
    /// "2024-06-15 18:30", today, yesterday, "2 weeks ago"; for photos without a capture time, the time of the
    /// file counts
    #[arg(long, value_name = "WHEN", env = "BT_AFTER")]
    pub after: Option<String>,

    /// Only photos captured before WHEN: "--after 2023 --before 2024" is exactly the year 2023
    #[arg(long, value_name = "WHEN", env = "BT_BEFORE")]
    pub before: Option<String>,

    /// Only photos taken within KM kilometres of a place, in degrees: 48.858,2.294,10; south and west are
    /// negative
    #[arg(
        long,
        value_name = "LAT,LON,KM",
        env = "BT_NEAR",
        allow_hyphen_values = true
    )]
    pub near: Option<String>,

    /// Only photos by a camera with TEXT in its make or model, ignoring case: iphone, "eos 5d"
    #[arg(long, value_name = "TEXT", env = "BT_CAMERA")]
    pub camera: Option<String>,

    /// Only photos whose path matches GLOB, ignoring case: "*.jpg" and "2023/**" match anywhere, a folder's
    /// name stands for everything in it, "/photos/**/*.jpg" must match the whole path; can be repeated, and
    /// one must match
    #[arg(long, value_name = "GLOB", env = "BT_PATH")]
    pub path: Vec<String>,

    /// Only pictures of at least this size: 1024 (pixels of the shorter side), 1920x1080 (width and height,
    /// upright) or 12MP (million pixels)
    #[arg(long, value_name = "SIZE", env = "BT_MIN_SIZE")]
    pub min_size: Option<String>,
}

impl FilterArgs {
    /// Parses the filter, which is empty if none was given.
    pub fn read(&self) -> anyhow::Result<Filter> {
        let Self {
            after,
            before,
            near,
            camera,
            path,
            min_size,
        } = self;
        let filter = Filter {
            after: parse("--after", after.as_ref(), parse_when)?,
            before: parse("--before", before.as_ref(), parse_when)?,
            near: parse("--near", near.as_ref(), Area::parse)?,
            camera: camera.clone(),
            paths: match path.as_slice() {
                [] => None,
                patterns => Some(PathPatterns::parse(patterns).context("--path")?),
            },
            min_size: parse("--min-size", min_size.as_ref(), MinSize::parse)?,
            ..Filter::default()
        };
        filter.check().map_err(|error| with_flags(&filter, error))?;
        Ok(filter)
    }
}

/// The advice of an error of [`Filter::check`] in terms of the command line.
fn with_flags(filter: &Filter, error: Error) -> anyhow::Error {
    let times = filter.after.zip(filter.before);
    if times.is_none_or(|(after, before)| after < before) {
        return error.into();
    }
    Advised {
        reason: error.to_string(),
        advice: "--before excludes the time it names: --after 2023 --before 2024 is the year 2023, --after 2024-06-15 --before 2024-06-16 one day",
    }
    .into()
}

fn parse<T>(
    flag: &'static str,
    typed: Option<&String>,
    parse: impl Fn(&str) -> Result<T, Error>,
) -> anyhow::Result<Option<T>> {
    typed.map(|typed| parse(typed).context(flag)).transpose()
}
