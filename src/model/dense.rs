//! Linear layers, layer norms and attention: by candle on any device, or with packed weights by `bt-kernels` where the
//! CPU has the instructions.

use std::sync::Arc;

use bt_kernels::{Activation, Attention, Format, Packed, Rounded};
use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, CustomOp3, DType, Device, Layout, Module, Result, Shape,
    Storage, Tensor, bail,
};
use candle_nn::ops::softmax_last_dim;
use candle_nn::{LayerNorm, Linear, VarBuilder};

use super::packed_weights::Part;

/// The way to compute products with weights, and attention.
#[derive(Clone, Copy)]
pub(super) enum Products<'a> {
    /// By candle, in the number format of the states.
    Plain,
    /// By `bt-kernels`, on f32 states, with the weights of this part of the model.
    Packed(&'a Part),
}

impl Products<'_> {
    /// Of packed weights.
    pub(super) fn format(self) -> Option<Format> {
        match self {
            Self::Plain => None,
            Self::Packed(part) => Some(part.format()),
        }
    }
}

/// A linear layer with what follows it: bias, activation, residual.
pub(super) enum Dense {
    Plain(Linear),
    Packed(Arc<Packed>),
}

impl Dense {
    /// Reads `weight`, `[output, input]`, and `bias`, `[output]`; both must be in the checkpoint.
    pub(super) fn new(
        input: usize,
        output: usize,
        vb: &VarBuilder,
        products: Products,
    ) -> Result<Self> {
        let name = vb.prefix();
        Self::named(&name, [input, output], products, || {
            let weight = vb.get((output, input), "weight")?;
            Ok((weight, Some(vb.get(output, "bias")?)))
        })
    }

    /// `read` gives weight and bias, unless they lie packed already; `name` is this layer's alone.
    pub(super) fn named(
        name: &str,
        sizes: [usize; 2],
        products: Products,
        read: impl FnOnce() -> Result<(Tensor, Option<Tensor>)>,
    ) -> Result<Self> {
        let part = match products {
            Products::Packed(part) => part,
            Products::Plain => {
                let (weight, bias) = read()?;
                return Ok(Self::Plain(Linear::new(weight, bias)));
            }
        };
        let values = |x: &Tensor| x.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>();
        let packed = part.layer(name, sizes, || {
            let (weight, bias) = read()?;
            let bias = bias.as_ref().map(values).transpose()?.unwrap_or_default();
            Ok((values(&weight)?, bias))
        })?;
        Ok(Self::Packed(packed))
    }

    /// `activation(x · weightᵀ + bias)`.
    pub(super) fn activated(&self, x: &Tensor, activation: Activation) -> Result<Tensor> {
        match self {
            Self::Plain(linear) => activate(&linear.forward(x)?, activation),
            Self::Packed(weights) => x.contiguous()?.apply_op1_no_bwd(&Product {
                weights,
                activation,
            }),
        }
    }

    /// Applies each of `layers` to the same `x`.
    pub(super) fn each<const N: usize>(layers: [&Self; N], x: &Tensor) -> Result<[Tensor; N]> {
        let packed = layers.map(|layer| match layer {
            Self::Packed(weights) => Some(weights),
            Self::Plain(_) => None,
        });
        let mut outputs = Vec::with_capacity(N);
        if let Some(&Some(first)) = packed.first() {
            let x = x.contiguous()?;
            let (storage, layout) = x.storage_and_layout();
            let Storage::Cpu(storage) = &*storage else {
                bail!("packed weights are for the CPU")
            };
            let rounded = Rounded::new(first.format(), values(storage, layout)?, first.inputs());
            for weights in packed.into_iter().flatten() {
                let out = weights.forward_rounded(&rounded, Activation::None, None);
                outputs.push(Tensor::from_vec(out, wide(layout, weights), &Device::Cpu)?);
            }
        } else {
            for layer in layers {
                outputs.push(layer.forward(x)?);
            }
        }
        Ok(outputs.try_into().expect("one for each layer"))
    }

    /// `x · weightᵀ + bias + residual`; the residual may have a batch of one for all of `x`'s.
    pub(super) fn onto(&self, x: &Tensor, residual: &Tensor) -> Result<Tensor> {
        match self {
            Self::Packed(weights)
                if x.elem_count() / x.dim(2)? * weights.width() == residual.elem_count() =>
            {
                let product = Product {
                    weights,
                    activation: Activation::None,
                };
                x.contiguous()?
                    .apply_op2_no_bwd(&residual.contiguous()?, &product)
            }
            _ => self.forward(x)?.broadcast_add(residual),
        }
    }
}

impl Module for Dense {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.activated(x, Activation::None)
    }
}

/// A LayerNorm over the last dimension.
pub(super) enum Norm {
    Plain(LayerNorm),
    Packed(bt_kernels::LayerNorm),
}

impl Norm {
    /// Reads `weight` and `bias`, `[size]`; both must be in the checkpoint.
    pub(super) fn new(size: usize, eps: f64, vb: &VarBuilder, products: Products) -> Result<Self> {
        let (weight, bias) = (vb.get(size, "weight")?, vb.get(size, "bias")?);
        Ok(match products {
            Products::Plain => Self::Plain(LayerNorm::new(weight, bias, eps)),
            Products::Packed(_) => Self::Packed(bt_kernels::LayerNorm {
                weight: weight.to_vec1()?,
                bias: bias.to_vec1()?,
                eps: eps as f32,
            }),
        })
    }
}

impl Module for Norm {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Plain(norm) => norm.forward(x),
            Self::Packed(norm) => x.contiguous()?.apply_op1_no_bwd(&Normalized(norm)),
        }
    }
}

fn activate(x: &Tensor, activation: Activation) -> Result<Tensor> {
    match activation {
        Activation::None => Ok(x.clone()),
        Activation::Gelu => x.gelu_erf(),
        Activation::QuickGelu => x * candle_nn::ops::sigmoid(&(x * 1.702)?)?,
    }
}

/// Scaled dot-product attention over `heads` heads.
///
/// `query` is `[B, Lq, D]`, `key` and `value` are `[B, Lk, D]`; `mask`, `[B, 1, 1, Lk]`, is added to the
/// scores: 0 where a key may be seen, a large negative number where not. Either side may have a batch of
/// one that stands for every member of the other's.
pub(super) fn attention(
    [query, key, value]: [&Tensor; 3],
    heads: usize,
    mask: Option<&Tensor>,
    packed: Option<Format>,
) -> Result<Tensor> {
    let (_, l, d) = query.dims3()?;
    let b = query.dim(0)?.max(key.dim(0)?);
    if let Some(format) = packed {
        let mask = mask
            .map(|mask| mask.flatten_all()?.to_vec1::<f32>())
            .transpose()?;
        let (key_len, shape) = (key.dim(1)?, (b, l, d));
        let op = FusedAttention {
            format,
            mask,
            heads,
            key_len,
            shape,
        };
        return query
            .contiguous()?
            .apply_op3_no_bwd(&key.contiguous()?, &value.contiguous()?, &op);
    }
    let split_heads = |x: &Tensor| -> Result<Tensor> {
        let (own, l, d) = x.dims3()?;
        x.reshape((own, l, heads, d / heads))?
            .transpose(1, 2)?
            .broadcast_as((b, heads, l, d / heads))?
            .contiguous() // [B, H, L, D/H]
    };
    let scale = ((d / heads) as f64).powf(-0.5);
    let query = split_heads(&(query * scale)?)?;
    let scores = query.matmul(&split_heads(key)?.transpose(2, 3)?)?; // [B, H, Lq, Lk]
    let scores = match mask {
        Some(mask) => scores.broadcast_add(mask)?,
        None => scores,
    };
    softmax_last_dim(&scores)?
        .matmul(&split_heads(value)?)?
        .transpose(1, 2)? // [B, Lq, H, D/H]
        .reshape((b, l, d))
}

/// [`Packed::forward`] as candle knows operations.
struct Product<'a> {
    weights: &'a Packed,
    activation: Activation,
}

impl Product<'_> {
    fn forward(&self, x: &[f32], layout: &Layout, residual: Option<&[f32]>) -> (CpuStorage, Shape) {
        let out = self.weights.forward(x, self.activation, residual);
        (CpuStorage::F32(out), wide(layout, self.weights))
    }
}

impl CustomOp1 for Product<'_> {
    fn name(&self) -> &'static str {
        "packed product"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok(self.forward(values(x, layout)?, layout, None))
    }
}

impl CustomOp2 for Product<'_> {
    fn name(&self) -> &'static str {
        "packed product onto a residual"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        layout: &Layout,
        residual: &CpuStorage,
        residual_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let residual = values(residual, residual_layout)?;
        Ok(self.forward(values(x, layout)?, layout, Some(residual)))
    }
}

/// [`bt_kernels::LayerNorm::forward`] as candle knows operations.
struct Normalized<'a>(&'a bt_kernels::LayerNorm);

impl CustomOp1 for Normalized<'_> {
    fn name(&self) -> &'static str {
        "layer norm"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let out = self.0.forward(values(x, layout)?);
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }
}

/// The shape of the product of what lies so with `weights`.
fn wide(layout: &Layout, weights: &Packed) -> Shape {
    let mut shape = layout.dims().to_vec();
    if let Some(width) = shape.last_mut() {
        *width = weights.width();
    }
    shape.into()
}

/// [`bt_kernels::attention`] as candle knows operations.
struct FusedAttention {
    format: Format,
    mask: Option<Vec<f32>>,
    heads: usize,
    key_len: usize,
    /// B, Lq, D.
    shape: (usize, usize, usize),
}

impl CustomOp3 for FusedAttention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(
        &self,
        query: &CpuStorage,
        query_layout: &Layout,
        key: &CpuStorage,
        key_layout: &Layout,
        value: &CpuStorage,
        value_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (batch, query_len, d) = self.shape;
        let out = bt_kernels::attention(Attention {
            format: self.format,
            query: values(query, query_layout)?,
            key: values(key, key_layout)?,
            value: values(value, value_layout)?,
            mask: self.mask.as_deref(),
            batch,
            heads: self.heads,
            head_width: d / self.heads,
            query_len,
            key_len: self.key_len,
        });
        Ok((CpuStorage::F32(out), self.shape.into()))
    }
}

fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<f32>()?[start..end]),
        None => bail!("the operand lies scattered in memory"),
    }
}
