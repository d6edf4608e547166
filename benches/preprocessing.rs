//! What happens to a photo and to a query before the model: decoding a JPEG, making the model's pixels of the picture,
//! normalising those, and words to token ids. One thread.
//!
//! Data: a picture of 4032 × 3024 by formula (gradients, edges and noise; a JPEG of 4:2:0 at quality 90), the demo model's
//! tokenizer, or that of `$BT_MODEL`, a folder.
//!
//! ```text
//! cargo bench --bench preprocessing
//! ```

use std::hint::black_box;
use std::path::{Path, PathBuf};

use bridgetower::processor::{Encoded, ImageProcessor, TextProcessor};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use image::codecs::jpeg::JpegEncoder;
use image::{Rgb, RgbImage};

const WIDTH: u32 = 4032;
const HEIGHT: u32 = 3024;
const QUALITY: u8 = 90;
/// Side of the large checkpoints' picture.
const SIDE: u32 = 294;
/// The longest text of a published checkpoint.
const MAX_TOKENS: usize = 512;
const TEXTS: [(&str, &str); 2] = [
    ("query", "a cat by a window"),
    (
        "caption",
        "An elderly man in a straw hat sells oranges, lemons and a few bunches of grapes from the back of a small blue \
         lorry that is parked in the shade of a plane tree.",
    ),
];

fn photo(criterion: &mut Criterion) {
    let encoded = Encoded::new(jpeg(&picture())).expect("a JPEG");
    let decoded = encoded.decode().expect("decodes");
    let processor = ImageProcessor::from_dir(Path::new("no folder"), SIDE).expect("the defaults");
    let pixels = processor.preprocess(&decoded.rgb);
    let mut values = vec![0.0; 3 * (SIDE * SIDE) as usize];

    let mut group = criterion.benchmark_group("photo");
    group.throughput(Throughput::Elements(u64::from(WIDTH * HEIGHT)));
    group.sample_size(20);
    group.bench_function("decode", |bencher| bencher.iter(|| encoded.decode()));
    group.bench_function("resize and crop", |bencher| {
        bencher.iter(|| processor.preprocess(&decoded.rgb));
    });
    group.throughput(Throughput::Elements(values.len() as u64));
    group.bench_function("normalise", |bencher| {
        bencher.iter(|| processor.normalize(&pixels, black_box(&mut values)));
    });
    group.finish();
}

fn text(criterion: &mut Criterion) {
    let demo = || Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/model");
    let dir = std::env::var_os("BT_MODEL").map_or_else(demo, PathBuf::from);
    let processor = TextProcessor::from_dir(&dir, MAX_TOKENS).expect("a tokenizer");

    let mut group = criterion.benchmark_group("text");
    group.bench_function("load tokenizer", |bencher| {
        bencher.iter(|| TextProcessor::from_dir(&dir, MAX_TOKENS));
    });
    for (name, text) in TEXTS {
        group.bench_function(name, |bencher| {
            bencher.iter(|| processor.encode(black_box(text)));
        });
    }
    group.finish();
}

/// Compresses about as a photo does: to a third of a byte a pixel.
fn picture() -> RgbImage {
    RgbImage::from_fn(WIDTH, HEIGHT, |x, y| {
        let noise = (x.wrapping_mul(2_654_435_761) ^ y.wrapping_mul(2_246_822_519))
            .wrapping_mul(3_266_489_917)
            >> 28;
        let shape = if (x / 97 + y / 61).is_multiple_of(5) {
            60
        } else {
            0
        };
        let light = (x * 160 / WIDTH) + shape + noise;
        Rgb([
            light as u8,
            (y * 200 / HEIGHT + noise) as u8,
            (255 - light) as u8,
        ])
    })
}

fn jpeg(picture: &RgbImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, QUALITY)
        .encode_image(picture)
        .expect("encoded");
    bytes
}

criterion_group!(benches, photo, text);
criterion_main!(benches);
