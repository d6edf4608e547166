//! Reads `tests/fixtures`, and makes weights by formula (`tests/fixtures/formula.py`).

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use bridgetower::Engine;
use bridgetower::engine::{DeviceChoice, EngineOptions, Precision};
use candle_core::{DType, Device, Tensor};
use serde::Deserialize;

/// As the reference computes: the goldens are held to what f32 can keep.
pub const EXACT: EngineOptions = EngineOptions {
    device: DeviceChoice::Cpu,
    precision: Precision::F32,
    offline: true,
};

/// The folder `tests/fixtures/<path>`.
pub fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(path)
}

/// The engine of a checkpoint in the fixtures.
pub fn engine(checkpoint: &str) -> Engine {
    let folder = fixture("checkpoints").join(checkpoint);
    let folder = folder.to_str().expect("UTF-8");
    Engine::load(folder, &EXACT, &mut |_, _, _| {}).expect("loads")
}

/// A tensor by formula: element i is `centre + scale · u(name, i)`.
#[derive(Debug, Deserialize)]
pub struct Formula {
    pub name: String,
    shape: Vec<usize>,
    centre: f64,
    scale: f64,
}

impl Formula {
    pub fn tensor(&self) -> Tensor {
        let seed = self
            .name
            .bytes()
            .fold(0xCBF2_9CE4_8422_2325, |digest: u64, byte| {
                (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
            });
        let count: usize = self.shape.iter().product();
        let values: Vec<f32> = (0..count as u64)
            .map(|i| (self.centre + self.scale * uniform(seed.wrapping_add(i))) as f32)
            .collect();
        Tensor::from_vec(values, self.shape.as_slice(), &Device::Cpu).expect("fits its shape")
    }
}

/// The finaliser of `SplitMix64`, its upper 24 bits as a number in −1..1.
fn uniform(x: u64) -> f64 {
    let x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ x >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ x >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((x ^ x >> 31) >> 40) as f64 / f64::from(1 << 24) * 2.0 - 1.0
}

/// The reference's inputs and outputs in `folder/golden.safetensors`.
pub struct Golden(HashMap<String, Tensor>);

impl Golden {
    pub fn read(folder: &Path) -> Self {
        let path = folder.join("golden.safetensors");
        Self(candle_core::safetensors::load(path, &Device::Cpu).expect("golden.safetensors"))
    }

    pub fn get(&self, name: &str) -> &Tensor {
        self.0
            .get(name)
            .unwrap_or_else(|| panic!("the golden has no {name}"))
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The texts as token ids without padding.
    pub fn texts(&self) -> Vec<Vec<u32>> {
        let ids: Vec<Vec<i64>> = self.get("input_ids").to_vec2().expect("ids");
        let mask: Vec<Vec<i64>> = self.get("attention_mask").to_vec2().expect("mask");
        let unpadded = |(ids, mask): (Vec<i64>, Vec<i64>)| {
            ids.into_iter()
                .zip(mask)
                .filter(|(_, m)| *m == 1)
                .map(|(id, _)| id as u32)
                .collect()
        };
        ids.into_iter().zip(mask).map(unpadded).collect()
    }

    /// The least cosine between a row of `found` and the reference's row, `[B, E]`.
    pub fn least_cosine(&self, name: &str, found: &Tensor) -> f32 {
        let product = (found * self.get(name)).and_then(|x| x.sum(1)?.min(0)?.to_scalar());
        product.expect("unit vectors of the same shape")
    }

    /// The largest difference between an element of `found` and the reference's.
    pub fn largest_difference(&self, name: &str, found: &Tensor) -> f32 {
        let off =
            (found - self.get(name)).and_then(|x| x.abs()?.flatten_all()?.max(0)?.to_scalar());
        off.expect("the same shape")
    }

    /// Fails unless `found` is within 1e-4 of the reference, relative to the reference's norm.
    pub fn check(&self, name: &str, found: &Tensor) {
        let expected = self.get(name);
        assert_eq!(found.dims(), expected.dims(), "shape of {name}");
        let norm = |x: &Tensor| -> f32 {
            let sum = x
                .sqr()
                .and_then(|x| x.sum_all())
                .and_then(|x| x.to_scalar());
            f32::sqrt(sum.expect("a sum"))
        };
        let found = found.to_dtype(DType::F32).expect("converts");
        let error = norm(&(found - expected).expect("same shape")) / norm(expected);
        assert!(error < 1e-4, "{name} is off by {error:e} of its norm");
    }
}

/// What `inputs.json` says of a golden.
#[derive(Deserialize)]
pub struct Inputs {
    pub pixel_values: Formula,
    pub tokens: Tokens,
}

/// Which tokens of the hidden states the golden keeps.
#[derive(Deserialize)]
#[serde(untagged)]
pub enum Tokens {
    All(String),
    Some(Vec<i64>),
}

impl Tokens {
    /// Those tokens of `states`, `[B, L, D]`.
    pub fn of(&self, states: &Tensor) -> Tensor {
        match self {
            Self::All(all) => {
                assert_eq!(all, "all");
                states.clone()
            }
            Self::Some(kept) => {
                let length = states.dim(1).expect("a sequence") as i64;
                let kept: Vec<u32> = kept.iter().map(|i| i.rem_euclid(length) as u32).collect();
                let kept = Tensor::new(kept, &Device::Cpu).expect("indices");
                states.index_select(&kept, 1).expect("selects")
            }
        }
    }
}

/// Reads a JSON file of the fixtures.
pub fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> T {
    serde_json::from_str(&std::fs::read_to_string(path).expect("reads")).expect("parses")
}
