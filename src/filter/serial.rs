//! A filter as data for other programs: JSON, or the conditions of a query language.

use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Area, Filter, MinSize, PathPatterns, parse_when};
use crate::error::{Error, Result};
use crate::photo::GpsPosition;

/// Writes an object with the conditions that are set: `after` and `before` as local times, `near` with `latitude`,
/// `longitude` and `km`, `camera`, `path` (a list of patterns) and `min_size` as [`MinSize::parse`] reads it. The time
/// zone is not included: it is that of the machine that searches.
impl Serialize for Filter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        for (key, time) in [("after", self.after), ("before", self.before)] {
            if let Some(time) = time {
                object.serialize_entry(key, &time.to_string())?;
            }
        }
        if let Some(area) = &self.near {
            object.serialize_entry("near", area)?;
        }
        if let Some(camera) = &self.camera {
            object.serialize_entry("camera", camera)?;
        }
        if let Some(paths) = &self.paths {
            object.serialize_entry("path", paths.patterns())?;
        }
        if let Some(least) = self.min_size {
            object.serialize_entry("min_size", &least.to_string())?;
        }
        object.end()
    }
}

/// Reads what is written, and times in any form that [`parse_when`] reads. Refuses unknown conditions, and those that
/// [`Filter::check`] refuses.
impl<'de> Deserialize<'de> for Filter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let conditions = Conditions::deserialize(deserializer)?;
        Self::try_from(conditions).map_err(de::Error::custom)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Conditions {
    after: Option<String>,
    before: Option<String>,
    near: Option<Area>,
    camera: Option<String>,
    path: Option<Vec<String>>,
    min_size: Option<String>,
}

impl TryFrom<Conditions> for Filter {
    type Error = Error;

    fn try_from(given: Conditions) -> Result<Self> {
        let time = |text: Option<String>| text.as_deref().map(parse_when).transpose();
        let patterns = given.path.as_deref().map(PathPatterns::parse);
        let least = given.min_size.as_deref().map(MinSize::parse);
        let filter = Self {
            after: time(given.after)?,
            before: time(given.before)?,
            near: given.near,
            camera: given.camera,
            paths: patterns.transpose()?,
            min_size: least.transpose()?,
            ..Self::default()
        };
        filter.check()?;
        Ok(filter)
    }
}

/// A circle as an object of three numbers.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Circle {
    latitude: f64,
    longitude: f64,
    km: f64,
}

impl Serialize for Area {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let GpsPosition {
            latitude,
            longitude,
        } = self.centre;
        let circle = Circle {
            latitude,
            longitude,
            km: self.radius_km,
        };
        circle.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Area {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let circle = Circle::deserialize(deserializer)?;
        let centre = GpsPosition {
            latitude: circle.latitude,
            longitude: circle.longitude,
        };
        Self::new(centre, circle.km).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_filter_goes_through_json() {
        let text = json!({
            "after": "2023-01-01T00:00:00",
            "before": "2024-06-15T18:30:00",
            "near": {"latitude": 48.858, "longitude": 2.294, "km": 10.0},
            "camera": "iphone",
            "path": ["*.jpg", "2023/**"],
            "min_size": "12MP",
        });
        let filter: Filter = serde_json::from_value(text.clone()).expect("a filter");
        assert_eq!(filter.near, Area::parse("48.858,2.294,10").ok());
        assert_eq!(filter.min_size, Some(MinSize::Pixels(12_000_000)));
        assert_eq!(serde_json::to_value(&filter).expect("writes"), text);
        assert_eq!(
            serde_json::to_value(Filter::default()).expect("writes"),
            json!({})
        );
        assert!(
            serde_json::from_value::<Filter>(json!({}))
                .expect("none")
                .is_empty()
        );
        assert!(!filter.is_empty());
    }

    #[test]
    fn times_may_be_written_as_people_write_them() {
        let filter: Filter = serde_json::from_value(json!({"after": "2023"})).expect("a filter");
        assert_eq!(filter.after, parse_when("2023-01-01").ok());
    }

    #[test]
    fn sizes_are_written_as_they_are_read() {
        for text in ["1024", "1920x1080", "12MP", "0.5MP", "1.234567MP"] {
            assert_eq!(MinSize::parse(text).expect("a size").to_string(), text);
        }
    }

    #[test]
    fn what_cannot_be_met_or_is_unknown_is_refused() {
        for text in [
            json!({"after": "2024", "before": "2023"}),
            json!({"after": "some day"}),
            json!({"near": {"latitude": 91.0, "longitude": 0.0, "km": 1.0}}),
            json!({"near": {"latitude": 1.0, "longitude": 0.0, "km": 0.0}}),
            json!({"path": ["../x"]}),
            json!({"min_size": "large"}),
            json!({"lens": "50mm"}),
        ] {
            let refused = serde_json::from_value::<Filter>(text.clone());
            assert!(refused.is_err(), "{text}");
        }
    }
}
