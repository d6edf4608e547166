//! The instruction sets that there are, and the choice among them at run time.
#![allow(unsafe_code)]

#[cfg(target_arch = "aarch64")]
use std::arch::is_aarch64_feature_detected as is_detected;
#[cfg(target_arch = "x86_64")]
use std::arch::is_x86_feature_detected as is_detected;
use std::fmt;
use std::sync::LazyLock;

use crate::contract::product::Product;
use crate::format::Format;
use crate::loops::dot::dot;
use crate::loops::finish::{Finish, finish};
use crate::loops::norm::normalize;
use crate::loops::pack::{pack_columns, pack_rows};
use crate::loops::round::round;
use crate::loops::softmax::{exponentials, store_scaled};
use crate::loops::tile::{COLUMNS, Step, Tile, multiply};
use crate::sets::f32::F32;
#[cfg(target_arch = "aarch64")]
use crate::sets::neon;
#[cfg(target_arch = "x86_64")]
use crate::sets::{avx2, avx512};

/// Compiles everything that is generic over [`Product`] with the instructions named.
macro_rules! kernel {
    ($set:literal, $product:ty, $rows:tt rows, $($feature:tt),+) => {{
        $(#[target_feature(enable = $feature)])+
        unsafe fn round_with(
            x: &[f32],
            size: (usize, usize, usize),
            factor: f32,
            words: &mut [u32],
            scales: &mut [f32],
        ) {
            // SAFETY: the caller promises what `round` asks for.
            unsafe { round::<$product>(x, size, factor, words, scales) }
        }
        $(#[target_feature(enable = $feature)])+
        unsafe fn multiply_with<const R: usize>(words: *const u32, panel: &[Step], tile: &mut Tile) {
            // SAFETY: the caller promises what `multiply` asks for.
            unsafe { multiply::<$product, R>(words, panel, tile) }
        }
        $(#[target_feature(enable = $feature)])+
        unsafe fn finish_with(
            results: &Finish,
            tile: &Tile,
            rows: (usize, usize),
            column: usize,
            out: *mut f32,
        ) {
            // SAFETY: the caller promises what `finish` asks for.
            unsafe { finish::<$product>(results, tile, rows, column, out) }
        }
        $(#[target_feature(enable = $feature)])+
        unsafe fn pack_rows_with(x: &[f32], size: (usize, usize, usize), panel: &mut [Step]) {
            // SAFETY: the caller promises what `pack_rows` asks for.
            unsafe { pack_rows::<$product>(x, size, panel) }
        }
        $(#[target_feature(enable = $feature)])+
        unsafe fn pack_columns_with(x: &[f32], size: (usize, usize), panel: &mut [Step]) {
            // SAFETY: the caller promises what `pack_columns` asks for.
            unsafe { pack_columns::<$product>(x, size, panel) }
        }
        $(#[target_feature(enable = $feature)])+
        unsafe fn normalize_with(x: &[f32], weights: (&[f32], &[f32], f32), out: &mut [f32]) {
            // SAFETY: the caller promises what `normalize` asks for.
            unsafe { normalize::<<$product as Product>::Register>(x, weights, out) }
        }
        $(#[target_feature(enable = $feature)])+
        unsafe fn exponentials_with(scores: &mut [f32], bias: &[f32]) -> f32 {
            // SAFETY: the caller promises what `exponentials` asks for.
            unsafe { exponentials::<<$product as Product>::Register>(scores, bias) }
        }
        $(#[target_feature(enable = $feature)])+
        unsafe fn store_scaled_with(sums: &[f32; COLUMNS], factor: f32, width: usize, to: *mut f32) {
            // SAFETY: the caller promises what `store_scaled` asks for.
            unsafe { store_scaled::<<$product as Product>::Register>(sums, factor, width, to) }
        }
        $(#[target_feature(enable = $feature)])+
        unsafe fn dot_with(a: &[f32], b: &[f32]) -> f32 {
            // SAFETY: the caller promises what `dot` asks for.
            unsafe { dot::<<$product as Product>::Register>(a, b) }
        }
        Kernel {
            set: $set,
            format: <$product as Product>::FORMAT,
            parts: <$product as Product>::PARTS,
            has_instructions: || true $(&& is_detected!($feature))+,
            round: round_with,
            multiply: for_rows!(multiply_with, $rows),
            finish: finish_with,
            pack_rows: pack_rows_with,
            pack_columns: pack_columns_with,
            normalize: normalize_with,
            exponentials: exponentials_with,
            store_scaled: store_scaled_with,
            dot: dot_with,
        }
    }};
}

/// A function for each number of rows of a tile.
#[rustfmt::skip]
macro_rules! for_rows {
    ($f:ident, 6) => {
        &[$f::<1>, $f::<2>, $f::<3>, $f::<4>, $f::<5>, $f::<6>]
    };
    ($f:ident, 14) => {
        &[
            $f::<1>, $f::<2>, $f::<3>, $f::<4>, $f::<5>, $f::<6>, $f::<7>,
            $f::<8>, $f::<9>, $f::<10>, $f::<11>, $f::<12>, $f::<13>, $f::<14>,
        ]
    };
}

/// All kernels: the widest instruction set first, and in each f32 last.
#[cfg(target_arch = "x86_64")]
static KERNELS: &[Kernel] = &[
    kernel!("avx512", avx512::Int8, 14 rows, "avx512f", "avx512vnni"),
    kernel!("avx512", avx512::Bf16, 14 rows, "avx512f", "avx512bf16"),
    kernel!("avx512", F32<avx512::F32x16>, 14 rows, "avx512f"),
    kernel!("avxvnni", avx2::Int8Vnni, 6 rows, "avx2", "fma", "avxvnni"),
    kernel!("avx2", avx2::Int8, 6 rows, "avx2", "fma"),
    kernel!("avx2", avx2::Bf16, 6 rows, "avx2", "fma"),
    kernel!("avx2", F32<avx2::F32x8>, 6 rows, "avx2", "fma"),
];
#[cfg(target_arch = "aarch64")]
static KERNELS: &[Kernel] = &[
    kernel!("neon", neon::Int8, 6 rows, "neon", "dotprod"),
    kernel!("neon", neon::Bf16, 6 rows, "neon"),
    kernel!("neon", F32<neon::F32x8>, 6 rows, "neon"),
];
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
static KERNELS: &[Kernel] = &[];

/// A `Product` with all that is written on top of it, compiled with its instructions: what the drivers call.
pub struct Kernel {
    set: &'static str,
    format: Format,
    /// Parts of a step.
    pub(crate) parts: usize,
    has_instructions: fn() -> bool,
    /// [`round`].
    pub(crate) round: Round,
    /// [`multiply`], by the number of rows less one.
    multiply: &'static [Multiply],
    /// [`finish`].
    pub(crate) finish: unsafe fn(&Finish, &Tile, (usize, usize), usize, *mut f32),
    /// [`pack_rows`].
    pub(crate) pack_rows: PackRows,
    /// [`pack_columns`].
    pub(crate) pack_columns: unsafe fn(&[f32], (usize, usize), &mut [Step]),
    /// [`normalize`].
    pub(crate) normalize: Normalize,
    /// [`exponentials`].
    pub(crate) exponentials: unsafe fn(&mut [f32], &[f32]) -> f32,
    /// [`store_scaled`].
    pub(crate) store_scaled: unsafe fn(&[f32; COLUMNS], f32, usize, *mut f32),
    /// [`dot`].
    pub(crate) dot: unsafe fn(&[f32], &[f32]) -> f32,
}

type Round = unsafe fn(&[f32], (usize, usize, usize), f32, &mut [u32], &mut [f32]);
type PackRows = unsafe fn(&[f32], (usize, usize, usize), &mut [Step]);
type Normalize = unsafe fn(&[f32], (&[f32], &[f32], f32), &mut [f32]);
type Multiply = unsafe fn(*const u32, &[Step], &mut Tile);

impl Kernel {
    /// Those that this machine has the instructions for, the best of a format first. The environment variable
    /// `BT_KERNELS` may name the widest instruction set that counts, or `none`.
    ///
    /// # Panics
    ///
    /// Where that names what there is not.
    pub fn available() -> impl Iterator<Item = &'static Self> {
        static WIDEST: LazyLock<Option<String>> = LazyLock::new(|| {
            let widest = std::env::var("BT_KERNELS").ok()?;
            assert!(
                widest == "none" || KERNELS.iter().any(|kernel| kernel.set == widest),
                "BT_KERNELS is {widest:?}, but there is {KERNELS:?}; `none` for none of them"
            );
            Some(widest)
        });
        KERNELS
            .iter()
            .skip_while(|kernel| WIDEST.as_ref().is_some_and(|widest| widest != kernel.set))
            .filter(|kernel| (kernel.has_instructions)())
    }

    /// The best that this machine has for products in `format`.
    pub fn best(format: Format) -> Option<&'static Self> {
        Self::available().find(|kernel| kernel.format == format)
    }

    pub(crate) fn best_or_panic(format: Format) -> &'static Self {
        Self::best(format).unwrap_or_else(|| panic!("this machine has no {format:?} products"))
    }

    /// Its instruction set.
    pub fn set(&self) -> &'static str {
        self.set
    }

    /// The format that it multiplies in.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Whether it takes less time than f32, not only less memory.
    pub(crate) fn beats_f32(&self) -> bool {
        match self.format {
            Format::F32 => false,
            Format::Bf16 => self.parts == 1,
            Format::Int8 => true,
        }
    }

    /// The kernel of attention beside it: bf16 where that is faster, else f32.
    pub(crate) fn of_attention(&self) -> &'static Self {
        Self::available()
            .skip_while(|other| other.set != self.set)
            .find(|other| match other.format {
                Format::F32 => true,
                Format::Bf16 => self.format != Format::F32 && other.beats_f32(),
                Format::Int8 => false,
            })
            .expect("f32 comes last in a set, or in the one that it builds on")
    }

    /// Rows of a tile at most.
    pub(crate) fn rows(&self) -> usize {
        self.multiply.len()
    }

    /// [`multiply`] for `rows` rows.
    pub(crate) fn multiply(&self, rows: usize, words: &[u32], panel: &[Step], tile: &mut Tile) {
        assert!(words.len() == rows * panel.len() * self.parts);
        // SAFETY: available, or nobody would have it; the length is checked.
        unsafe { self.multiply[rows - 1](words.as_ptr(), panel, tile) }
    }
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} by {}", self.format, self.set)
    }
}

impl Format {
    /// Whether this machine has the instructions for products in this format.
    pub fn is_supported(self) -> bool {
        Kernel::best(self).is_some()
    }

    /// Whether products in this format take this machine less time than in f32, not only less memory.
    pub fn beats_f32(self) -> bool {
        Kernel::best(self).is_some_and(Kernel::beats_f32)
    }
}
