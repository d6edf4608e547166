//! Files with metadata of every kind, made for tests: nothing but what a reader of metadata looks at.

use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;

pub const MAKE: u16 = 0x010f;
pub const MODEL: u16 = 0x0110;
pub const ORIENTATION: u16 = 0x0112;
pub const DATE_TIME: u16 = 0x0132;
pub const DATE_TIME_ORIGINAL: u16 = 0x9003;
pub const DATE_TIME_DIGITIZED: u16 = 0x9004;

pub const BYTE: u16 = 1;
pub const ASCII: u16 = 2;
pub const SHORT: u16 = 3;
pub const LONG: u16 = 4;
pub const RATIONAL: u16 = 5;
pub const UNDEFINED: u16 = 7;
pub const SRATIONAL: u16 = 10;
pub const FLOAT: u16 = 11;
pub const DOUBLE: u16 = 12;
pub const UTF8: u16 = 129;

/// Name and content.
pub type Chunk = (&'static [u8; 4], Vec<u8>);

/// A field of a directory.
#[derive(Clone)]
pub struct Entry {
    tag: u16,
    kind: u16,
    /// Each number's bytes, little-endian.
    numbers: Vec<Vec<u8>>,
    count: usize,
}

pub fn entry(tag: u16, kind: u16, bytes: &[u8]) -> Entry {
    Entry {
        tag,
        kind,
        numbers: bytes.iter().map(|byte| vec![*byte]).collect(),
        count: bytes.len(),
    }
}

pub fn ascii(tag: u16, text: &str) -> Entry {
    entry(tag, ASCII, format!("{text}\0").as_bytes())
}

pub fn shorts(tag: u16, numbers: &[u16]) -> Entry {
    Entry {
        tag,
        kind: SHORT,
        numbers: numbers.iter().map(|n| n.to_le_bytes().to_vec()).collect(),
        count: numbers.len(),
    }
}

pub fn longs(tag: u16, numbers: &[u32]) -> Entry {
    Entry {
        tag,
        kind: LONG,
        numbers: numbers.iter().map(|n| n.to_le_bytes().to_vec()).collect(),
        count: numbers.len(),
    }
}

/// Signed or not.
pub fn rationals(tag: u16, kind: u16, fractions: &[(i64, i64)]) -> Entry {
    let numbers = fractions.iter().flat_map(|(n, d)| [n, d]);
    Entry {
        tag,
        kind,
        numbers: numbers
            .map(|n| (*n as u32).to_le_bytes().to_vec())
            .collect(),
        count: fractions.len(),
    }
}

pub fn floats(tag: u16, kind: u16, numbers: &[f64]) -> Entry {
    let bytes = |number: &f64| match kind {
        FLOAT => (*number as f32).to_le_bytes().to_vec(),
        _ => number.to_le_bytes().to_vec(),
    };
    Entry {
        tag,
        kind,
        numbers: numbers.iter().map(bytes).collect(),
        count: numbers.len(),
    }
}

/// A TIFF file without pixels, or EXIF data.
#[derive(Clone, Default)]
pub struct Tiff {
    pub big_endian: bool,
    /// As in `BigTIFF`.
    pub long_offsets: bool,
    pub main: Vec<Entry>,
    pub exif: Vec<Entry>,
    pub gps: Vec<Entry>,
    /// IFD1.
    pub next: Vec<Entry>,
}

impl Tiff {
    pub fn bytes(&self) -> Vec<u8> {
        let header = if self.long_offsets { 16 } else { 8 };
        let mut main = self.main.clone();
        let below = [(0x8769, &self.exif), (0x8825, &self.gps)];
        let below: Vec<_> = below
            .iter()
            .filter(|(_, fields)| !fields.is_empty())
            .collect();
        // With pointers of the right size, to know where the others begin.
        let fields = main.len();
        main.extend(below.iter().map(|(tag, _)| longs(*tag, &[0])));
        let mut at = header + self.directory(&main, 0, 0).len();
        let mut rest = Vec::new();
        for (place, (tag, fields_below)) in below.iter().enumerate() {
            main[fields + place] = longs(*tag, &[at as u32]);
            let directory = self.directory(fields_below, at, 0);
            at += directory.len();
            rest.extend(directory);
        }
        let next = if self.next.is_empty() { 0 } else { at };
        if next != 0 {
            rest.extend(self.directory(&self.next, at, 0));
        }
        let mut file = if self.big_endian {
            b"MM".to_vec()
        } else {
            b"II".to_vec()
        };
        if self.long_offsets {
            file.extend(self.uint(43, 2));
            file.extend(self.uint(8, 2));
            file.extend(self.uint(0, 2));
            file.extend(self.uint(16, 8));
        } else {
            file.extend(self.uint(42, 2));
            file.extend(self.uint(8, 4));
        }
        file.extend(self.directory(&main, header, next));
        file.extend(rest);
        file
    }

    /// A directory that begins at `at`, and the values behind it.
    fn directory(&self, fields: &[Entry], at: usize, next: usize) -> Vec<u8> {
        let (wide, room) = if self.long_offsets { (8, 8) } else { (2, 4) };
        let mut directory = self.uint(fields.len(), wide);
        let end = at + wide + fields.len() * (4 + 2 * room) + room;
        let mut values = Vec::new();
        for field in fields {
            directory.extend(self.uint(field.tag.into(), 2));
            directory.extend(self.uint(field.kind.into(), 2));
            directory.extend(self.uint(field.count, room));
            let mut value: Vec<u8> = field
                .numbers
                .iter()
                .flat_map(|n| self.ordered(n.clone()))
                .collect();
            if value.len() > room {
                directory.extend(self.uint(end + values.len(), room));
                value.resize(value.len().next_multiple_of(2), 0);
                values.extend(value);
            } else {
                value.resize(room, 0);
                directory.extend(value);
            }
        }
        directory.extend(self.uint(next, room));
        directory.extend(values);
        directory
    }

    fn uint(&self, number: usize, bytes: usize) -> Vec<u8> {
        self.ordered(number.to_le_bytes()[..bytes].to_vec())
    }

    fn ordered(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        if self.big_endian {
            bytes.reverse();
        }
        bytes
    }
}

/// A packet with properties in elements of `rdf:Description`.
pub fn xmp(properties: &str) -> Vec<u8> {
    xmp_with_attributes("", properties)
}

/// A packet with properties in attributes too.
pub fn xmp_with_attributes(attributes: &str, properties: &str) -> Vec<u8> {
    format!(
        r#"<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:exif="http://ns.adobe.com/exif/1.0/" xmlns:tiff="http://ns.adobe.com/tiff/1.0/"
 xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" {attributes}>
{properties}</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>"#
    )
    .into_bytes()
}

/// IPTC records.
pub fn iptc(records: &[(u8, &str)]) -> Vec<u8> {
    let mut bytes = vec![0x1c, 2, 0, 0, 2, 0, 4];
    for (number, value) in records {
        bytes.extend([0x1c, 2, *number]);
        bytes.extend((value.len() as u16).to_be_bytes());
        bytes.extend(value.as_bytes());
    }
    bytes
}

/// One of Photoshop's resources, behind another one.
pub fn photoshop(kind: u16, data: &[u8]) -> Vec<u8> {
    let mut bytes = b"8BIM\x03\xed\x03dpi\0\0\0\x01x\0".to_vec();
    bytes.extend(b"8BIM");
    bytes.extend(kind.to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend((data.len() as u32).to_be_bytes());
    bytes.extend(data);
    bytes.resize(bytes.len().next_multiple_of(2), 0);
    bytes
}

pub fn jpeg(segments: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut file = b"\xff\xd8".to_vec();
    for (marker, content) in segments {
        file.extend([0xff, *marker]);
        file.extend((content.len() as u16 + 2).to_be_bytes());
        file.extend(content);
    }
    // A frame and the start of a scan.
    file.extend(
        b"\xff\xc0\0\x0b\x08\0\x01\0\x01\x01\x01\x11\0\xff\xda\0\x08\x01\x01\0\0\x3f\0\xff\xd9",
    );
    file
}

/// Segments of a JPEG.
pub fn app1_exif(data: &[u8]) -> (u8, Vec<u8>) {
    (0xe1, [b"Exif\0\0", data].concat())
}

pub fn app1_xmp(packet: &[u8]) -> (u8, Vec<u8>) {
    (0xe1, [b"http://ns.adobe.com/xap/1.0/\0", packet].concat())
}

/// A packet in two parts, the second one first, with a main packet that names it.
pub fn extended_xmp(packet: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let digest = b"5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A";
    let name = "xmlns:xmpNote='http://ns.adobe.com/xmp/note/' xmpNote:HasExtendedXMP=";
    let main = xmp_with_attributes(&format!("{name}'{}'", str::from_utf8(digest).unwrap()), "");
    let part = |offset: usize, data: &[u8]| {
        let mut segment = b"http://ns.adobe.com/xmp/extension/\0".to_vec();
        segment.extend(digest);
        segment.extend((packet.len() as u32).to_be_bytes());
        segment.extend((offset as u32).to_be_bytes());
        segment.extend(data);
        (0xe1, segment)
    };
    let half = packet.len() / 2;
    let (first, second) = packet.split_at(half);
    vec![app1_xmp(&main), part(half, second), part(0, first)]
}

pub fn app13(resources: &[u8]) -> (u8, Vec<u8>) {
    (0xed, [b"Photoshop 3.0\0", resources].concat())
}

pub fn png(chunks: &[Chunk]) -> Vec<u8> {
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    let header = (b"IHDR", b"\0\0\0\x01\0\0\0\x01\x08\0\0\0\0".to_vec());
    let pixels = (b"IDAT", zlib(&[0, 0]));
    let end = (b"IEND", Vec::new());
    for chunk in [&[header], chunks, &[pixels, end]].concat() {
        file.extend(chunk_bytes(&chunk));
    }
    file
}

pub fn chunk_bytes((name, data): &Chunk) -> Vec<u8> {
    let mut crc = flate2::Crc::new();
    crc.update(*name);
    crc.update(data);
    let length = (data.len() as u32).to_be_bytes();
    [&length, &name[..], data, &crc.sum().to_be_bytes()].concat()
}

pub fn zlib(data: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

/// Chunks of a PNG.
pub fn text(keyword: &str, text: &str) -> Chunk {
    (b"tEXt", format!("{keyword}\0{text}").into_bytes())
}

pub fn packed_text(keyword: &str, text: &str) -> Chunk {
    let data = [keyword.as_bytes(), b"\0\0", &zlib(text.as_bytes())].concat();
    (b"zTXt", data)
}

pub fn unicode_text(keyword: &str, text: &[u8]) -> Chunk {
    (b"iTXt", [keyword.as_bytes(), b"\0\0\0\0\0", text].concat())
}

pub fn packed_unicode_text(keyword: &str, text: &[u8]) -> Chunk {
    let data = [keyword.as_bytes(), b"\0\x01\0\0\0", &zlib(text)].concat();
    (b"iTXt", data)
}

/// As `ImageMagick` writes blocks of other formats.
pub fn raw_profile(kind: &str, data: &[u8]) -> Chunk {
    let mut profile = format!("\n{kind}\n{:8}\n", data.len());
    for line in data.chunks(36) {
        profile.extend(line.iter().map(|byte| format!("{byte:02x}")));
        profile.push('\n');
    }
    packed_text(&format!("Raw profile type {kind}"), &profile)
}

pub fn webp(chunks: &[Chunk]) -> Vec<u8> {
    // 1×1, with EXIF data and XMP.
    let canvas = (b"VP8X", vec![0b1100, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let pixels = (
        b"VP8L",
        b"/\0\0\0\0\x07\x10\xfd\x8f\xfe\x07\"\xa2\xff\x01".to_vec(),
    );
    let mut body = b"WEBP".to_vec();
    for (name, data) in [&[canvas, pixels], chunks].concat() {
        body.extend(name);
        body.extend((data.len() as u32).to_le_bytes());
        body.extend(&data);
        body.resize(body.len().next_multiple_of(2), 0);
    }
    [b"RIFF", &(body.len() as u32).to_le_bytes()[..], &body].concat()
}

pub fn gif(packet: &[u8]) -> Vec<u8> {
    let mut file = b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff".to_vec();
    file.extend(b"!\xfe\x05hello\0!\xff\x0bXMP DataXMP");
    file.extend(packet);
    file.push(1);
    file.extend((0..=255).rev());
    file.extend(b"\0,\0\0\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0;");
    file
}

/// A HEIC file of nothing but one item of metadata, behind its list of items.
pub fn heic(kind: &[u8], content_type: &str, item: &[u8]) -> Vec<u8> {
    let before = heic_boxes(kind, content_type, item, 0, 0).len() + 8;
    let boxes = heic_boxes(kind, content_type, item, 0, before);
    [boxes, boxed(b"mdat", item)].concat()
}

/// The same with the item among the list's boxes.
pub fn heic_with_item_data(kind: &[u8], content_type: &str, item: &[u8]) -> Vec<u8> {
    heic_boxes(kind, content_type, item, 1, 0)
}

fn heic_boxes(kind: &[u8], content: &str, item: &[u8], method: u8, at: usize) -> Vec<u8> {
    let full =
        |name: &[u8], version: u8, data: &[u8]| boxed(name, &[&[version, 0, 0, 0], data].concat());
    let entry = [b"\0\x01\0\0", kind, b"\0", content.as_bytes(), b"\0"].concat();
    let entry = full(b"infe", 2, &entry);
    let listed = full(b"iinf", 0, &[b"\0\x01", &entry[..]].concat());
    let mut place = b"\x44\0\0\x01\0\x01\0".to_vec();
    place.extend([method, 0, 0, 0, 1]);
    place.extend((at as u32).to_be_bytes());
    place.extend((item.len() as u32).to_be_bytes());
    let places = full(b"iloc", 1, &place);
    let handler = full(b"hdlr", 0, b"\0\0\0\0pict\0\0\0\0\0\0\0\0\0\0\0\0\0");
    let data = if method == 1 {
        boxed(b"idat", item)
    } else {
        Vec::new()
    };
    let meta = [handler, places, listed, data].concat();
    [
        boxed(b"ftyp", b"heic\0\0\0\0mif1heic"),
        full(b"meta", 0, &meta),
    ]
    .concat()
}

fn boxed(name: &[u8], data: &[u8]) -> Vec<u8> {
    [&(data.len() as u32 + 8).to_be_bytes()[..], name, data].concat()
}
