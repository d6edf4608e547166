//! The file that queries map: one complete state of the index, never changed once published.
//!
//! The header is 34 little-endian u64 words, then come the sections, each at a multiple of 64 bytes:
//!
//! ```text
//! 0 magic · 1 format · 2 generation · 3 dim · 4 rows R · 5 photos P
//! 6.. for each section: offset, length, xxh3-64          33 xxh3-64 of words 0..33
//!
//! Info          what the index was built with, sealed bincode
//! Vectors       f32 [R, dim]    rows of the graph first, in its order
//! PhotoIds      u64 [P]         ascending
//! PhotoRows     u32 [P]         the row of each photo's vector
//! RowStarts     u32 [R + 1]     row r's photos: RowPhotos[RowStarts[r]..RowStarts[r + 1]]
//! RowPhotos     u32 [P]         positions in PhotoIds
//! RecordStarts  u64 [P + 1]     where each photo's record starts in Records
//! Records       sealed bincode
//! Graph         u32 words, see `graph`; empty where there is none
//! ```
//!
//! Several photos share a row when their pictures are the same; a row without photos is what a deleted
//! photo leaves in the graph until that is built again.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::error::{Error, Result};
use crate::index::codec::{
    FORMAT, Info, OLDEST_FORMAT, PhotoRecord, VectorId, decode_info, decode_photo, encode_info,
    encode_photo, is_readable,
};
use crate::index::graph::flat::FlatGraph;
use crate::index::graph::similarity::Matrix;
use crate::mapped::{Map, Plain, bytes_of, numbers};
use crate::photo::PhotoId;

const MAGIC: u64 = u64::from_le_bytes(*b"BTINDEX\n");
const ALIGNMENT: usize = 64;
const FIELDS: usize = 6;
const SECTIONS: usize = 9;
const HEADER_WORDS: usize = FIELDS + 3 * SECTIONS + 1;
const HEADER_LEN: usize = HEADER_WORDS * 8;

#[derive(Clone, Copy)]
enum Section {
    Info,
    Vectors,
    PhotoIds,
    PhotoRows,
    RowStarts,
    RowPhotos,
    RecordStarts,
    Records,
    Graph,
}

/// One mapped, checked snapshot. Photos are addressed by their position, vectors by their row.
#[derive(Debug)]
pub(crate) struct Snapshot {
    map: Map,
    sections: [Range<usize>; SECTIONS],
    path: PathBuf,
    pub generation: u64,
    pub info: Info,
}

/// The contents of a snapshot, without the vectors themselves.
pub(crate) struct Contents<'a> {
    pub generation: u64,
    pub info: &'a Info,
    /// The vector of every row, those of the graph first.
    pub rows: &'a [VectorId],
    /// By ascending id; each one's vector is among the rows.
    pub photos: &'a [(PhotoId, &'a PhotoRecord)],
    /// See [`crate::index::graph::flat`].
    pub graph: &'a [u32],
}

impl Snapshot {
    /// Maps a file and checks all of it: the checksums, and every number that is used as a position.
    pub fn open(path: &Path) -> Result<Self> {
        let map = Map::open(path).map_err(Error::io(path))?;
        map.read_ahead();
        let damaged = |reason: String| Error::Corrupt {
            path: path.to_owned(),
            reason,
        };
        let header = Header::read(map.bytes()).map_err(damaged)?;
        if !is_readable(header.format) {
            let found = u32::try_from(header.format).unwrap_or(u32::MAX);
            return Err(Error::IndexFormat {
                path: path.to_owned(),
                found,
                supported: FORMAT,
            });
        }
        let sections = header.sections(map.bytes()).map_err(damaged)?;
        let info = &map.bytes()[sections[Section::Info as usize].clone()];
        let info = decode_info(info).map_err(|unreadable| unreadable.at(path))?;
        let snapshot = Self {
            map,
            sections,
            path: path.to_owned(),
            generation: header.generation,
            info,
        };
        snapshot.check(&header).map_err(damaged)?;
        Ok(snapshot)
    }

    /// Writes a snapshot and makes it durable; `vector` gives a vector as little-endian f32.
    pub fn write(
        path: &Path,
        contents: &Contents,
        vector: impl Fn(VectorId) -> Result<Vec<u8>>,
    ) -> Result<()> {
        let file = File::create(path).map_err(Error::io(path))?;
        let mut out = SectionWriter::new(BufWriter::with_capacity(1 << 20, file), path);
        out.section(|out| out.put(&encode_info(contents.info)?))?;
        out.section(|out| {
            contents
                .rows
                .iter()
                .try_for_each(|&id| out.put(&vector(id)?))
        })?;
        let links = PhotoLinks::new(contents);
        out.numbers(
            &contents
                .photos
                .iter()
                .map(|(id, _)| id.0)
                .collect::<Vec<_>>(),
        )?;
        out.numbers(&links.photo_rows)?;
        out.numbers(&links.row_starts)?;
        out.numbers(&links.row_photos)?;
        let records = contents
            .photos
            .iter()
            .map(|(_, record)| encode_photo(record));
        let records = records.collect::<Result<Vec<_>>>()?;
        out.numbers(&starts(records.iter().map(|record| record.len() as u64)))?;
        out.section(|out| records.iter().try_for_each(|record| out.put(record)))?;
        out.numbers(contents.graph)?;
        out.finish(contents)
    }

    /// The vectors, `[rows, dim]`.
    pub fn vectors(&self) -> Matrix<'_> {
        Matrix {
            values: self.numbers(Section::Vectors),
            dim: self.info.model.dim,
        }
    }

    /// The graph over the first rows; empty where there is none.
    pub fn graph(&self) -> FlatGraph<'_> {
        FlatGraph::view(self.graph_words()).expect("checked when opened")
    }

    /// The graph as it is stored.
    pub fn graph_words(&self) -> &[u32] {
        self.numbers(Section::Graph)
    }

    /// Ids of all photos, ascending; their order gives the positions.
    pub fn photo_ids(&self) -> impl ExactSizeIterator<Item = PhotoId> + '_ {
        self.numbers(Section::PhotoIds)
            .iter()
            .map(|&id| PhotoId(id))
    }

    /// The position of a photo.
    pub fn position(&self, id: PhotoId) -> Option<u32> {
        self.numbers::<u64>(Section::PhotoIds)
            .binary_search(&id.0)
            .ok()
            .map(|position| position as u32)
    }

    pub fn photo_id(&self, position: u32) -> PhotoId {
        PhotoId(self.numbers(Section::PhotoIds)[position as usize])
    }

    /// The row of a photo's vector.
    pub fn row_of(&self, position: u32) -> u32 {
        self.numbers(Section::PhotoRows)[position as usize]
    }

    /// Positions of the photos that share a row's vector; none where they were deleted.
    pub fn photos_of(&self, row: u32) -> &[u32] {
        let starts: &[u32] = self.numbers(Section::RowStarts);
        &self.numbers(Section::RowPhotos)
            [starts[row as usize] as usize..starts[row as usize + 1] as usize]
    }

    /// The record of a photo.
    pub fn record(&self, position: u32) -> Result<PhotoRecord> {
        let starts: &[u64] = self.numbers(Section::RecordStarts);
        let range = starts[position as usize] as usize..starts[position as usize + 1] as usize;
        let sealed = &self.numbers(Section::Records)[range];
        decode_photo(sealed).map_err(|unreadable| unreadable.at(&self.path))
    }

    fn numbers<T: Plain>(&self, section: Section) -> &[T] {
        let bytes = &self.map.bytes()[self.sections[section as usize].clone()];
        numbers(bytes).expect("lengths were checked when opened, and sections are aligned")
    }

    /// Whether the sections fit each other. The checksums are right already, so this guards against a
    /// faulty writer, and lets everything else index without looking.
    fn check(&self, header: &Header) -> Result<(), String> {
        let len = |section: Section| self.sections[section as usize].len() as u64;
        let fits = |section, count: u64, size: u64| count.checked_mul(size) == Some(len(section));
        let (rows, photos) = (header.rows, header.photos);
        let lengths_fit = header.dim == self.info.model.dim as u64
            && header.dim > 0
            && u32::try_from(rows).is_ok()
            && fits(Section::Vectors, rows, header.dim.saturating_mul(4))
            && fits(Section::PhotoIds, photos, 8)
            && fits(Section::PhotoRows, photos, 4)
            && fits(Section::RowStarts, rows + 1, 4)
            && fits(Section::RowPhotos, photos, 4)
            && fits(Section::RecordStarts, photos.saturating_add(1), 8)
            && len(Section::Graph).is_multiple_of(4);
        if !lengths_fit {
            return Err("the lengths of its sections do not fit its counts".into());
        }
        let below = |section, limit: u64| {
            self.numbers::<u32>(section)
                .iter()
                .all(|&position| u64::from(position) < limit)
        };
        let row_starts: &[u32] = self.numbers(Section::RowStarts);
        let record_starts: &[u64] = self.numbers(Section::RecordStarts);
        let positions_fit = self
            .numbers::<u64>(Section::PhotoIds)
            .is_sorted_by(|a, b| a < b)
            && below(Section::PhotoRows, rows)
            && below(Section::RowPhotos, photos)
            && row_starts.is_sorted()
            && row_starts
                .last()
                .is_some_and(|&end| u64::from(end) == photos)
            && record_starts.is_sorted()
            && record_starts.last() == Some(&len(Section::Records));
        if !positions_fit {
            return Err("a position leads out of its section".into());
        }
        let graph = FlatGraph::view(self.numbers(Section::Graph))?;
        graph.check()?;
        if graph.rows() as u64 > rows {
            return Err("its graph has more rows than there are vectors".into());
        }
        Ok(())
    }
}

/// The header but for magic and checksum.
struct Header {
    format: u64,
    generation: u64,
    dim: u64,
    rows: u64,
    photos: u64,
    /// Offset, length and checksum of each section.
    table: Vec<[u64; 3]>,
}

impl Header {
    /// The header of a file that begins as a snapshot, once its checksum is seen to be right. That of another
    /// format may lie elsewhere; but where it would be right for one of ours, the format's number is damaged.
    fn read(file: &[u8]) -> Result<Self, String> {
        let (header, checksum) = Self::parse(file).ok_or("it is too short")?;
        if file[..8] != MAGIC.to_le_bytes() {
            return Err("it is no snapshot".into());
        }
        let fits = |format: u32| {
            let mut header = file[..HEADER_LEN - 8].to_vec();
            header[8..16].copy_from_slice(&u64::from(format).to_le_bytes());
            xxh3_64(&header) == checksum
        };
        let fitting = (OLDEST_FORMAT..=FORMAT).find(|&format| fits(format));
        if is_readable(header.format) || fitting.is_some() {
            let is_right = fitting.map(u64::from) == Some(header.format);
            return is_right
                .then_some(header)
                .ok_or_else(|| "its header fails the checksum".into());
        }
        Ok(header)
    }

    /// The header's words as they are, and the checksum that they should have.
    fn parse(file: &[u8]) -> Option<(Self, u64)> {
        let words = file.get(..HEADER_LEN)?.as_chunks().0.iter();
        let words: Vec<u64> = words.map(|word| u64::from_le_bytes(*word)).collect();
        let header = Self {
            format: words[1],
            generation: words[2],
            dim: words[3],
            rows: words[4],
            photos: words[5],
            table: words[FIELDS..HEADER_WORDS - 1].as_chunks().0.to_vec(),
        };
        Some((header, words[HEADER_WORDS - 1]))
    }

    fn to_bytes(&self) -> Vec<u8> {
        let Self {
            format,
            generation,
            dim,
            rows,
            photos,
            table,
        } = self;
        let mut words = vec![MAGIC, *format, *generation, *dim, *rows, *photos];
        words.extend(table.as_flattened());
        words.push(xxh3_64(bytes_of(&words)));
        bytes_of(&words).to_vec()
    }

    /// The places of the sections, after their checksums and the file's length were checked.
    fn sections(&self, file: &[u8]) -> Result<[Range<usize>; SECTIONS], String> {
        let mut end = HEADER_LEN;
        let mut sections = [const { 0..0 }; SECTIONS];
        for (section, &[offset, len, checksum]) in sections.iter_mut().zip(&self.table) {
            let start = end.next_multiple_of(ALIGNMENT);
            let bytes = usize::try_from(len)
                .ok()
                .and_then(|len| file.get(start..)?.get(..len));
            let bytes = bytes
                .filter(|_| offset == start as u64)
                .ok_or("a section lies outside of it")?;
            if xxh3_64(bytes) != checksum {
                return Err("a section fails its checksum".into());
            }
            end = start + bytes.len();
            *section = start..end;
        }
        if end != file.len() {
            return Err("it is longer than its sections".into());
        }
        Ok(sections)
    }
}

/// Puts the checksums of a changed snapshot right, wherever its sections lie within it.
#[cfg(any(test, fuzzing))]
pub(crate) fn reseal(file: &mut [u8]) {
    let Some((header, _)) = Header::parse(file) else {
        return;
    };
    let len = file.len() as u64;
    let range = |section: usize| -> Range<usize> {
        let [start, bytes, _] = header.table[section];
        let end = start.saturating_add(bytes).min(len);
        start.min(end) as usize..end as usize
    };
    crate::index::codec::reseal(&mut file[range(Section::Info as usize)]);
    let starts = file[range(Section::RecordStarts as usize)].as_chunks().0;
    let starts: Vec<usize> = starts
        .iter()
        .map(|s| u64::from_le_bytes(*s) as usize)
        .collect();
    let records = &mut file[range(Section::Records as usize)];
    for bounds in starts.windows(2) {
        if let Some(record) = records.get_mut(bounds[0]..bounds[1]) {
            crate::index::codec::reseal(record);
        }
    }
    for section in 0..SECTIONS {
        let checksum = xxh3_64(&file[range(section)]).to_le_bytes();
        let at = (FIELDS + 3 * section + 2) * 8;
        file[at..at + 8].copy_from_slice(&checksum);
    }
    let (header, _) = file.split_at_mut(HEADER_LEN);
    crate::index::codec::reseal(header);
}

/// Which photo has which row, both ways.
struct PhotoLinks {
    photo_rows: Vec<u32>,
    row_starts: Vec<u32>,
    row_photos: Vec<u32>,
}

impl PhotoLinks {
    fn new(contents: &Contents) -> Self {
        let row_of: HashMap<VectorId, u32> = contents
            .rows
            .iter()
            .enumerate()
            .map(|(row, &id)| (id, row as u32))
            .collect();
        let photo_rows: Vec<u32> = contents
            .photos
            .iter()
            .map(|(_, record)| row_of[&record.vector])
            .collect();
        let mut row_photos: Vec<u32> = (0..photo_rows.len() as u32).collect();
        row_photos.sort_by_key(|&position| photo_rows[position as usize]);
        let mut counts = vec![0; contents.rows.len()];
        for &row in &photo_rows {
            counts[row as usize] += 1;
        }
        Self {
            row_starts: starts(counts.into_iter()),
            photo_rows,
            row_photos,
        }
    }
}

/// Returns where each of some consecutive things starts, and where the last one ends.
fn starts<T: Copy + Default + std::ops::AddAssign>(lengths: impl Iterator<Item = T>) -> Vec<T> {
    let mut end = T::default();
    let mut starts = vec![end];
    starts.extend(lengths.map(|len| {
        end += len;
        end
    }));
    starts
}

/// Writes sections one after another and notes where they lie and what their checksums are.
struct SectionWriter<'a> {
    file: BufWriter<File>,
    path: &'a Path,
    position: usize,
    hasher: Xxh3,
    table: Vec<[u64; 3]>,
}

impl<'a> SectionWriter<'a> {
    fn new(file: BufWriter<File>, path: &'a Path) -> Self {
        Self {
            file,
            path,
            position: 0,
            hasher: Xxh3::new(),
            table: Vec::with_capacity(SECTIONS),
        }
    }

    fn section(&mut self, fill: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let start = self.position.max(HEADER_LEN).next_multiple_of(ALIGNMENT);
        self.put(&vec![0; start - self.position])?;
        self.hasher.reset();
        fill(self)?;
        self.table.push([
            start as u64,
            (self.position - start) as u64,
            self.hasher.digest(),
        ]);
        Ok(())
    }

    fn numbers<T: Plain>(&mut self, numbers: &[T]) -> Result<()> {
        self.section(|out| out.put(bytes_of(numbers)))
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        self.position += bytes.len();
        self.file.write_all(bytes).map_err(Error::io(self.path))
    }

    fn finish(mut self, contents: &Contents) -> Result<()> {
        let header = Header {
            format: u64::from(FORMAT),
            generation: contents.generation,
            dim: contents.info.model.dim as u64,
            rows: contents.rows.len() as u64,
            photos: contents.photos.len() as u64,
            table: self.table,
        };
        let mut write = || {
            self.file.seek(SeekFrom::Start(0))?;
            self.file.write_all(&header.to_bytes())?;
            self.file.flush()?;
            self.file.get_ref().sync_all()
        };
        write().map_err(Error::io(self.path))
    }
}
