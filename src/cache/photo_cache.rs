//! The image side of photos, cached from one query to the next.
//!
//! The image side of a match is the same for every query: decoding, image tower, bridge. Kept by the content that was
//! read for it, so that a moved photo finds it again and an edited one does not; under the model, its number format and
//! the preprocessing, so that no other model does. States are rounded to bf16, also when they are computed and not read:
//! a query's answer does not depend on what was kept.
//!
//! One file a photo, written beside and renamed: any number of processes may read and write. A file that is missing,
//! cut short or damaged is one that is computed again.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::SystemTime;

use candle_core::{DType, Device, Tensor};
use xxhash_rust::xxh3::xxh3_64;

use super::about::{ABOUT, About, FORMAT, PART_PREFIX, level_name};
use crate::engine::{CacheLevel, Engine, ImageSide};
use crate::error::{Error, Result};
use crate::photo::ContentHash;
use crate::processor::Pixels;

/// A folder of kept photos.
#[derive(Debug)]
pub struct PhotoCache {
    root: PathBuf,
    /// The folder of this model's files.
    dir: PathBuf,
    level: CacheLevel,
    /// States of one photo in a file.
    states: usize,
    limit: u64,
    device: Device,
    about: About,
    has_grown: AtomicBool,
}

const MAGIC: &[u8; 8] = b"BTKEPT02";
/// Magic, count, rows, width.
const HEADER: usize = 8 + 3 * 4;
/// Tells apart what the threads of one process write.
static NUMBER: AtomicU64 = AtomicU64::new(0);
/// The part of the limit that trimming leaves, so that not every query trims.
const TRIMMED_PART: f64 = 0.9;

impl PhotoCache {
    /// A cache in the folder `root` for what `engine` computes; `limit` is what all files in it may take, bytes. The
    /// folder is made when something is first kept.
    pub fn new(root: &Path, engine: &Engine, level: CacheLevel, limit: u64) -> Result<Self> {
        let model = engine.model();
        let about = About {
            model: engine.name().to_owned(),
            fingerprint: model.image_side_fingerprint()?,
            preprocessing: engine.processor().image().describe(),
            numbers: model.number_format().to_string(),
            level: level_name(level),
            format: FORMAT,
        };
        let key = format!(
            "{FORMAT} {} {} {} {level:?}",
            about.fingerprint, about.preprocessing, about.numbers
        );
        let key = blake3::hash(key.as_bytes()).to_hex();
        Ok(Self {
            root: root.to_owned(),
            dir: root.join(&key[..16]),
            level,
            states: match level {
                CacheLevel::None | CacheLevel::Pixels => 0,
                CacheLevel::Split => 1,
                CacheLevel::Full => model.config().num_hidden_layers,
            },
            limit,
            device: model.device().clone(),
            about,
            has_grown: AtomicBool::new(false),
        })
    }

    /// The level at which it keeps photos.
    pub fn level(&self) -> CacheLevel {
        self.level
    }

    /// The most that all files may take, bytes.
    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// Returns the cached data of the photo with this content.
    pub(crate) fn load(&self, photo: ContentHash) -> Option<ImageSide> {
        if self.level == CacheLevel::None {
            return None;
        }
        let path = self.path(photo);
        let bytes = fs::read(&path).ok()?;
        let kept = self.decode(&bytes);
        // The file's time says when it last served. Where neither can be done, nothing is lost.
        let _ = match kept {
            Some(_) => File::open(&path).and_then(|file| file.set_modified(SystemTime::now())),
            None => fs::remove_file(&path),
        };
        kept
    }

    /// Keeps what was computed of a photo.
    pub(crate) fn store(&self, photo: ContentHash, kept: &ImageSide) -> Result<()> {
        if self.level == CacheLevel::None {
            return Ok(());
        }
        self.write(photo, &encode(kept)?)
    }

    pub(super) fn write(&self, photo: ContentHash, bytes: &[u8]) -> Result<()> {
        if !self.has_grown.load(Ordering::Relaxed) {
            self.about.write(&self.dir)?;
        }
        let path = self.path(photo);
        let folder = path.parent().unwrap_or(&self.dir);
        fs::create_dir_all(folder).map_err(Error::io(folder))?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let part = folder.join(format!("{PART_PREFIX}{}-{number}", std::process::id()));
        let written = fs::write(&part, bytes).and_then(|()| fs::rename(&part, &path));
        if written.is_err() {
            let _ = fs::remove_file(&part);
        }
        self.has_grown.fetch_or(written.is_ok(), Ordering::Relaxed);
        written.map_err(Error::io(&path))
    }

    /// Removes what earlier programs kept, and what served least recently until the folder is below its limit; nothing
    /// where nothing was stored since.
    pub fn trim(&self) -> Result<()> {
        if !self.has_grown.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        self.remove_outdated();
        let mut files = self.files()?;
        let mut total: u64 = files.iter().map(|file| file.bytes).sum();
        if total <= self.limit {
            return Ok(());
        }
        files.sort_by_key(|file| file.served);
        let goal = (self.limit as f64 * TRIMMED_PART) as u64;
        for file in files {
            if total <= goal {
                break;
            }
            // Another process may have been quicker.
            let _ = fs::remove_file(&file.path);
            total -= file.bytes;
        }
        Ok(())
    }

    /// Removes the folders of earlier programs. What cannot be removed takes room, and does no other harm.
    pub(super) fn remove_outdated(&self) {
        let folders = fs::read_dir(&self.root).into_iter().flatten().flatten();
        for folder in folders.map(|entry| entry.path()) {
            if About::read(&folder).is_some_and(|about| about.is_outdated()) {
                let _ = fs::remove_dir_all(&folder);
            }
        }
    }

    /// All that is kept, by whatever model; nothing where there is no folder yet.
    pub(super) fn files(&self) -> Result<Vec<KeptFile>> {
        let mut files = Vec::new();
        match list(&self.root, &mut files) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io(&self.root)(error)),
            _ => Ok(files),
        }
    }

    fn path(&self, photo: ContentHash) -> PathBuf {
        let name = blake3::Hash::from_bytes(photo.0).to_hex();
        self.dir.join(&name[..2]).join(name.as_str())
    }

    fn decode(&self, bytes: &[u8]) -> Option<ImageSide> {
        let (body, sum) = bytes.split_last_chunk::<8>()?;
        if xxh3_64(body) != u64::from_le_bytes(*sum) || !body.starts_with(MAGIC) {
            return None;
        }
        let (header, values) = body.split_at_checked(HEADER)?;
        let number =
            |i: usize| Some(u32::from_le_bytes(*header.get(8 + 4 * i..)?.first_chunk()?) as usize);
        let (count, rows, width) = (number(0)?, number(1)?, number(2)?);
        if self.level == CacheLevel::Pixels {
            let data = values.to_vec();
            let bytes = rows.checked_mul(rows)?.checked_mul(3)?;
            let is_whole = count == 3 && rows == width && data.len() == bytes;
            return is_whole.then_some(ImageSide::Pixels(Pixels { side: rows, data }));
        }
        let bytes = rows.checked_mul(width)?.checked_mul(2)?;
        if bytes == 0 || values.len() != bytes.checked_mul(count)? {
            return None;
        }
        let state = |bytes: &[u8]| {
            let shape = [1, rows, width];
            Tensor::from_raw_buffer(bytes, DType::BF16, &shape, &self.device)
        };
        let states = values.chunks_exact(bytes).map(state);
        let states: Vec<Tensor> = states.collect::<candle_core::Result<_>>().ok()?;
        (states.len() == self.states).then_some(ImageSide::States(states))
    }
}

pub(super) fn encode(kept: &ImageSide) -> Result<Vec<u8>> {
    let (count, rows, width) = match kept {
        ImageSide::Pixels(pixels) => (3, pixels.side, pixels.side),
        ImageSide::States(states) => {
            let (_, rows, width) = states[0].dims3()?;
            (states.len(), rows, width)
        }
    };
    let mut bytes = MAGIC.to_vec();
    for number in [count, rows, width] {
        bytes.extend((number as u32).to_le_bytes());
    }
    match kept {
        ImageSide::Pixels(pixels) => bytes.extend(&pixels.data),
        ImageSide::States(states) => {
            for state in states {
                state.to_dtype(DType::BF16)?.write_bytes(&mut bytes)?;
            }
        }
    }
    let sum = xxh3_64(&bytes);
    bytes.extend(sum.to_le_bytes());
    Ok(bytes)
}

/// A kept file as every level reads it: see [`crate::fuzzing`]. Magic and checksum are put right.
///
/// # Panics
///
/// To tell what it found.
#[cfg(any(test, fuzzing))]
#[allow(clippy::missing_panics_doc, reason = "a panic is what is looked for")]
pub fn fuzz_kept(data: &[u8]) {
    let mut bytes = [MAGIC, data].concat();
    bytes.extend(xxh3_64(&bytes).to_le_bytes());
    for (level, states) in [
        (CacheLevel::Pixels, 0),
        (CacheLevel::Split, 1),
        (CacheLevel::Full, 2),
    ] {
        let cache = PhotoCache {
            root: PathBuf::new(),
            dir: PathBuf::new(),
            level,
            states,
            limit: 0,
            device: Device::Cpu,
            about: About::default(),
            has_grown: AtomicBool::new(false),
        };
        assert!(cache.decode(data).is_none() || data.starts_with(MAGIC));
        if let Some(kept) = cache.decode(&bytes) {
            assert_eq!(encode(&kept).expect("encodes"), bytes);
        }
    }
}

/// The seeds of fuzzing: a picture of four pixels, one state and two.
#[cfg(test)]
pub(crate) fn kept_seeds() -> Vec<Vec<u8>> {
    let file = |sizes: [u32; 3], values: &[u8]| {
        let sizes = sizes.into_iter().flat_map(u32::to_le_bytes);
        sizes.chain(values.iter().copied()).collect()
    };
    vec![
        file([3, 2, 2], &[7; 12]),
        file([1, 2, 3], &[9; 12]),
        file([2, 1, 2], &[1; 8]),
    ]
}

pub(super) struct KeptFile {
    path: PathBuf,
    pub(super) bytes: u64,
    served: SystemTime,
}

/// All files below `folder`; what vanishes meanwhile is left out.
fn list(folder: &Path, files: &mut Vec<KeptFile>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)?.flatten() {
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        if metadata.is_dir() {
            let _ = list(&entry.path(), files);
        } else if entry.file_name() != ABOUT {
            files.push(KeptFile {
                path: entry.path(),
                bytes: metadata.len(),
                served: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::filling::Filling;
    use super::*;
    use crate::engine::EngineOptions;

    const MODEL: &str = "tests/fixtures/checkpoints/tiny-random";

    fn engine() -> Engine {
        Engine::load(MODEL, &EngineOptions::default(), &mut |_, _, _| {}).expect("loads")
    }

    fn pixels(engine: &Engine, shade: u8) -> Pixels {
        let side = engine.model().config().vision_config.image_size;
        let data = (0..3 * side * side)
            .map(|i| (i as u8).wrapping_mul(shade))
            .collect();
        Pixels { side, data }
    }

    fn logits(
        engine: &Engine,
        level: CacheLevel,
        kept: &[ImageSide],
    ) -> Vec<crate::engine::ItmLogits> {
        let text = engine.processor().text().encode("a cat").expect("encodes");
        let text = engine.bridge_texts(&[text]).expect("bridges");
        let photos = engine.bridge_image_sides(level, kept).expect("bridges");
        engine.match_bridged(&text, &photos).expect("matches")
    }

    #[test]
    fn what_is_read_back_answers_as_what_was_computed() {
        let (engine, dir) = (engine(), tempfile::tempdir().expect("tempdir"));
        let photos = [pixels(&engine, 3), pixels(&engine, 7)];
        let exact = logits(
            &engine,
            CacheLevel::None,
            &photos.clone().map(ImageSide::Pixels),
        );
        for level in [CacheLevel::Pixels, CacheLevel::Split, CacheLevel::Full] {
            let cache = PhotoCache::new(dir.path(), &engine, level, u64::MAX).expect("opens");
            let kept = engine.image_sides(level, &photos).expect("computes");
            let computed = logits(&engine, level, &kept);
            let hash = |i: usize| ContentHash([i as u8; 32]);
            for (i, kept) in kept.iter().enumerate() {
                assert!(cache.load(hash(i)).is_none());
                cache.store(hash(i), kept).expect("stores");
            }
            let read: Vec<ImageSide> = (0..2)
                .map(|i| cache.load(hash(i)).expect("is there"))
                .collect();
            assert_eq!(logits(&engine, level, &read), computed, "{level:?}");
            for (near, exact) in computed.iter().zip(&exact) {
                assert!(
                    (near.yes - exact.yes).abs() < 0.05,
                    "{level:?}: {near:?} {exact:?}"
                );
            }
        }
    }

    #[test]
    fn damaged_files_are_computed_again() {
        let (engine, dir) = (engine(), tempfile::tempdir().expect("tempdir"));
        let cache =
            PhotoCache::new(dir.path(), &engine, CacheLevel::Split, u64::MAX).expect("opens");
        let kept = engine
            .image_sides(CacheLevel::Split, &[pixels(&engine, 5)])
            .expect("computes");
        let (hash, whole) = (ContentHash([9; 32]), encode(&kept[0]).expect("encodes"));
        let path = cache.path(hash);
        cache.store(hash, &kept[0]).expect("stores");
        for at in (0..whole.len()).step_by(97) {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x10;
            for damaged in [flipped, whole[..at].to_vec()] {
                fs::write(&path, damaged).expect("writes");
                assert!(cache.load(hash).is_none(), "byte {at}");
                assert!(!path.exists(), "byte {at}");
            }
        }
    }

    #[test]
    fn what_earlier_programs_kept_is_not_believed_and_goes_away() {
        let (engine, dir) = (engine(), tempfile::tempdir().expect("tempdir"));
        let cache =
            PhotoCache::new(dir.path(), &engine, CacheLevel::Split, u64::MAX).expect("opens");
        let kept = engine
            .image_sides(CacheLevel::Split, &[pixels(&engine, 5)])
            .expect("computes");
        let hash = ContentHash([9; 32]);
        let mut old = encode(&kept[0]).expect("encodes");
        old[..8].copy_from_slice(b"BTKEPT01");
        let end = old.len() - 8;
        let sum = xxh3_64(&old[..end]).to_le_bytes();
        old[end..].copy_from_slice(&sum);
        // Where it would lie if the folder's name were still the same, and where it does lie.
        let about = r#"{"model": "m", "fingerprint": "f", "preprocessing": "p", "numbers": "f32", "level": "split"}"#;
        let folder = dir.path().join("0123456789abcdef");
        for path in [cache.path(hash), folder.join("09/old")] {
            fs::create_dir_all(path.parent().expect("a folder")).expect("creates");
            fs::write(&path, &old).expect("writes");
        }
        fs::write(folder.join(ABOUT), about).expect("writes");
        assert!(cache.load(hash).is_none());
        assert!(!cache.path(hash).exists());

        cache.store(hash, &kept[0]).expect("stores");
        cache.trim().expect("trims");
        assert!(!folder.exists());
        assert!(cache.load(hash).is_some());
    }

    #[test]
    fn the_least_recently_used_leave_first() {
        let (engine, dir) = (engine(), tempfile::tempdir().expect("tempdir"));
        let kept = engine
            .image_sides(CacheLevel::Split, &[pixels(&engine, 5)])
            .expect("computes");
        let size = encode(&kept[0]).expect("encodes").len() as u64;
        let cache =
            PhotoCache::new(dir.path(), &engine, CacheLevel::Split, 4 * size).expect("opens");
        let hash = |i: u8| ContentHash([i; 32]);
        for i in 0..6 {
            cache.store(hash(i), &kept[0]).expect("stores");
            let file = File::open(cache.path(hash(i))).expect("opens");
            let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(u64::from(i) + 1);
            file.set_modified(time).expect("sets");
        }
        assert!(cache.load(hash(0)).is_some());
        cache.trim().expect("trims");
        let left: Vec<u8> = (0..6).filter(|i| cache.path(hash(*i)).exists()).collect();
        assert_eq!(left, [0, 4, 5]);
    }

    #[test]
    fn filling_stops_at_the_limit_and_drives_nothing_out() {
        let (engine, dir) = (engine(), tempfile::tempdir().expect("tempdir"));
        let kept = engine
            .image_sides(CacheLevel::Split, &[pixels(&engine, 5)])
            .expect("computes");
        let size = encode(&kept[0]).expect("encodes").len() as u64;
        let cache =
            PhotoCache::new(dir.path(), &engine, CacheLevel::Split, 3 * size).expect("opens");
        let hash = |i: u8| ContentHash([i; 32]);
        let fill = |photos: std::ops::Range<u8>| -> Vec<bool> {
            let mut filling = Filling::new(&cache);
            let store = |i| filling.store(hash(i), &kept[0]).expect("stores");
            photos.map(store).collect()
        };
        assert_eq!(fill(0..2), [true, true]);
        assert_eq!(fill(2..5), [true, false, false]);
        let there: Vec<u8> = (0..5).filter(|i| cache.load(hash(*i)).is_some()).collect();
        assert_eq!(there, [0, 1, 2]);
    }

    #[test]
    fn filling_does_not_count_what_earlier_programs_kept() {
        let (engine, dir) = (engine(), tempfile::tempdir().expect("tempdir"));
        let kept = engine
            .image_sides(CacheLevel::Split, &[pixels(&engine, 5)])
            .expect("computes");
        let size = encode(&kept[0]).expect("encodes").len() as u64;
        let cache = PhotoCache::new(dir.path(), &engine, CacheLevel::Split, size).expect("opens");
        let old = About {
            format: 0,
            ..cache.about.clone()
        };
        let folder = dir.path().join("old");
        old.write(&folder).expect("writes");
        fs::write(folder.join("kept"), vec![0; size as usize]).expect("writes");
        let mut filling = Filling::new(&cache);
        assert!(
            filling
                .store(ContentHash([1; 32]), &kept[0])
                .expect("stores")
        );
        assert!(!folder.exists());
    }

    #[test]
    fn what_a_build_keeps_is_what_a_query_would() {
        let engine = engine();
        let photos = [pixels(&engine, 3), pixels(&engine, 7)];
        let embedded = engine.embed_photos(&photos).expect("embeds");
        for level in [CacheLevel::Pixels, CacheLevel::Split, CacheLevel::Full] {
            let (with, kept) = engine
                .embed_with_image_sides(level, &photos)
                .expect("computes");
            for (alone, with) in embedded.iter().zip(&with) {
                assert!(alone.cosine(with) > 0.999_999, "{level:?}");
            }
            let bytes = |kept: &[ImageSide]| -> Vec<Vec<u8>> {
                kept.iter().map(|k| encode(k).expect("encodes")).collect()
            };
            let queried = engine.image_sides(level, &photos).expect("computes");
            assert_eq!(bytes(&kept), bytes(&queried), "{level:?}");
        }
    }

    #[test]
    fn other_models_and_formats_keep_apart() {
        let (engine, dir) = (engine(), tempfile::tempdir().expect("tempdir"));
        let open = |engine: &Engine, level| {
            PhotoCache::new(dir.path(), engine, level, 0)
                .expect("opens")
                .dir
        };
        let exact = EngineOptions {
            precision: crate::engine::Precision::F32,
            ..EngineOptions::default()
        };
        let exact = Engine::load(MODEL, &exact, &mut |_, _, _| {}).expect("loads");
        let own = open(&engine, CacheLevel::Split);
        assert_ne!(own, open(&engine, CacheLevel::Full));
        let is_same = engine.model().number_format() == exact.model().number_format();
        assert_eq!(own == open(&exact, CacheLevel::Split), is_same);
    }
}
