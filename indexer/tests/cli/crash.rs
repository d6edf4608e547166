//! `kill -9` at random moments of a build.
//!
//! `BT_KILLS` sets how many (CI does few): `BT_KILLS=200 cargo test -p bt-index kill`.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::Duration;

use bridgetower::IndexReader;

use crate::{World, fixture};

/// Killed builds end, when finally left alone, where an uninterrupted one ends.
#[cfg(unix)]
#[test]
fn a_killed_build_goes_on_where_it_was() {
    let kills: u64 = std::env::var("BT_KILLS").map_or(6, |n| n.parse().expect("a number"));
    let seed: u64 = std::env::var("BT_SEED").map_or(1, |n| n.parse().expect("a number"));
    println!("BT_KILLS={kills} BT_SEED={seed}");
    let world = World::new();
    many_photos(&world, 300);
    let undisturbed = World::new();
    many_photos(&undisturbed, 300);
    undisturbed.build();

    let mut random = seed;
    let mut safe = 0;
    for kill in 0..kills {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let moment = Duration::from_millis(20 + (random >> 33) % 1500);
        let mut build = Command::new(assert_cmd::cargo::cargo_bin("bt-index"))
            .args(["build", "--quiet", "--batch", "4", "--index"])
            .args([world.index(), world.photos()])
            .env("BT_MODEL", fixture("checkpoints/tiny-random"))
            .env("BT_COMMIT_EVERY", "0")
            .stderr(Stdio::null())
            .spawn()
            .expect("starts");
        std::thread::sleep(moment);
        build.kill().expect("kills");
        build.wait().expect("is dead");
        // What was safe before a kill is safe after it.
        if let Ok(index) = IndexReader::open(&world.index()) {
            assert!(index.len() >= safe, "kill {kill} lost photos");
            safe = index.len();
        }
    }
    let report = world.build();
    println!("{safe} photos were published before the last build, which reports {report}");
    assert_eq!(world.status()["photos"], undisturbed.status()["photos"]);
    world.bt_index(["verify"]).assert().success();
    assert_eq!(content(&world), content(&undisturbed));
}

/// Enough pictures, all different, that a build takes a while.
fn many_photos(world: &World, count: usize) {
    for i in 0..count {
        let picture = image::RgbImage::from_fn(96, 64, |x, y| {
            let i = i as u32;
            image::Rgb([
                (x * 2 + i) as u8,
                (y * 3 + 7 * i) as u8,
                (x * y + 13 * i) as u8,
            ])
        });
        picture
            .save(world.photos().join(format!("{i:04}.png")))
            .expect("saves");
    }
}

/// File names with their vectors.
fn content(world: &World) -> BTreeMap<String, Vec<f32>> {
    let index = IndexReader::open(&world.index()).expect("opens");
    let entries = index.photos().map(|entry| {
        let (id, photo) = entry.expect("reads");
        let name = photo
            .path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let embedding = index.embedding(id).expect("reads").expect("has a vector");
        (name, embedding.as_slice().to_vec())
    });
    entries.collect()
}
