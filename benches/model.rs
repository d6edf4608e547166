//! The model's speed, one command a line of standard input. `compare.py` beside this runs it next to `transformers` and
//! ONNX Runtime, turn by turn; by itself it serves a profiler.
//!
//! Measured, seconds each, decoding and tokenizing left out:
//! - `embed N`: N photos through the image tower and its ITC head, as one batch;
//! - `match N`: one text read together with N photos, image tower included, as a search reranks;
//! - `rerank full N`: a reranking of N photos whose bridged states are kept: the text tower once, then the cross-modal
//!   layers over two photos at a time, as a search does it;
//! - `rerank split N`: the same where only the state below the bridge is kept.
//!
//! `show embed N` and `show match N` write what comes out, as JSON: a row a photo.
//!
//! Data: pixels by formula, a text of 12 tokens.
//!
//! ```text
//! echo 'embed 1' | cargo bench --bench model -- MODEL PRECISION
//! ```

use std::io::BufRead;
use std::time::Instant;

use bridgetower::Engine;
use bridgetower::engine::{EngineOptions, Precision, keep_freed_memory};
use bridgetower::model::{BridgeTower, Bridged};
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
        let (what, count) = line.rsplit_once(' ').expect("WHAT N");
        let count = count.parse().expect("a number");
        match what {
            "embed" => {
                let pixels = bench.pixels(count);
                println!("{}", timed(|| bench.embed(&pixels)));
            }
            "match" => {
                let pixels = bench.pixels(count);
                println!("{}", timed(|| bench.match_photos(&bench.photos(&pixels))));
            }
            "rerank full" => println!("{}", bench.rerank_full(count)),
            "rerank split" => println!("{}", bench.rerank_split(count)),
            "show embed" => println!("{:?}", bench.embed(&bench.pixels(count))),
            "show match" => {
                let photos = bench.photos(&bench.pixels(count));
                println!("{:?}", bench.match_photos(&photos));
            }
            _ => panic!("embed, match, rerank full or split, show embed or match; not {what:?}"),
        }
    }
}

struct Bench<'a> {
    model: &'a BridgeTower,
}

impl Bench<'_> {
    /// `[N, E]`
    fn embed(&self, pixels: &Tensor) -> Vec<Vec<f32>> {
        let embeddings = self.model.embed_pixels(pixels).expect("embeds");
        embeddings.to_vec2().expect("values")
    }

    /// `[N, 2]`; the text is read anew.
    fn match_photos(&self, photos: &Bridged) -> Vec<Vec<f32>> {
        self.logits(&self.text(), photos)
    }

    fn rerank_full(&self, photos: usize) -> f64 {
        let kept = self.photos(&self.pixels(BATCH));
        timed(|| {
            let text = self.text();
            (0..photos / BATCH).for_each(|_| drop(self.logits(&text, &kept)));
        })
    }

    fn rerank_split(&self, photos: usize) -> f64 {
        let pixels = self.pixels(BATCH);
        let kept = self.model.image_split(&pixels).expect("image tower");
        timed(|| {
            let text = self.text();
            for _ in 0..photos / BATCH {
                let states = self.model.image_states_above(&kept);
                let photos = self.model.bridge_image(&states.expect("image tower"));
                self.logits(&text, &photos.expect("image bridge"));
            }
        })
    }

    fn logits(&self, text: &Bridged, photos: &Bridged) -> Vec<Vec<f32>> {
        let logits = self.model.match_logits(text, photos).expect("matches");
        logits.to_vec2().expect("values")
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
