//! Conditions on the photos that a search may find: time, place, camera, path and size.

mod area;
mod fold;
mod paths;
mod serial;
mod size;
mod when;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::error::{Error, Result};
use crate::photo::Photo;

pub use area::Area;
pub use paths::PathPatterns;
pub use size::MinSize;
pub use when::parse_when;

/// Conditions on a photo, which all must hold; none by default.
///
/// ```
/// use bridgetower::Filter;
/// use bridgetower::filter::{Area, parse_when};
/// use bridgetower::search::Query;
///
/// # fn main() -> bridgetower::Result<()> {
/// let filter = Filter {
///     after: Some(parse_when("2023")?),
///     before: Some(parse_when("2024")?),
///     near: Some(Area::parse("48.858,2.294,10")?),
///     ..Filter::default()
/// };
/// let query = Query { filter, ..Query::text("a cat by a window") };
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    /// Captured at this time or later. For photos that do not say when, the time at which their file was
    /// last changed counts, in [`Filter::time_zone`]: most photo tools sort by that, and the day is mostly
    /// right. The same goes for [`Filter::before`].
    pub after: Option<DateTime>,
    /// Captured before this time.
    pub before: Option<DateTime>,
    /// Taken in this area. Photos without a position are not.
    pub near: Option<Area>,
    /// A part of the camera's make and model; case is ignored.
    pub camera: Option<String>,
    /// Patterns for the file's path.
    pub paths: Option<PathPatterns>,
    /// The smallest size.
    pub min_size: Option<MinSize>,
    /// The time zone for the local time at which a file was changed; the system's by default.
    pub time_zone: TimeZone,
}

impl Default for Filter {
    fn default() -> Self {
        Self {
            after: None,
            before: None,
            near: None,
            camera: None,
            paths: None,
            min_size: None,
            time_zone: TimeZone::system(),
        }
    }
}

impl Filter {
    /// Refuses conditions that no photo can meet: times in the wrong order, a camera without a name.
    pub fn check(&self) -> Result<()> {
        if let (Some(after), Some(before)) = (self.after, self.before)
            && after >= before
        {
            return Err(Error::Filter {
                reason: format!(
                    "no photo can be captured both from {after} on and before {before}"
                ),
                accepted: "the end is excluded: after 2023 and before 2024 is the year 2023, after 2024-06-15 and before 2024-06-16 one day",
            });
        }
        if self
            .camera
            .as_ref()
            .is_some_and(|part| part.trim().is_empty())
        {
            return Err(Error::Filter {
                reason: "the camera's name is empty".into(),
                accepted: "give a part of make and model: iphone, \"eos 5d\"",
            });
        }
        Ok(())
    }

    /// Returns whether there are no conditions, so that every photo passes.
    pub fn is_empty(&self) -> bool {
        let Self {
            after,
            before,
            near,
            camera,
            paths,
            min_size,
            time_zone: _,
        } = self;
        after.is_none()
            && before.is_none()
            && near.is_none()
            && camera.is_none()
            && paths.is_none()
            && min_size.is_none()
    }

    /// Returns whether a photo meets all conditions.
    pub fn matches(&self, photo: &Photo) -> bool {
        let metadata = &photo.metadata;
        self.min_size
            .is_none_or(|least| least.fits(metadata.width, metadata.height))
            && self
                .near
                .is_none_or(|area| metadata.gps.is_some_and(|place| area.contains(place)))
            && self.camera.as_ref().is_none_or(|part| {
                let camera = metadata.camera.as_ref().map(|camera| camera.to_lowercase());
                camera.is_some_and(|camera| camera.contains(&part.trim().to_lowercase()))
            })
            && self.is_in_time(photo)
            && self
                .paths
                .as_ref()
                .is_none_or(|paths| paths.matches(&photo.path))
    }

    fn is_in_time(&self, photo: &Photo) -> bool {
        if self.after.is_none() && self.before.is_none() {
            return true;
        }
        let taken = photo.metadata.captured_at.unwrap_or_else(|| {
            let changed = Timestamp::from_nanosecond(photo.mtime_ns.into())
                .expect("64 bits of nanoseconds reach from 1677 to 2262");
            self.time_zone.to_datetime(changed)
        });
        self.after.is_none_or(|after| taken >= after)
            && self.before.is_none_or(|before| taken < before)
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;
    use crate::photo::{ContentHash, GpsPosition, PhotoMetadata};

    fn photo() -> Photo {
        Photo {
            path: "/photos/2023/paris/IMG_0042.JPG".into(),
            size: 1,
            mtime_ns: 1_700_000_000_000_000_000, // 2023-11-14 22:13:20 UTC
            ctime_ns: None,
            content_hash: ContentHash([0; 32]),
            metadata: PhotoMetadata {
                width: 4032,
                height: 3024,
                captured_at: Some(date(2023, 7, 14).at(18, 30, 0, 0)),
                gps: Some(GpsPosition {
                    latitude: 48.8606,
                    longitude: 2.3376,
                }),
                camera: Some("Apple iPhone 13".into()),
            },
        }
    }

    /// Whether the photo passes a filter with no more conditions than those that `set` sets.
    fn passes(photo: &Photo, set: impl FnOnce(&mut Filter)) -> bool {
        let mut filter = Filter {
            time_zone: TimeZone::UTC,
            ..Filter::default()
        };
        set(&mut filter);
        filter.check().unwrap();
        filter.matches(photo)
    }

    #[test]
    fn without_conditions_every_photo_passes() {
        assert!(passes(&photo(), |_| ()));
        let bare = Photo {
            metadata: PhotoMetadata::default(),
            ..photo()
        };
        assert!(passes(&bare, |_| ()));
    }

    #[test]
    fn after_includes_the_time_it_names_and_before_does_not() {
        let taken = date(2023, 7, 14).at(18, 30, 0, 0);
        let minute_later = date(2023, 7, 14).at(18, 31, 0, 0);
        assert!(passes(&photo(), |f| f.after = Some(taken)));
        assert!(!passes(&photo(), |f| f.after = Some(minute_later)));
        assert!(!passes(&photo(), |f| f.before = Some(taken)));
        assert!(passes(&photo(), |f| f.before = Some(minute_later)));
        for (after, before, expected) in [
            ("2023", "2024", true),
            ("2022", "2023", false),
            ("2024", "2025", false),
            ("2023-07-14", "2023-07-15", true),
        ] {
            let found = passes(&photo(), |f| {
                f.after = Some(parse_when(after).unwrap());
                f.before = Some(parse_when(before).unwrap());
            });
            assert_eq!(found, expected, "{after} to {before}");
        }
    }

    #[test]
    fn a_photo_that_does_not_say_when_has_the_local_time_of_its_file() {
        let mut scan = photo();
        scan.metadata.captured_at = None;
        let midnight = date(2023, 11, 15).at(0, 0, 0, 0);
        assert!(passes(&scan, |f| f.before = Some(midnight)));
        let east = jiff::tz::offset(2).to_time_zone();
        assert!(passes(&scan, |f| {
            f.time_zone = east.clone();
            f.after = Some(midnight);
        }));
        for mtime_ns in [i64::MIN, 0, i64::MAX] {
            let odd = Photo {
                mtime_ns,
                ..scan.clone()
            };
            assert_eq!(
                passes(&odd, |f| f.after = Some(midnight)),
                mtime_ns == i64::MAX
            );
        }
    }

    #[test]
    fn a_camera_is_found_by_any_part_in_any_case() {
        for (part, expected) in [
            ("iphone", true),
            ("APPLE", true),
            (" iPhone 13 ", true),
            ("iphone 14", false),
            ("canon", false),
        ] {
            assert_eq!(
                passes(&photo(), |f| f.camera = Some(part.into())),
                expected,
                "{part}"
            );
        }
        let mut unknown = photo();
        unknown.metadata.camera = None;
        assert!(!passes(&unknown, |f| f.camera = Some("apple".into())));
    }

    #[test]
    fn conditions_add_up() {
        let all = |f: &mut Filter| {
            f.after = Some(parse_when("2023").unwrap());
            f.near = Some(Area::parse("48.86,2.34,5").unwrap());
            f.camera = Some("apple".into());
            f.paths = Some(PathPatterns::parse(&["2023/**"]).unwrap());
            f.min_size = Some(MinSize::parse("12MP").unwrap());
        };
        assert!(passes(&photo(), all));
        let without: [fn(&mut Photo); 5] = [
            |p| p.metadata.captured_at = Some(date(2022, 1, 1).at(0, 0, 0, 0)),
            |p| p.metadata.gps = None,
            |p| p.metadata.camera = None,
            |p| p.path = "/photos/2022/paris/IMG_0042.JPG".into(),
            |p| p.metadata.width = 640,
        ];
        for spoil in without {
            let mut spoiled = photo();
            spoil(&mut spoiled);
            assert!(!passes(&spoiled, all), "{spoiled:?}");
        }
    }

    #[test]
    fn what_no_photo_can_meet_is_refused() {
        let check = |set: fn(&mut Filter)| {
            let mut filter = Filter::default();
            set(&mut filter);
            let error = filter.check().unwrap_err();
            assert!(!error.hint().is_empty());
            error.to_string()
        };
        let same_day = check(|f| {
            f.after = Some(date(2024, 6, 15).at(0, 0, 0, 0));
            f.before = f.after;
        });
        assert!(same_day.contains("2024-06-15"), "{same_day}");
        check(|f| f.camera = Some(" ".into()));
    }
}
