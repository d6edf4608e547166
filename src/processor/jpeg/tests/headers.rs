//! Facts that headers alone tell, and files that are refused by them.

use super::encoder::{Coding, Colours};
use super::{Layout, nearness, picture, reason};
use crate::error::Error;
use crate::processor::jpeg::{decode, header};

fn ordinary() -> Coding {
    Coding::new(50, 40, Colours::Ycc, &[(2, 2), (1, 1), (1, 1)])
}

/// The place of a marker's second byte.
fn marker(file: &[u8], marker: u8) -> usize {
    file.windows(2)
        .position(|pair| pair == [0xff, marker])
        .unwrap()
        + 1
}

/// `file` with a segment after its first marker.
fn with_segment(file: &[u8], marker: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u16 + 2).to_be_bytes();
    [&file[..2], &[0xff, marker], &length, body, &file[2..]].concat()
}

#[test]
fn codings_that_no_decoder_reads_are_refused_in_plain_words() {
    let file = ordinary().encode();
    let frame = marker(&file, 0xc0);
    let with_process = |process| {
        let mut file = file.clone();
        file[frame] = process;
        reason(decode(&file))
    };
    assert_eq!(with_process(0xc3), "lossless JPEGs are not supported");
    assert_eq!(with_process(0xcb), "lossless JPEGs are not supported");
    assert_eq!(with_process(0xc5), "hierarchical JPEGs are not supported");

    let mut deep = file.clone();
    deep[frame + 3] = 12;
    assert_eq!(
        reason(decode(&deep)),
        "JPEGs with 12 bits per channel are not supported"
    );

    let odd_third = Coding::new(50, 40, Colours::Ycc, &[(3, 1), (2, 1), (1, 1)]).encode();
    assert_eq!(
        reason(decode(&odd_third)),
        "the sampling ratio of its channels is not supported"
    );
}

#[test]
fn the_header_tells_size_and_memory_before_anything_is_allocated() {
    let mut coding = ordinary();
    let whole = |coding: &Coding| {
        header(&coding.encode())
            .map(|header| header.peak_bytes)
            .unwrap()
    };
    let baseline = whole(&coding);
    let header = header(&coding.encode()).unwrap();
    assert_eq!((header.width, header.height), (50, 40));
    // 64 × 48 samples of luma, half as many of chroma, of 16 bits each.
    let coefficients = 2 * 64 * 48 * 3 / 2;
    assert_eq!(
        whole(&coding.clone().progressive()),
        baseline + coefficients
    );
    assert_eq!(
        whole(&coding.clone().in_separate_scans()),
        baseline + coefficients
    );
    coding.dnl = true;
    assert_eq!(whole(&coding), baseline + coding.encode().len() as u64);
}

#[test]
fn a_tiny_file_with_ten_thousand_scans_is_refused_at_once() {
    let mut coding = Coding::new(1, 1, Colours::Ycc, &[(1, 1); 3]).progressive();
    coding.scans.truncate(1);
    let mut file = coding.encode();
    let size = marker(&file, 0xc2) + 4;
    file[size..size + 4].copy_from_slice(&[0x0f, 0xa0, 0xfd, 0xe8]);
    let scan = marker(&file, 0xda) - 1;
    let end = file.len() - 2;
    let scan = file[scan..end].repeat(10_000);
    file.splice(end..end, scan);
    assert_eq!(
        reason(decode(&file)),
        "10001 scans are too many for a picture of this size"
    );
}

#[test]
fn profiles_in_several_segments_are_put_together_in_order() {
    let file = ordinary().encode();
    let part = |number, count, body: &str| {
        [
            b"ICC_PROFILE\0".as_slice(),
            &[number, count],
            body.as_bytes(),
        ]
        .concat()
    };
    let two = with_segment(&file, 0xe2, &part(1, 2, "first "));
    let two = with_segment(&two, 0xe2, &part(2, 2, "second"));
    assert_eq!(
        picture(&two).icc.as_deref(),
        Some(b"first second".as_slice())
    );
    let half = with_segment(&file, 0xe2, &part(1, 2, "first "));
    assert_eq!(picture(&half).icc, None);
    assert_eq!(picture(&file).icc, None);
}

#[test]
fn what_follows_the_picture_does_not_count() {
    let coding = ordinary();
    let file = coding.encode();
    let other = Coding::new(8, 8, Colours::Gray, &[(1, 1)]).encode();
    for tail in [
        vec![0; 100],
        vec![0xff; 100],
        b"MotionPhoto".to_vec(),
        other,
    ] {
        let picture = picture(&[file.as_slice(), &tail].concat());
        assert!(nearness(&coding, &picture) > 40.0);
        assert_eq!(picture.layout, Layout::Rgb);
    }
}

#[test]
fn a_thumbnail_in_a_segment_is_not_taken_for_the_picture() {
    let coding = ordinary();
    let thumbnail = Coding::new(8, 8, Colours::Gray, &[(1, 1)]).encode();
    let file = with_segment(
        &coding.encode(),
        0xe1,
        &[b"Exif\0\0", thumbnail.as_slice()].concat(),
    );
    assert!(nearness(&coding, &picture(&file)) > 40.0);
}

#[test]
fn no_flipped_byte_gets_past_the_decoders() {
    let coding = Coding::new(20, 18, Colours::Ycc, &[(2, 2), (1, 1), (1, 1)]);
    let ink = Coding::new(9, 9, Colours::Ycck, &[(1, 1); 4]);
    for coding in [
        coding.clone().in_separate_scans(),
        coding.progressive(),
        ink,
    ] {
        let file = coding.encode();
        for (at, mask) in (0..file.len()).flat_map(|at| [(at, 0xff), (at, 1 << (at % 8))]) {
            let mut damaged = file.clone();
            damaged[at] ^= mask;
            let result = decode(&damaged);
            assert!(
                matches!(result, Ok(_) | Err(Error::Photo { .. })),
                "byte {at} ^ {mask}"
            );
        }
    }
}
