//! Packed weights in files, so that a process maps what another one packed.
//!
//! Each part of a model (a tower, a bridge, the cross-modal layers) has a file of its own, so a command touches only
//! what it runs:
//!
//! ```text
//! <user's cache>/bridgetower/prepared/<checkpoint>/<part>-<format>.bin
//!   64 bytes   magic, version, length and xxh3-64 of what follows
//!   JSON       the weights' id, and for each layer its name, sizes, place and xxh3-64; filled up to 64 bytes
//!   layers     as `bt-kernels` reads them, each at a multiple of 64 bytes
//! ```
//!
//! A file of other weights, of another version or cut short is as good as none: its part is packed again and the file
//! replaced. The layers' own checksums are compared by [`Part::discard_damaged`] only, since that reads everything.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bt_kernels::{Format, Memory, Packed};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::error::{Error, Result};
use crate::mapped::Map;

const MAGIC: &[u8; 8] = b"btpacked";
const VERSION: u32 = 1;
const ALIGNMENT: usize = 64;

/// The folder that holds the parts of one checkpoint.
#[derive(Debug, Clone)]
pub(super) struct PackedWeights {
    /// `None` where the user has no cache folder.
    dir: Option<PathBuf>,
    /// Tells these weights from others that may come to lie in the same folder.
    weights_id: String,
}

impl PackedWeights {
    /// For the checkpoint in `checkpoint`, whose weights `weights_id` identifies.
    pub(super) fn new(checkpoint: &Path, weights_id: &str) -> Self {
        Self {
            dir: root().map(|root| root.join(folder_name(checkpoint))),
            weights_id: weights_id.to_owned(),
        }
    }

    /// The part called `name` with weights in `format`, from its file as far as there is one.
    pub(super) fn part(&self, name: &str, format: Format) -> Part {
        let file_name = format!("{name}-{}.bin", format_name(format));
        let path = self.dir.as_ref().map(|dir| dir.join(file_name));
        Part {
            mapped: path
                .as_deref()
                .and_then(|path| Mapped::open(path, &self.weights_id)),
            path,
            format,
            weights_id: self.weights_id.clone(),
            layers: RefCell::default(),
            is_complete: Cell::new(true),
        }
    }

    /// The folder of the files, and the bytes that they take.
    pub(super) fn on_disk(&self) -> Result<(PathBuf, u64)> {
        let dir = self.dir.as_deref().ok_or_else(|| Error::Input {
            reason: "there is no cache folder for this user: set XDG_CACHE_HOME or HOME".into(),
        })?;
        let files = fs::read_dir(dir).map_err(Error::io(dir))?;
        let bytes = files.filter_map(|file| Some(file.ok()?.metadata().ok()?.len()));
        Ok((dir.to_owned(), bytes.sum()))
    }
}

/// The folder below which all prepared weights lie; `None` where the user has no cache folder.
pub fn root() -> Option<PathBuf> {
    Some(dirs::cache_dir()?.join("bridgetower").join("prepared"))
}

/// Short, and the same for every path to the folder.
fn folder_name(checkpoint: &Path) -> String {
    let path = checkpoint.canonicalize();
    let path = path.as_deref().unwrap_or(checkpoint);
    let hash = blake3::hash(path.as_os_str().as_encoded_bytes()).to_hex();
    hash[..16].to_owned()
}

pub(super) fn format_name(format: Format) -> &'static str {
    match format {
        Format::F32 => "f32",
        Format::Bf16 => "bf16",
        Format::Int8 => "int8",
    }
}

/// One part's layers: those that its file has, and those that had to be packed.
pub(super) struct Part {
    path: Option<PathBuf>,
    format: Format,
    weights_id: String,
    mapped: Option<Mapped>,
    layers: RefCell<Vec<Layer>>,
    /// Whether the file has all of them.
    is_complete: Cell<bool>,
}

struct Layer {
    name: String,
    /// Inputs, outputs.
    sizes: [usize; 2],
    weights: Arc<Packed>,
}

impl Part {
    pub(super) fn format(&self) -> Format {
        self.format
    }

    /// The same without its file, if any layer there is not what was written.
    pub(super) fn discard_damaged(mut self) -> Self {
        self.mapped = self.mapped.filter(|mapped| mapped.is_intact(self.format));
        self
    }

    /// The layer called `name`, of `sizes` inputs and outputs; `read` gives its weights, row by row, and bias.
    pub(super) fn layer(
        &self,
        name: &str,
        sizes: [usize; 2],
        read: impl FnOnce() -> candle_core::Result<(Vec<f32>, Vec<f32>)>,
    ) -> candle_core::Result<Arc<Packed>> {
        let mapped = self
            .mapped
            .as_ref()
            .and_then(|mapped| mapped.layer(name, self.format, sizes));
        let weights = if let Some(layer) = mapped {
            Arc::new(layer)
        } else {
            self.is_complete.set(false);
            let (weights, bias) = read()?;
            Arc::new(Packed::new(self.format, &weights, sizes[0], &bias))
        };
        self.layers.borrow_mut().push(Layer {
            name: name.to_owned(),
            sizes,
            weights: weights.clone(),
        });
        Ok(weights)
    }

    /// Writes the file, unless it has everything or would be smaller than `least` bytes.
    pub(super) fn save(&self, least: usize) -> Result<()> {
        let layers = self.layers.borrow();
        let size: usize = layers.iter().map(|layer| layer.byte_len(self.format)).sum();
        let Some(path) = self
            .path
            .as_deref()
            .filter(|_| !self.is_complete.get() && size >= least)
        else {
            return Ok(());
        };
        let dir = path.parent().unwrap_or(path);
        fs::create_dir_all(dir).map_err(Error::io(dir))?;
        let draft = path.with_extension(format!("{}.tmp", std::process::id()));
        self.write(&draft, &layers)
            .and_then(|()| fs::rename(&draft, path))
            .map_err(|error| {
                let _ = fs::remove_file(&draft);
                Error::io(path)(error)
            })
    }

    fn write(&self, path: &Path, layers: &[Layer]) -> std::io::Result<()> {
        let mut entries = Vec::with_capacity(layers.len());
        let mut offset = 0;
        for layer in layers {
            let [inputs, outputs] = layer.sizes;
            entries.push(Entry {
                name: layer.name.clone(),
                inputs,
                outputs,
                offset,
                xxh3: checksum(&layer.weights),
            });
            offset += layer.byte_len(self.format);
        }
        let json = serde_json::to_vec(&Contents {
            weights_id: self.weights_id.clone(),
            bytes: offset,
            layers: entries,
        })?;
        let mut file = BufWriter::new(File::create(path)?);
        file.write_all(MAGIC)?;
        file.write_all(&VERSION.to_le_bytes())?;
        file.write_all(&(json.len() as u32).to_le_bytes())?;
        file.write_all(&xxh3_64(&json).to_le_bytes())?;
        file.write_all(&[0; ALIGNMENT - 24])?;
        file.write_all(&json)?;
        file.write_all(&vec![0; layers_start(json.len()) - ALIGNMENT - json.len()])?;
        for layer in layers {
            for section in layer.weights.sections() {
                file.write_all(section)?;
            }
        }
        file.into_inner()?.sync_all()
    }
}

impl Layer {
    fn byte_len(&self, format: Format) -> usize {
        Packed::byte_len(format, self.sizes[0], self.sizes[1])
    }
}

#[derive(Serialize, Deserialize)]
struct Contents {
    weights_id: String,
    /// Of all layers together.
    bytes: usize,
    layers: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    name: String,
    inputs: usize,
    outputs: usize,
    /// Of its first byte, counted from the first layer's.
    offset: usize,
    xxh3: u64,
}

/// A part's file.
struct Mapped {
    memory: Memory,
    /// The start of the first layer.
    start: usize,
    layers: HashMap<String, Entry>,
}

impl Mapped {
    /// `None` unless the file is there, whole, and of these weights.
    fn open(path: &Path, weights_id: &str) -> Option<Self> {
        let map = Map::open(path).ok()?;
        let bytes = map.bytes();
        let word = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        if bytes.get(..8)? != MAGIC || word(8)? != VERSION {
            return None;
        }
        let json_len = word(12)? as usize;
        let checksum = u64::from_le_bytes(*bytes.get(16..)?.first_chunk()?);
        let json = bytes.get(ALIGNMENT..ALIGNMENT + json_len)?;
        if xxh3_64(json) != checksum {
            return None;
        }
        let contents: Contents = serde_json::from_slice(json).ok()?;
        let start = layers_start(json_len);
        if contents.weights_id != weights_id || bytes.len() != start + contents.bytes {
            return None;
        }
        let layers = contents.layers.into_iter();
        Some(Self {
            layers: layers.map(|entry| (entry.name.clone(), entry)).collect(),
            memory: Arc::new(map),
            start,
        })
    }

    fn layer(&self, name: &str, format: Format, [inputs, outputs]: [usize; 2]) -> Option<Packed> {
        let entry = self.layers.get(name)?;
        if (entry.inputs, entry.outputs) != (inputs, outputs) {
            return None;
        }
        Packed::map(
            format,
            inputs,
            outputs,
            &self.memory,
            self.start + entry.offset,
        )
    }

    fn is_intact(&self, format: Format) -> bool {
        self.layers.values().all(|entry| {
            let layer = self.layer(&entry.name, format, [entry.inputs, entry.outputs]);
            layer.is_some_and(|layer| checksum(&layer) == entry.xxh3)
        })
    }
}

/// Where the first layer begins, after that many bytes of JSON.
fn layers_start(json_len: usize) -> usize {
    (ALIGNMENT + json_len).next_multiple_of(ALIGNMENT)
}

fn checksum(layer: &Packed) -> u64 {
    let mut hasher = Xxh3::new();
    layer
        .sections()
        .iter()
        .for_each(|section| hasher.update(section));
    hasher.digest()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: [usize; 2] = [40, 70];

    fn values() -> (Vec<f32>, Vec<f32>) {
        let number = |i: usize| (i * 37 % 101) as f32 / 50.0 - 1.0;
        (
            (0..40 * 70).map(number).collect(),
            (0..70).map(number).collect(),
        )
    }

    /// The part as a process that starts now finds it, and what its layer computes.
    fn compute(prepared: &PackedWeights, may_pack: bool) -> Vec<f32> {
        let part = prepared.part("tower", Format::F32);
        let layer = part.layer("layer", SIZES, || {
            assert!(may_pack, "the layer is not in its file");
            Ok(values())
        });
        part.save(0).expect("writes");
        layer
            .expect("packs")
            .forward(&[0.5; 80], bt_kernels::Activation::None, None)
    }

    #[test]
    fn a_part_is_packed_once_and_again_when_its_file_is_not_what_it_was() {
        if !Format::F32.is_supported() {
            return;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let prepared = |id: &str| PackedWeights {
            dir: Some(folder.path().to_owned()),
            weights_id: id.to_owned(),
        };
        let packed = compute(&prepared("a"), true);
        assert_eq!(compute(&prepared("a"), false), packed);
        // Other weights at the same place.
        assert_eq!(compute(&prepared("b"), true), packed);
        assert_eq!(compute(&prepared("b"), false), packed);

        let path = folder.path().join("tower-f32.bin");
        let whole = fs::read(&path).expect("reads");
        for damaged in [&whole[..whole.len() - 1], &whole[..50], &[], &[0; 4096]] {
            fs::write(&path, damaged).expect("writes");
            assert_eq!(compute(&prepared("b"), true), packed);
            assert_eq!(fs::read(&path).expect("reads"), whole);
        }
        let mut flipped = whole.clone();
        flipped[70] ^= 1;
        fs::write(&path, &flipped).expect("writes");
        assert_eq!(compute(&prepared("b"), true), packed);

        // Among the weights themselves only who asks for it looks.
        let mut flipped = whole.clone();
        let last = flipped.len() - 4000;
        flipped[last] ^= 1;
        fs::write(&path, &flipped).expect("writes");
        assert!(prepared("b").part("tower", Format::F32).mapped.is_some());
        let checked = prepared("b").part("tower", Format::F32).discard_damaged();
        assert!(checked.mapped.is_none());
    }

    #[test]
    fn small_parts_are_not_worth_a_file() {
        if !Format::F32.is_supported() {
            return;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let prepared = PackedWeights {
            dir: Some(folder.path().join("models")),
            weights_id: "a".into(),
        };
        let part = prepared.part("tower", Format::F32);
        part.layer("layer", SIZES, || Ok(values())).expect("packs");
        part.save(1 << 20).expect("has nothing to do");
        assert!(!folder.path().join("models").exists());
    }
}
