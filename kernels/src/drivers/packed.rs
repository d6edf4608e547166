//! Weights in the order in which products read them.
#![allow(unsafe_code)]

use std::iter::repeat;
use std::ops::{Deref, Range};
use std::sync::Arc;

use rayon::prelude::*;

use crate::drivers::activations::Rounded;
use crate::format::Format;
use crate::loops::finish::Finish;
use crate::loops::math::Activation;
use crate::loops::pack::word;
use crate::loops::tile::{COLUMNS, Step, Tile};
use crate::memory::{Shared, with_room};
use crate::table::Kernel;

/// The weights and bias of a linear layer, K inputs to N outputs.
pub struct Packed {
    /// The kernel that multiplies them. Everything below depends on its format alone.
    kernel: &'static Kernel,
    n: usize,
    k: usize,
    /// 32 bits of each column's weights a step; the last is filled up with zeros.
    steps: usize,
    /// Panels of 32 columns one after the other, `steps` each.
    panels: Panels,
    /// By column, filled up to whole panels, as everything below.
    bias: Vec<f32>,
    /// Int8: what a step of the quantised weight is worth.
    scales: Vec<f32>,
    /// Int8: what activations around 128 instead of 0 add to the sum.
    offsets: Vec<i32>,
}

impl std::fmt::Debug for Packed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Packed({:?}, {} → {})", self.kernel, self.k, self.n)
    }
}

impl Packed {
    /// Packs `weights`, `[N, K]` row by row, with `inputs` = K, and `bias`, `[N]`, or empty for none.
    ///
    /// # Panics
    ///
    /// Where the lengths contradict each other, or the machine has no instructions for the format.
    pub fn new(format: Format, weights: &[f32], inputs: usize, bias: &[f32]) -> Self {
        Self::with(Kernel::best_or_panic(format), weights, inputs, bias)
    }

    /// As [`Packed::new`], with a kernel of one's choice.
    ///
    /// # Panics
    ///
    /// Where the lengths contradict each other.
    pub fn with(kernel: &'static Kernel, weights: &[f32], inputs: usize, bias: &[f32]) -> Self {
        let format = kernel.format();
        assert!(
            inputs > 0 && weights.len().is_multiple_of(inputs),
            "weights are [N, K]"
        );
        let (n, k) = (weights.len() / inputs, inputs);
        assert!(bias.is_empty() || bias.len() == n, "a bias is [N]");
        let steps = k.div_ceil(format.values_per_word());
        let width = n.div_ceil(COLUMNS) * COLUMNS;
        let mut panels = with_room(width / COLUMNS * steps);
        panels.resize(width / COLUMNS * steps, Step([0; COLUMNS]));
        let (mut scales, mut offsets) = (vec![0f32; width], vec![0i32; width]);
        let columns = scales
            .par_chunks_mut(COLUMNS)
            .zip(offsets.par_chunks_mut(COLUMNS));
        panels
            .par_chunks_mut(steps)
            .zip(columns)
            .enumerate()
            .for_each(|(p, (panel, (scales, offsets)))| {
                let rows = weights.chunks_exact(k).skip(p * COLUMNS).take(COLUMNS);
                for (c, row) in rows.enumerate() {
                    match format {
                        Format::F32 | Format::Bf16 => pack(format, row, c, panel),
                        Format::Int8 => (scales[c], offsets[c]) = pack_int8(row, c, panel),
                    }
                }
            });
        let bias = bias.iter().copied().chain(repeat(0.0)).take(width);
        Self {
            kernel,
            n,
            k,
            steps,
            panels: Panels::Own(panels),
            bias: bias.collect(),
            scales,
            offsets,
        }
    }

    /// The size in bytes of the [`Self::sections`] of a layer, K inputs to N outputs; a multiple of 128.
    pub fn byte_len(format: Format, inputs: usize, outputs: usize) -> usize {
        let steps = inputs.div_ceil(format.values_per_word());
        outputs.div_ceil(COLUMNS) * (steps + 3) * size_of::<Step>()
    }

    /// Everything but the format and the numbers of inputs and outputs, for a file: one after the other they are what
    /// [`Self::map`] reads. Numbers are as this machine orders their bytes.
    pub fn sections(&self) -> [&[u8]; 4] {
        [
            bytes(&self.panels),
            bytes(&self.bias),
            bytes(&self.scales),
            bytes(&self.offsets),
        ]
    }

    /// The layer whose [`Self::sections`] begin at byte `start` of `memory`, where its weights stay. `None` if they
    /// would not lie within it, or not at a multiple of 64 bytes.
    ///
    /// # Panics
    ///
    /// Where the machine has no instructions for the format.
    pub fn map(
        format: Format,
        inputs: usize,
        outputs: usize,
        memory: &Memory,
        start: usize,
    ) -> Option<Self> {
        let kernel = Kernel::best_or_panic(format);
        let width = outputs.div_ceil(COLUMNS) * COLUMNS;
        let end = start.checked_add(Self::byte_len(format, inputs, outputs))?;
        let all = memory.as_ref().as_ref().get(start..end)?;
        let (panels, rest) = all.split_at(all.len() - 3 * width * size_of::<u32>());
        let (rest, _) = rest.as_chunks::<4>();
        let section = |i: usize| rest[i * width..][..width].iter().copied();
        let panels = Panels::Mapped(memory.clone(), start..start + panels.len());
        panels.get()?;
        Some(Self {
            kernel,
            n: outputs,
            k: inputs,
            steps: inputs.div_ceil(format.values_per_word()),
            panels,
            bias: section(0).map(f32::from_ne_bytes).collect(),
            scales: section(1).map(f32::from_ne_bytes).collect(),
            offsets: section(2).map(i32::from_ne_bytes).collect(),
        })
    }

    /// The format that it multiplies in.
    pub fn format(&self) -> Format {
        self.kernel.format()
    }

    /// K.
    pub fn inputs(&self) -> usize {
        self.k
    }

    /// N.
    pub fn width(&self) -> usize {
        self.n
    }

    /// `residual + activation(x · weightsᵀ + bias)`, `[M, N]`, of `x`, `[M, K]`; `residual` is `[M, N]`.
    ///
    /// # Panics
    ///
    /// Where the lengths contradict each other.
    pub fn forward(&self, x: &[f32], activation: Activation, residual: Option<&[f32]>) -> Vec<f32> {
        let x = Rounded::with(self.kernel, x, self.k);
        self.forward_rounded(&x, activation, residual)
    }

    /// [`Self::forward`] of activations that are rounded already, for several layers perhaps.
    ///
    /// # Panics
    ///
    /// Where the lengths contradict each other, or the activations are rounded to another format.
    pub fn forward_rounded(
        &self,
        x: &Rounded,
        activation: Activation,
        residual: Option<&[f32]>,
    ) -> Vec<f32> {
        assert!(x.k == self.k, "activations are [M, K]");
        assert!(
            std::ptr::eq(x.kernel, self.kernel),
            "activations are in the weights' format"
        );
        assert!(
            residual.is_none_or(|r| r.len() == x.rows() * self.n),
            "a residual is [M, N]"
        );
        let mut out = with_room(x.rows() * self.n);
        if x.rows() == 0 {
            return out;
        }
        let shared = Shared(out.as_mut_ptr());
        let results = Finish {
            width: self.n,
            bias: &self.bias,
            scales: &self.scales,
            offsets: &self.offsets,
            row_scales: &x.scales,
            activation,
            residual,
        };
        let panels: &[Step] = &self.panels;
        let panel_count = panels.len() / self.steps;
        let groups = x
            .blocks
            .groups(size_of::<u32>() * self.steps * self.kernel.parts);
        // Panel after panel with one group of rows, which stays in the cache meanwhile.
        (0..groups.len() * panel_count)
            .into_par_iter()
            .for_each(|task| {
                let (group, p) = (&groups[task / panel_count], task % panel_count);
                let panel = &panels[p * self.steps..(p + 1) * self.steps];
                let mut tile = Tile::new();
                for i in group.clone() {
                    let (start, len) = (x.blocks.start(i), x.blocks.len(i));
                    self.kernel.multiply(len, x.block(i), panel, &mut tile);
                    // SAFETY: the kernel is available. The rows lie in `out`, and of each this panel's columns are
                    // written by nobody else.
                    unsafe {
                        (self.kernel.finish)(
                            &results,
                            &tile,
                            (start, len),
                            p * COLUMNS,
                            shared.get(),
                        );
                    }
                }
            });
        // SAFETY: every row of every panel was written.
        unsafe { out.set_len(x.rows() * self.n) }
        out
    }
}

/// Bytes that several layers share: a mapped file, say.
pub type Memory = Arc<dyn AsRef<[u8]> + Send + Sync>;

enum Panels {
    Own(Vec<Step>),
    Mapped(Memory, Range<usize>),
}

impl Panels {
    /// `None` if the bytes lie askew.
    fn get(&self) -> Option<&[Step]> {
        match self {
            Self::Own(steps) => Some(steps),
            Self::Mapped(memory, range) => {
                let bytes = &memory.as_ref().as_ref()[range.clone()];
                // SAFETY: a step is whole numbers, of which every bit pattern is a value.
                let (before, steps, after) = unsafe { bytes.align_to::<Step>() };
                (before.is_empty() && after.is_empty()).then_some(steps)
            }
        }
    }
}

impl Deref for Panels {
    type Target = [Step];

    fn deref(&self) -> &[Step] {
        self.get().expect("checked when they were mapped")
    }
}

/// The bytes of f32, i32 or steps.
fn bytes<T>(numbers: &[T]) -> &[u8] {
    // SAFETY: those have no padding, and u8 has alignment 1.
    unsafe { std::slice::from_raw_parts(numbers.as_ptr().cast(), size_of_val(numbers)) }
}

/// Writes one column of floats into a panel.
fn pack(format: Format, row: &[f32], column: usize, panel: &mut [Step]) {
    for (values, step) in row.chunks(format.values_per_word()).zip(panel) {
        let second = values.get(1).copied().unwrap_or(0.0);
        step.0[column] = word(format, values[0], second);
    }
}

/// Returns the column's scale, and what 128 on every activation adds to its sum.
fn pack_int8(row: &[f32], column: usize, panel: &mut [Step]) -> (f32, i32) {
    let largest = row.iter().fold(0f32, |m, v| m.max(v.abs()));
    let factor = if largest > 0.0 { 127.0 / largest } else { 0.0 };
    let mut sum = 0;
    for (values, step) in row.chunks(4).zip(panel) {
        let mut bytes = [0u8; 4];
        for (byte, value) in bytes.iter_mut().zip(values) {
            let whole = (value * factor).round_ties_even() as i8;
            sum += i32::from(whole);
            *byte = whole as u8;
        }
        step.0[column] = u32::from_le_bytes(bytes);
    }
    (largest / 127.0, 128 * sum)
}
