//! Made-up photos. Their embeddings are unit vectors of 512 coordinates around 1000 random centres; centre and Gaussian
//! noise have the same length, so photos of one group have a cosine of about 0.5 and of two groups about 0. Seed 42.

mod photo;

use bridgetower::Embedding;
use bridgetower::index::ModelIdentity;

pub use photo::photo;

pub const DIM: usize = 512;
const GROUPS: usize = 1000;

pub fn identity() -> ModelIdentity {
    ModelIdentity {
        name: "none".into(),
        fingerprint: "0".repeat(64),
        preprocessing: "none".into(),
        dim: DIM,
    }
}

pub struct Data {
    /// Xorshift64* state.
    state: u64,
    centres: Vec<Vec<f32>>,
}

impl Data {
    pub fn new() -> Self {
        let mut data = Self {
            state: 42,
            centres: Vec::new(),
        };
        data.centres = (0..GROUPS).map(|_| data.gaussian()).collect();
        data
    }

    pub fn sample(&mut self) -> Embedding {
        let group = self.uniform() * GROUPS as f64;
        let mut values = self.gaussian();
        for (value, centre) in values.iter_mut().zip(&self.centres[group as usize]) {
            *value += centre;
        }
        Embedding::new(values).expect("not zero")
    }

    /// Independent coordinates of variance 1 (Box–Muller).
    fn gaussian(&mut self) -> Vec<f32> {
        let normal =
            |u: f64, v: f64| (-2.0 * (1.0 - u).ln()).sqrt() * (v * std::f64::consts::TAU).cos();
        (0..DIM)
            .map(|_| normal(self.uniform(), self.uniform()) as f32)
            .collect()
    }

    /// In 0..1.
    fn uniform(&mut self) -> f64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        (self.state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1_u64 << 53) as f64
    }
}
