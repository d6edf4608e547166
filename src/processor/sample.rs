//! Numbers of 8 and 16 bits, and the transforms of `moxcms` for rows of them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use moxcms::{ColorProfile, Layout, RenderingIntent, TransformExecutor, TransformOptions};

/// Converts rows of a picture to sRGB, three numbers a pixel.
pub type ToSrgb<S> = Arc<dyn TransformExecutor<S> + Send + Sync>;

/// A number of a pixel: 8 or 16 bits.
pub trait Sample: Copy + Default + Send + Sync + 'static {
    /// The largest value.
    const MAX: u32;
    /// Returns the nearest value of 8 bits.
    fn to_byte(self) -> u8;
    /// Makes a sample of this value, at most [`Self::MAX`].
    fn new(value: u32) -> Self;
    /// Returns its value.
    fn value(self) -> u32;
    /// Makes a transform of `moxcms`.
    fn transform(
        source: &ColorProfile,
        layout: Layout,
        intent: RenderingIntent,
    ) -> Option<ToSrgb<Self>>;
    /// Returns the transforms made before.
    fn made() -> &'static Made<Self>;
}

/// The last transforms that were made, under a hash of what they were made from; `None` for those that change nothing.
/// Making one takes up to some milliseconds.
pub struct Made<S>(pub Mutex<VecDeque<(u128, Option<ToSrgb<S>>)>>);

/// The number of transforms to keep: a collection has few profiles, and a CMYK one takes a megabyte.
pub const MOST_MADE: usize = 4;

fn options(rendering_intent: RenderingIntent) -> TransformOptions {
    TransformOptions {
        rendering_intent,
        ..TransformOptions::default()
    }
}

impl Sample for u8 {
    const MAX: u32 = 255;

    fn to_byte(self) -> u8 {
        self
    }

    fn new(value: u32) -> Self {
        value as u8
    }

    fn value(self) -> u32 {
        self.into()
    }

    fn transform(
        source: &ColorProfile,
        layout: Layout,
        intent: RenderingIntent,
    ) -> Option<ToSrgb<Self>> {
        let srgb = ColorProfile::new_srgb();
        source
            .create_transform_8bit(layout, &srgb, Layout::Rgb, options(intent))
            .ok()
    }

    fn made() -> &'static Made<Self> {
        static MADE: Made<u8> = Made(Mutex::new(VecDeque::new()));
        &MADE
    }
}

impl Sample for u16 {
    const MAX: u32 = 65535;

    fn to_byte(self) -> u8 {
        ((u32::from(self) + 128) / 257) as u8
    }

    fn new(value: u32) -> Self {
        value as u16
    }

    fn value(self) -> u32 {
        self.into()
    }

    fn transform(
        source: &ColorProfile,
        layout: Layout,
        intent: RenderingIntent,
    ) -> Option<ToSrgb<Self>> {
        let srgb = ColorProfile::new_srgb();
        source
            .create_transform_16bit(layout, &srgb, Layout::Rgb, options(intent))
            .ok()
    }

    fn made() -> &'static Made<Self> {
        static MADE: Made<u16> = Made(Mutex::new(VecDeque::new()));
        &MADE
    }
}
