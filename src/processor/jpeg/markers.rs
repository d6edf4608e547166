//! The markers of a JPEG: its headers and the places of its scans. Nothing is decoded.
//!
//! Written from ITU-T T.81, annex B.

use memchr::memchr;

use crate::error::{Error, Result};

pub(super) const SOF_PROGRESSIVE: u8 = 0xc2;
const SOF_ARITHMETIC_PROGRESSIVE: u8 = 0xca;
const DHT: u8 = 0xc4;
const DAC: u8 = 0xcc;
const SOI: u8 = 0xd8;
const EOI: u8 = 0xd9;
const SOS: u8 = 0xda;
const DQT: u8 = 0xdb;
const DNL: u8 = 0xdc;
const DRI: u8 = 0xdd;
const DHP: u8 = 0xde;
const APP0: u8 = 0xe0;
const APP2: u8 = 0xe2;
const APP14: u8 = 0xee;
const APP15: u8 = 0xef;
const COM: u8 = 0xfe;

/// Everything before the data of the first scan.
pub(super) struct Headers<'a> {
    pub(super) frame: Frame,
    /// True if every component is in the first scan.
    pub(super) first_scan_has_all: bool,
    /// The colour transform that Adobe's segment names.
    pub(super) adobe_transform: Option<u8>,
    profile_parts: Vec<&'a [u8]>,
    first_scan: Option<Scan>,
    /// Offset of the first scan's data.
    data_at: usize,
}

/// The frame header.
pub(super) struct Frame {
    /// Second byte of its marker, which tells the coding.
    pub(super) process: u8,
    pub(super) width: u32,
    pub(super) height: u32,
    /// Offset of the height in the file.
    pub(super) height_at: usize,
    /// True if that is 0, since the height follows the first scan.
    pub(super) height_is_late: bool,
    pub(super) components: Vec<Component>,
}

pub(super) struct Component {
    pub(super) id: u8,
    /// Sampling factors.
    pub(super) horizontal: u8,
    pub(super) vertical: u8,
}

/// The part after the headers.
pub(super) struct Scans {
    pub(super) count: usize,
    /// Number of blocks that a decoder walks through, in all scans together.
    pub(super) blocks: u64,
    /// The end of what can be decoded: of the picture, or of the last scan that has begun.
    pub(super) end: usize,
    /// True if the file has its end, all coefficients to their last bit, and nothing unusual.
    pub(super) is_regular: bool,
}

impl<'a> Headers<'a> {
    /// Reads the headers. Refuses what neither decoder reads, and files that end before the first scan has any data.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self> {
        let mut walk = Walk { bytes, at: 2 };
        let mut frame = None;
        let mut adobe_transform = None;
        let mut profile_parts = Vec::new();
        let first_scan = loop {
            let Some(segment) = walk.next() else {
                return refused("the file ends before its picture begins");
            };
            match segment.marker {
                EOI => return refused("the JPEG has no picture"),
                DHP => return refused("hierarchical JPEGs are not supported"),
                SOS => break segment.body,
                APP2 => profile_parts.extend(segment.body.strip_prefix(b"ICC_PROFILE\0")),
                APP14 if segment.body.starts_with(b"Adobe") => {
                    adobe_transform = segment.body.get(11).copied().or(adobe_transform);
                }
                DHT | DAC => {}
                0xc0..=0xcf if frame.is_some() => return refused("the JPEG has two frames"),
                0xc0..=0xcf => frame = Some(Frame::read(&segment)?),
                _ => {}
            }
        };
        let Some(mut frame) = frame else {
            return refused("a scan comes before the frame header");
        };
        let data_at = walk.at;
        walk.skip_data();
        if walk.at == data_at {
            return refused("the file ends before its picture begins");
        }
        if frame.height_is_late {
            frame.height = walk.number_of_lines();
        }
        let first_scan = frame.scan(first_scan);
        let has_all = |scan: &Scan| scan.components.len() == frame.components.len();
        Ok(Self {
            first_scan_has_all: first_scan.as_ref().is_some_and(has_all),
            frame,
            adobe_transform,
            profile_parts,
            first_scan,
            data_at,
        })
    }

    /// Returns the ICC profile, joined from its parts, each of which holds its number and their count.
    pub(super) fn profile(&self) -> Option<Vec<u8>> {
        let count = *self.profile_parts.first()?.get(1)?;
        let parts: Option<Vec<&[u8]>> = (1..=count)
            .map(|number| {
                let has_number = |part: &&&[u8]| part.starts_with(&[number, count]);
                self.profile_parts
                    .iter()
                    .find(has_number)
                    .map(|part| &part[2..])
            })
            .collect();
        parts
            .map(|parts| parts.concat())
            .filter(|profile| !profile.is_empty())
    }
}

impl Frame {
    fn read(segment: &Segment) -> Result<Self> {
        match segment.marker {
            0xc3 | 0xcb => return refused("lossless JPEGs are not supported"),
            0xc5..=0xc7 | 0xcd..=0xcf => return refused("hierarchical JPEGs are not supported"),
            0xc8 => return refused("its frame header is damaged"),
            _ => {}
        }
        let [precision, h0, h1, w0, w1, count, components @ ..] = segment.body else {
            return refused("its frame header is damaged");
        };
        if *precision != 8 {
            return refused(format!(
                "JPEGs with {precision} bits per channel are not supported"
            ));
        }
        if !matches!(count, 1 | 3 | 4) {
            return refused(format!("JPEGs with {count} channels are not supported"));
        }
        let (components, rest) = components.as_chunks::<3>();
        let components: Vec<Component> = components.iter().copied().map(Component::read).collect();
        let is_sound = |c: &Component| matches!((c.horizontal, c.vertical), (1..=4, 1..=4));
        if components.len() != usize::from(*count)
            || !rest.is_empty()
            || !components.iter().all(is_sound)
        {
            return refused("its frame header is damaged");
        }
        let height = u16::from_be_bytes([*h0, *h1]).into();
        Ok(Self {
            process: segment.marker,
            width: u16::from_be_bytes([*w0, *w1]).into(),
            height,
            height_at: segment.body_at + 1,
            height_is_late: height == 0,
            components,
        })
    }

    pub(super) fn is_progressive(&self) -> bool {
        matches!(self.process, SOF_PROGRESSIVE | SOF_ARITHMETIC_PROGRESSIVE)
    }

    /// Returns the horizontal and vertical sampling factor of the component that is sampled most finely.
    pub(super) fn finest(&self) -> (u8, u8) {
        let horizontal = self.components.iter().map(|c| c.horizontal).max();
        let vertical = self.components.iter().map(|c| c.vertical).max();
        (horizontal.unwrap_or(1), vertical.unwrap_or(1))
    }

    /// Returns the number of a component's blocks of 8 × 8, up to whole MCUs.
    pub(super) fn blocks(&self, component: &Component) -> u64 {
        let (h, v) = self.finest();
        let across = self.width.div_ceil(8 * u32::from(h)) * u32::from(component.horizontal);
        let down = self.height.div_ceil(8 * u32::from(v)) * u32::from(component.vertical);
        u64::from(across) * u64::from(down)
    }
}

impl Component {
    fn read([id, sampling, _]: [u8; 3]) -> Self {
        Self {
            id,
            horizontal: sampling >> 4,
            vertical: sampling & 15,
        }
    }
}

impl Scans {
    /// Walks through the scans of a file with these headers.
    pub(super) fn read(bytes: &[u8], headers: &Headers) -> Self {
        let frame = &headers.frame;
        let mut walk = Walk {
            bytes,
            at: headers.data_at,
        };
        let mut scans = Self {
            count: 0,
            blocks: 0,
            end: bytes.len(),
            is_regular: headers.first_scan.is_some(),
        };
        let mut precision = Precision::none(frame);
        let mut next = headers.first_scan.clone();
        while let Some(scan) = next {
            scans.count += 1;
            let components = scan.components.iter().map(|at| &frame.components[*at]);
            scans.blocks += components
                .map(|component| frame.blocks(component))
                .sum::<u64>();
            precision.refine(&scan);
            scans.is_regular &= walk.skip_data();
            scans.end = walk.at;
            next = scans.next_scan(&mut walk, frame);
        }
        scans.is_regular &= !frame.is_progressive() || precision.is_full();
        scans
    }

    /// Skips what lies between two scans, and returns the next one, if there is one.
    fn next_scan(&mut self, walk: &mut Walk, frame: &Frame) -> Option<Scan> {
        loop {
            let segment = walk.next();
            match segment.as_ref().map(|segment| segment.marker) {
                Some(EOI) => {
                    self.end = walk.at;
                    return None;
                }
                Some(DHT | DRI | APP0..=APP15 | COM) => {}
                Some(DQT | DAC | DNL) => self.is_regular = false,
                Some(SOS) => {
                    let scan = segment.and_then(|segment| frame.scan(segment.body));
                    if scan.is_none() {
                        // Damaged rather than cut; libjpeg will say how.
                        self.end = walk.bytes.len();
                        self.is_regular = false;
                    }
                    return scan;
                }
                _ => {
                    self.is_regular = false;
                    return None;
                }
            }
        }
    }
}

/// A scan header.
#[derive(Clone)]
struct Scan {
    /// The components' positions in the frame header.
    components: Vec<usize>,
    /// First and last coefficient.
    spectrum: (u8, u8),
    /// The bit that its coefficients reach.
    low_bit: u8,
}

impl Frame {
    /// Reads a scan header; none if it does not fit the frame.
    fn scan(&self, header: &[u8]) -> Option<Scan> {
        let (count, rest) = header.split_first()?;
        let (selectors, rest) = rest.split_at_checked(2 * usize::from(*count))?;
        let [first, last, bits] = *rest else {
            return None;
        };
        let place = |[id, _]: &[u8; 2]| self.components.iter().position(|c| c.id == *id);
        let components: Vec<usize> = selectors
            .as_chunks()
            .0
            .iter()
            .map(place)
            .collect::<Option<_>>()?;
        let (high_bit, low_bit) = (bits >> 4, bits & 15);
        let has_sound_spectrum = match components.len() {
            1 => last < 64 && (first == 0) == (last == 0),
            _ => (first, last) == (0, 0),
        };
        let has_sound_bits = low_bit < 14 && (high_bit == 0 || high_bit == low_bit + 1);
        let is_sound = !self.is_progressive() || has_sound_spectrum && has_sound_bits;
        (is_sound && !components.is_empty()).then_some(Scan {
            components,
            spectrum: (first, last),
            low_bit,
        })
    }
}

/// The bit that each coefficient of each component has reached in a progressive file.
struct Precision(Vec<[Option<u8>; 64]>);

impl Precision {
    fn none(frame: &Frame) -> Self {
        Self(vec![[None; 64]; frame.components.len()])
    }

    fn refine(&mut self, scan: &Scan) {
        let (first, last) = scan.spectrum;
        for component in &scan.components {
            let coefficients = self.0[*component].get_mut(first.into()..=last.into());
            coefficients.unwrap_or_default().fill(Some(scan.low_bit));
        }
    }

    /// Returns whether nothing is missing.
    fn is_full(&self) -> bool {
        self.0.as_flattened().iter().all(|bit| *bit == Some(0))
    }
}

/// Goes from marker to marker.
struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
}

struct Segment<'a> {
    marker: u8,
    body: &'a [u8],
    body_at: usize,
}

impl<'a> Walk<'a> {
    /// Returns the next marker with its segment; none if the file ends before or in it. Skips what is not a marker, as
    /// libjpeg does.
    fn next(&mut self) -> Option<Segment<'a>> {
        let marker = loop {
            self.at += memchr(0xff, self.bytes.get(self.at..)?)? + 1;
            match *self.bytes.get(self.at)? {
                0 | 0xff => {}
                marker => break marker,
            }
        };
        self.at += 1;
        let length = match marker {
            // Markers without a segment.
            0x01 | 0xd0..=EOI => 0,
            _ => usize::from(u16::from_be_bytes(
                *self.bytes.get(self.at..)?.first_chunk()?,
            )),
        };
        let body = match length {
            0 => &[],
            _ => self.bytes.get(self.at + 2..self.at + length)?,
        };
        let body_at = self.at + 2;
        self.at += length;
        Some(Segment {
            marker,
            body,
            body_at,
        })
    }

    /// Goes to the marker after a scan's data, or to the end of the file. Returns whether the data show no sign of
    /// damage.
    fn skip_data(&mut self) -> bool {
        let mut is_clean = true;
        while let Some(found) = memchr(0xff, &self.bytes[self.at..]) {
            let at = self.at + found;
            match self.bytes.get(at + 1) {
                None | Some(SOI..=0xfe | 0xc0..=0xcf) => {
                    self.at = at;
                    return is_clean;
                }
                // Filling before a marker.
                Some(0xff) => self.at = at + 1,
                // A byte of data, a restart.
                Some(0 | 0xd0..=0xd7) => self.at = at + 2,
                Some(_) => {
                    is_clean = false;
                    self.at = at + 2;
                }
            }
        }
        self.at = self.bytes.len();
        is_clean
    }

    /// Returns the height that follows the first scan; 0 if none does.
    fn number_of_lines(&mut self) -> u32 {
        match self.next() {
            Some(Segment {
                marker: DNL,
                body: [high, low],
                ..
            }) => u16::from_be_bytes([*high, *low]).into(),
            _ => 0,
        }
    }
}

/// An error with its reason.
pub(super) fn refused<T>(reason: impl Into<String>) -> Result<T> {
    Err(Error::Photo {
        reason: reason.into(),
    })
}
