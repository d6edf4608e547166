//! The model's speed, one measurement a line of standard input. `compare_transformers.py` beside this runs it next to
//! `transformers`, turn by turn; by itself it serves a profiler.
//!
//! Measured, seconds each, decoding and tokenizing left out:
//! - `embed N`: N photos through the image tower and its ITC head, as one batch;
//! - `match N`: one text read together with N photos, image tower included, as a search reranks;
//! - `fuse N`: the same with the photos' bridged states kept: the cross-modal layers alone;
//! - `rerank N`: a whole reranking of N photos whose bridged states are kept: the text tower once, then the cross-modal
//!   layers over two photos at a time;
//! - `split N`: the same where the state below the bridge is kept.
//!
//! Data: pixels by formula, a text of 12 tokens.
//!
//! ```text
//! echo 'embed 1' | cargo bench --bench model -- MODEL PRECISION
//! ```

use std::io::BufRead;
use std::time::Instant;

use bridgetower::model::{BridgeTower, Bridged};
use bridgetower::{Engine, EngineOptions, Precision, keep_freed_memory};
use candle_core::{Device, Tensor};

const TOKENS: [u32; 12] = [0, 4688, 2274, 9, 80, 10017, 22577, 15, 10, 16433, 116, 2];

/// Photos that a search on a CPU computes at once.
const BATCH: usize = 2;

fn main() {
    keep_freed_memory();
    // Cargo adds an argument of its own.
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    let [model, precision] = arguments.as_slice() else {
        println!("nothing measured: give MODEL and PRECISION after --");
        return;
    };
    let precision: Precision = precision.parse().expect("a precision");
    let options = EngineOptions {
        precision,
        offline: true,
        ..EngineOptions::default()
    };
    let engine = Engine::load(model, &options, &mut |_, _, _| {}).expect("loads");
    let bench = Bench {
        model: engine.model(),
    };
    println!(
        "ready: {}, {} threads",
        engine.model().number_format(),
        rayon::current_num_threads()
    );
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("a line");
        let (what, count) = line.split_once(' ').expect("WHAT N");
        let count = count.parse().expect("a number");
        let seconds = match what {
            "embed" => bench.embed(count),
            "match" => bench.match_photos(count),
            "fuse" => bench.fuse(count),
            "rerank" => bench.rerank(count),
            "split" => bench.split(count),
            _ => panic!("embed, match, fuse, rerank or split, not {what:?}"),
        };
        println!("{seconds}");
    }
}

struct Bench<'a> {
    model: &'a BridgeTower,
}

impl Bench<'_> {
    fn embed(&self, photos: usize) -> f64 {
        let pixels = self.pixels(photos);
        timed(|| {
            self.model
                .embed_pixels(&pixels)
                .expect("embeds")
                .to_vec2::<f32>()
                .expect("values")
        })
    }

    fn match_photos(&self, photos: usize) -> f64 {
        let pixels = self.pixels(photos);
        timed(|| self.logits(&self.text(), &self.photos(&pixels)))
    }

    fn fuse(&self, photos: usize) -> f64 {
        let photos = self.photos(&self.pixels(photos));
        timed(|| self.logits(&self.text(), &photos))
    }

    fn rerank(&self, photos: usize) -> f64 {
        let n: usize = std::env::var("BATCH").map_or(2, |b| b.parse().unwrap());
        let kept = self.photos(&self.pixels(n));
        timed(|| {
            let text = self.text();
            (0..photos / n).for_each(|_| drop(self.logits(&text, &kept)));
        })
    }

    fn split(&self, photos: usize) -> f64 {
        let split = self
            .model
            .image_split(&self.pixels(BATCH))
            .expect("image tower");
        timed(|| {
            let text = self.text();
            for _ in 0..photos / BATCH {
                let states = self.model.image_states_above(&split).expect("image tower");
                let photos = self.model.bridge_image(&states).expect("image bridge");
                self.logits(&text, &photos);
            }
        })
    }

    fn logits(&self, text: &Bridged, photos: &Bridged) -> Vec<Vec<f32>> {
        self.model
            .match_logits(text, photos)
            .expect("matches")
            .to_vec2()
            .expect("values")
    }

    fn text(&self) -> Bridged {
        let batch = self.model.text_batch(&[TOKENS.to_vec()]).expect("a batch");
        let states = self.model.text_states(&batch).expect("text tower");
        self.model.bridge_text(&states).expect("text bridge")
    }

    fn photos(&self, pixels: &Tensor) -> Bridged {
        let states = self.model.image_states(pixels).expect("image tower");
        self.model.bridge_image(&states).expect("image bridge")
    }

    /// `[N, 3, S, S]`, between −1 and 1.
    fn pixels(&self, photos: usize) -> Tensor {
        let side = self.model.config().vision_config.image_size;
        let value = |i: usize| (i.wrapping_mul(2_654_435_761) % 2048) as f32 / 1024.0 - 1.0;
        let values = (0..photos * 3 * side * side).map(value).collect();
        Tensor::from_vec(values, (photos, 3, side, side), &Device::Cpu).expect("pixels")
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> f64 {
    let started = Instant::now();
    std::hint::black_box(work());
    started.elapsed().as_secs_f64()
}
