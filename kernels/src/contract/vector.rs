//! One vector register, and the arithmetic that everything beside the products is written in.
#![allow(unsafe_code)]

use std::ops::{Add, Div, Mul, Sub};

/// `LANES` times 32 bits: floats, unless a method says otherwise.
///
/// Who makes a vector vouches for its instructions; computing with one that is there needs no `unsafe`. All methods must be
/// `inline(always)`: they take on the instructions of the kernel that they become part of.
pub(crate) trait Vector:
    Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self>
{
    const LANES: usize;

    /// `value` in all lanes.
    ///
    /// SAFETY: the machine has the instructions; so for everything that makes a vector.
    unsafe fn splat(value: f32) -> Self;
    /// SAFETY: `from` holds `LANES` values.
    unsafe fn load(from: *const f32) -> Self;
    /// The first `count` values, if there are so many lanes, and zeros.
    ///
    /// SAFETY: `from` holds those values.
    unsafe fn load_first(count: usize, from: *const f32) -> Self;
    /// SAFETY: `to` has room for `LANES` values.
    unsafe fn store(self, to: *mut f32);
    /// Stores the first `count` lanes, if there are so many.
    ///
    /// SAFETY: `to` has room for those.
    unsafe fn store_first(self, count: usize, to: *mut f32);
    /// Asks for the memory there, which may be anywhere.
    fn prefetch(_from: *const f32) {}

    /// `self · factor + summand`, rounded once.
    fn mul_add(self, factor: Self, summand: Self) -> Self;
    fn max(self, other: Self) -> Self;
    fn min(self, other: Self) -> Self;
    fn abs(self) -> Self;
    /// To whole numbers, ties to even.
    fn round(self) -> Self;
    /// `self · 2ⁿ`, of whole n from −200 to 200.
    fn scale(self, n: Self) -> Self;
    /// −self where `sign` is negative.
    fn negate_by(self, sign: Self) -> Self;
    /// The difference of i32 lanes.
    fn sub_i32(self, other: Self) -> Self;
    /// From i32 to f32 lanes.
    fn to_f32(self) -> Self;
    fn sum(self) -> f32;
    /// The sum of all lanes of four vectors.
    #[inline(always)]
    fn sum_of_four([p, q, r, s]: [Self; 4]) -> f32 {
        ((p + q) + (r + s)).sum()
    }
    fn largest(self) -> f32;

    /// Writes up to 16 rows of 16 words as 16 columns, `stride` words apart.
    ///
    /// SAFETY: `to` has room for them; the machine has the instructions.
    #[inline(always)]
    unsafe fn store_transposed(rows: &[[u32; 16]], to: *mut u32, stride: usize) {
        for s in 0..16 {
            for (r, row) in rows.iter().enumerate() {
                // SAFETY: as of this function.
                unsafe { to.add(s * stride + r).write(row[s]) }
            }
        }
    }

    /// `value` in all lanes, beside a vector that is there.
    #[inline(always)]
    fn all(self, value: f32) -> Self {
        // SAFETY: `self` proves the instructions.
        unsafe { Self::splat(value) }
    }
}

/// Operators of a vector type by its intrinsics.
#[cfg(target_arch = "x86_64")]
macro_rules! operators {
    ($vector:ident: $($trait:ident $method:ident $intrinsic:ident),+) => {
        $(impl std::ops::$trait for $vector {
            type Output = Self;

            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                // SAFETY: the operands prove the instructions.
                Self(unsafe { $intrinsic(self.0, other.0) })
            }
        })+
    };
}
#[cfg(target_arch = "x86_64")]
pub(crate) use operators;
