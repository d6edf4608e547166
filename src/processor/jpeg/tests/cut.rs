//! Files that lack their end.

use super::encoder::{Coding, Colours};
use super::{distance, nearness, picture, reason};
use crate::processor::jpeg::decode;

const WIDTH: usize = 40;
const YCC_420: [(u8, u8); 3] = [(2, 2), (1, 1), (1, 1)];

/// The longest beginning of a file that has no data of a scan.
fn headers_end(file: &[u8]) -> usize {
    let scan = file
        .windows(2)
        .position(|pair| pair == [0xff, 0xda])
        .unwrap();
    scan + 2 + usize::from(u16::from_be_bytes([file[scan + 2], file[scan + 3]]))
}

fn refuses_all_before_the_data(file: &[u8]) {
    for length in 2..=headers_end(file) {
        let reason = reason(decode(&file[..length]));
        assert_eq!(
            reason, "the file ends before its picture begins",
            "{length} bytes"
        );
    }
}

#[test]
fn a_cut_baseline_file_is_read_as_far_as_it_goes_at_every_length() {
    let mut coding = Coding::new(WIDTH as u16, 56, Colours::Ycc, &YCC_420);
    // Restart markers tell how many rows of MCUs a beginning of the file holds.
    coding.restart_interval = WIDTH.div_ceil(16) as u16;
    let file = coding.encode();
    refuses_all_before_the_data(&file);
    let whole = picture(&file).samples;
    for length in headers_end(&file) + 1..file.len() {
        let cut = picture(&file[..length]).samples;
        let data = &file[headers_end(&file)..length];
        let restarts = data
            .windows(2)
            .filter(|pair| pair[0] == 0xff && pair[1] >> 3 == 0xd0 >> 3);
        // The chroma of the last row is interpolated with what is missing below.
        let rows = (16 * restarts.count()).saturating_sub(1);
        let distance = distance(&cut[..rows * WIDTH * 3], &whole[..rows * WIDTH * 3]);
        assert!(
            distance <= 4,
            "{length} bytes, {rows} rows: {distance} levels"
        );
        let rest = nearness(&coding, &picture(&file[..length]));
        assert!(rest > 10.0, "{length} bytes: {rest:.1} dB");
    }
}

#[test]
fn a_cut_progressive_file_is_read_as_far_as_it_goes_at_every_length() {
    let coding = Coding::new(WIDTH as u16, 56, Colours::Ycc, &YCC_420).progressive();
    let file = coding.encode();
    refuses_all_before_the_data(&file);
    let mut last = 0.0;
    for length in headers_end(&file) + 1..=file.len() {
        last = nearness(&coding, &picture(&file[..length]));
        let scans = file[..length]
            .windows(2)
            .filter(|pair| **pair == [0xff, 0xda]);
        // A gray picture is as near as 13 dB.
        let floor = match scans.count() {
            1 => 12.0,
            _ => 19.0,
        };
        assert!(last > floor, "{length} bytes: {last:.1} dB");
    }
    assert!(last > 40.0, "{last:.1} dB");
}

#[test]
fn a_file_cut_in_a_later_scan_keeps_the_earlier_ones_at_every_length() {
    let coding = Coding::new(40, 40, Colours::Ycc, &YCC_420).in_separate_scans();
    let file = coding.encode();
    refuses_all_before_the_data(&file);
    for length in headers_end(&file) + 1..file.len() {
        picture(&file[..length]);
    }
}

#[test]
fn data_that_are_missing_before_the_end_marker_make_no_garbage() {
    let coding = Coding::new(WIDTH as u16, 56, Colours::Ycc, &YCC_420);
    for coding in [coding.clone(), coding.progressive()] {
        let file = coding.encode();
        for length in headers_end(&file) + 1..file.len() {
            let cut = nearness(&coding, &picture(&file[..length]));
            let ended = [&file[..length], &[0xff, 0xd9]].concat();
            // A scan header that ends in an end marker is refused.
            let Ok(ended) = decode(&ended) else { continue };
            let ended = nearness(&coding, &ended);
            // zune-jpeg goes on in the last scan, which is about the last bits of luma alone.
            assert!(
                ended > 36.0f64.min(cut - 1.0),
                "{length} bytes: {ended:.1} dB, not {cut:.1}"
            );
        }
    }
}
