//! File system events, which wake the watch.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bridgetower::ingest::concerns_build;
use notify::{Config, ErrorKind, Event, RecommendedWatcher, RecursiveMode, Watcher};

/// The longest wait for continuous changes to end.
const LONGEST_BURST: Duration = Duration::from_secs(30);

/// The operating system's events for some folders.
pub struct Events {
    watcher: RecommendedWatcher,
    bell: Arc<Bell>,
}

impl Events {
    /// Rings `bell` for whatever may change a build, except for changes of the index in `index`. Returns `None`, with a
    /// problem to report, if the system has no more watches to give.
    pub fn new(index: &Path, bell: &Arc<Bell>, follow: bool) -> Option<Self> {
        let index = index.canonicalize().unwrap_or_else(|_| index.to_owned());
        let ringing = Arc::clone(bell);
        let handle = move |event: notify::Result<Event>| match event {
            Ok(event) if event.need_rescan() => ringing.lock().has_lost_events = true,
            Ok(event) if matters(&event, &index) => ringing.ring(),
            Ok(_) => {}
            Err(error) => ringing.tell(&error),
        };
        // As the scan.
        let config = Config::default().with_follow_symlinks(follow);
        match RecommendedWatcher::new(handle, config) {
            Ok(watcher) => Some(Self {
                watcher,
                bell: Arc::clone(bell),
            }),
            Err(error) => {
                bell.tell(&error);
                None
            }
        }
    }

    pub fn follow(&mut self, folder: &Path) {
        let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        if let Err(error) = self.watcher.watch(&folder, RecursiveMode::Recursive) {
            self.bell.tell(&error);
        }
    }

    pub fn leave(&mut self, folder: &Path) {
        // The system has done so itself where the folder is gone.
        let _ = self.watcher.unwatch(folder);
    }
}

fn matters(event: &Event, index: &Path) -> bool {
    // What is gone, or is a folder, may have held photos.
    let may_concern = |path: &PathBuf| {
        let is_other_file = || path.symlink_metadata().is_ok_and(|found| found.is_file());
        !path.starts_with(index) && (concerns_build(path) || !is_other_file())
    };
    // Reading a photo is an event too.
    !event.kind.is_access() && event.paths.iter().any(may_concern)
}

/// Wakes the watch: at once for Ctrl-C, for changes when they have settled.
#[derive(Default)]
pub struct Bell {
    state: Mutex<State>,
    rung: Condvar,
}

#[derive(Default)]
struct State {
    /// The first and the last change that no scan has seen.
    changes: Option<(Instant, Instant)>,
    is_stopped: bool,
    has_lost_events: bool,
    problems: Vec<String>,
}

impl Bell {
    /// Reports a change.
    pub fn ring(&self) {
        let now = Instant::now();
        let mut state = self.lock();
        let first = state.changes.map_or(now, |(first, _)| first);
        state.changes = Some((first, now));
        self.rung.notify_all();
    }

    /// Ends the watch.
    pub fn stop(&self) {
        self.lock().is_stopped = true;
        self.rung.notify_all();
    }

    /// Forgets all changes so far: a scan is starting, which sees them.
    pub fn forget(&self) {
        self.lock().changes = None;
    }

    /// Waits until changes were followed by `settle` without any, or went on for long, or the watch ends. Returns false
    /// if nothing of that happened before `until`.
    pub fn wait(&self, until: Instant, settle: Duration) -> bool {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            let due = state
                .changes
                .map(|(first, last)| (last + settle).min(first + LONGEST_BURST.max(settle)));
            if state.is_stopped || due.is_some_and(|due| due <= now) {
                return true;
            }
            if until <= now {
                return false;
            }
            let next = due.map_or(until, |due| due.min(until));
            state = self.sleep(state, next - now);
        }
    }

    /// Waits for some time, or until the watch ends.
    pub fn pause(&self, time: Duration) {
        let end = Instant::now() + time;
        let mut state = self.lock();
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            if state.is_stopped || left.is_zero() {
                return;
            }
            state = self.sleep(state, left);
        }
    }

    /// Returns whether the system has lost events since the last call.
    pub fn has_lost_events(&self) -> bool {
        std::mem::take(&mut self.lock().has_lost_events)
    }

    /// Returns the problems since the last call, for people.
    pub fn problems(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().problems)
    }

    fn tell(&self, error: &notify::Error) {
        let problem = match &error.kind {
            ErrorKind::MaxFilesWatch => "the system's limit for watched folders is reached, so changes in some are \
                 noticed only every --rescan seconds; raise it with sysctl fs.inotify.max_user_watches=1048576"
                .to_owned(),
            // A folder that goes while it is being followed.
            ErrorKind::PathNotFound | ErrorKind::WatchNotFound => return,
            _ => format!("changes are noticed only every --rescan seconds: {error}"),
        };
        let problems = &mut self.lock().problems;
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }

    fn sleep<'a>(&self, state: MutexGuard<'a, State>, time: Duration) -> MutexGuard<'a, State> {
        let woken = self.rung.wait_timeout(state, time);
        woken.unwrap_or_else(PoisonError::into_inner).0
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
