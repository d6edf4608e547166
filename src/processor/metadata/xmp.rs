//! XMP packets: XML in which Adobe's programs, phones and photo managers write what EXIF cannot hold, or no longer
//! does.
//!
//! Properties are attributes or elements of `rdf:Description`, under any prefix. quick-xml only splits the packet into
//! tags, so a broken one is read as far as it goes, and no entity can expand.

use std::borrow::Cow;

use quick_xml::Reader;
use quick_xml::escape::unescape;
use quick_xml::events::{BytesStart, Event};

use super::dates;
use super::facts::{Facts, name, orientation};
use super::places::{self, Axis, LATITUDE, LONGITUDE};

/// The most to read of a packet.
const MAX_BYTES: usize = 16 << 20;

/// The longest value, bytes; longer ones are cut.
const MAX_VALUE: usize = 256;

/// Reads the facts of a packet.
pub fn facts(packet: &[u8]) -> Facts {
    let packet = decoded(packet.get(..MAX_BYTES).unwrap_or(packet));
    let read = Packet::read(&packet);
    let text = |property: &str| read.value(property);
    let date = |choice: [&str; 2]| choice.into_iter().find_map(|p| dates::parse(text(p)?));
    let side = |axis: Axis, property: &str, side: &str| axis.parse(text(property)?, text(side));
    let place = || {
        if text("exif:GPSStatus").is_some_and(|status| status.starts_with(['V', 'v'])) {
            return None;
        }
        places::position(
            side(LATITUDE, "exif:GPSLatitude", "exif:GPSLatitudeRef")?,
            side(LONGITUDE, "exif:GPSLongitude", "exif:GPSLongitudeRef")?,
        )
    };
    Facts {
        orientation: text("tiff:Orientation").and_then(|n| orientation(n.parse().ok()?)),
        taken: date(["exif:DateTimeOriginal", "photoshop:DateCreated"]),
        created: date(["xmp:CreateDate", "exif:DateTimeDigitized"]),
        modified: date(["xmp:ModifyDate", "tiff:DateTime"]),
        utc: text("exif:GPSTimeStamp").and_then(dates::parse),
        place: place(),
        make: text("tiff:Make").and_then(name),
        model: text("tiff:Model").and_then(name),
    }
}

/// Decodes UTF-8 or, as the standard also permits, UTF-16.
fn decoded(packet: &[u8]) -> Cow<'_, str> {
    let unit = match packet {
        [0xfe, 0xff, ..] | [0, b'<', ..] => u16::from_be_bytes,
        [0xff, 0xfe, ..] | [b'<', 0, ..] => u16::from_le_bytes,
        _ => return String::from_utf8_lossy(packet),
    };
    let units = packet.as_chunks().0.iter().map(|bytes| unit(*bytes));
    let text: String = char::decode_utf16(units)
        .map(|c| c.unwrap_or('?'))
        .collect();
    text.into()
}

/// The properties that are read, by their usual names.
const PROPERTIES: [&str; 15] = [
    "exif:DateTimeDigitized",
    "exif:DateTimeOriginal",
    "exif:GPSLatitude",
    "exif:GPSLatitudeRef",
    "exif:GPSLongitude",
    "exif:GPSLongitudeRef",
    "exif:GPSStatus",
    "exif:GPSTimeStamp",
    "photoshop:DateCreated",
    "tiff:DateTime",
    "tiff:Make",
    "tiff:Model",
    "tiff:Orientation",
    "xmp:CreateDate",
    "xmp:ModifyDate",
];

/// The schemas that prefixes stand for, whatever the prefixes are.
const SCHEMAS: [(&str, &str); 4] = [
    ("http://ns.adobe.com/exif/1.0", "exif"),
    ("http://ns.adobe.com/photoshop/1.0", "photoshop"),
    ("http://ns.adobe.com/tiff/1.0", "tiff"),
    ("http://ns.adobe.com/xap/1.0", "xmp"),
];

/// The most prefixes of a packet.
const MAX_PREFIXES: usize = 64;

/// A packet that is being read.
#[derive(Default)]
struct Packet<'a> {
    /// In the order of [`PROPERTIES`], empty where there is none.
    values: [String; PROPERTIES.len()],
    /// Prefixes as declared so far, with the schema if it is a known one. The scope of a declaration is ignored, since
    /// no program uses a prefix for two things.
    prefixes: Vec<(String, Option<&'a str>)>,
    /// Number of open elements from the property's on; 0 outside of any.
    depth: usize,
    /// The property, if it is one that is read.
    open: Option<usize>,
}

impl Packet<'_> {
    /// Reads until something is not XML.
    fn read(packet: &str) -> Self {
        let mut reader = Reader::from_str(packet);
        let config = reader.config_mut();
        config.check_end_names = false;
        config.allow_unmatched_ends = true;
        config.allow_dangling_amp = true;
        let mut read = Self::default();
        loop {
            match reader.read_event() {
                Ok(Event::Start(element)) => read.start(&element),
                Ok(Event::Empty(element)) => {
                    read.start(&element);
                    read.end();
                }
                Ok(Event::End(_)) => read.end(),
                Ok(Event::Text(text)) => read.text(&text),
                Ok(Event::CData(text)) => read.text(&text),
                Ok(Event::GeneralRef(name)) => {
                    read.text(&unescape(&format!("&{};", &*name)).unwrap_or_default());
                }
                Ok(Event::Eof) | Err(_) => return read,
                Ok(_) => {}
            }
        }
    }

    fn value(&self, property: &str) -> Option<&str> {
        let at = PROPERTIES.iter().position(|name| *name == property)?;
        Some(self.values[at].trim()).filter(|value| !value.is_empty())
    }

    fn start(&mut self, element: &BytesStart) {
        if self.depth > 0 {
            self.depth += 1;
            return;
        }
        self.declare(element);
        // What is no frame is a property, and what is inside it a part of its value: of a structure, often the
        // position of something else.
        if !is_frame(element.local_name().as_ref()) {
            self.depth = 1;
            self.open = self.property(element.name().as_ref());
            return;
        }
        for attribute in element.attributes().with_checks(false).flatten() {
            self.open = self.property(attribute.key.as_ref());
            self.text(&unescape(cut(&attribute.value, MAX_VALUE)).unwrap_or_default());
        }
        self.open = None;
    }

    fn end(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        if self.depth == 0 {
            self.open = None;
        }
    }

    fn text(&mut self, text: &str) {
        if let Some(open) = self.open {
            let value = &mut self.values[open];
            value.push_str(cut(text, MAX_VALUE.saturating_sub(value.len())));
        }
    }

    fn declare(&mut self, element: &BytesStart) {
        for attribute in element.attributes().with_checks(false).flatten() {
            let key = attribute.key.as_ref();
            let Some(prefix) = key.strip_prefix("xmlns") else {
                continue;
            };
            let prefix = prefix.trim_start_matches(':');
            let address = attribute.value.trim_end_matches(['/', '#']);
            let schema = SCHEMAS.iter().find(|(known, _)| *known == address);
            let schema = schema.map(|(_, name)| *name);
            match self.prefixes.iter().position(|(known, _)| known == prefix) {
                Some(at) => self.prefixes[at].1 = schema,
                None if self.prefixes.len() < MAX_PREFIXES => {
                    self.prefixes.push((prefix.to_owned(), schema));
                }
                None => {}
            }
        }
    }

    /// Returns the property that has this name and no value yet.
    fn property(&self, name: &str) -> Option<usize> {
        let (prefix, local) = name.split_once(':').unwrap_or(("", name));
        let declared = self.prefixes.iter().find(|(known, _)| known == prefix);
        let schema = match declared {
            Some((_, schema)) => (*schema)?,
            // A broken packet may have lost its declarations; `xap` is the old name.
            None if prefix == "xap" => "xmp",
            None => prefix,
        };
        let at = PROPERTIES
            .iter()
            .position(|known| known.split_once(':') == Some((schema, local)))?;
        self.values[at].trim().is_empty().then_some(at)
    }
}

/// Returns whether an element encloses properties.
fn is_frame(local_name: &str) -> bool {
    matches!(local_name, "xmpmeta" | "xapmeta" | "RDF" | "Description")
}

fn cut(text: &str, bytes: usize) -> &str {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
