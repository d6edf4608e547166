//! A circle on Earth.

use crate::error::{Error, Result};
use crate::photo::GpsPosition;

const ACCEPTED: &str = "write latitude, longitude and kilometres: 48.858,2.294,10 (south and west are negative: -33.857,151.215,5)";

/// The mean radius of the Earth, km (IUGG). Treating the Earth as a sphere changes distances by up to 0.6 %.
const EARTH_RADIUS: f64 = 6371.0088;

/// All places within some distance of one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Area {
    /// The centre.
    pub centre: GpsPosition,
    /// The radius, km along the ground.
    pub radius_km: f64,
}

impl Area {
    /// Parses `LATITUDE,LONGITUDE,KM`, in degrees and kilometres. Refuses what is not on Earth.
    pub fn parse(typed: &str) -> Result<Self> {
        let text = typed.trim();
        let numbers: Option<Vec<f64>> = text
            .strip_suffix("km")
            .unwrap_or(text)
            .split(',')
            .map(|number| number.trim().parse().ok())
            .collect();
        let Some(&[latitude, longitude, radius_km]) = numbers.as_deref() else {
            return Err(refused(format!("{typed:?} is not a place with a distance")));
        };
        let centre = GpsPosition {
            latitude,
            longitude,
        };
        Self::new(centre, radius_km)
    }

    /// Makes the area within `radius_km` kilometres of `centre`. Refuses what is not on Earth.
    pub fn new(centre: GpsPosition, radius_km: f64) -> Result<Self> {
        let GpsPosition {
            latitude,
            longitude,
        } = centre;
        // Ranges never contain NaN.
        if !(-90.0..=90.0).contains(&latitude) {
            return Err(refused(format!(
                "latitude {latitude} is not between -90 and 90"
            )));
        }
        if !(-180.0..=180.0).contains(&longitude) {
            return Err(refused(format!(
                "longitude {longitude} is not between -180 and 180"
            )));
        }
        if !(radius_km > 0.0 && radius_km.is_finite()) {
            return Err(refused(format!(
                "a distance of {radius_km} km is not usable"
            )));
        }
        Ok(Self { centre, radius_km })
    }

    /// Returns whether a place lies in it. A place that is not a number does not.
    pub fn contains(&self, place: GpsPosition) -> bool {
        distance(self.centre, place) <= self.radius_km
    }
}

fn refused(reason: String) -> Error {
    Error::Filter {
        reason,
        accepted: ACCEPTED,
    }
}

/// Returns kilometres along the great circle, by the haversine formula, which is exact for near places too; the law of
/// cosines loses its digits there.
fn distance(a: GpsPosition, b: GpsPosition) -> f64 {
    let (lat_a, lat_b) = (a.latitude.to_radians(), b.latitude.to_radians());
    let haversine = |degrees: f64| (degrees.to_radians() / 2.0).sin().powi(2);
    // The square of a sine repeats every 360 degrees, which takes care of the antimeridian.
    let h = haversine(b.latitude - a.latitude)
        + lat_a.cos() * lat_b.cos() * haversine(b.longitude - a.longitude);
    // Rounding can push the antipode over 1. NaN stays NaN.
    2.0 * EARTH_RADIUS * h.clamp(0.0, 1.0).sqrt().asin()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(latitude: f64, longitude: f64) -> GpsPosition {
        GpsPosition {
            latitude,
            longitude,
        }
    }

    fn near(found: f64, expected: f64) {
        assert!(
            (found - expected).abs() <= expected * 1e-3 + 1e-9,
            "{found} km, not {expected}"
        );
    }

    #[test]
    fn distances_are_those_of_the_sphere() {
        let half_way_round = std::f64::consts::PI * EARTH_RADIUS;
        near(distance(at(0.0, 0.0), at(0.0, 1.0)), half_way_round / 180.0);
        near(distance(at(48.0, 2.0), at(48.0, 2.0)), 0.0);
        near(distance(at(0.0, 0.0), at(0.0, 180.0)), half_way_round);
        near(distance(at(52.3, -7.1), at(-52.3, 172.9)), half_way_round);
        // Paris to New York, to London, and one metre northwards.
        near(distance(at(48.8566, 2.3522), at(40.7128, -74.006)), 5837.0);
        near(distance(at(48.8566, 2.3522), at(51.5074, -0.1278)), 343.6);
        near(
            distance(at(48.0, 2.0), at(48.0 + 1.0 / 111_195.08, 2.0)),
            0.001,
        );
    }

    #[test]
    fn the_antimeridian_and_the_poles_part_nothing() {
        let day_line = distance(at(-16.8, 179.9), at(-16.8, -179.9));
        near(day_line, distance(at(-16.8, 0.1), at(-16.8, -0.1)));
        near(distance(at(10.0, 180.0), at(10.0, -180.0)), 0.0);
        near(distance(at(90.0, 0.0), at(90.0, 137.0)), 0.0);
        let across = distance(at(89.9, 20.0), at(89.9, -160.0));
        near(across, distance(at(0.0, 0.0), at(0.2, 0.0)));
        assert!(Area::parse("-90,0,1").unwrap().contains(at(-90.0, 55.0)));
    }

    #[test]
    fn what_is_not_a_number_is_nowhere() {
        let everywhere = Area::parse("0,0,30000").unwrap();
        assert!(everywhere.contains(at(0.0, 180.0)));
        assert!(!everywhere.contains(at(f64::NAN, 0.0)));
        assert!(!everywhere.contains(at(0.0, f64::NAN)));
        assert!(!everywhere.contains(at(0.0, f64::INFINITY)));
    }

    #[test]
    fn areas_are_read_and_impossible_ones_refused() {
        let sydney = Area {
            centre: at(-33.857, 151.215),
            radius_km: 5.0,
        };
        for typed in ["-33.857,151.215,5", " -33.857, 151.215, 5 km "] {
            assert_eq!(Area::parse(typed).unwrap(), sydney, "{typed}");
        }
        for (typed, what) in [
            ("", "not a place"),
            ("48.8,2.3", "not a place"),
            ("48,8,2,3,10", "not a place"),
            ("Paris", "not a place"),
            ("200,2.3,10", "latitude 200"),
            ("nan,2.3,10", "latitude"),
            ("48.8,180.1,10", "longitude 180.1"),
            ("48.8,2.3,0", "distance of 0 km"),
            ("48.8,2.3,-1", "distance"),
            ("48.8,2.3,nan", "distance"),
            ("48.8,2.3,inf", "distance"),
        ] {
            let error = Area::parse(typed).expect_err(typed);
            assert!(error.to_string().contains(what), "{error}");
            assert!(error.hint().contains("48.858,2.294,10"));
        }
    }
}
