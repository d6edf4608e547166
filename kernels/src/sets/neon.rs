//! NEON: 4 lanes, 32 registers, used in pairs.
#![allow(unsafe_code)]

use std::arch::aarch64::{
    float32x4_t, int32x4_t, vabsq_f32, vaddq_f32, vaddq_s32, vaddvq_f32, vandq_u32, vcombine_s16,
    vcvtnq_s32_f32, vcvtq_f32_s32, vdivq_f32, vdupq_n_f32, vdupq_n_s32, vdupq_n_u32, veorq_u32,
    vfmaq_f32, vld1q_f32, vmaxnmq_f32, vmaxvq_f32, vminnmq_f32, vmovn_s16, vmovn_s32, vmulq_f32,
    vreinterpretq_f32_s32, vreinterpretq_f32_u32, vreinterpretq_s32_f32, vreinterpretq_u32_f32,
    vrndnq_f32, vshlq_n_s32, vshlq_n_u32, vshrq_n_s32, vst1_s8, vst1q_f32, vsubq_f32, vsubq_s32,
};
use std::arch::asm;

use crate::contract::product::Product;
use crate::contract::vector::Vector;
use crate::format::Format;

/// `fmla` on weights that are kept in bf16, the upper half of an f32; activations are not rounded.
pub(crate) struct Bf16;

impl Product for Bf16 {
    type Register = F32x8;
    const FORMAT: Format = Format::Bf16;
    const PARTS: usize = 2;

    #[inline(always)]
    unsafe fn encode(values: F32x8, to: *mut u32) {
        // SAFETY: 4 steps of 2 parts.
        unsafe { values.store(to.cast()) }
    }

    #[inline(always)]
    fn part(weights: F32x8, part: usize) -> F32x8 {
        // SAFETY: `weights` proves the instructions.
        weights.each(|x| unsafe {
            let pairs = vreinterpretq_u32_f32(x);
            vreinterpretq_f32_u32(match part {
                0 => vshlq_n_u32::<16>(pairs),
                _ => vandq_u32(pairs, vdupq_n_u32(!0xffff)),
            })
        })
    }

    #[inline(always)]
    unsafe fn dot(sum: F32x8, activations: F32x8, weights: F32x8) -> F32x8 {
        activations.mul_add(weights, sum)
    }
}

/// `sdot`.
pub(crate) struct Int8;

impl Product for Int8 {
    type Register = F32x8;
    const FORMAT: Format = Format::Int8;

    #[inline(always)]
    unsafe fn encode(values: F32x8, to: *mut u32) {
        // SAFETY: 2 steps.
        unsafe {
            let whole = |x| vmovn_s32(vcvtnq_s32_f32(x));
            let bytes = vmovn_s16(vcombine_s16(whole(values.0), whole(values.1)));
            vst1_s8(to.cast(), bytes);
        }
    }

    #[inline(always)]
    unsafe fn dot(sum: F32x8, activations: F32x8, weights: F32x8) -> F32x8 {
        // SAFETY: as of this function.
        unsafe {
            F32x8(
                sdot(sum.0, activations.0, weights.0),
                sdot(sum.1, activations.1, weights.1),
            )
        }
    }
}

/// `sum` and four products of i8 in each lane. Its intrinsic is not stable yet.
///
/// SAFETY: the machine has `dotprod`.
#[inline(always)]
unsafe fn sdot(mut sum: float32x4_t, a: float32x4_t, b: float32x4_t) -> float32x4_t {
    // SAFETY: computes on three registers.
    unsafe {
        asm!(
            "sdot {0:v}.4s, {1:v}.16b, {2:v}.16b",
            inout(vreg) sum, in(vreg) a, in(vreg) b,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sum
}

#[derive(Clone, Copy)]
pub(crate) struct F32x8(float32x4_t, float32x4_t);

impl F32x8 {
    #[inline(always)]
    fn each(self, f: impl Fn(float32x4_t) -> float32x4_t) -> Self {
        Self(f(self.0), f(self.1))
    }

    #[inline(always)]
    fn zip(self, other: Self, f: impl Fn(float32x4_t, float32x4_t) -> float32x4_t) -> Self {
        Self(f(self.0, other.0), f(self.1, other.1))
    }
}

macro_rules! operators {
    ($($trait:ident $method:ident $intrinsic:ident),+) => {
        $(impl std::ops::$trait for F32x8 {
            type Output = Self;

            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                // SAFETY: the operands prove the instructions.
                self.zip(other, |a, b| unsafe { $intrinsic(a, b) })
            }
        })+
    };
}
operators!(Add add vaddq_f32, Sub sub vsubq_f32, Mul mul vmulq_f32, Div div vdivq_f32);

impl Vector for F32x8 {
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: the caller vouches for the instructions.
        unsafe { Self(vdupq_n_f32(value), vdupq_n_f32(value)) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller vouches for the instructions, and for `LANES` values there.
        unsafe { Self(vld1q_f32(from), vld1q_f32(from.add(4))) }
    }

    #[inline(always)]
    unsafe fn load_first(count: usize, from: *const f32) -> Self {
        if count >= Self::LANES {
            // SAFETY: the caller vouches for the instructions and `count` values, which fill all lanes.
            return unsafe { Self::load(from) };
        }
        let mut values = [0f32; Self::LANES];
        // SAFETY: the caller vouches for the instructions and `count` values, fewer than there is room for.
        unsafe {
            std::ptr::copy_nonoverlapping(from, values.as_mut_ptr(), count);
            Self::load(values.as_ptr())
        }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: `self` proves the instructions; the caller vouches for room for `LANES` values.
        unsafe {
            vst1q_f32(to, self.0);
            vst1q_f32(to.add(4), self.1);
        }
    }

    #[inline(always)]
    unsafe fn store_first(self, count: usize, to: *mut f32) {
        if count >= Self::LANES {
            // SAFETY: the caller vouches for room for `count` values, which are at least all lanes.
            return unsafe { self.store(to) };
        }
        let mut values = [0f32; Self::LANES];
        // SAFETY: all lanes have room in `values`, and `count` of them, which are fewer, at `to`.
        unsafe {
            self.store(values.as_mut_ptr());
            std::ptr::copy_nonoverlapping(values.as_ptr(), to, count);
        }
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, summand: Self) -> Self {
        // SAFETY: `self` proves the instructions.
        unsafe {
            Self(
                vfmaq_f32(summand.0, self.0, factor.0),
                vfmaq_f32(summand.1, self.1, factor.1),
            )
        }
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        // SAFETY: `self` proves the instructions.
        self.zip(other, |a, b| unsafe { vmaxnmq_f32(a, b) })
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        // SAFETY: `self` proves the instructions.
        self.zip(other, |a, b| unsafe { vminnmq_f32(a, b) })
    }

    #[inline(always)]
    fn abs(self) -> Self {
        // SAFETY: `self` proves the instructions.
        self.each(|x| unsafe { vabsq_f32(x) })
    }

    #[inline(always)]
    fn round(self) -> Self {
        // SAFETY: `self` proves the instructions.
        self.each(|x| unsafe { vrndnq_f32(x) })
    }

    // In two halves: 2ⁿ itself may be no normal number.
    #[inline(always)]
    fn scale(self, n: Self) -> Self {
        // SAFETY: `self` proves the instructions.
        self.zip(n, |x, n| unsafe {
            let n = vcvtnq_s32_f32(n);
            let half = vshrq_n_s32::<1>(n);
            let halfway = vmulq_f32(x, power_of_two(half));
            vmulq_f32(halfway, power_of_two(vsubq_s32(n, half)))
        })
    }

    #[inline(always)]
    fn negate_by(self, sign: Self) -> Self {
        // SAFETY: `self` proves the instructions.
        self.zip(sign, |x, sign| unsafe {
            let sign = vandq_u32(vreinterpretq_u32_f32(sign), vdupq_n_u32(1 << 31));
            vreinterpretq_f32_u32(veorq_u32(vreinterpretq_u32_f32(x), sign))
        })
    }

    #[inline(always)]
    fn sub_i32(self, other: Self) -> Self {
        // SAFETY: `self` proves the instructions.
        self.zip(other, |a, b| unsafe {
            let difference = vsubq_s32(vreinterpretq_s32_f32(a), vreinterpretq_s32_f32(b));
            vreinterpretq_f32_s32(difference)
        })
    }

    #[inline(always)]
    fn to_f32(self) -> Self {
        // SAFETY: `self` proves the instructions.
        self.each(|x| unsafe { vcvtq_f32_s32(vreinterpretq_s32_f32(x)) })
    }

    #[inline(always)]
    fn sum(self) -> f32 {
        // SAFETY: `self` proves the instructions.
        unsafe { vaddvq_f32(vaddq_f32(self.0, self.1)) }
    }

    #[inline(always)]
    fn largest(self) -> f32 {
        // SAFETY: `self` proves the instructions.
        unsafe { vmaxvq_f32(vmaxnmq_f32(self.0, self.1)) }
    }
}

/// 2ⁿ by its bits, of n from −126 to 127.
///
/// SAFETY: the machine has the instructions.
#[inline(always)]
unsafe fn power_of_two(n: int32x4_t) -> float32x4_t {
    // SAFETY: as of this function.
    unsafe { vreinterpretq_f32_s32(vshlq_n_s32::<23>(vaddq_s32(n, vdupq_n_s32(127)))) }
}
