//! The facts that a block of metadata can hold, and how facts of several blocks are combined.

use image::metadata::Orientation;
use jiff::civil::DateTime;

use crate::photo::GpsPosition;

/// The facts of one block, or of several.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    pub orientation: Option<Orientation>,
    /// The time at which the picture was taken.
    pub taken: Option<DateTime>,
    /// The time at which it was digitised, or its first file made: the same for a photo, later for a scan.
    pub created: Option<DateTime>,
    /// The time of the last change.
    pub modified: Option<DateTime>,
    /// A time in UTC near one of these, from a satellite or a PNG's clock; it is only some hours off.
    pub utc: Option<DateTime>,
    pub place: Option<GpsPosition>,
    pub make: Option<String>,
    pub model: Option<String>,
}

impl Facts {
    /// Returns these facts, completed from those.
    pub fn or(self, those: Self) -> Self {
        Self {
            orientation: self.orientation.or(those.orientation),
            taken: self.taken.or(those.taken),
            created: self.created.or(those.created),
            modified: self.modified.or(those.modified),
            utc: self.utc.or(those.utc),
            place: self.place.or(those.place),
            make: self.make.or(those.make),
            model: self.model.or(those.model),
        }
    }

    /// Returns the time closest to the capture.
    pub fn captured_at(&self) -> Option<DateTime> {
        self.taken.or(self.created).or(self.modified).or(self.utc)
    }

    /// Returns make and model, with the brand only once.
    pub fn camera(&self) -> Option<String> {
        let make = self.make.as_deref().unwrap_or_default();
        let model = self.model.as_deref().unwrap_or_default();
        // Many models repeat the make, or the part of it that people say: NIKON CORPORATION, NIKON D90.
        let brand = make.split_whitespace().next().unwrap_or_default();
        let repeated = model
            .get(..brand.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(brand));
        let camera = if repeated && !model.is_empty() {
            model.to_owned()
        } else {
            format!("{make} {model}")
        };
        let camera = camera.trim();
        (!camera.is_empty()).then(|| camera.to_owned())
    }
}

/// Returns the orientation for a number from 1 to 8.
pub fn orientation(number: u64) -> Option<Orientation> {
    Orientation::from_exif(u8::try_from(number).ok()?)
}

/// Returns a make or a model as people read it: without padding, and without characters that move a terminal's cursor
/// or change the direction of writing.
pub fn name(text: &str) -> Option<String> {
    let text = text.trim_matches(|c: char| c == '\0' || c.is_whitespace());
    let (text, _) = text.split_once('\0').unwrap_or((text, ""));
    let shown: String = text
        .chars()
        .map(|c| if c.is_whitespace() { ' ' } else { c })
        .filter(|c| !c.is_control() && !turns_writing(*c))
        .collect();
    let shown = shown.trim();
    (!shown.is_empty()).then(|| shown.to_owned())
}

/// Returns whether a character is one of Unicode's marks, embeddings, overrides or isolates of direction.
fn turns_writing(c: char) -> bool {
    matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
