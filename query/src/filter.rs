//! The filters of the command line.

use anyhow::Context;
use bridgetower::filter::{Area, MinSize, PathPatterns, parse_when};
use bridgetower::{Error, Filter};
use clap::Args;
use serde_json::{Value, json};

/// As typed: what is wrong is said with what is right, which clap's own parsing has no room for.
#[derive(Debug, Args)]
#[command(next_help_heading = "Filters")]
pub struct FilterArgs {
    /// Only photos captured at WHEN or later: 2024 (from January 1st, 0:00), 2024-06, 2024-06-15,
    /// "2024-06-15 18:30", today, yesterday, "2 weeks ago"; without a capture time, the time of the file counts
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

    /// Only photos by a camera with TEXT in its make or model, in upper or lower case: iphone, "eos 5d"
    #[arg(long, value_name = "TEXT", env = "BT_CAMERA")]
    pub camera: Option<String>,

    /// Only photos whose path matches GLOB, in upper or lower case: "*.jpg" and "2023/**" match anywhere, a
    /// folder's name stands for all that is in it, "/photos/**/*.jpg" is a pattern of the whole path;
    /// repeat for more, of which one must match
    #[arg(long, value_name = "GLOB", env = "BT_PATH")]
    pub path: Vec<String>,

    /// Only pictures at least so large: 1024 (pixels of the shorter side), 1920x1080 (width and height,
    /// upright) or 12MP (million pixels)
    #[arg(long, value_name = "SIZE", env = "BT_MIN_SIZE")]
    pub min_size: Option<String>,
}

impl FilterArgs {
    /// The filter, if one was given.
    pub fn read(&self) -> anyhow::Result<Option<Filter>> {
        let Self {
            after,
            before,
            near,
            camera,
            path,
            min_size,
        } = self;
        let is_given = [after, before, near, camera, min_size]
            .iter()
            .any(|typed| typed.is_some())
            || !path.is_empty();
        if !is_given {
            return Ok(None);
        }
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
        filter.check()?;
        Ok(Some(filter))
    }
}

impl FilterArgs {
    /// The conditions of `filter`, which was read of these, as JSON: times and places as they were understood, the
    /// rest as it was typed.
    pub fn as_json(&self, filter: &Filter) -> Value {
        let near = filter.near.map(|area| {
            let place = area.centre;
            json!({"latitude": place.latitude, "longitude": place.longitude, "km": area.radius_km})
        });
        let conditions = [
            ("after", json!(filter.after.map(|time| time.to_string()))),
            ("before", json!(filter.before.map(|time| time.to_string()))),
            ("near", json!(near)),
            ("camera", json!(self.camera)),
            ("path", json!((!self.path.is_empty()).then_some(&self.path))),
            ("min_size", json!(self.min_size)),
        ];
        let given = conditions.into_iter().filter(|(_, value)| !value.is_null());
        given
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }
}

fn parse<T>(
    flag: &'static str,
    typed: Option<&String>,
    parse: impl Fn(&str) -> Result<T, Error>,
) -> anyhow::Result<Option<T>> {
    typed.map(|typed| parse(typed).context(flag)).transpose()
}
