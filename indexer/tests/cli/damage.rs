//! Flipped, zeroed, overwritten, cut and appended bytes in every file of an index and of an export, at random.
//!
//! Whatever the damage, the programs answer as if there were none, or say what is wrong and what to do; they do not
//! panic, hang or die, and what they advise mends the index. `BT_DAMAGES` sets how many (CI does few), `BT_SEED`
//! which: `BT_DAMAGES=1000 cargo test -p bt-query -p bt-index damages -- --nocapture`. Queries are asked of the
//! `bt-query` that lies beside `bt-index`; where it was not built they are left out.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use bridgetower::engine::EngineOptions;
use bridgetower::index::{Changes, IndexWriter};
use bridgetower::photo::{ContentHash, PhotoMetadata};
use bridgetower::{Embedding, Engine, Photo};
use serde_json::Value;

use crate::{World, crash, files_below, fixture};

/// Many times what any command takes here.
const TIME_LIMIT: Duration = Duration::from_mins(2);
const QUERY: &str = "a cat by a window";

#[test]
fn damages_are_answered_rightly_or_refused_with_advice() {
    let setting = |name, default| std::env::var(name).map_or(default, |n| n.parse().expect(name));
    let (damages, seed) = (setting("BT_DAMAGES", 6), setting("BT_SEED", 1));
    println!("BT_DAMAGES={damages} BT_SEED={seed}");
    let mut random = Random(seed);
    let subjects = [Subject::of_photos(), Subject::with_a_graph()];
    let (mut tally, mut failures) = (BTreeMap::new(), Vec::new());
    for round in 0..damages {
        let subject = &subjects[(round % 4 / 3) as usize];
        let damage = subject.damaged(&mut random);
        let trial = Trial {
            subject,
            damage: &damage,
            tally: &mut tally,
        };
        if let Err(failure) = trial.run(round) {
            println!("round {round}, {}: {failure}", damage.what);
            failures.push(failure);
        }
    }
    for (outcome, count) in &tally {
        println!("{count:5}  {outcome}");
    }
    assert!(
        failures.is_empty(),
        "{} of {damages} failed",
        failures.len()
    );
}

/// Xorshift64*.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % limit
    }
}

/// An index with all that belongs to it, its photos, and what it answers.
struct Subject {
    world: World,
    has_photos: bool,
    answers: BTreeMap<&'static str, Vec<Value>>,
}

impl Subject {
    /// Photos in several commits, some moved, copied and deleted since; a cache and an export.
    fn of_photos() -> Self {
        let world = World::new();
        for round in 0..2 {
            crash::change_photos(&world, round);
            let build = ["build", "photos", "--batch", "8", "--commit-every", "0"];
            world.bt_index(build).assert().success();
        }
        world.bt_index(["export", "out"]).assert().success();
        Self::new(world, true)
    }

    /// Vectors enough for a graph, of photos that are nowhere.
    fn with_a_graph() -> Self {
        let world = World::new();
        let model = fixture("checkpoints/tiny-random");
        let model = model.to_str().expect("UTF-8");
        let engine =
            Engine::load(model, &EngineOptions::default(), &mut |_, _, _| {}).expect("loads");
        let identity = engine.identity().expect("ITC");
        let mut random = Random(7);
        let photos = (0..4500_u64).map(|number| {
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&number.to_le_bytes());
            let photo = Photo {
                path: format!("/photos/{number}.jpg").into(),
                size: number,
                mtime_ns: 0,
                ctime_ns: None,
                content_hash: ContentHash(hash),
                metadata: PhotoMetadata::default(),
            };
            let values = (0..identity.dim).map(|_| random.below(2001) as f32 - 1000.0);
            (photo, Embedding::new(values.collect()).expect("no zero"))
        });
        let changes = Changes {
            insert: photos.collect(),
            ..Changes::default()
        };
        let mut writer = IndexWriter::open(&world.index(), &identity).expect("opens");
        writer.commit(changes).expect("commits");
        let built = writer.rebuild_graph_if_stale(&AtomicBool::new(false), &mut |_, _| {});
        assert!(built.expect("builds"));
        writer.publish().expect("publishes");
        drop(writer);
        Self::new(world, false)
    }

    fn new(world: World, has_photos: bool) -> Self {
        let mut subject = Self {
            world,
            has_photos,
            answers: BTreeMap::new(),
        };
        for (name, arguments) in subject.queries() {
            let hits = subject.ask(&subject.world.index(), &arguments);
            let hits = hits.expect("an answer").expect("no refusal");
            subject.answers.insert(name, hits);
        }
        subject
    }

    fn queries(&self) -> Vec<(&'static str, Vec<&'static str>)> {
        if !bt_query().exists() {
            return Vec::new();
        }
        let mut queries = vec![("search", vec![QUERY, "--no-rerank", "-t", "100", "--json"])];
        if self.has_photos {
            let rerank = vec![
                QUERY, "--rerank", "6", "-t", "6", "--cache", "split", "--json",
            ];
            queries.push(("reranked search", rerank));
        }
        queries
    }

    /// The hits of a query; the inner error is a proper refusal, the outer one is not.
    fn ask(&self, index: &Path, arguments: &[&str]) -> Result<Result<Vec<Value>, String>, String> {
        let run = run(&bt_query(), &self.world, index, arguments)?;
        if run.code == 2 {
            return Ok(Err(run.stderr));
        }
        let answer: Value = serde_json::from_str(&run.stdout).map_err(|e| e.to_string())?;
        Ok(Ok(answer["hits"].as_array().cloned().unwrap_or_default()))
    }

    /// A copy of everything with one file changed.
    fn damaged(&self, random: &mut Random) -> Damage {
        let dir = tempfile::tempdir().expect("tempdir");
        for (name, from) in [("index", self.world.index()), ("out", self.out())] {
            for file in files_below_if_any(&from) {
                let target = dir
                    .path()
                    .join(name)
                    .join(file.strip_prefix(&from).expect("below"));
                fs::create_dir_all(target.parent().expect("a folder")).expect("creates");
                fs::copy(&file, target).expect("copies");
            }
        }
        // sled's files end in zeros; most damage should meet what is used.
        let mut files = files_below(dir.path());
        files.sort();
        let file = &files[random.below(files.len())];
        let mut bytes = fs::read(file).expect("reads");
        let used = bytes
            .iter()
            .rposition(|&byte| byte != 0)
            .map_or(1, |last| last + 1);
        let anywhere = random.below(8) == 0;
        let at = random.below(if anywhere { bytes.len().max(1) } else { used });
        let end = (at + 1 + random.below(300)).min(bytes.len());
        let kind = match random.below(5) {
            0 if !bytes.is_empty() => {
                bytes[at] ^= 1 << random.below(8);
                "a bit flipped"
            }
            1 if at < end => {
                bytes[at..end].fill(0);
                "bytes zeroed"
            }
            2 if at < end => {
                bytes[at..end].fill_with(|| random.below(256) as u8);
                "bytes overwritten"
            }
            3 => {
                bytes.truncate(at);
                "cut"
            }
            _ => {
                bytes.extend((0..=random.below(300)).map(|_| random.below(256) as u8));
                "more at its end"
            }
        };
        fs::write(file, bytes).expect("writes");
        let file = file.strip_prefix(dir.path()).expect("below").to_owned();
        Damage {
            what: format!("{} with {kind} at {at}", file.display()),
            file,
            dir,
        }
    }

    fn out(&self) -> PathBuf {
        self.world.photos().with_file_name("out")
    }
}

struct Damage {
    dir: tempfile::TempDir,
    file: PathBuf,
    what: String,
}

/// What the programs make of one damage.
struct Trial<'a> {
    subject: &'a Subject,
    damage: &'a Damage,
    tally: &'a mut BTreeMap<String, u32>,
}

impl Trial<'_> {
    fn run(mut self, round: u64) -> Result<(), String> {
        if self.damage.file.starts_with("out") {
            return self.import();
        }
        self.queries("", true)?;
        self.look("status", &["status"])?;
        self.look("dedupe", &["dedupe", "--exact", "--json"])?;
        // Every other time the build meets the damage itself.
        if round.is_multiple_of(2) || !self.subject.has_photos || !self.build("build")? {
            self.look("verify", &["verify"])?;
            if !self.repair()? {
                return Ok(());
            }
            if !self.build("build after repair")? {
                return Err("a build of a mended index is refused".into());
            }
        }
        if !self.look("verify at the end", &["verify"])? {
            return Err("still damaged at the end".into());
        }
        self.queries(" at the end", false)
    }

    /// True if it succeeds, false if it refuses with advice.
    fn look(&mut self, name: &str, arguments: &[&str]) -> Result<bool, String> {
        let code = self.bt_index(arguments)?.code;
        self.count(name, if code == 2 { "refused" } else { "done" });
        Ok(code != 2)
    }

    fn repair(&mut self) -> Result<bool, String> {
        let run = self.bt_index(&["verify", "--repair", "--json"])?;
        if run.code == 2 {
            self.count("repair", "refused");
            if !run.stderr.contains("beyond repair") {
                return Err(format!("a repair fails: {}", run.stderr));
            }
            if self.subject.has_photos {
                let rebuild = self.bt_index(&["build", "photos", "--rebuild"])?;
                if rebuild.code != 0 {
                    return Err(format!("a rebuild fails: {}", rebuild.stderr));
                }
            }
            return Ok(false);
        }
        let report: Value = serde_json::from_str(&run.stdout).map_err(|e| e.to_string())?;
        let outcome = match (&report["problems"], &report["put_aside"]) {
            (Value::Array(problems), _) if problems.is_empty() => "nothing to do",
            (_, Value::Null) => "published again",
            _ => "store replaced",
        };
        self.count("repair", outcome);
        if report["lost"].as_u64().is_some_and(|lost| lost > 0) {
            return Err("photos are lost that the snapshot had".into());
        }
        Ok(true)
    }

    /// Brings the index up to date; nothing may have to be embedded again, since store and snapshot were the same.
    fn build(&mut self, name: &str) -> Result<bool, String> {
        if !self.subject.has_photos {
            return Ok(true);
        }
        let run = self.bt_index(&["build", "photos", "--json"])?;
        if run.code == 2 {
            self.count(name, "refused");
            return Ok(false);
        }
        let report: Value = serde_json::from_str(&run.stdout).map_err(|e| e.to_string())?;
        self.count(name, "done");
        if report["embedded"] != 0 || report["removed"] != 0 || report["recognised"] != 0 {
            return Err(format!("{name}: {report}"));
        }
        Ok(true)
    }

    fn queries(&mut self, when: &str, may_refuse: bool) -> Result<(), String> {
        for (name, arguments) in self.subject.queries() {
            match self
                .subject
                .ask(&self.damage.dir.path().join("index"), &arguments)?
            {
                Ok(hits) if hits == self.subject.answers[name] => {
                    self.count(&format!("{name}{when}"), "right");
                }
                Ok(_) => return Err(format!("{name}{when}: other hits")),
                Err(_) if may_refuse => self.count(&format!("{name}{when}"), "refused"),
                Err(stderr) => return Err(format!("{name}{when}: {stderr}")),
            }
        }
        Ok(())
    }

    fn import(&mut self) -> Result<(), String> {
        let out = self.damage.dir.path().join("out");
        fs::remove_dir_all(self.damage.dir.path().join("index")).expect("removes");
        if self.look("import", &["import", out.to_str().expect("UTF-8")])? {
            // index.json has no checksum of its own: a model that was none is found out by the first query.
            let may_refuse = self.damage.file.ends_with("index.json");
            self.queries(" of the import", may_refuse)?;
        }
        Ok(())
    }

    fn bt_index(&self, arguments: &[&str]) -> Result<Run, String> {
        let program = assert_cmd::cargo::cargo_bin("bt-index");
        let index = self.damage.dir.path().join("index");
        run(&program, &self.subject.world, &index, arguments)
    }

    fn count(&mut self, what: &str, outcome: &str) {
        *self.tally.entry(format!("{what}: {outcome}")).or_default() += 1;
    }
}

struct Run {
    code: i32,
    stdout: String,
    stderr: String,
}

/// Runs a program; an error if it hangs, dies, panics, or refuses without advice.
fn run(program: &Path, world: &World, index: &Path, arguments: &[&str]) -> Result<Run, String> {
    let name = program.file_name().expect("a name").to_string_lossy();
    let what = format!("{name} {}", arguments.join(" "));
    let out = tempfile::tempdir().expect("tempdir");
    let file = |name: &str| fs::File::create(out.path().join(name)).expect("creates");
    let read = |name: &str| {
        String::from_utf8_lossy(&fs::read(out.path().join(name)).expect("reads")).into_owned()
    };
    let mut command = Command::new(program);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("BT_")) {
        command.env_remove(name);
    }
    let mut child = command
        .args(arguments)
        .env("HF_HUB_OFFLINE", "1")
        .env("BT_MODEL", fixture("checkpoints/tiny-random"))
        .env("BT_INDEX", index)
        .current_dir(world.photos().parent().expect("the world"))
        .stdout(Stdio::from(file("stdout")))
        .stderr(Stdio::from(file("stderr")))
        .spawn()
        .expect("starts");
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("can be asked") {
            break status;
        }
        if started.elapsed() > TIME_LIMIT {
            child.kill().expect("kills");
            child.wait().expect("is dead");
            return Err(format!("{what} hangs"));
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let (stdout, stderr) = (read("stdout"), read("stderr"));
    let Some(code) = status.code() else {
        return Err(format!("{what} ends with {status}: {stderr}"));
    };
    if stderr.contains("panicked") || !(0..=2).contains(&code) {
        return Err(format!("{what} ends with {status}: {stderr}"));
    }
    if code == 2 && !stderr.contains("hint: ") {
        return Err(format!("{what} refuses without advice: {stderr}"));
    }
    Ok(Run {
        code,
        stdout,
        stderr,
    })
}

fn bt_query() -> PathBuf {
    let name = format!("bt-query{}", std::env::consts::EXE_SUFFIX);
    assert_cmd::cargo::cargo_bin("bt-index").with_file_name(name)
}

fn files_below_if_any(folder: &Path) -> Vec<PathBuf> {
    if folder.exists() {
        files_below(folder)
    } else {
        Vec::new()
    }
}
