//! Elementary functions, a vector at once.

use crate::contract::vector::Vector;

/// The function that follows a product, element by element, in f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activation {
    /// Nothing.
    #[default]
    None,
    /// `x · Φ(x)`, the exact GELU; its erf is off by at most 2e-7.
    Gelu,
    /// `x · sigmoid(1.702 x)`, CLIP's GELU.
    QuickGelu,
}

/// `activation(x)`.
#[inline(always)]
pub(crate) fn activate<V: Vector>(activation: Activation, x: V) -> V {
    match activation {
        Activation::None => x,
        Activation::Gelu => gelu(x),
        Activation::QuickGelu => quick_gelu(x),
    }
}

/// `e^x`, off by at most 2 units in the last place where f32 has normal numbers; 0 far below.
#[inline(always)]
pub(crate) fn exp<V: Vector>(x: V) -> V {
    let clamped = x.min(x.all(88.7)).max(x.all(-104.0));
    let n = (clamped * x.all(std::f32::consts::LOG2_E)).round();
    // ln 2 in two parts, so that the remainder is exact.
    let r = n.mul_add(x.all(-0.693_359_4), clamped);
    let r = n.mul_add(x.all(2.121_944_4e-4), r);
    let p = polynomial(
        r,
        [
            1.987_569_1e-4,
            1.398_199_9e-3,
            8.333_452e-3,
            4.166_579_6e-2,
            1.666_666_5e-1,
            0.5,
            1.0,
            1.0,
        ],
    );
    p.scale(n)
}

#[inline(always)]
fn quick_gelu<V: Vector>(x: V) -> V {
    x / (exp(x * x.all(-1.702)) + x.all(1.0))
}

#[inline(always)]
fn gelu<V: Vector>(x: V) -> V {
    let half = x * x.all(0.5);
    half.mul_add(erf(x * x.all(std::f32::consts::FRAC_1_SQRT_2)), half)
}

/// Abramowitz and Stegun 7.1.26.
#[inline(always)]
fn erf<V: Vector>(x: V) -> V {
    let (one, magnitude) = (x.all(1.0), x.abs());
    let t = one / magnitude.mul_add(x.all(0.327_591_1), one);
    let p = polynomial(
        t,
        [
            1.061_405_4,
            -1.453_152,
            1.421_413_7,
            -0.284_496_74,
            0.254_829_6,
            0.0,
        ],
    );
    let tail = p * exp(x.all(0.0) - magnitude * magnitude);
    (one - tail).negate_by(x)
}

/// Horner's rule, highest power first.
#[inline(always)]
fn polynomial<V: Vector, const N: usize>(x: V, coefficients: [f32; N]) -> V {
    let mut sum = x.all(coefficients[0]);
    for &c in &coefficients[1..] {
        sum = sum.mul_add(x, x.all(c));
    }
    sum
}
