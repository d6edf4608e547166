//! `kill -9` at random moments of builds, rebuilds, compactions and removals, over a folder that keeps changing.
//!
//! `BT_KILLS` sets how many (CI does few), `BT_SEED` which moments: `BT_KILLS=500 cargo test -p bt-index killed`.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, UNIX_EPOCH};

use bridgetower::engine::EngineOptions;
use bridgetower::index::{IndexReader, IndexWriter, ModelIdentity, SearchOptions};
use bridgetower::photo::ContentHash;
use bridgetower::{Embedding, Engine, Error, Index, Photo};

use crate::{World, fixture, setting};

/// Kills between two builds that may run to their end.
const KILLS_IN_A_ROW: usize = 10;
/// With more photos than this there are no new ones.
const MOST_PHOTOS: usize = 80;

/// Commands that are killed lose nothing that was durable, and leave an index that is whole; left alone, a build ends
/// where one does that was never disturbed.
#[cfg(unix)]
#[test]
fn killed_commands_lose_nothing() {
    let (kills, seed) = (setting("BT_KILLS", 16), setting("BT_SEED", 1));
    println!("BT_KILLS={kills} BT_SEED={seed}");
    let started = Instant::now();
    let mut campaign = Campaign::new(seed);
    while campaign.killed.values().sum::<usize>() < kills {
        campaign.change_photos();
        let task = campaign.choose();
        campaign.start_and_kill(task);
        campaign.read();
        // A kill may come upon what another one left, too.
        if campaign.random.below(3) > 0 {
            campaign.look_at_store();
        }
        if campaign.random.below(KILLS_IN_A_ROW) == 0 {
            campaign.finish();
        }
    }
    campaign.finish();
    println!(
        "killed {:?}, ended before {:?}, {} photos in the end, after {:.0?}",
        campaign.killed,
        campaign.ended,
        campaign.durable.len(),
        started.elapsed()
    );
    campaign.compare_with_an_undisturbed_build();
}

/// What is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Task {
    Build,
    /// Beside the index, then in its place.
    Rebuild,
    Compact,
    /// Of the photos in a folder; the next build brings them back.
    Remove(&'static str),
}

const FOLDERS: [&str; 3] = ["a", "b", "c"];

struct Campaign {
    world: World,
    photos: PathBuf,
    identity: ModelIdentity,
    random: Random,
    pictures: usize,
    /// Photos that the store held when it was last looked at, and has no reason not to hold.
    durable: BTreeMap<PathBuf, Photo>,
    generation: u64,
    /// The vector that each content got first.
    vectors: HashMap<ContentHash, Embedding>,
    /// When commands are killed at the latest: about as long as they take.
    patience: HashMap<&'static str, Duration>,
    killed: BTreeMap<&'static str, usize>,
    ended: BTreeMap<&'static str, usize>,
}

impl Campaign {
    fn new(seed: usize) -> Self {
        let model = fixture("checkpoints/tiny-random");
        let model = model.to_str().expect("UTF-8");
        let engine = Engine::load(model, &EngineOptions::default(), &mut |_, _, _| {});
        let world = World::new();
        for folder in FOLDERS {
            fs::create_dir(world.photos().join(folder)).expect("creates");
        }
        Self {
            photos: world.photos().canonicalize().expect("exists"),
            identity: engine.and_then(|engine| engine.identity()).expect("loads"),
            world,
            random: Random(seed),
            pictures: 0,
            durable: BTreeMap::new(),
            generation: 0,
            vectors: HashMap::new(),
            patience: HashMap::new(),
            killed: BTreeMap::new(),
            ended: BTreeMap::new(),
        }
    }

    /// Adds, copies, moves, replaces and deletes photos, and renames folders. What is no longer where it was need not
    /// be in the index there.
    fn change_photos(&mut self) {
        for _ in 0..self.random.below(8) {
            let photos = files_below(&self.photos);
            if photos.len() < MOST_PHOTOS {
                draw(&self.free_path(), self.pictures);
            }
            let photo = &photos[self.random.below(photos.len())];
            match self.random.below(6) {
                0 => {
                    fs::copy(photo, self.free_path()).expect("copies");
                    continue;
                }
                1 => fs::rename(photo, self.free_path()).expect("moves"),
                2 => draw(photo, self.next_picture()),
                3 if photos.len() > MOST_PHOTOS / 2 => fs::remove_file(photo).expect("deletes"),
                _ => continue,
            }
            self.durable.remove(photo);
        }
        if self.random.below(4) == 0 {
            let [one, other] = [FOLDERS[0], FOLDERS[1]].map(|name| self.photos.join(name));
            let aside = self.photos.join("aside");
            fs::rename(&one, &aside).expect("moves");
            fs::rename(&other, &one).expect("moves");
            fs::rename(&aside, &other).expect("moves");
            let has_moved = |path: &Path| path.starts_with(&one) || path.starts_with(&other);
            self.durable.retain(|path, _| !has_moved(path));
        }
    }

    fn next_picture(&mut self) -> usize {
        self.pictures += 1;
        self.pictures
    }

    fn free_path(&mut self) -> PathBuf {
        let number = self.next_picture();
        let folder = FOLDERS[self.random.below(FOLDERS.len())];
        self.photos.join(folder).join(format!("{number}.png"))
    }

    fn choose(&mut self) -> Task {
        match self.random.below(10) {
            0..=4 => Task::Build,
            5..=6 => Task::Rebuild,
            7..=8 => Task::Compact,
            _ => Task::Remove(FOLDERS[self.random.below(FOLDERS.len())]),
        }
    }

    fn start_and_kill(&mut self, task: Task) {
        let mut child = match task {
            Task::Build => start_build(&self.world),
            Task::Rebuild => start_rebuild(&self.world),
            Task::Compact => start(&self.world, &["compact"]),
            Task::Remove(folder) => {
                let removed = self.photos.join(folder);
                self.durable.retain(|path, _| !path.starts_with(&removed));
                start(&self.world, &["remove", &format!("photos/{folder}")])
            }
        };
        let name = match task {
            Task::Build => "build",
            Task::Rebuild => "rebuild",
            Task::Compact => "compact",
            Task::Remove(_) => "remove",
        };
        let patience = self
            .patience
            .entry(name)
            .or_insert(Duration::from_millis(200));
        let moment = patience.mul_f64(self.random.below(1000) as f64 / 1000.0);
        std::thread::sleep(moment);
        let was_running = child.try_wait().expect("can be asked").is_none();
        child.kill().expect("kills");
        child.wait().expect("is dead");
        let (counts, change) = if was_running {
            (&mut self.killed, 1.1)
        } else {
            (&mut self.ended, 0.8)
        };
        *counts.entry(name).or_default() += 1;
        *patience = patience.mul_f64(change);
    }

    /// What queries see: a state no older than before, each record with its vector.
    fn read(&mut self) {
        let index = match IndexReader::open(&self.world.index()) {
            Err(Error::NoIndex { .. }) if self.generation == 0 => return,
            index => index.expect("opens"),
        };
        assert!(
            index.generation() >= self.generation,
            "a published state is lost"
        );
        self.generation = index.generation();
        for entry in index.photos() {
            let (id, photo) = entry.expect("reads");
            let vector = index.embedding(id).expect("reads").expect("has a vector");
            let first = self
                .vectors
                .entry(photo.content_hash)
                .or_insert_with(|| vector.clone());
            assert!(vector.cosine(first) > 0.9999, "another photo's vector");
            if self.random.below(20) == 0 {
                let nearest = index.search(&vector, 1, &SearchOptions::default());
                assert!(nearest.expect("searches")[0].similarity > 0.9999);
            }
        }
    }

    /// The store is whole, and holds what it held and what is still in the folder.
    fn look_at_store(&mut self) {
        if !self.world.index().join("store.sled").exists()
            && !self.world.index().join("store.old").exists()
        {
            assert!(self.durable.is_empty(), "the store is gone");
            return;
        }
        let report = Index::at(self.world.index()).verify().expect("verifies");
        assert_eq!(report.problems, [""; 0]);
        let writer = IndexWriter::open(&self.world.index(), &self.identity).expect("opens");
        let stored = writer
            .photos()
            .map(|(_, photo)| (photo.path.clone(), photo.clone()));
        let stored: BTreeMap<PathBuf, Photo> = stored.collect();
        for (path, photo) in &self.durable {
            let is_there = stored
                .get(path)
                .is_some_and(|stored| stored.content_hash == photo.content_hash);
            assert!(is_there, "{} is lost", path.display());
        }
        // What a killed build has not taken out yet, the next one will.
        self.durable = stored
            .into_iter()
            .filter(|(_, photo)| is_as_it_was(photo))
            .collect();
    }

    /// A build to its end: the index holds what is in the folder.
    fn finish(&mut self) {
        self.world.build();
        self.durable.clear();
        self.read();
        self.look_at_store();
        let files = files_below(&self.photos);
        assert!(
            self.durable.keys().eq(&files),
            "the index holds other photos than the folder"
        );
    }

    fn compare_with_an_undisturbed_build(self) {
        let undisturbed = World::new();
        fs::remove_dir_all(undisturbed.photos()).expect("removes");
        fs::rename(self.world.photos(), undisturbed.photos()).expect("moves");
        undisturbed.build();
        let (found, expected) = (content(&self.world), content(&undisturbed));
        assert!(found.keys().eq(expected.keys()));
        // Batches of another size may round differently.
        assert!(
            found
                .iter()
                .all(|(name, vector)| vector.cosine(&expected[name]) > 0.9999)
        );
    }
}

/// Whether the file is the one that was indexed.
fn is_as_it_was(photo: &Photo) -> bool {
    photo.path.metadata().is_ok_and(|file| {
        let modified = file.modified().expect("has a time");
        let since_1970 = modified.duration_since(UNIX_EPOCH).expect("is after 1970");
        file.len() == photo.size && since_1970.as_nanos() as i64 == photo.mtime_ns
    })
}

/// Numbers that look random: a linear congruential generator.
pub(crate) struct Random(pub usize);

impl Random {
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % limit
    }
}

/// Draws a small picture like no other.
pub(crate) fn draw(path: &Path, number: usize) {
    let picture = image::RgbImage::from_fn(24, 16, |x, y| {
        let [x, y] = [x as usize, y as usize];
        image::Rgb([
            (x * 9 + number) as u8,
            (y * 14 + 7 * number) as u8,
            (x * y + number / 9) as u8,
        ])
    });
    picture.save(path).expect("saves");
}

/// Adds forty photos, copies one, renames one and deletes one.
pub(crate) fn change_photos(world: &World, round: u64) {
    let at = |name: String| world.photos().join(name);
    for i in 0..40 {
        let name = format!("{round:04}-{i:02}.png");
        draw(&at(name), (round * 40 + i) as usize);
    }
    let Some(last) = round.checked_sub(1) else {
        return;
    };
    let picture = |i: u64| at(format!("{last:04}-{i:02}.png"));
    fs::copy(picture(0), at(format!("copy-{last}.png"))).expect("copies");
    fs::rename(picture(1), at(format!("moved-{last}.png"))).expect("moves");
    fs::remove_file(picture(2)).expect("deletes");
}

/// Draws so many pictures that their build takes a while.
pub(crate) fn draw_many(world: &World) {
    for number in 0..400 {
        draw(&world.photos().join(format!("many-{number}.png")), number);
    }
}

/// Starts a build that commits as often as it can, and keeps what it computes.
pub(crate) fn start_build(world: &World) -> Child {
    start(
        world,
        &[
            "build",
            "--batch",
            "1",
            "--commit-every",
            "0",
            "--cache",
            "split",
            "photos",
        ],
    )
}

/// Starts a build that does the same for an index to take the place of the one there is.
pub(crate) fn start_rebuild(world: &World) -> Child {
    let command = [
        "build",
        "--rebuild",
        "--batch",
        "1",
        "--commit-every",
        "0",
        "photos",
    ];
    start(world, &command)
}

fn start(world: &World, command: &[&str]) -> Child {
    Command::new(assert_cmd::cargo::cargo_bin("bt-index"))
        .args(command)
        .arg("--quiet")
        .arg("--index")
        .arg(world.index())
        .env("BT_MODEL", fixture("checkpoints/tiny-random"))
        .current_dir(world.photos().parent().expect("the world"))
        .stderr(Stdio::null())
        .spawn()
        .expect("starts")
}

/// Vectors by the paths in the folder of photos.
pub(crate) fn content(world: &World) -> BTreeMap<PathBuf, Embedding> {
    let index = IndexReader::open(&world.index()).expect("opens");
    let folder = world
        .photos()
        .parent()
        .expect("the world")
        .canonicalize()
        .expect("exists");
    let entries = index.photos().map(|entry| {
        let (id, photo) = entry.expect("reads");
        let path = photo
            .path
            .strip_prefix(folder.join("photos"))
            .expect("is below")
            .to_owned();
        (
            path,
            index.embedding(id).expect("reads").expect("has a vector"),
        )
    });
    entries.collect()
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = crate::files_below(folder);
    files.sort();
    files
}
