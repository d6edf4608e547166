//! The disk fails under builds, rebuilds, compactions and imports: full, with errors, gone; and the process or the power goes.
//!
//! Every call that changes the index folder is a moment for that. `BT_FAULTS` sets how many moments are tried for each
//! kind of failure (CI tries few), or `all`; `BT_SEED` which: `BT_FAULTS=all cargo test -p bt-index disk`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use bridgetower::engine::EngineOptions;
use bridgetower::index::{Changes, IndexReader, IndexWriter, ModelIdentity};
use bridgetower::ingest::BuildOptions;
use bridgetower::photo::PhotoId;
use bridgetower::{Embedding, Engine, Error, Index, Photo};

use crate::{World, crash, fixture, setting};

const KINDS: [&str; 6] = ["full", "error", "gone", "short", "die", "torn"];
/// No command takes longer unless it hangs.
const LONGEST: Duration = Duration::from_mins(1);

/// A command that fails leaves an index that opens, holds everything but at most the last commit, and lets the command
/// do its work next time. It says what went wrong, and what to do.
#[test]
fn a_failing_disk_costs_at_most_the_last_commit() {
    let (tries, mut random) = (
        setting("BT_FAULTS", 1),
        crash::Random(setting("BT_SEED", 1)),
    );
    let tries_all = std::env::var("BT_FAULTS").is_ok_and(|tries| tries == "all");
    let lab = Lab::new();
    let scenarios: [fn(&Lab) -> Scenario; 7] = [
        Lab::first_build,
        Lab::later_build,
        Lab::removal,
        Lab::import,
        Lab::compaction,
        Lab::rebuild,
        Lab::later_rebuild,
    ];
    for scenario in scenarios {
        let scenario = scenario(&lab);
        let calls = lab.calls(&scenario);
        let mut outcomes = BTreeMap::<_, usize>::new();
        for kind in KINDS {
            let moments: BTreeSet<usize> = if tries_all {
                (1..=calls).collect()
            } else {
                (0..tries).map(|_| 1 + random.below(calls)).collect()
            };
            for moment in moments {
                println!("{} with {kind} at call {moment} of {calls}", scenario.name);
                *outcomes
                    .entry((kind, lab.fail(&scenario, kind, moment)))
                    .or_default() += 1;
            }
        }
        println!("{}: {calls} calls; {outcomes:?}", scenario.name);
    }
}

/// A command, and the index that it starts with.
struct Scenario {
    name: &'static str,
    before: Option<PathBuf>,
    command: Vec<String>,
    /// What is there when all went well.
    expected: Content,
}

impl Scenario {
    fn is_rebuild(&self) -> bool {
        self.name.ends_with("rebuild")
    }

    /// The program, to be run on `index`.
    fn program(&self, index: &Path) -> Command {
        let mut program = Command::new(assert_cmd::cargo::cargo_bin("bt-index"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("BT_")) {
            program.env_remove(name);
        }
        program
            .env("BT_MODEL", fixture("checkpoints/tiny-random"))
            .current_dir(index.parent().expect("the world"))
            .arg("--index")
            .arg(index)
            .args(&self.command)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        program
    }

    fn run(&self, index: &Path) {
        let output = self.program(index).output().expect("starts");
        let stderr = String::from_utf8_lossy(&output.stderr);
        // 1: there was nothing left to remove.
        assert!(
            matches!(output.status.code(), Some(0 | 1)),
            "{}: {stderr}",
            self.name
        );
    }
}

/// Photos and vectors by path.
type Content = BTreeMap<PathBuf, (Photo, Embedding)>;

/// How a command ended whose disk failed.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// What failed did not matter.
    Done,
    Refused,
    Killed,
}

/// Folders, photos and a model to fail with.
struct Lab {
    world: World,
    engine: Engine,
    identity: ModelIdentity,
}

impl Lab {
    fn new() -> Self {
        let world = World::new();
        for index in 0..6 {
            crash::draw(&world.photos().join(format!("first-{index}.png")), index);
        }
        let model = fixture("checkpoints/tiny-random");
        let model = model.to_str().expect("UTF-8");
        let engine = Engine::load(model, &EngineOptions::default(), &mut |_, _, _| {});
        let engine = engine.expect("loads");
        let identity = engine.identity().expect("can index");
        Self {
            world,
            engine,
            identity,
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.world.index().with_file_name(name)
    }

    fn scenario(&self, name: &'static str, before: Option<&str>, command: &[&str]) -> Scenario {
        let before = before.map(|before| self.at(before));
        let mut scenario = Scenario {
            name,
            before,
            command: command.iter().map(|&word| word.to_owned()).collect(),
            expected: Content::new(),
        };
        let index = self.start(&scenario);
        scenario.run(&index);
        scenario.expected = content(&index);
        scenario
    }

    fn build(&self, index: &Path) {
        let mut writer = IndexWriter::open(index, &self.identity).expect("opens");
        let (options, cancel) = (BuildOptions::default(), AtomicBool::new(false));
        let photos = [self.world.photos()];
        let built = bridgetower::ingest::build(
            &mut writer,
            &self.engine,
            &photos,
            &options,
            &cancel,
            &mut |_| {},
        );
        built.expect("builds");
    }

    fn first_build(&self) -> Scenario {
        self.scenario("first build", None, &BUILD)
    }

    fn later_build(&self) -> Scenario {
        self.build(&self.at("earlier"));
        let photos = self.world.photos();
        for index in 10..14 {
            crash::draw(&photos.join(format!("later-{index}.png")), index);
        }
        crash::draw(&photos.join("first-0.png"), 20);
        fs::remove_file(photos.join("first-1.png")).expect("deletes");
        fs::create_dir_all(photos.join("moved")).expect("creates");
        fs::rename(photos.join("first-2.png"), photos.join("moved/2.png")).expect("moves");
        fs::copy(photos.join("first-3.png"), photos.join("copy.png")).expect("copies");
        self.scenario("later build", Some("earlier"), &BUILD)
    }

    fn removal(&self) -> Scenario {
        self.scenario("removal", Some("earlier"), &["remove", "photos/square.png"])
    }

    fn import(&self) -> Scenario {
        let export = self.at("export");
        let earlier = IndexReader::open(&self.at("earlier")).expect("opens");
        earlier
            .export(&export, false, &mut |_, _| {})
            .expect("exports");
        self.scenario("import", None, &["import", export.to_str().expect("UTF-8")])
    }

    /// Of a store that was rewritten so often that it shrinks.
    fn compaction(&self) -> Scenario {
        let wasteful = self.at("wasteful");
        self.build(&wasteful);
        let mut writer = IndexWriter::open(&wasteful, &self.identity).expect("opens");
        let mut random = crash::Random(1);
        let mut added: Vec<PhotoId> = Vec::new();
        let (_, like) = writer.photos().next().expect("a photo");
        let like = like.clone();
        for round in 0..8 {
            let insert = (0..400).map(|number| {
                let values = (0..self.identity.dim)
                    .map(|_| random.below(1000) as f32 - 500.5)
                    .collect();
                let path = format!("/elsewhere/{round}/{number}.png").into();
                (
                    Photo {
                        path,
                        ..like.clone()
                    },
                    Embedding::new(values).expect("a direction"),
                )
            });
            let changes = Changes {
                insert: insert.collect(),
                remove: added,
                ..Changes::default()
            };
            writer.commit(changes).expect("commits");
            let photos = writer
                .photos()
                .filter(|(_, photo)| photo.path.starts_with("/elsewhere"));
            added = photos.map(|(id, _)| id).collect();
        }
        writer
            .commit(Changes {
                remove: added,
                ..Changes::default()
            })
            .expect("commits");
        writer.publish().expect("publishes");
        drop(writer);
        self.scenario("compaction", Some("wasteful"), &["compact"])
    }

    /// Of all photos that are in the index.
    fn rebuild(&self) -> Scenario {
        self.build(&self.at("current"));
        self.scenario("rebuild", Some("current"), &REBUILD)
    }

    /// One that goes on where another one was killed.
    fn later_rebuild(&self) -> Scenario {
        let begun = self.at("begun");
        self.build(&begun);
        drop(IndexWriter::rebuild(&begun, &self.identity).expect("opens"));
        self.scenario("later rebuild", Some("begun"), &REBUILD)
    }

    /// A fresh copy of the index that the scenario starts with.
    fn start(&self, scenario: &Scenario) -> PathBuf {
        let index = self.at("case");
        let _ = fs::remove_dir_all(&index);
        let _ = fs::remove_dir_all(self.at("durable"));
        if let Some(before) = &scenario.before {
            copy_folder(before, &index);
        }
        index
    }

    /// How many calls the command makes that change the index folder.
    fn calls(&self, scenario: &Scenario) -> usize {
        let (index, log) = (self.start(scenario), self.at("log"));
        let _ = fs::remove_file(&log);
        let mut program = scenario.program(&index);
        let program = preload(&mut program, &index).env("FAULTS_LOG", &log);
        let output = program.env("FAULTS_KIND", "error").output();
        assert!(output.expect("starts").status.success());
        fs::read_to_string(&log).expect("reads").lines().count()
    }

    /// Lets the disk fail under the command, and looks at what that leaves.
    fn fail(&self, scenario: &Scenario, kind: &str, moment: usize) -> Outcome {
        let (index, durable) = (self.start(scenario), self.at("durable"));
        let before = scenario
            .before
            .as_ref()
            .map(|before| Durable::of(self, before));
        let mut program = scenario.program(&index);
        let program = preload(&mut program, &index)
            .env("FAULTS_KIND", kind)
            .env("FAULTS_AT", moment.to_string())
            .env("FAULTS_DURABLE", &durable);
        let outcome = judge(kind, &finish(program));
        if outcome == Outcome::Killed {
            self.cut_power(scenario, before.as_ref(), &index, &durable);
        }
        self.check(scenario, before.as_ref(), &index);
        outcome
    }

    /// What was not synced is lost, or its names are, or its bytes.
    fn cut_power(
        &self,
        scenario: &Scenario,
        before: Option<&Durable>,
        index: &Path,
        durable: &Path,
    ) {
        let live = self.at("live");
        let _ = fs::remove_dir_all(&live);
        copy_folder(index, &live);
        let live = Durable::of(self, &live);
        for survived in [[false, false], [true, false], [false, true]] {
            let [names, bytes] = survived;
            let target = self.at("after-power-cut");
            let _ = fs::remove_dir_all(&target);
            let source = PowerCut {
                durable,
                root: index,
                names,
                bytes,
            };
            source.restore(&target).expect("restores");
            println!("  power cut: unsynced names survive {names}, bytes {bytes}");
            let left = Durable::of(self, &target);
            // The generation of a rebuild is no successor of the old index's.
            assert!(
                left.generation + 1 >= live.generation || scenario.is_rebuild(),
                "commit {} of {} is left",
                left.generation,
                live.generation
            );
            self.check(scenario, before, &target);
        }
    }

    /// The index opens, is whole, has gone on from where it was, and can be finished.
    fn check(&self, scenario: &Scenario, before: Option<&Durable>, index: &Path) {
        let left = Durable::of(self, index);
        if let Some(before) = before {
            assert!(
                left.published >= before.published,
                "a published state is gone"
            );
            assert!(left.generation >= before.generation, "a commit is gone");
        }
        if scenario.is_rebuild() {
            // Queries see the old index or the new one, and these have the same photos.
            assert!(content(index).keys().eq(scenario.expected.keys()));
        }
        if scenario.name == "import" && left.exists {
            // An import goes to a new place.
            fs::remove_dir_all(index).expect("removes");
        }
        scenario.run(index);
        let found = content(index);
        assert!(found.keys().eq(scenario.expected.keys()));
        for (path, (photo, vector)) in &found {
            let (expected, expected_vector) = &scenario.expected[path];
            assert_eq!(photo, expected);
            // Batches of another size may round differently.
            assert!(
                vector.cosine(expected_vector) > 0.9999,
                "{}",
                path.display()
            );
        }
        assert_eq!(
            Index::at(index).verify().expect("verifies").problems,
            [""; 0]
        );
    }
}

const BUILD: [&str; 6] = ["build", "photos", "--batch", "1", "--commit-every", "0"];
const REBUILD: [&str; 7] = [
    "build",
    "photos",
    "--batch",
    "1",
    "--commit-every",
    "0",
    "--rebuild",
];

/// What an index holds for good.
struct Durable {
    exists: bool,
    generation: u64,
    published: Option<u64>,
}

impl Durable {
    /// Of a copy, since looking mends.
    fn of(lab: &Lab, index: &Path) -> Self {
        let copy = lab.at("looked-at");
        let _ = fs::remove_dir_all(&copy);
        copy_folder(index, &copy);
        let exists = match Index::at(&copy).verify() {
            Err(Error::NoIndex { .. }) => false,
            report => {
                assert_eq!(report.expect("verifies").problems, [""; 0]);
                true
            }
        };
        let published = match IndexReader::open(&copy) {
            Err(Error::NoIndex { .. }) => None,
            reader => {
                let reader = reader.expect("opens");
                content(&copy);
                Some(reader.generation())
            }
        };
        let generation = if exists {
            let writer = IndexWriter::open(&copy, &lab.identity).expect("opens");
            writer.generation()
        } else {
            0
        };
        assert!(exists || published.is_none());
        Self {
            exists,
            generation,
            published,
        }
    }
}

fn preload<'a>(program: &'a mut Command, index: &Path) -> &'a mut Command {
    let tests = std::env::current_exe().expect("has a path");
    let library = tests.with_file_name("libbt_faults.so");
    assert!(
        library.exists(),
        "{} is built with the tests",
        library.display()
    );
    program
        .env("LD_PRELOAD", library)
        .env("FAULTS_BELOW", index)
}

/// The program's output; kills it if it hangs.
fn finish(program: &mut Command) -> Output {
    let mut child = program.spawn().expect("starts");
    let started = Instant::now();
    while child.try_wait().expect("can be asked").is_none() {
        if started.elapsed() > LONGEST {
            child.kill().expect("kills");
            panic!("it hangs: {:?}", child.wait_with_output());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    child.wait_with_output().expect("has ended")
}

/// Whether the program ended as users want it.
fn judge(kind: &str, output: &Output) -> Outcome {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!stderr.contains("panicked"), "{stderr}");
    if output.status.signal() == Some(9) {
        assert!(matches!(kind, "die" | "torn"));
        return Outcome::Killed;
    }
    if output.status.success() {
        return Outcome::Done;
    }
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    let lines: Vec<&str> = stderr.lines().collect();
    assert!(
        lines.len() == 2 && lines[0].starts_with("error: "),
        "{stderr}"
    );
    let (what, hint) = match kind {
        "full" => ("is full: cannot write", "hint: make room there"),
        "error" | "gone" => ("Input/output error", "hint: the disk may be failing"),
        _ => panic!("{kind} is no reason to fail: {stderr}"),
    };
    assert!(
        lines[0].contains(what) && lines[1].starts_with(hint),
        "{stderr}"
    );
    Outcome::Refused
}

fn content(index: &Path) -> Content {
    let reader = IndexReader::open(index).expect("opens");
    let photos = reader.photos().map(|entry| {
        let (id, photo) = entry.expect("reads");
        let vector = reader.embedding(id).expect("reads").expect("has a vector");
        (photo.path.clone(), (photo, vector))
    });
    photos.collect()
}

fn copy_folder(from: &Path, to: &Path) {
    let Ok(entries) = fs::read_dir(from) else {
        return;
    };
    fs::create_dir_all(to).expect("creates");
    for entry in entries {
        let entry = entry.expect("lists");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copies");
        }
    }
}

/// What is left of a folder when the power goes: see `bt_faults::durable` for what it keeps.
struct PowerCut<'a> {
    durable: &'a Path,
    /// The folder as a kill leaves it.
    root: &'a Path,
    /// Whether names and bytes that were not synced are there as if they had been.
    names: bool,
    bytes: bool,
}

impl PowerCut<'_> {
    fn restore(&self, target: &Path) -> std::io::Result<()> {
        match self.root.metadata() {
            Ok(root) => self.restore_folder(root.ino(), target),
            Err(_) => Ok(()),
        }
    }

    fn restore_folder(&self, inode: u64, target: &Path) -> std::io::Result<()> {
        fs::create_dir(target)?;
        for (inode, name) in self.names(inode)? {
            let target = target.join(name.trim_end_matches('/'));
            if name.ends_with('/') {
                self.restore_folder(inode, &target)?;
                continue;
            }
            let kept = self.durable.join("bytes").join(inode.to_string());
            match find(self.root, inode)? {
                Some(live) if self.bytes => fs::copy(live, target)?,
                _ if kept.exists() => fs::copy(kept, target)?,
                _ => fs::write(target, []).map(|()| 0)?,
            };
        }
        Ok(())
    }

    fn names(&self, inode: u64) -> std::io::Result<Vec<(u64, String)>> {
        if let (true, Some(live)) = (self.names, find(self.root, inode)?) {
            let names = fs::read_dir(live)?.map(|entry| {
                let entry = entry?;
                let metadata = entry.path().metadata()?;
                let end = if metadata.is_dir() { "/" } else { "" };
                let name = entry.file_name();
                Ok((metadata.ino(), format!("{}{end}", name.to_string_lossy())))
            });
            return names.collect();
        }
        let kept = self.durable.join("names").join(inode.to_string());
        let lines = fs::read_to_string(kept).unwrap_or_default();
        let names = lines.lines().map(|line| {
            let (inode, name) = line.split_once(' ').expect("an inode and a name");
            (inode.parse().expect("a number"), name.to_owned())
        });
        Ok(names.collect())
    }
}

/// The file or folder with a number.
fn find(folder: &Path, inode: u64) -> std::io::Result<Option<PathBuf>> {
    if folder.metadata()?.ino() == inode {
        return Ok(Some(folder.to_owned()));
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.metadata()?.ino() == inode {
            return Ok(Some(path));
        }
        if path.is_dir()
            && let Some(found) = find(&path, inode)?
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}
