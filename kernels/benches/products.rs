//! How near products with packed weights come to what this machine can do.
//!
//! Measured: G operations a second (2·M·K·N each) of `Packed::forward`, the rounding of activations and the bias
//! included, on all of rayon's threads; and of a loop that does nothing but the format's instruction on registers, on
//! as many threads: the machine's peak. Best of the rounds, which alternate. Data: uniform random numbers.
//!
//! ```text
//! cargo bench -p bt-kernels [-- ROUNDS]
//! ```

use std::time::Instant;

use bt_kernels::{Activation, Attention, Format, Packed, attention};

/// M × K × N of BridgeTower large: one photo's tokens, and eight photos'.
const SHAPES: [(usize, usize, usize); 6] = [
    (442, 1024, 4096),
    (442, 1024, 1024),
    (442, 4096, 1024),
    (884, 1024, 1024),
    (884, 4096, 1024),
    (3536, 1024, 4096),
];

fn main() {
    // Cargo adds arguments of its own.
    let rounds = std::env::args()
        .find_map(|arg| arg.parse().ok())
        .unwrap_or(20);
    bt_kernels::keep_freed_memory();
    println!(
        "{} threads, best of {rounds} rounds, G op/s",
        rayon::current_num_threads()
    );
    for format in [Format::F32, Format::Bf16, Format::Int8] {
        if !format.is_supported() {
            println!("{format:?}: this machine has no such instruction");
            continue;
        }
        let cases: Vec<Case> = SHAPES
            .iter()
            .map(|shape| Case::new(format, *shape))
            .collect();
        let (mut peak, mut best) = (0f64, [0f64; SHAPES.len()]);
        for _ in 0..rounds {
            peak = peak.max(peak::measure(format));
            for (best, case) in best.iter_mut().zip(&cases) {
                *best = best.max(case.measure());
            }
        }
        println!("{format:?}: peak {peak:.0}");
        for (best, (m, k, n)) in best.iter().zip(SHAPES) {
            println!(
                "  {m} × {k} × {n}: {best:.0}, {:.0} % of the peak",
                100.0 * best / peak
            );
        }
        println!(
            "  attention, 442 tokens, 16 heads of 64: {:.2} ms",
            1e3 * attention_seconds(format, rounds)
        );
    }
}

/// The best of `rounds`.
fn attention_seconds(format: Format, rounds: usize) -> f64 {
    let (tokens, d) = (442, 1024);
    let x = vec![0.5f32; tokens * d];
    let measure = || {
        let started = Instant::now();
        std::hint::black_box(attention(Attention {
            format,
            query: &x,
            key: &x,
            value: &x,
            mask: None,
            batch: 1,
            heads: 16,
            head_width: 64,
            query_len: tokens,
            key_len: tokens,
        }));
        started.elapsed().as_secs_f64()
    };
    (0..rounds).map(|_| measure()).fold(f64::INFINITY, f64::min)
}

struct Case {
    weights: Packed,
    x: Vec<f32>,
    operations: f64,
}

impl Case {
    fn new(format: Format, (m, k, n): (usize, usize, usize)) -> Self {
        let number = |i: usize| ((i.wrapping_mul(2_654_435_761)) % 2048) as f32 / 1024.0 - 1.0;
        let weights: Vec<f32> = (0..n * k).map(number).collect();
        Self {
            weights: Packed::new(format, &weights, k, &vec![0.1; n]),
            x: (0..m * k).map(number).collect(),
            operations: 2.0 * (m * k * n) as f64,
        }
    }

    fn measure(&self) -> f64 {
        let started = Instant::now();
        std::hint::black_box(self.weights.forward(&self.x, Activation::None, None));
        self.operations / started.elapsed().as_secs_f64() / 1e9
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod peak {
    pub fn measure(_: bt_kernels::Format) -> f64 {
        f64::NAN
    }
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod peak {
    use std::arch::x86_64::{
        __m512bh, __m512i, _mm512_dpbf16_ps, _mm512_dpbusd_epi32, _mm512_fmadd_ps,
        _mm512_reduce_add_epi32, _mm512_reduce_add_ps, _mm512_set1_epi32, _mm512_set1_ps,
    };
    use std::mem::transmute;
    use std::time::Instant;

    use bt_kernels::Format;

    const LOOPS: usize = 400_000;
    /// Sums in flight: enough to hide the instruction's latency.
    const SUMS: usize = 24;

    /// G operations a second of the format's instruction, on all threads.
    pub fn measure(format: Format) -> f64 {
        let started = Instant::now();
        rayon::broadcast(|_| {
            // SAFETY: the caller asked whether the format is supported.
            match format {
                Format::F32 => {
                    std::hint::black_box(unsafe { f32() });
                }
                Format::Bf16 => {
                    std::hint::black_box(unsafe { bf16() });
                }
                Format::Int8 => {
                    std::hint::black_box(unsafe { int8() });
                }
            }
        });
        let per_instruction = match format {
            Format::F32 => 32,
            Format::Bf16 => 64,
            Format::Int8 => 128,
        };
        let operations = rayon::current_num_threads() * LOOPS * SUMS * per_instruction;
        operations as f64 / started.elapsed().as_secs_f64() / 1e9
    }

    #[target_feature(enable = "avx512f")]
    unsafe fn f32() -> f32 {
        let (mut a, b) = (_mm512_set1_ps(1.0), _mm512_set1_ps(0.5));
        let mut sums = [_mm512_set1_ps(0.0); SUMS];
        for _ in 0..LOOPS {
            a = std::hint::black_box(a);
            for sum in &mut sums {
                *sum = _mm512_fmadd_ps(a, b, *sum);
            }
        }
        sums.map(|sum| _mm512_reduce_add_ps(sum)).iter().sum()
    }

    #[target_feature(enable = "avx512f,avx512bf16")]
    unsafe fn bf16() -> f32 {
        let (mut a, b) = (
            _mm512_set1_epi32(0x3f80_3f80),
            _mm512_set1_epi32(0x3f00_3f00),
        );
        let mut sums = [_mm512_set1_ps(0.0); SUMS];
        for _ in 0..LOOPS {
            a = std::hint::black_box(a);
            for sum in &mut sums {
                // SAFETY: the same 512 bits.
                let (a, b) = unsafe {
                    (
                        transmute::<__m512i, __m512bh>(a),
                        transmute::<__m512i, __m512bh>(b),
                    )
                };
                *sum = _mm512_dpbf16_ps(*sum, a, b);
            }
        }
        sums.map(|sum| _mm512_reduce_add_ps(sum)).iter().sum()
    }

    #[target_feature(enable = "avx512f,avx512vnni")]
    unsafe fn int8() -> i32 {
        let (mut a, b) = (
            _mm512_set1_epi32(0x0101_0101),
            _mm512_set1_epi32(0x0101_0101),
        );
        let mut sums = [_mm512_set1_epi32(0); SUMS];
        for _ in 0..LOOPS {
            a = std::hint::black_box(a);
            for sum in &mut sums {
                *sum = _mm512_dpbusd_epi32(*sum, a, b);
            }
        }
        sums.map(|sum| _mm512_reduce_add_epi32(sum))
            .iter()
            .fold(0, |s, x| s.wrapping_add(*x))
    }
}
