//! A made-up photo, of which only the number matters.

use std::path::PathBuf;

use bridgetower::Photo;
use bridgetower::photo::{ContentHash, PhotoMetadata};

pub fn photo(number: usize) -> Photo {
    let mut content_hash = [0; 32];
    content_hash[..8].copy_from_slice(&number.to_le_bytes());
    Photo {
        path: PathBuf::from(format!(
            "/home/someone/Pictures/2024/{:03}/IMG_{number:06}.jpg",
            number / 1000
        )),
        size: number as u64,
        mtime_ns: 0,
        ctime_ns: None,
        content_hash: ContentHash(content_hash),
        metadata: PhotoMetadata {
            camera: Some("Apple iPhone 13".into()),
            ..PhotoMetadata::default()
        },
    }
}
