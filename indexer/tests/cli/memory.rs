//! Pictures that need more memory than there is.

use std::fs;
#[cfg(target_os = "linux")]
use std::process::Command;

use crate::World;

/// A PNG's first chunk that promises 16384 x 16384 pixels of 16 bits with opacity, and nothing after it.
fn huge_png() -> Vec<u8> {
    let mut file = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x40\0\0\0\x40\0\x10\x06\0\0\0".to_vec();
    let sum = !file[12..].iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            sum >> 1 ^ if sum & 1 == 1 { 0xedb8_8320 } else { 0 }
        })
    });
    file.extend(sum.to_be_bytes());
    file.extend(b"\0\0\0\x08IDATx\x9cc`\x18\x05\0\0");
    file
}

#[test]
fn a_picture_that_takes_too_much_memory_is_skipped_and_says_how_much() {
    let world = World::new();
    fs::write(world.photos().join("huge.png"), huge_png()).expect("writes");
    let report = world.build();
    assert_eq!(report["embedded"], 5);
    let reason = report["skipped"][0]["reason"].as_str().expect("a reason");
    assert!(
        reason.contains("takes 7") && reason.contains("MB of memory"),
        "{reason}"
    );
}

/// Where memory is short, the photos that fit are indexed all the same.
#[cfg(target_os = "linux")]
#[test]
fn a_huge_picture_ends_no_build_under_a_limit_of_memory() {
    let world = World::new();
    fs::write(world.photos().join("huge.png"), huge_png()).expect("writes");
    let (photos, index) = (world.photos(), world.index());
    let model = crate::fixture("checkpoints/tiny-random");
    let status = Command::new("sh")
        .args(["-c", r#"ulimit -v 2000000; exec "$@""#, "sh"])
        .arg(env!("CARGO_BIN_EXE_bt-index"))
        .args(["build", "--json", "--threads", "2", "--model"])
        .args([&model, &photos])
        .arg("--index")
        .arg(&index)
        .env("MALLOC_ARENA_MAX", "1")
        .env("RAYON_NUM_THREADS", "2")
        .status()
        .expect("runs");
    assert!(status.success(), "{status}");
    assert_eq!(world.status()["photos"], 5);
}
