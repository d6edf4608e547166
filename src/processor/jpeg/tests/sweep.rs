//! Every coding against the picture that was encoded, and the two decoders against each other.

use super::encoder::{Coding, Colours, Process};
use super::{Layout, distance, nearness, picture};
use crate::processor::jpeg::markers::{Headers, Scans};
use crate::processor::jpeg::{by_libjpeg, by_zune, suits_zune};

/// Sampling factors of the first component and of the others.
const SAMPLINGS: [&[(u8, u8)]; 23] = [
    // 4:4:4, 4:2:2, 4:4:0, 4:2:0, 4:1:1, 4:1:0, and the latter two on end.
    &[(1, 1), (1, 1), (1, 1)],
    &[(2, 1), (1, 1), (1, 1)],
    &[(1, 2), (1, 1), (1, 1)],
    &[(2, 2), (1, 1), (1, 1)],
    &[(4, 1), (1, 1), (1, 1)],
    &[(4, 2), (1, 1), (1, 1)],
    &[(1, 4), (1, 1), (1, 1)],
    &[(2, 4), (1, 1), (1, 1)],
    // The same with larger numbers.
    &[(2, 1), (2, 1), (2, 1)],
    &[(2, 2), (2, 1), (2, 1)],
    &[(2, 2), (1, 2), (1, 2)],
    &[(4, 1), (2, 1), (2, 1)],
    // Chroma sampled unlike each other.
    &[(2, 2), (2, 1), (1, 2)],
    &[(2, 2), (2, 2), (1, 1)],
    &[(4, 1), (2, 1), (1, 1)],
    // Luma coarser than chroma.
    &[(1, 1), (2, 2), (1, 1)],
    &[(1, 1), (2, 2), (2, 2)],
    &[(1, 1), (2, 1), (2, 1)],
    &[(1, 1), (1, 2), (1, 2)],
    &[(2, 1), (1, 2), (1, 1)],
    // Thirds.
    &[(3, 1), (1, 1), (1, 1)],
    &[(3, 2), (1, 1), (1, 1)],
    &[(1, 3), (1, 1), (1, 1)],
];

/// The same of cyan, magenta, yellow and black.
const INK_SAMPLINGS: [&[(u8, u8)]; 4] = [
    &[(1, 1), (1, 1), (1, 1), (1, 1)],
    &[(2, 2), (1, 1), (1, 1), (2, 2)],
    &[(2, 1), (1, 1), (1, 1), (2, 1)],
    &[(1, 1), (1, 1), (1, 1), (2, 2)],
];

const GRAY_SAMPLINGS: [&[(u8, u8)]; 4] = [&[(1, 1)], &[(2, 2)], &[(1, 2)], &[(3, 1)]];

/// In MCUs; 0: no restart markers.
const RESTART_INTERVALS: [u16; 4] = [0, 1, 2, 5];

#[test]
fn scans_sampling_restarts_and_colours_of_any_kind_give_the_picture_that_was_encoded() {
    let colours = [
        (Colours::Gray, GRAY_SAMPLINGS.as_slice()),
        (Colours::Ycc, &SAMPLINGS),
        (Colours::Rgb, &SAMPLINGS),
        (Colours::Cmyk, &INK_SAMPLINGS),
        (Colours::Ycck, &INK_SAMPLINGS),
    ];
    // All widths and heights from 1 to 40 come around, unlike pairs of them.
    let mut sizes = (0..).map(|at: u16| (1 + at * 7 % 40, 1 + at * 11 % 40));
    for (colours, samplings) in colours {
        for sampling in samplings {
            for restart_interval in RESTART_INTERVALS {
                for (width, height) in sizes.by_ref().take(3).chain([(65, 49)]) {
                    let mut coding = Coding::new(width, height, colours, sampling);
                    coding.restart_interval = restart_interval;
                    if is_even(sampling) {
                        coding.texture = 60.0;
                    }
                    for coding in scan_orders(&coding) {
                        is_read_right(&coding);
                    }
                }
            }
        }
    }
}

#[test]
fn a_scan_for_each_component_with_vertical_subsampling_is_no_garbage() {
    for sampling in [&SAMPLINGS[2], &SAMPLINGS[3]] {
        is_read_right(&Coding::new(120, 90, Colours::Ycc, sampling).in_separate_scans());
    }
}

#[test]
fn luma_sampled_coarser_than_chroma_is_no_garbage() {
    for sampling in &SAMPLINGS[15..19] {
        is_read_right(&Coding::new(120, 90, Colours::Ycc, sampling));
    }
}

#[test]
fn sizes_around_the_edges_of_mcus_are_read_to_the_last_pixel() {
    for sampling in &SAMPLINGS[..4] {
        for (width, height) in (1..=40).flat_map(|at| [(at, 9), (9, at), (at, at)]) {
            let coding = Coding::new(width, height, Colours::Ycc, sampling);
            is_read_right(&coding);
            is_read_right(&coding.progressive());
        }
    }
}

#[test]
fn the_two_decoders_agree_to_a_few_levels() {
    let mut shared = 0;
    for sampling in SAMPLINGS {
        for (width, height) in [(1, 1), (15, 17), (33, 24), (40, 40), (97, 65)] {
            let mut coding = Coding::new(width, height, Colours::Ycc, sampling);
            coding.texture = 40.0;
            for coding in scan_orders(&coding) {
                let file = coding.encode();
                let headers = Headers::read(&file).unwrap();
                if suits_zune(&headers, &Scans::read(&file, &headers)) {
                    let swift = by_zune(&file, Layout::Rgb, headers.frame.is_progressive())
                        .expect("read by zune-jpeg");
                    let thorough = by_libjpeg(&file, Layout::Rgb).unwrap();
                    let distance = distance(&swift, &thorough);
                    assert!(distance <= 4, "{distance} levels: {coding:?}");
                    shared += 1;
                }
            }
        }
    }
    assert!(shared > 100, "only {shared} files that both read");
}

#[test]
fn the_height_is_read_where_it_follows_the_first_scan() {
    let mut coding = Coding::new(30, 21, Colours::Ycc, SAMPLINGS[3]);
    coding.dnl = true;
    for coding in scan_orders(&coding) {
        is_read_right(&coding);
    }
}

/// `tests/fixtures/jpeg/make_arithmetic.sh` made the files, from the same coefficients.
#[test]
fn arithmetic_coding_gives_the_same_picture_as_huffman_codes() {
    let huffman = include_bytes!("../../../../tests/fixtures/jpeg/huffman.jpg");
    let huffman = by_libjpeg(huffman, Layout::Rgb).unwrap();
    for file in [
        include_bytes!("../../../../tests/fixtures/jpeg/arithmetic.jpg").as_slice(),
        include_bytes!("../../../../tests/fixtures/jpeg/arithmetic-progressive.jpg"),
    ] {
        assert_eq!(picture(file).samples, huffman);
    }
}

#[test]
fn colours_are_told_by_adobes_marker_jfifs_and_the_ids_of_components() {
    let coding = |colours, jfif, adobe, ids: &[u8]| Coding {
        jfif,
        adobe,
        ids: ids.to_vec(),
        ..Coding::new(24, 24, colours, SAMPLINGS[0])
    };
    for coding in [
        coding(Colours::Ycc, true, None, &[1, 2, 3]),
        coding(Colours::Ycc, false, None, &[1, 2, 3]),
        coding(Colours::Ycc, false, None, &[0, 1, 2]),
        coding(Colours::Ycc, false, Some(1), &[1, 2, 3]),
        coding(Colours::Ycc, true, Some(1), b"RGB"),
        coding(Colours::Rgb, false, Some(0), &[1, 2, 3]),
        coding(Colours::Rgb, false, None, b"RGB"),
    ] {
        is_read_right(&coding);
        is_read_right(&coding.progressive());
    }
}

#[test]
fn inks_without_adobes_marker_are_inverted_too_as_in_pillow() {
    let mut coding = Coding::new(24, 24, Colours::Cmyk, INK_SAMPLINGS[0]);
    coding.adobe = None;
    is_read_right(&coding);
}

/// In one scan, in a scan for each component, and in two kinds of progressive scans.
fn scan_orders(coding: &Coding) -> Vec<Coding> {
    let mut extended = coding.clone();
    extended.process = Process::Extended;
    vec![
        coding.clone(),
        extended.in_separate_scans(),
        coding.clone().progressive(),
        coding.clone().by_spectrum(),
    ]
}

fn is_even(sampling: &[(u8, u8)]) -> bool {
    sampling.iter().all(|factors| *factors == sampling[0])
}

/// What sampling costs comes on top of fine quantisation, by how many pixels one sample covers.
fn is_read_right(coding: &Coding) {
    let finest = |factor: fn(&(u8, u8)) -> u8| coding.sampling.iter().map(factor).max().unwrap();
    let (h, v) = (finest(|(h, _)| *h), finest(|(_, v)| *v));
    let coarsest = coding
        .sampling
        .iter()
        .map(|(ch, cv)| (h / ch).max(v / cv))
        .max()
        .unwrap();
    let floor = match coarsest {
        1 => 45.0,
        2 => 36.0,
        _ => 30.0,
    };
    let nearness = nearness(coding, &picture(&coding.encode()));
    assert!(nearness >= floor, "{nearness:.1} dB: {coding:?}");
}
