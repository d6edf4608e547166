//! `bt-index build`: the library's build with a progress bar, Ctrl-C and a report.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use bridgetower::cache::{CacheLevel, PhotoCache};
use bridgetower::index::{Changes, IndexWriter, ModelIdentity, Status};
use bridgetower::ingest::{
    AwayFolder, BuildEvent, BuildOptions, BuildReport, find_photos, indexed_path,
};
use bridgetower::{Engine, Error, Index};
use bt_cli::{DEFAULT_MODEL, DONE, OutputArgs, Progress, Unit, counted, print_json};
use indicatif::HumanCount;
use serde_json::json;

use crate::args::{BuildArgs, Program};
use crate::interrupt::cancel_on_interrupt;

/// A warning about an index that was started by an earlier version.
pub const EARLIER_READING: &str = "this index was started by a version that ignored colour profiles and transparency; \
    `bt-index build --rebuild` sees such pictures as viewers show them";

pub fn build(program: &Program, args: &BuildArgs) -> anyhow::Result<u8> {
    let started = Instant::now();
    let job = Job::new(program, args)?;
    job.check_folders()?;
    let engine = job.load()?;
    let model = engine.identity()?;
    let cache = job.cache(&engine)?;
    let mut writer = job.open(&model, args.rebuild)?;
    program.output.note(job.describe(&engine));
    job.note_rebuild(&writer);
    if writer.model().is_of_earlier_reading() {
        program.output.warn(EARLIER_READING);
    }

    let cancel = cancel_on_interrupt()?;
    let mut screen = Screen::new(&program.output);
    let outcome = job.run(&mut writer, &engine, cache.as_ref(), &cancel, &mut screen);
    let report = match outcome {
        Err(Error::Cancelled) if writer.is_rebuild() => {
            anyhow::bail!(
                "stopped; {} in the new index, bt-index build --rebuild continues from there, and queries see the old one",
                counted(writer.len(), "photo")
            )
        }
        Err(Error::Cancelled) => {
            anyhow::bail!(
                "stopped; {} in the index, and the next build continues from there",
                counted(writer.len(), "photo")
            )
        }
        outcome => outcome?,
    };
    let photos = writer.len();
    if writer.is_rebuild() {
        writer.switch()?;
    }
    if args.json {
        print_json(&as_json(&report, photos, started.elapsed()))?;
    } else {
        let words = in_words(&report, photos, started.elapsed());
        program.output.say(words);
    }
    Ok(DONE)
}

/// A requested build: run once by `build`, repeatedly by `watch`.
pub struct Job<'a> {
    program: &'a Program,
    args: &'a BuildArgs,
    pub index: Index,
    pub folders: Vec<PathBuf>,
    /// The folders of earlier builds.
    pub known: Vec<PathBuf>,
    pub options: BuildOptions<'static>,
    default_model: String,
}

impl<'a> Job<'a> {
    pub fn new(program: &'a Program, args: &'a BuildArgs) -> anyhow::Result<Self> {
        let index = program.index.place()?;
        let published = published(&index, args)?;
        let known = published.as_ref().map(|status| status.roots.clone());
        let known = known.unwrap_or_default();
        let folders = if args.folders.is_empty() {
            &known
        } else {
            &args.folders
        };
        let scan = args.select.options();
        scan.check()?;
        let built_with = published.as_ref().filter(|_| !args.rebuild);
        let default_model = built_with.map_or(DEFAULT_MODEL, |status| &status.model.name);
        Ok(Self {
            program,
            args,
            folders: folders.clone(),
            known,
            options: BuildOptions {
                batch_size: args.batch.map(usize::from),
                threads: args
                    .threads
                    .map_or(BuildOptions::default().threads, usize::from),
                commit_every: Duration::from_secs(args.commit_every),
                scan,
                compare: args.compare.compare(),
                ..BuildOptions::default()
            },
            default_model: default_model.to_owned(),
            index,
        })
    }

    /// Reports wrong folders before minutes of download, as wrong patterns are. A folder of an earlier build may be
    /// missing, except in a rebuild.
    fn check_folders(&self) -> Result<(), Error> {
        if self.folders.is_empty() {
            return Err(Error::NoFolders);
        }
        for folder in &self.folders {
            if self.args.rebuild {
                find_photos(std::slice::from_ref(folder), &self.options.scan)?;
            } else if !folder.exists() && !self.knows(folder) {
                let path = folder.clone();
                return Err(Error::NoFolder { path });
            }
        }
        Ok(())
    }

    /// Returns whether a folder was in an earlier build.
    pub fn knows(&self, folder: &Path) -> bool {
        let path = indexed_path(folder);
        self.known.iter().any(|root| path.starts_with(root))
    }

    pub fn load(&self) -> Result<Engine, Error> {
        let Self { args, program, .. } = self;
        args.model.load(&self.default_model, &program.output)
    }

    /// Opens the index in use, or one that will replace it, without photos that an earlier attempt added from other
    /// folders.
    pub fn open(&self, model: &ModelIdentity, rebuild: bool) -> Result<IndexWriter, Error> {
        if !rebuild {
            return self.index.writer(model);
        }
        let mut writer = self.index.rebuild(model)?;
        let folders = self.folders.iter().map(|folder| indexed_path(folder));
        let folders: Vec<PathBuf> = folders.collect();
        let is_wanted = |path: &Path| folders.iter().any(|folder| path.starts_with(folder));
        let elsewhere = writer.photos().filter(|(_, photo)| !is_wanted(&photo.path));
        let remove: Vec<_> = elsewhere.map(|(id, _)| id).collect();
        if writer.is_rebuild() && !remove.is_empty() {
            writer.commit(Changes {
                remove,
                roots: Some(Vec::new()),
                ..Changes::default()
            })?;
        }
        Ok(writer)
    }

    /// Reports whether an unfinished rebuild is continued.
    fn note_rebuild(&self, writer: &IndexWriter) {
        let output = &self.program.output;
        if writer.is_rebuild() && !writer.is_empty() {
            output.say(format!(
                "continuing an earlier rebuild: {} in the new index",
                counted(writer.len(), "photo")
            ));
        } else if !writer.is_rebuild()
            && self
                .index
                .status()
                .is_ok_and(|status| status.rebuild_bytes > 0)
        {
            output.say("an earlier rebuild is not finished: bt-index build --rebuild continues it");
        }
    }

    /// Runs one build, shown on `screen`.
    pub fn run(
        &self,
        writer: &mut IndexWriter,
        engine: &Engine,
        cache: Option<&PhotoCache>,
        cancel: &AtomicBool,
        screen: &mut Screen,
    ) -> Result<BuildReport, Error> {
        let options = BuildOptions {
            cache,
            ..self.options.clone()
        };
        screen.bar.show("scanning", 0, 0);
        let outcome = bridgetower::ingest::build(
            writer,
            engine,
            &self.folders,
            &options,
            cancel,
            &mut |event| screen.show(&event),
        );
        screen.bar.finish();
        outcome
    }

    pub fn describe(&self, engine: &Engine) -> String {
        let model = engine.model();
        format!(
            "model {} on {:?} in {}, index {}",
            engine.name(),
            model.device().location(),
            model.number_format(),
            self.index.dir().display()
        )
    }

    /// Returns the cache for what reranking needs of photos, if one is wanted.
    pub fn cache(&self, engine: &Engine) -> anyhow::Result<Option<PhotoCache>> {
        let level = CacheLevel::from(self.args.cache);
        if level == CacheLevel::None {
            return Ok(None);
        }
        if !engine.model().has_itm() {
            // No error: a default in the environment may be meant for queries.
            self.program.output.warn(format_args!(
                "--cache keeps nothing: {} has no matching head, so queries rerank with another checkpoint",
                engine.name()
            ));
            return Ok(None);
        }
        let limit = u64::from(self.args.cache_limit) << 20;
        let cache = PhotoCache::new(&self.index.cache_dir(), engine, level, limit);
        Ok(Some(cache?))
    }
}

/// Returns what an earlier build published, if anything. This build repairs a damaged one, unless folders or model are
/// known only from it.
fn published(index: &Index, args: &BuildArgs) -> Result<Option<Status>, Error> {
    match index.status() {
        Ok(status) => Ok(Some(status)),
        Err(Error::NoIndex { .. }) => Ok(None),
        Err(_) if args.rebuild => Ok(None),
        Err(Error::Corrupt { .. }) if !args.folders.is_empty() && args.model.model.is_some() => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The output of a running build on stderr.
pub struct Screen<'a> {
    output: &'a OutputArgs,
    bar: Progress,
    /// Files that were already warned about, with the reason.
    pub silent: HashSet<(PathBuf, String)>,
    /// True to report problems with whole folders.
    pub tells_of_folders: bool,
    to_read: usize,
    done: usize,
}

impl<'a> Screen<'a> {
    pub fn new(output: &'a OutputArgs) -> Self {
        Self {
            bar: output.progress(Unit::Rate("photos")),
            output,
            silent: HashSet::new(),
            tells_of_folders: true,
            to_read: 0,
            done: 0,
        }
    }

    fn tell(&self, problem: impl FnOnce() -> String) {
        if self.tells_of_folders {
            self.bar.suspend(|| self.output.warn(problem()));
        }
    }

    fn show(&mut self, event: &BuildEvent) {
        match event {
            BuildEvent::Planned { found, to_read } => {
                self.bar.suspend(|| {
                    let found = counted(*found, "photo");
                    self.output
                        .note(format_args!("{found} found, {to_read} of them new or changed"));
                });
                self.to_read = *to_read;
                self.embedding(0);
            }
            BuildEvent::Progress { done } => self.embedding(*done),
            BuildEvent::CacheStopped { reason } => self.bar.suspend(|| {
                self.output.warn(format!(
                    "{reason}: queries will compute the remaining photos themselves (--cache-limit sets the limit)"
                ));
            }),
            BuildEvent::Skipped { path, reason } => {
                if !self.silent.contains(&((*path).into(), (*reason).into())) {
                    let path = path.display().to_string();
                    // I/O errors begin with it themselves.
                    let reason = reason.strip_prefix(&format!("{path}: ")).unwrap_or(reason);
                    self.bar.suspend(|| {
                        self.output.warn(format_args!("skipped {path}: {reason}"));
                    });
                }
            }
            BuildEvent::Away(folder) => self.tell(|| about_away(folder)),
            BuildEvent::Renamed { folder } => self.tell(|| {
                let folder = folder.display();
                format!("{folder} is gone, and all its photos were found elsewhere: it was renamed, and is no longer built")
            }),
            BuildEvent::PassedOver { links } => self.tell(|| about_links(links)),
            BuildEvent::Committed { photos } => {
                let safe = format!("{} safe", HumanCount(*photos as u64));
                self.bar.remark(&safe);
            }
            BuildEvent::Graph { done, total } => {
                let (done, total) = (*done as u64, *total as u64);
                self.bar.show("building the graph", done, total);
            }
            BuildEvent::Publishing if self.done == self.to_read => {
                self.bar.show("publishing", 0, 0);
            }
            // Between batches, that is over before anyone could read it.
            BuildEvent::Publishing | BuildEvent::Published => {}
        }
    }

    fn embedding(&mut self, done: usize) {
        self.done = done;
        let total = self.to_read as u64;
        self.bar.show("embedding", done as u64, total);
    }
}

fn about_away(folder: &AwayFolder) -> String {
    let AwayFolder {
        path,
        reason,
        photos,
    } = folder;
    if *photos == 0 {
        return reason.clone();
    }
    let photos = HumanCount(*photos as u64);
    let path = path.display();
    format!(
        "{reason}; the index keeps what it knows there (photos: {photos}). If the folder was renamed, bt-index build NEW-NAME \
         moves them; if it is gone for good, bt-index remove {path} takes them out"
    )
}

/// Describes links in one line.
pub fn about_links(links: &[PathBuf]) -> String {
    let first = links.first().map(|link| link.display().to_string());
    format!(
        "links to folders not followed: {}, such as {}; --follow includes the photos there",
        HumanCount(links.len() as u64),
        first.unwrap_or_default()
    )
}

/// Describes what a build did, in one line for people.
pub fn in_words(report: &BuildReport, photos: usize, took: Duration) -> String {
    let parts = [
        (report.embedded, "embedded"),
        (report.cached, "kept for reranking"),
        (report.recognised, "recognised by content"),
        (report.unchanged, "unchanged"),
        (report.removed, "removed"),
        (report.skipped.len(), "skipped"),
        (report.unsettled.len(), "still being written"),
    ];
    let parts: Vec<String> = parts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{} {what}", HumanCount(*count as u64)))
        .collect();
    format!(
        "{} in the index ({}) after {took:.1?}",
        counted(photos, "photo"),
        parts.join(", ")
    )
}

/// Describes the same for programs.
pub fn as_json(report: &BuildReport, photos: usize, took: Duration) -> serde_json::Value {
    let mut fields = json!(report);
    fields["photos"] = photos.into();
    fields["seconds"] = took.as_secs_f64().into();
    fields
}
