//! Products in f32. With any register they are its own multiplication and addition.
#![allow(unsafe_code)]

use std::marker::PhantomData;

use crate::contract::product::Product;
use crate::contract::vector::Vector;
use crate::format::Format;

/// The product in f32 with registers of type `V`.
pub(crate) struct F32<V>(PhantomData<V>);

impl<V: Vector> Product for F32<V> {
    type Register = V;
    const FORMAT: Format = Format::F32;

    #[inline(always)]
    unsafe fn encode(values: V, to: *mut u32) {
        // SAFETY: one word for each lane, for which there is room.
        unsafe { values.store(to.cast()) }
    }

    #[inline(always)]
    unsafe fn dot(sum: V, activations: V, weights: V) -> V {
        activations.mul_add(weights, sum)
    }
}
