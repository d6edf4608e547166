//! `kill -9` at random moments of builds over a folder that keeps changing.
//!
//! `BT_KILLS` sets how many (CI does few), `BT_SEED` which moments: `BT_KILLS=100 cargo test -p bt-index killed`.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bridgetower::{Embedding, IndexReader};

use crate::{World, fixture};

/// Killed builds lose nothing that was published, and end, when finally left alone, where an uninterrupted
/// build ends.
#[cfg(unix)]
#[test]
fn a_killed_build_goes_on_where_it_was() {
    let setting = |name, default| std::env::var(name).map_or(default, |n| n.parse().expect(name));
    let (kills, mut random) = (setting("BT_KILLS", 8), setting("BT_SEED", 1));
    println!("BT_KILLS={kills} BT_SEED={random}");
    let world = World::new();
    let (mut generation, mut cut_short) = (0, 0);
    for kill in 0..kills {
        change_photos(&world, kill);
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let moment = Duration::from_millis(20 + (random >> 33) % 200);
        cut_short += u64::from(kill_build_after(&world, moment));
        if let Ok(index) = IndexReader::open(&world.index()) {
            assert!(
                index.generation() >= generation,
                "kill {kill} lost a published state"
            );
            assert!(index.photos().all(|photo| photo.is_ok()));
            generation = index.generation();
        }
    }
    let report = world.build();
    println!("{cut_short} builds were cut short; the last one reports {report}");
    assert!(cut_short > 0, "every build ended before it was killed");
    world.bt_index(["verify"]).assert().success();

    let undisturbed = World::new();
    std::fs::remove_dir_all(undisturbed.photos()).expect("removes");
    std::fs::rename(world.photos(), undisturbed.photos()).expect("moves");
    undisturbed.build();
    let (found, expected) = (content(&world), content(&undisturbed));
    assert!(found.keys().eq(expected.keys()));
    // Batches of another size may round differently.
    assert!(
        found
            .iter()
            .all(|(name, vector)| vector.cosine(&expected[name]) > 0.9999)
    );
}

/// Adds forty photos, copies one, renames one and deletes one.
pub(crate) fn change_photos(world: &World, round: u64) {
    let at = |name: String| world.photos().join(name);
    for i in 0..40 {
        let seed = (round * 40 + i) as u32;
        let picture = image::RgbImage::from_fn(96, 64, |x, y| {
            image::Rgb([
                (x * 2 + seed) as u8,
                (y * 3 + 7 * seed) as u8,
                (x * y + seed / 9) as u8,
            ])
        });
        picture
            .save(at(format!("{round:04}-{i:02}.png")))
            .expect("saves");
    }
    if let Some(last) = round.checked_sub(1) {
        std::fs::copy(
            at(format!("{last:04}-00.png")),
            at(format!("copy-{last}.png")),
        )
        .expect("copies");
        std::fs::rename(
            at(format!("{last:04}-01.png")),
            at(format!("moved-{last}.png")),
        )
        .expect("moves");
        std::fs::remove_file(at(format!("{last:04}-02.png"))).expect("deletes");
    }
}

/// Starts a build that commits as often as it can, and kills it; false if it had ended by then.
fn kill_build_after(world: &World, moment: Duration) -> bool {
    let mut build = start_build(world);
    std::thread::sleep(moment);
    let was_running = build.try_wait().expect("can be asked").is_none();
    build.kill().expect("kills");
    build.wait().expect("is dead");
    was_running
}

/// Starts a build that commits as often as it can, and keeps what it computes.
pub(crate) fn start_build(world: &World) -> Child {
    Command::new(assert_cmd::cargo::cargo_bin("bt-index"))
        .args([
            "build",
            "--quiet",
            "--batch",
            "1",
            "--commit-every",
            "0",
            "--cache",
            "split",
            "--index",
        ])
        .args([world.index(), world.photos()])
        .env("BT_MODEL", fixture("checkpoints/tiny-random"))
        .stderr(Stdio::null())
        .spawn()
        .expect("starts")
}

/// File names with their vectors.
pub(crate) fn content(world: &World) -> BTreeMap<String, Embedding> {
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
        (name, embedding)
    });
    entries.collect()
}
