//! What decoding and preprocessing take, counted: never more than `peak_bytes` said before.
//!
//! A binary of its own, since it counts every allocation.

#![allow(unsafe_code, reason = "an allocator is unsafe by nature")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Cursor;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use bridgetower::processor::{Encoded, Processor};
use image::codecs::webp::WebPEncoder;
use image::{DynamicImage, ImageFormat, RgbaImage};

struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

fn grow(bytes: usize) {
    let now = NOW.fetch_add(bytes, Ordering::Relaxed) + bytes;
    MOST.fetch_max(now, Ordering::Relaxed);
}

// SAFETY: every call goes on to the system's allocator as it came; only numbers are kept.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Old and new lie side by side where it cannot grow in place.
        grow(size);
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Name, and the bytes of a file.
type File = (String, Vec<u8>);

fn picture(width: u32, height: u32) -> DynamicImage {
    RgbaImage::from_fn(width, height, |x, y| {
        image::Rgba([
            ((x * y) >> 6) as u8,
            (x >> 2) as u8,
            (y ^ x) as u8,
            (x + y) as u8,
        ])
    })
    .into()
}

fn in_format(picture: &DynamicImage, name: &str, format: ImageFormat) -> File {
    let mut file = Cursor::new(Vec::new());
    picture.write_to(&mut file, format).expect("encodes");
    (format!("{name} as {format:?}"), file.into_inner())
}

/// Every depth in every format that has it.
fn files(picture: &DynamicImage) -> Vec<File> {
    let kinds: [(&str, DynamicImage); 6] = [
        ("gray", picture.to_luma8().into()),
        ("rgb", picture.to_rgb8().into()),
        ("rgba", picture.to_rgba8().into()),
        ("deep gray", picture.to_luma16().into()),
        ("deep rgb", picture.to_rgb16().into()),
        ("deep rgba", picture.to_rgba16().into()),
    ];
    let mut files = Vec::new();
    for (name, picture) in &kinds {
        files.push(in_format(picture, name, ImageFormat::Png));
        if !name.contains("deep gray") {
            files.push(in_format(picture, name, ImageFormat::Tiff));
        }
    }
    for (name, format) in [
        ("gray", ImageFormat::Jpeg),
        ("rgb", ImageFormat::Jpeg),
        ("rgb", ImageFormat::Bmp),
        ("rgba", ImageFormat::Bmp),
        ("rgba", ImageFormat::Gif),
    ] {
        let (_, picture) = kinds
            .iter()
            .find(|(kind, _)| *kind == name)
            .expect("a kind");
        files.push(in_format(picture, name, format));
    }
    // WebP has no longer sides.
    let fits_webp = picture.width().max(picture.height()) <= 16_383;
    for (name, picture) in kinds[1..3].iter().filter(|_| fits_webp) {
        let mut file = Vec::new();
        let encoder = WebPEncoder::new_lossless(&mut file);
        picture.write_with_encoder(encoder).expect("encodes");
        files.push((format!("{name} as WebP"), file));
    }
    files
}

#[test]
fn no_picture_takes_more_memory_than_was_told_before() {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/model");
    let processor = Processor::from_dir(&model, 128, 50).expect("a processor");
    for (width, height) in [(1600, 1200), (60_000, 20), (20, 60_000)] {
        for (name, file) in files(&picture(width, height)) {
            let encoded = Encoded::new(file).expect("a file");
            let promised = processor.peak_bytes(&encoded).expect("a header") as usize;
            let before = NOW.load(Ordering::Relaxed);
            MOST.store(before, Ordering::Relaxed);
            processor.preprocess(&encoded).expect("decodes");
            let most = MOST.load(Ordering::Relaxed) - before;
            let name = format!("{name}, {width}x{height}");
            assert!(
                most <= promised,
                "{name}: {most} bytes, {promised} promised"
            );
            // Nor is so much promised that photos would be refused for nothing.
            assert!(
                promised <= 5 * most + (8 << 20),
                "{name}: {most} bytes, {promised} promised"
            );
        }
    }
}
