//! `bt-index watch`: builds again whenever something has changed.
//!
//! ```text
//! events ─┐
//! rescan ─┼─► survey: scan, compare with what is published ─► build, if anything differs
//! a folder comes or goes ─┘
//! ```
//!
//! Events are only hints: what a build does depends on the scan alone, so lost, late and useless events do no harm.
//! Between builds other processes can use the index, and nothing of it is kept open.

mod events;
mod log;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bridgetower::index::IndexWriter;
use bridgetower::ingest::{AwayFolder, BuildReport, Compare, survey};
use bridgetower::{Engine, Error};
use bt_cli::DONE;

use self::events::{Bell, Events};
use self::log::Log;
use crate::args::{Program, WatchArgs};
use crate::build::{Job, Screen, about_links};
use crate::interrupt::on_interrupt;

/// The pause between two checks whether a folder came or went, and between two attempts to open an index that another
/// process is changing.
const LOOK: Duration = Duration::from_secs(2);
/// A model that had nothing to do for this long is unloaded.
const KEEP_MODEL: Duration = Duration::from_mins(5);
/// Surveys of files that are still being written may take one part in this many of the time.
const SURVEY_SHARE: u32 = 20;
/// The time until the next scan after events were lost.
const AFTER_LOSS: Duration = Duration::from_mins(1);

pub fn watch(program: &Program, args: &WatchArgs) -> anyhow::Result<u8> {
    let bell = Arc::new(Bell::default());
    let ringing = Arc::clone(&bell);
    let cancel = on_interrupt(move || ringing.stop())?;

    let mut job = Job::new(program, &args.build)?;
    job.options.settle = Duration::from_secs(args.settle);
    let folders = followed(&job)?;
    let engine = job.load()?;
    engine.identity()?;
    program.output.note(job.describe(&engine));
    let events = if args.no_events {
        None
    } else {
        Events::new(job.index.dir(), &bell, args.build.select.follow)
    };
    let mut watch = Watch {
        log: Log::new(&program.output, args.build.json),
        program,
        job,
        args,
        bell,
        cancel,
        events,
        folders,
        engine: Some(engine),
        last_build: Instant::now(),
        survey_took: Duration::ZERO,
        skipped: HashSet::new(),
        links: Vec::new(),
        photos: 0,
        rebuild: args.build.rebuild,
    };
    watch.follow()?;
    Ok(DONE)
}

/// Returns the folders to watch. One that the index does not know yet must exist, since its name may be misspelt.
fn followed(job: &Job) -> Result<Vec<Folder>, Error> {
    if job.folders.is_empty() {
        return Err(Error::NoFolders);
    }
    let mut folders = Vec::with_capacity(job.folders.len());
    for given in &job.folders {
        let path = std::path::absolute(given).map_err(|source| Error::Io {
            path: given.clone(),
            source,
        })?;
        if !path.exists() && !job.knows(&path) {
            return Err(Error::NoFolder { path });
        }
        folders.push(Folder {
            path,
            identity: None,
            is_away: false,
        });
    }
    Ok(folders)
}

struct Watch<'a> {
    program: &'a Program,
    job: Job<'a>,
    args: &'a WatchArgs,
    log: Log<'a>,
    bell: Arc<Bell>,
    cancel: Arc<AtomicBool>,
    events: Option<Events>,
    folders: Vec<Folder>,
    engine: Option<Engine>,
    last_build: Instant,
    survey_took: Duration,
    /// The files that the last build left out, and why; reported once.
    skipped: HashSet<(PathBuf, String)>,
    /// The links that it did not follow; reported when they change.
    links: Vec<PathBuf>,
    photos: usize,
    /// True while the index is still to be rebuilt.
    rebuild: bool,
}

/// The result of a look at the folders.
struct Seen {
    /// True if files were left for later.
    again: bool,
    away: Vec<AwayFolder>,
}

/// A watched folder.
struct Folder {
    path: PathBuf,
    /// The folder that was there at the last look; another drive at the same place is another folder.
    identity: Option<Identity>,
    /// True once its absence was reported.
    is_away: bool,
}

impl Watch<'_> {
    fn follow(&mut self) -> anyhow::Result<()> {
        let mut is_first = true;
        loop {
            self.look_at_folders();
            let again = match self.update(is_first) {
                Err(error) if is(&error, |e| matches!(e, Error::Cancelled)) => false,
                outcome => outcome?,
            };
            if !self.is_stopped() {
                if is_first {
                    let folders = self.folders.iter().map(|folder| folder.path.as_path());
                    self.log.watching(folders, self.photos)?;
                }
                is_first = false;
                self.wait(again);
            }
            if self.is_stopped() {
                return self.log.stopped(self.photos);
            }
        }
    }

    /// Builds the folders that are there, if anything in them differs from the index, or `anyway`. Returns whether
    /// files were left for later.
    fn update(&mut self, anyway: bool) -> anyhow::Result<bool> {
        self.bell.forget();
        let mut present: Vec<PathBuf> = Vec::new();
        for i in 0..self.folders.len() {
            match self.folders[i].identity {
                Some(_) => present.push(self.folders[i].path.clone()),
                None => self.miss(i, "the folder is missing")?,
            }
        }
        while !present.is_empty() {
            self.job.folders.clone_from(&present);
            match self.update_present(anyway) {
                Err(error) => {
                    let Some(path) = error.downcast_ref().and_then(nothing_at) else {
                        return Err(error);
                    };
                    let at = |folder: &Folder| is_same(&folder.path, path);
                    let Some(i) = self.folders.iter().position(at) else {
                        return Err(error);
                    };
                    present.retain(|folder| *folder != self.folders[i].path);
                    self.miss(i, &error.to_string())?;
                }
                Ok(seen) => {
                    for i in 0..self.folders.len() {
                        let folder = &mut self.folders[i];
                        let is_it = |away: &&AwayFolder| is_same(&folder.path, &away.path);
                        if let Some(away) = seen.away.iter().find(is_it) {
                            self.miss(i, &away.reason)?;
                        } else if folder.is_away && present.contains(&folder.path) {
                            folder.is_away = false;
                            self.log.back(&folder.path)?;
                        }
                    }
                    return Ok(seen.again);
                }
            }
        }
        Ok(false)
    }

    fn miss(&mut self, folder: usize, reason: &str) -> anyhow::Result<()> {
        let folder = &mut self.folders[folder];
        if !std::mem::replace(&mut folder.is_away, true) {
            self.log.away(&folder.path, reason)?;
        }
        Ok(())
    }

    fn update_present(&mut self, anyway: bool) -> anyhow::Result<Seen> {
        if !anyway {
            // An index that cannot be read is one for a build to mend, or to give up on.
            if let Ok(index) = self.job.index.reader() {
                self.photos = index.len();
                let started = Instant::now();
                let found = survey(&index, &self.job.folders, &self.job.options)?;
                self.survey_took = started.elapsed();
                if found.changes == 0 {
                    return Ok(Seen {
                        again: found.unsettled > 0,
                        away: found.away,
                    });
                }
            }
        }
        let started = Instant::now();
        let engine = match self.engine.take() {
            Some(engine) => engine,
            None => self.job.load()?,
        };
        let cache = self.job.cache(&engine)?;
        let mut writer = self.open(&engine)?;
        let mut screen = Screen::new(&self.program.output);
        screen.silent.clone_from(&self.skipped);
        screen.tells_of_folders = false;
        let outcome = self.job.run(
            &mut writer,
            &engine,
            cache.as_ref(),
            &self.cancel,
            &mut screen,
        );
        self.photos = writer.len();
        if outcome.is_ok() && writer.is_rebuild() {
            writer.switch()?;
        } else {
            drop(writer);
        }
        self.engine = Some(engine);
        self.last_build = Instant::now();
        let report = outcome?;
        self.rebuild = false;
        let seen = Seen {
            again: !report.unsettled.is_empty(),
            away: report.away.clone(),
        };
        // Once is enough for --checksum.
        if self.job.options.compare == Compare::Content {
            self.job.options.compare = Compare::default();
        }
        self.tell_of_links(&report);
        let report = self.news(report);
        if has_news(&report) {
            self.log.built(&report, self.photos, started.elapsed())?;
        }
        Ok(seen)
    }

    fn tell_of_links(&mut self, report: &BuildReport) {
        if !report.links.is_empty() && self.links != report.links {
            self.log.warn(&about_links(&report.links));
        }
        self.links.clone_from(&report.links);
    }

    /// Opens the index once no other process has it open for changes.
    fn open(&mut self, engine: &Engine) -> anyhow::Result<IndexWriter> {
        let model = engine.identity()?;
        let mut is_told = false;
        loop {
            match self.job.open(&model, self.rebuild) {
                Err(Error::Busy { pid, .. }) => {
                    if !std::mem::replace(&mut is_told, true) {
                        self.log.busy(pid)?;
                    }
                    self.bell.pause(LOOK);
                    if self.is_stopped() {
                        return Err(Error::Cancelled.into());
                    }
                }
                opened => return Ok(opened?),
            }
        }
    }

    /// Returns the report without what the previous one already said.
    fn news(&mut self, report: BuildReport) -> BuildReport {
        self.job.options.broken = report.broken.clone();
        let all: HashSet<_> = report.skipped.iter().cloned().collect();
        let told = std::mem::replace(&mut self.skipped, all);
        let skipped = report.skipped.into_iter();
        BuildReport {
            skipped: skipped.filter(|skipped| !told.contains(skipped)).collect(),
            ..report
        }
    }

    /// Waits for a reason to look again: changes, the time, a folder that came or went, Ctrl-C.
    fn wait(&mut self, again: bool) {
        let now = Instant::now();
        let settle = Duration::from_secs(self.args.settle);
        let mut next = now + Duration::from_secs(self.args.rescan);
        if again {
            let pause = settle.max(Duration::from_secs(1));
            next = next.min(now + pause.max(self.survey_took * SURVEY_SHARE));
        }
        loop {
            if self.bell.wait((Instant::now() + LOOK).min(next), settle) {
                return;
            }
            if self.bell.has_lost_events() {
                next = next.min(Instant::now() + AFTER_LOSS);
            }
            if self.look_at_folders() || Instant::now() >= next {
                return;
            }
            if self.last_build.elapsed() > KEEP_MODEL {
                self.engine = None;
            }
        }
    }

    /// Watches the events of folders that came. Returns whether any came or went.
    fn look_at_folders(&mut self) -> bool {
        let mut is_other = false;
        for folder in &mut self.folders {
            let identity = Identity::of(&folder.path);
            if identity == folder.identity {
                continue;
            }
            is_other = true;
            folder.identity = identity;
            if let Some(events) = &mut self.events {
                events.leave(&folder.path);
                if folder.identity.is_some() {
                    events.follow(&folder.path);
                }
            }
        }
        for problem in self.bell.problems() {
            self.log.warn(&problem);
        }
        is_other
    }

    fn is_stopped(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }
}

fn has_news(report: &BuildReport) -> bool {
    report.embedded + report.recognised + report.removed + report.skipped.len() > 0
}

/// Returns the folder that holds no photos, or cannot be read.
fn nothing_at(error: &Error) -> Option<&Path> {
    match error {
        Error::NoFolder { path }
        | Error::NoPhotos { path }
        | Error::AllLeftOut { path }
        | Error::Io { path, .. } => Some(path),
        _ => None,
    }
}

fn is(error: &anyhow::Error, kind: impl Fn(&Error) -> bool) -> bool {
    error.downcast_ref().is_some_and(kind)
}

/// Compares a folder with one named by an error, which has no links in its path.
fn is_same(folder: &Path, named: &Path) -> bool {
    folder == named || folder.canonicalize().is_ok_and(|path| path == named)
}

/// Distinguishes a folder from one that takes its place, as when a drive is mounted there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity(u64, u64);

impl Identity {
    #[cfg(unix)]
    fn of(folder: &Path) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;
        let metadata = folder.metadata().ok()?;
        Some(Self(metadata.dev(), metadata.ino()))
    }

    /// Other systems only tell whether it exists.
    #[cfg(not(unix))]
    fn of(folder: &Path) -> Option<Self> {
        folder.exists().then_some(Self(0, 0))
    }
}
