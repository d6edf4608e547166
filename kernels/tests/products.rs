//! Products and attention against the same computed plainly in f64, at sizes that leave rests everywhere, with every
//! kernel that this machine has the instructions for. On a machine for which there is none there is nothing to test.

use std::sync::Arc;

use bt_kernels::{
    Activation, Attention, DotProduct, Format, Kernel, LayerNorm, Memory, Packed, attention_with,
};

/// Numbers between −1 and 1, the same for every seed.
fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// erf by its Taylor series, off by at most 1e-8.
fn erf(x: f64) -> f64 {
    if x.abs() > 4.0 {
        return x.signum();
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..400 {
        term *= -x * x / f64::from(n);
        sum += term / f64::from(2 * n + 1);
    }
    sum * 2.0 / std::f64::consts::PI.sqrt()
}

fn activate(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::None => x,
        Activation::Gelu => 0.5 * x * (1.0 + erf(x / std::f64::consts::SQRT_2)),
        Activation::QuickGelu => x / (1.0 + (-1.702 * x).exp()),
    }
}

fn plain(x: &[f32], weights: &[f32], k: usize, bias: &[f32]) -> Vec<f64> {
    let rows = x.chunks_exact(k);
    rows.flat_map(|x| {
        weights.chunks_exact(k).enumerate().map(move |(n, w)| {
            let sum: f64 = x
                .iter()
                .zip(w)
                .map(|(x, w)| f64::from(*x) * f64::from(*w))
                .sum();
            sum + bias.get(n).map_or(0.0, |b| f64::from(*b))
        })
    })
    .collect()
}

/// ‖ours − theirs‖ / ‖theirs‖.
fn relative_error(ours: &[f32], theirs: &[f64]) -> f64 {
    assert_eq!(ours.len(), theirs.len());
    let square = |x: f64| x * x;
    let off: f64 = ours
        .iter()
        .zip(theirs)
        .map(|(a, b)| square(f64::from(*a) - b))
        .sum();
    (off / theirs.iter().map(|x| square(*x)).sum::<f64>()).sqrt()
}

/// How far results may be off.
fn tolerance(kernel: &Kernel) -> f64 {
    match kernel.format() {
        Format::F32 => 1e-6,
        Format::Bf16 => 4e-3,
        Format::Int8 => 1.2e-2,
    }
}

#[test]
fn products_are_right_at_every_rest() {
    for kernel in Kernel::available() {
        for (m, k, n) in [
            (1, 1, 1),
            (1, 64, 32),
            (1, 1030, 97),
            (7, 19, 41),
            (14, 30, 33),
            (15, 147, 31),
            (29, 588, 64),
            (100, 257, 130),
        ] {
            let (x, weights) = (numbers(m * k, 1), numbers(n * k, 2));
            let (bias, residual) = (numbers(n, 3), numbers(m * n, 4));
            let packed = Packed::with(kernel, &weights, k, &bias);
            let expected = plain(&x, &weights, k, &bias);
            for activation in [Activation::None, Activation::Gelu, Activation::QuickGelu] {
                let ours = packed.forward(&x, activation, Some(&residual));
                let theirs: Vec<f64> = expected
                    .iter()
                    .zip(&residual)
                    .map(|(x, r)| activate(activation, *x) + f64::from(*r))
                    .collect();
                let error = relative_error(&ours, &theirs);
                assert!(
                    error < tolerance(kernel),
                    "{kernel:?} {m}×{k}×{n} {activation:?}: {error}"
                );
            }
        }
    }
}

#[test]
fn what_fits_the_format_is_exact() {
    for kernel in Kernel::available() {
        let (m, k, n) = (27, 100, 70);
        // Whole numbers up to 127 with 127 in every row: exact as bf16 and as int8 of scale 1.
        let whole = |count: usize, seed| -> Vec<f32> {
            let mut x: Vec<f32> = numbers(count * k, seed)
                .iter()
                .map(|x| (x * 127.0).round())
                .collect();
            x.chunks_exact_mut(k).for_each(|row| row[0] = 127.0);
            x
        };
        let (x, weights) = (whole(m, 5), whole(n, 6));
        let ours = Packed::with(kernel, &weights, k, &[]).forward(&x, Activation::None, None);
        let theirs = plain(&x, &weights, k, &[]);
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert!(
                (f64::from(*ours) - theirs).abs() <= theirs.abs() * 1e-6 + 1e-3,
                "{kernel:?}: {ours} {theirs}"
            );
        }
    }
}

#[test]
fn the_largest_whole_numbers_do_not_overflow() {
    for kernel in Kernel::available() {
        let (m, k, n) = (9, 1003, 41);
        let limits = |count: usize, seed| -> Vec<f32> {
            let mut x: Vec<f32> = numbers(count * k, seed)
                .iter()
                .map(|x| 127f32.copysign(*x))
                .collect();
            x[..k].fill(127.0);
            x[k..2 * k].fill(-127.0);
            x
        };
        let (x, weights) = (limits(m, 10), limits(n, 11));
        let ours = Packed::with(kernel, &weights, k, &[]).forward(&x, Activation::None, None);
        let theirs = plain(&x, &weights, k, &[]);
        for (ours, theirs) in ours.iter().zip(&theirs) {
            let off = (f64::from(*ours) - theirs).abs();
            assert!(off < 0.5, "{kernel:?}: {ours} {theirs}");
        }
    }
}

#[test]
fn a_layer_reads_its_weights_from_bytes_that_lie_elsewhere() {
    let formats = [Format::F32, Format::Bf16, Format::Int8];
    for format in formats.into_iter().filter(|format| format.is_supported()) {
        let (k, n) = (70, 45);
        let own = Packed::new(format, &numbers(n * k, 10), k, &numbers(n, 11));
        let sections = own.sections().concat();
        assert_eq!(sections.len(), Packed::byte_len(format, k, n));
        let mut memory = vec![0u8; sections.len() + 63];
        let start = memory.as_ptr().align_offset(64);
        memory[start..start + sections.len()].copy_from_slice(&sections);
        let memory: Memory = Arc::new(memory);

        let mapped = Packed::map(format, k, n, &memory, start).expect("lies right");
        let x = numbers(3 * k, 12);
        assert_eq!(
            mapped.forward(&x, Activation::Gelu, None),
            own.forward(&x, Activation::Gelu, None)
        );
        for wrong in [start + 1, start + 64, usize::MAX] {
            assert!(Packed::map(format, k, n, &memory, wrong).is_none());
        }
    }
}

#[test]
fn zeros_and_large_values_are_no_trouble() {
    for kernel in Kernel::available() {
        let packed = Packed::with(kernel, &vec![0.5; 40 * 20], 20, &[1.0; 40]);
        assert!(
            packed
                .forward(&[0.0; 60], Activation::None, None)
                .iter()
                .all(|y| (*y - 1.0).abs() < 1e-6)
        );
        let huge = packed.forward(&[-1e30; 20], Activation::QuickGelu, None);
        assert!(huge.iter().all(|y| y.abs() < 1e-3), "{huge:?}");
        assert!(packed.forward(&[], Activation::Gelu, None).is_empty());
    }
}

#[test]
fn attention_is_right_with_masks_and_shared_members() {
    for kernel in Kernel::available() {
        attention_is_right(kernel);
    }
}

fn attention_is_right(kernel: &'static Kernel) {
    for (batch, heads, w, lq, lk) in [
        (1, 1, 64, 1, 1),
        (2, 3, 64, 5, 33),
        (3, 2, 16, 29, 12),
        (2, 2, 40, 31, 70),
    ] {
        let d = heads * w;
        for (own_query, own_key) in [(batch, batch), (1, batch), (batch, 1)] {
            let query = numbers(own_query * lq * d, 7);
            let (key, value) = (numbers(own_key * lk * d, 8), numbers(own_key * lk * d, 9));
            let mut mask = vec![0f32; batch * lk];
            if lk > 2 {
                mask[lk - 1] = -65504.0;
            }
            let inputs = Attention {
                format: kernel.format(),
                query: &query,
                key: &key,
                value: &value,
                mask: Some(&mask),
                batch,
                heads,
                head_width: w,
                query_len: lq,
                key_len: lk,
            };
            let ours = attention_with(kernel, inputs);
            let mut theirs = vec![0f64; batch * lq * d];
            for (b, h, i) in (0..batch)
                .flat_map(|b| (0..heads).flat_map(move |h| (0..lq).map(move |i| (b, h, i))))
            {
                let at = |own: usize, len: usize, i: usize| {
                    (if own == 1 { 0 } else { b * len * d }) + i * d + h * w
                };
                let scores: Vec<f64> = (0..lk)
                    .map(|j| {
                        let (q, k) = (
                            &query[at(own_query, lq, i)..][..w],
                            &key[at(own_key, lk, j)..][..w],
                        );
                        let dot: f64 = q
                            .iter()
                            .zip(k)
                            .map(|(q, k)| f64::from(*q) * f64::from(*k))
                            .sum();
                        dot / (w as f64).sqrt() + f64::from(mask[b * lk + j])
                    })
                    .collect();
                let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let total: f64 = scores.iter().map(|s| (s - largest).exp()).sum();
                for (j, score) in scores.iter().enumerate() {
                    let share = (score - largest).exp() / total;
                    for c in 0..w {
                        theirs[(b * lq + i) * d + h * w + c] +=
                            share * f64::from(value[at(own_key, lk, j) + c]);
                    }
                }
            }
            let error = relative_error(&ours, &theirs);
            assert!(
                error < 2.0 * tolerance(kernel),
                "{kernel:?} {batch} {heads} {w} {lq} {lk} {own_query} {own_key}: {error}"
            );
        }
    }
}

#[test]
fn layer_norm_is_right() {
    if !Format::F32.is_supported() {
        return;
    }
    for (m, d) in [(1, 1), (3, 16), (20, 70), (5, 1024)] {
        let x: Vec<f32> = numbers(m * d, 13).iter().map(|x| 3.0 * x + 5.0).collect();
        let norm = LayerNorm {
            weight: numbers(d, 14),
            bias: numbers(d, 15),
            eps: 1e-5,
        };
        let theirs: Vec<f64> = x
            .chunks_exact(d)
            .flat_map(|row| {
                let row: Vec<f64> = row.iter().map(|x| f64::from(*x)).collect();
                let mean = row.iter().sum::<f64>() / d as f64;
                let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / d as f64;
                let deviation = (variance + 1e-5).sqrt();
                let weights = norm.weight.iter().zip(&norm.bias);
                row.into_iter()
                    .zip(weights)
                    .map(move |(x, (w, b))| (x - mean) / deviation * f64::from(*w) + f64::from(*b))
                    .collect::<Vec<f64>>()
            })
            .collect();
        assert!(relative_error(&norm.forward(&x), &theirs) < 1e-6, "{m}×{d}");
    }
}

#[test]
fn dot_products_agree_with_the_definition_at_every_length() {
    let kernels = Kernel::available().map(DotProduct::with);
    let all: Vec<DotProduct> = kernels
        .chain([DotProduct::best(), DotProduct::anywhere()])
        .collect();
    for len in 0..200 {
        let a: Vec<f32> = (0..len).map(|i| (i as f32).sin()).collect();
        let b: Vec<f32> = (0..len).map(|i| (i as f32).cos()).collect();
        let expected: f64 = a
            .iter()
            .zip(&b)
            .map(|(x, y)| f64::from(*x) * f64::from(*y))
            .sum();
        for dot in &all {
            let found = f64::from(dot.of(&a, &b));
            assert!((found - expected).abs() < 1e-5, "length {len}");
        }
    }
}
