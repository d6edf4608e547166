//! A checkpoint folder's weights, in every layout that was ever published.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use candle_core::pickle::PthTensors;
use candle_core::safetensors::MmapedSafetensors;
use candle_core::{DType, Device, Shape, Tensor, bail};
use candle_nn::{Init, VarBuilder, var_builder::SimpleBackend};
use serde::Deserialize;

use crate::error::{Error, Result};

/// The tensors of one checkpoint by name; their values are read when asked for.
#[derive(Clone)]
pub(super) struct Weights {
    files: Arc<Files>,
    /// Shapes by name, sorted, so that whatever walks them is deterministic.
    shapes: Arc<BTreeMap<String, Vec<usize>>>,
    paths: Arc<[PathBuf]>,
}

enum Files {
    Safetensors(MmapedSafetensors),
    Pth(Vec<PthTensors>),
}

impl Weights {
    /// Opens `model.safetensors`, `pytorch_model.bin`, or either one sharded; safetensors first.
    pub(super) fn open(dir: &Path) -> Result<Self> {
        let layouts = [
            ("model.safetensors", true),
            ("model.safetensors.index.json", true),
            ("pytorch_model.bin", false),
            ("pytorch_model.bin.index.json", false),
        ];
        let found = layouts.iter().find(|(name, _)| dir.join(name).is_file());
        let Some((name, is_safetensors)) = found else {
            return Err(Error::NoModel {
                model: dir.display().to_string(),
                reason:
                    "the folder holds no model.safetensors, pytorch_model.bin, or index of shards"
                        .into(),
            });
        };
        let files = shards(&dir.join(name))?;
        if *is_safetensors {
            Self::open_safetensors(&files)
        } else {
            Self::open_pth(&files)
        }
    }

    fn open_safetensors(files: &[PathBuf]) -> Result<Self> {
        // One by one first, so that a truncated shard is named.
        for file in files {
            map_safetensors(std::slice::from_ref(file)).map_err(checkpoint(file))?;
        }
        let mapped = map_safetensors(files).map_err(checkpoint(&files[0]))?;
        let shapes = mapped
            .tensors()
            .into_iter()
            .map(|(name, view)| (name, view.shape().to_vec()))
            .collect();
        Ok(Self {
            files: Arc::new(Files::Safetensors(mapped)),
            shapes: Arc::new(shapes),
            paths: files.into(),
        })
    }

    fn open_pth(files: &[PathBuf]) -> Result<Self> {
        let mut shapes = BTreeMap::new();
        let mut archives = Vec::with_capacity(files.len());
        for file in files {
            let archive = PthTensors::new(file, None).map_err(checkpoint(file))?;
            if archive.tensor_infos().is_empty() {
                return Err(checkpoint(file)(candle_core::Error::Msg(
                    "holds no tensors: is it a PyTorch zip archive?".into(),
                )));
            }
            for (name, info) in archive.tensor_infos() {
                shapes.insert(name.clone(), info.layout.dims().to_vec());
            }
            archives.push(archive);
        }
        Ok(Self {
            files: Arc::new(Files::Pth(archives)),
            shapes: Arc::new(shapes),
            paths: files.into(),
        })
    }

    /// Names and shapes of all tensors, sorted by name.
    pub(super) fn shapes(&self) -> &BTreeMap<String, Vec<usize>> {
        &self.shapes
    }

    /// One tensor's values as f32, flat.
    pub(super) fn values(&self, name: &str) -> candle_core::Result<Vec<f32>> {
        self.get_unchecked(name, DType::F32, &Device::Cpu)?
            .flatten_all()?
            .to_vec1()
    }

    /// Bytes, and nanoseconds since 1970, of each file.
    pub(super) fn sizes_and_times(&self) -> std::io::Result<Vec<(u64, u128)>> {
        let of = |path: &PathBuf| {
            let metadata = path.metadata()?;
            let modified = metadata.modified()?.duration_since(UNIX_EPOCH);
            Ok((metadata.len(), modified.map_or(0, |time| time.as_nanos())))
        };
        self.paths.iter().map(of).collect()
    }

    /// A `VarBuilder` over all tensors under their names in the files.
    pub(super) fn var_builder(&self, dtype: DType, device: &Device) -> VarBuilder<'static> {
        VarBuilder::from_backend(Box::new(self.clone()), dtype, device.clone())
    }
}

/// A table of which few rows are wanted at a time: they are read from the file when they are.
pub(super) struct Rows {
    weights: Weights,
    name: String,
    width: usize,
    dtype: DType,
    device: Device,
    /// The whole table, where the file does not lie in memory as it is.
    table: Option<Tensor>,
}

impl Weights {
    /// The rows of the tensor that `vb` names, of `shape` [rows, D].
    pub(super) fn rows(&self, shape: (usize, usize), vb: &VarBuilder) -> candle_core::Result<Rows> {
        let name = vb.prefix();
        let found = self.shapes.get(&name).map(Vec::as_slice);
        let is_mapped =
            matches!(*self.files, Files::Safetensors(_)) && found == Some(&[shape.0, shape.1]);
        let (dtype, device) = (vb.dtype(), vb.device().clone());
        let read =
            || SimpleBackend::get(self, shape.into(), &name, Init::Const(0.0), dtype, &device);
        Ok(Rows {
            table: (!is_mapped).then(read).transpose()?,
            weights: self.clone(),
            width: shape.1,
            name,
            dtype,
            device,
        })
    }
}

impl Rows {
    /// The rows `ids`, `[B, L]` → `[B, L, D]`.
    pub(super) fn of(&self, ids: &Tensor) -> candle_core::Result<Tensor> {
        let (b, l) = ids.dims2()?;
        let shape = (b, l, self.width);
        let ids = ids.flatten_all()?;
        if let Some(table) = &self.table {
            return table.index_select(&ids, 0)?.reshape(shape);
        }
        let Files::Safetensors(files) = self.weights.files.as_ref() else {
            bail!("tensor {} is not mapped", self.name)
        };
        let table = files.get(&self.name)?;
        let dtype = DType::try_from(table.dtype())?;
        let row_bytes = self.width * dtype.size_in_bytes();
        let mut rows = Vec::with_capacity(b * l * row_bytes);
        for id in ids.to_vec1::<u32>()? {
            match table.data().chunks_exact(row_bytes).nth(id as usize) {
                Some(row) => rows.extend_from_slice(row),
                None => bail!("tensor {} has no row {id}", self.name),
            }
        }
        Tensor::from_raw_buffer(&rows, dtype, &[b, l, self.width], &Device::Cpu)?
            .to_dtype(self.dtype)?
            .to_device(&self.device)
    }
}

impl SimpleBackend for Weights {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        _: Init,
        dtype: DType,
        device: &Device,
    ) -> candle_core::Result<Tensor> {
        match self.shapes.get(name) {
            None => bail!("tensor {name} is missing"),
            Some(found) if found.as_slice() != shape.dims() => bail!(
                "tensor {name} has shape {found:?} where config.json asks for {:?}",
                shape.dims()
            ),
            Some(_) => self.get_unchecked(name, dtype, device),
        }
    }

    fn get_unchecked(
        &self,
        name: &str,
        dtype: DType,
        device: &Device,
    ) -> candle_core::Result<Tensor> {
        let tensor = match self.files.as_ref() {
            Files::Safetensors(files) if self.shapes.contains_key(name) => {
                Some(files.load(name, &Device::Cpu)?)
            }
            Files::Safetensors(_) => None,
            Files::Pth(files) => {
                let holder = files.iter().find(|f| f.tensor_infos().contains_key(name));
                holder.map(|file| file.get(name)).transpose()?.flatten()
            }
        };
        let Some(tensor) = tensor else {
            bail!("tensor {name} is missing")
        };
        tensor.to_dtype(dtype)?.to_device(device)
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.shapes.contains_key(name)
    }
}

/// The files that `path` stands for: itself, or the shards that an index lists.
fn shards(path: &Path) -> Result<Vec<PathBuf>> {
    if path.extension().is_none_or(|e| e != "json") {
        return Ok(vec![path.to_path_buf()]);
    }
    let dir = path.parent().unwrap_or(Path::new("."));
    let files: Vec<PathBuf> = shard_names(path)?
        .iter()
        .map(|name| dir.join(name))
        .collect();
    match files.iter().find(|file| !file.is_file()) {
        Some(file) => Err(Error::Checkpoint {
            path: path.into(),
            reason: format!("lists {}, which is not there", file.display()),
        }),
        None => Ok(files),
    }
}

/// The shards that the index file at `path` lists, each once, sorted; at least one.
pub(super) fn shard_names(path: &Path) -> Result<Vec<String>> {
    #[derive(Deserialize)]
    struct ShardIndex {
        weight_map: HashMap<String, String>,
    }
    let wrong = |reason: String| Error::Checkpoint {
        path: path.into(),
        reason,
    };
    let json = std::fs::read_to_string(path).map_err(Error::io(path))?;
    let index: ShardIndex = serde_json::from_str(&json).map_err(|e| wrong(e.to_string()))?;
    let mut names: Vec<String> = index.weight_map.into_values().collect();
    names.sort_unstable();
    names.dedup();
    if names.is_empty() {
        return Err(wrong("lists no shards".into()));
    }
    Ok(names)
}

#[allow(unsafe_code)]
fn map_safetensors(files: &[PathBuf]) -> candle_core::Result<MmapedSafetensors> {
    // SAFETY: the mapping is read-only. As for every program that maps its weights, replacing a
    // checkpoint's file in place while it is loaded is outside the contract; hub caches and
    // `save_pretrained` write new files instead.
    unsafe { MmapedSafetensors::multi(files) }
}

/// Candle's message about `file`, without the backtrace that `RUST_BACKTRACE` adds to it.
pub(super) fn checkpoint(file: &Path) -> impl Fn(candle_core::Error) -> Error {
    move |error| Error::Checkpoint {
        path: file.into(),
        reason: error
            .to_string()
            .lines()
            .next()
            .unwrap_or("unreadable")
            .trim()
            .to_owned(),
    }
}
