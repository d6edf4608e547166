//! How near products with packed weights come to what this machine can do, with each kernel that it has instructions for,
//! and how they compare with the f32 products of the crate gemm, which are candle's (AVX2 where there is AVX-512, too).
//!
//! Measured: G operations a second (2·M·K·N each) of `Packed::forward`, the rounding of activations and the bias
//! included, on all of rayon's threads; and of a loop that does nothing but the kernel's instructions on registers, on
//! as many threads: the machine's peak. Best of the rounds, which alternate. Data: uniform random numbers.
//!
//! ```text
//! cargo bench -p bt-kernels [-- ROUNDS]
//! BT_KERNELS=avx2 cargo bench -p bt-kernels
//! ```

use std::time::Instant;

use bt_kernels::{Activation, Attention, Kernel, Packed, attention_with};

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
    let inputs = SHAPES.map(Inputs::new);
    let kernels: Vec<&Kernel> = Kernel::available().collect();
    let mut cases: Vec<Case> = kernels
        .iter()
        .map(|kernel| Case::new(kernel, &inputs))
        .collect();
    let mut gemm = [0f64; SHAPES.len()];
    for _ in 0..rounds {
        for (best, inputs) in gemm.iter_mut().zip(&inputs) {
            *best = best.max(inputs.measure_gemm());
        }
        for case in &mut cases {
            case.measure(&inputs);
        }
    }
    println!("gemm: {gemm:.0?}");
    for case in &cases {
        case.print(&gemm);
    }
}

struct Inputs {
    shape: (usize, usize, usize),
    x: Vec<f32>,
    weights: Vec<f32>,
}

impl Inputs {
    fn new(shape: (usize, usize, usize)) -> Self {
        let (m, k, n) = shape;
        let number = |i: usize| ((i.wrapping_mul(2_654_435_761)) % 2048) as f32 / 1024.0 - 1.0;
        Self {
            shape,
            x: (0..m * k).map(number).collect(),
            weights: (0..n * k).map(number).collect(),
        }
    }

    /// x · weightsᵀ as candle calls for it.
    #[allow(unsafe_code)]
    fn measure_gemm(&self) -> f64 {
        let (m, k, n) = self.shape;
        let started = Instant::now();
        let mut out = vec![0f32; m * n];
        // SAFETY: as long as their shapes and strides say.
        unsafe {
            gemm::gemm(
                m,
                n,
                k,
                out.as_mut_ptr(),
                1,
                n as isize,
                false,
                self.x.as_ptr(),
                1,
                k as isize,
                self.weights.as_ptr(),
                k as isize,
                1,
                0.0,
                1.0,
                false,
                false,
                false,
                gemm::Parallelism::Rayon(rayon::current_num_threads()),
            );
        }
        std::hint::black_box(out);
        self.speed(started)
    }

    fn speed(&self, started: Instant) -> f64 {
        let (m, k, n) = self.shape;
        2.0 * (m * k * n) as f64 / started.elapsed().as_secs_f64() / 1e9
    }
}

/// The best that was measured of one kernel so far.
struct Case {
    kernel: &'static Kernel,
    layers: Vec<Packed>,
    peak: f64,
    products: [f64; SHAPES.len()],
    attention_seconds: f64,
}

impl Case {
    fn new(kernel: &'static Kernel, inputs: &[Inputs]) -> Self {
        let layer = |inputs: &Inputs| {
            let (_, k, n) = inputs.shape;
            Packed::with(kernel, &inputs.weights, k, &vec![0.1; n])
        };
        Self {
            kernel,
            layers: inputs.iter().map(layer).collect(),
            peak: 0.0,
            products: [0.0; SHAPES.len()],
            attention_seconds: f64::INFINITY,
        }
    }

    fn measure(&mut self, inputs: &[Inputs]) {
        self.peak = self.peak.max(peak::measure(self.kernel));
        for ((best, layer), inputs) in self.products.iter_mut().zip(&self.layers).zip(inputs) {
            let started = Instant::now();
            std::hint::black_box(layer.forward(&inputs.x, Activation::None, None));
            *best = best.max(inputs.speed(started));
        }
        self.attention_seconds = self.attention_seconds.min(attention_seconds(self.kernel));
    }

    fn print(&self, gemm: &[f64]) {
        println!("{:?}: peak {:.0}", self.kernel, self.peak);
        for ((best, gemm), (m, k, n)) in self.products.iter().zip(gemm).zip(SHAPES) {
            println!(
                "  {m} × {k} × {n}: {best:.0}, {:.0} % of the peak, {:.2} × gemm's f32",
                100.0 * best / self.peak,
                best / gemm
            );
        }
        println!(
            "  attention, 442 tokens, 16 heads of 64: {:.2} ms",
            1e3 * self.attention_seconds
        );
    }
}

fn attention_seconds(kernel: &'static Kernel) -> f64 {
    let (tokens, d) = (442, 1024);
    let x = vec![0.5f32; tokens * d];
    let inputs = Attention {
        format: kernel.format(),
        query: &x,
        key: &x,
        value: &x,
        mask: None,
        batch: 1,
        heads: 16,
        head_width: 64,
        query_len: tokens,
        key_len: tokens,
    };
    let started = Instant::now();
    std::hint::black_box(attention_with(kernel, inputs));
    started.elapsed().as_secs_f64()
}

#[cfg(not(target_arch = "x86_64"))]
mod peak {
    pub fn measure(_: &bt_kernels::Kernel) -> f64 {
        f64::NAN
    }
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod peak {
    use std::arch::x86_64::{
        __m512bh, __m512i, _mm256_add_epi32, _mm256_dpbusd_avx_epi32, _mm256_fmadd_ps,
        _mm256_madd_epi16, _mm256_set1_epi32, _mm256_set1_ps, _mm512_dpbf16_ps,
        _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_set1_epi32, _mm512_set1_ps,
    };
    use std::hint::black_box;
    use std::mem::transmute;
    use std::time::Instant;

    use bt_kernels::{Format, Kernel};

    const LOOPS: usize = 200_000;

    /// A loop of `$dot` on `$sums` independent sums, enough to hide its latency, of `$operations` each.
    macro_rules! peak {
        ($sums:literal, $operations:literal, $zero:expr, $one:expr, $dot:expr, $($feature:literal),+) => {{
            $(#[target_feature(enable = $feature)])+
            unsafe fn spin() {
                let mut sums = [$zero; $sums];
                let b = black_box($one);
                for _ in 0..LOOPS {
                    let a = black_box($one);
                    for sum in &mut sums {
                        *sum = $dot(*sum, a, b);
                    }
                }
                black_box(sums);
            }
            let started = Instant::now();
            // SAFETY: the kernel is available.
            rayon::broadcast(|_| unsafe { spin() });
            let operations = rayon::current_num_threads() * LOOPS * $sums * $operations;
            operations as f64 / started.elapsed().as_secs_f64() / 1e9
        }};
    }

    /// G operations a second of the kernel's instructions, on all threads.
    pub fn measure(kernel: &Kernel) -> f64 {
        match (kernel.set(), kernel.format()) {
            ("avx512", Format::F32) => peak!(
                24,
                32,
                _mm512_set1_ps(0.0),
                _mm512_set1_ps(1.0),
                |sum, a, b| _mm512_fmadd_ps(a, b, sum),
                "avx512f"
            ),
            ("avx512", Format::Bf16) => peak!(
                24,
                64,
                _mm512_set1_ps(0.0),
                _mm512_set1_epi32(0x3f80_3f80),
                // SAFETY: the same 512 bits.
                |sum, a, b| unsafe {
                    let pairs = |x| transmute::<__m512i, __m512bh>(x);
                    _mm512_dpbf16_ps(sum, pairs(a), pairs(b))
                },
                "avx512f",
                "avx512bf16"
            ),
            ("avx512", Format::Int8) => peak!(
                24,
                128,
                _mm512_set1_epi32(0),
                _mm512_set1_epi32(0x0101_0101),
                |sum, a, b| _mm512_dpbusd_epi32(sum, a, b),
                "avx512f",
                "avx512vnni"
            ),
            ("avxvnni", Format::Int8) => peak!(
                12,
                64,
                _mm256_set1_epi32(0),
                _mm256_set1_epi32(0x0101_0101),
                |sum, a, b| _mm256_dpbusd_avx_epi32(sum, a, b),
                "avx2",
                "avxvnni"
            ),
            ("avx2", Format::Int8) => peak!(
                12,
                32,
                _mm256_set1_epi32(0),
                _mm256_set1_epi32(0x0001_0001),
                |sum, a, b| _mm256_add_epi32(sum, _mm256_madd_epi16(a, b)),
                "avx2"
            ),
            ("avx2", Format::F32 | Format::Bf16) => peak!(
                12,
                16,
                _mm256_set1_ps(0.0),
                _mm256_set1_ps(1.0),
                |sum, a, b| _mm256_fmadd_ps(a, b, sum),
                "avx2",
                "fma"
            ),
            _ => f64::NAN,
        }
    }
}
