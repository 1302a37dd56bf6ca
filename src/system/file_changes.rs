//! Watches files and tells which have other contents than when they were read.
//!
//! The system reports events in the files' directories; whether a file has changed is decided by
//! its contents. A save that renames a new file over the old one therefore counts, while a touch or
//! a change that is reverted does not.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

use super::fingerprint::Fingerprint;
use super::message::notice;

/// How long no event must come before a save counts as done: editors write in several steps.
const SETTLED: Duration = Duration::from_millis(40);
/// The longest wait for a save to be done.
const LONGEST: Duration = Duration::from_millis(400);
/// How often the files are read without an event: network drives do not report changes that other
/// machines make.
const POLL: Duration = Duration::from_secs(1);

/// Watches files until it is dropped, on a thread of its own.
pub struct Watcher {
    shared: Arc<Shared>,
    messages: Sender<Message>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Signalled when `changed` gets new files.
    news: Condvar,
}

#[derive(Default)]
struct State {
    /// The watched files, each with the fingerprint it had when it was read.
    files: BTreeMap<PathBuf, Fingerprint>,
    /// Those that have another fingerprint now.
    changed: Vec<PathBuf>,
}

enum Message {
    /// The system reported an event in a watched directory.
    Event,
    /// The set of watched files has changed.
    Files,
    /// The watcher was dropped.
    End,
}

impl Watcher {
    /// A watcher of no files. `on_change` is called on the watcher's thread whenever the set of
    /// [changed](Self::changed) files becomes another that is not empty.
    pub fn new(on_change: impl FnMut() + Send + 'static) -> Self {
        let shared = Arc::<Shared>::default();
        let (messages, inbox) = mpsc::channel();
        let (own, events) = (shared.clone(), messages.clone());
        let watch = move || Watch::new(events).follow(&inbox, &own, on_change);
        if let Err(cause) = std::thread::Builder::new().name("watcher".into()).spawn(watch) {
            notice(format_args!(
                "warning: changes are not seen: no thread can be started: {cause}"
            ));
        }
        Self { shared, messages }
    }

    /// Watches these files in place of earlier ones. Each comes with the fingerprint that it had
    /// when it was read. A file need not exist yet.
    pub fn watch(&self, files: impl IntoIterator<Item = (PathBuf, Fingerprint)>) {
        let mut state = self.shared.lock();
        state.files = files.into_iter().collect();
        state.changed.clear();
        drop(state);
        let _ = self.messages.send(Message::Files);
    }

    /// The files that have other contents now.
    pub fn changed(&self) -> Vec<PathBuf> {
        self.shared.lock().changed.clone()
    }

    /// Waits until files have changed, at most for `timeout`, and returns the changed files.
    pub fn wait(&self, timeout: Duration) -> Vec<PathBuf> {
        let state = self.shared.lock();
        let waited =
            self.shared.news.wait_timeout_while(state, timeout, |state| state.changed.is_empty());
        waited.unwrap_or_else(PoisonError::into_inner).0.changed.clone()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.messages.send(Message::End);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads every file, and waits for those that are being written. Returns whether `changed` has
    /// become another set that is not empty.
    fn look(&self, inbox: &Receiver<Message>) -> Result<bool, Ended> {
        let files = self.lock().files.clone();
        let differing = || {
            let now = files.iter().map(|(path, known)| (path, known, Fingerprint::now(path)));
            now.filter(|(_, known, now)| now != *known)
                .map(|(path, _, now)| (path.clone(), now))
                .collect::<Vec<_>>()
        };
        let mut found = differing();
        let began = Instant::now();
        // Wait until two readings agree. Some editors empty a file before they write it.
        while !found.is_empty() && began.elapsed() < LONGEST {
            settle(inbox)?;
            let again = differing();
            let same = again == found && !again.iter().any(|(_, now)| *now == Fingerprint::of(b""));
            found = again;
            if same {
                break;
            }
        }
        let changed: Vec<PathBuf> = found.into_iter().map(|(path, _)| path).collect();
        let mut state = self.lock();
        // If other files are watched by now, a message about that is in the inbox.
        if state.files != files || state.changed == changed {
            return Ok(false);
        }
        state.changed = changed;
        Ok(!state.changed.is_empty())
    }
}

/// The system's watches on the files' directories.
struct Watch {
    /// None if the system can't watch them; then the files are read more often.
    system: Option<RecommendedWatcher>,
    folders: BTreeSet<PathBuf>,
}

impl Watch {
    fn new(messages: Sender<Message>) -> Self {
        let tell = move |event: notify::Result<Event>| {
            if event.is_ok_and(|event| may_change(&event.kind)) {
                let _ = messages.send(Message::Event);
            }
        };
        Self { system: notify::recommended_watcher(tell).ok(), folders: BTreeSet::new() }
    }

    /// The loop of the watcher's thread.
    fn follow(mut self, inbox: &Receiver<Message>, shared: &Shared, mut on_change: impl FnMut()) {
        loop {
            let patience = if self.system.is_some() { POLL } else { POLL / 5 };
            match inbox.recv_timeout(patience) {
                Ok(Message::End) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(Message::Event | Message::Files) | Err(RecvTimeoutError::Timeout) => {}
            }
            self.watch_folders(&shared.lock().files);
            match shared.look(inbox) {
                Ok(true) => {
                    on_change();
                    shared.news.notify_all();
                }
                Ok(false) => {}
                Err(Ended) => return,
            }
        }
    }

    /// Watches the directory of each file, or the nearest one above it that exists.
    fn watch_folders(&mut self, files: &BTreeMap<PathBuf, Fingerprint>) {
        let Some(system) = &mut self.system else { return };
        let mut wanted = BTreeSet::new();
        for file in files.keys() {
            // For a link, its own directory and that of its target.
            for path in [Some(file.clone()), file.canonicalize().ok()].into_iter().flatten() {
                let above =
                    path.ancestors().skip(1).map(|folder| match folder.as_os_str().is_empty() {
                        true => Path::new("."),
                        false => folder,
                    });
                wanted.extend(above.filter(|folder| folder.is_dir()).take(1).map(Path::to_owned));
            }
        }
        for folder in self.folders.difference(&wanted) {
            let _ = system.unwatch(folder);
        }
        // All are watched again, as a directory may have been replaced by another of the same name.
        // Watching one a second time has no effect.
        let watched =
            wanted.iter().all(|folder| system.watch(folder, RecursiveMode::NonRecursive).is_ok());
        self.folders = wanted;
        if !watched {
            self.system = None;
        }
    }
}

/// Whether an event may change a file. Our own reading is an event too, and changes nothing.
fn may_change(kind: &EventKind) -> bool {
    match kind {
        EventKind::Access(access) => *access == AccessKind::Close(AccessMode::Write),
        _ => true,
    }
}

/// The error of a thread whose watcher was dropped.
struct Ended;

/// Waits until no event comes for [`SETTLED`], at most for [`LONGEST`].
fn settle(inbox: &Receiver<Message>) -> Result<(), Ended> {
    let began = Instant::now();
    while began.elapsed() < LONGEST {
        match inbox.recv_timeout(SETTLED) {
            Ok(Message::End) | Err(RecvTimeoutError::Disconnected) => return Err(Ended),
            Ok(_) => {}
            Err(RecvTimeoutError::Timeout) => return Ok(()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// The timeout of a wait that must succeed, long enough for a slow machine.
    const LONG: Duration = Duration::from_secs(60);
    /// How long to wait for a notice that must not come.
    const SHORT: Duration = Duration::from_millis(1500);

    fn known(path: &Path) -> (PathBuf, Fingerprint) {
        (path.to_owned(), Fingerprint::now(path))
    }

    fn watching(paths: &[&Path]) -> Watcher {
        let watcher = Watcher::new(|| {});
        watcher.watch(paths.iter().map(|path| known(path)));
        watcher
    }

    #[test]
    fn a_write_and_a_rename_over_count() {
        let home = tempfile::tempdir().unwrap();
        let (file, other) = (home.path().join("a"), home.path().join("b"));
        fs::write(&file, "one").unwrap();
        fs::write(&other, "other").unwrap();
        let watcher = watching(&[&file, &other]);
        fs::write(&file, "two").unwrap();
        assert_eq!(watcher.wait(LONG), std::slice::from_ref(&file));

        watcher.watch([known(&file), known(&other)]);
        assert!(watcher.changed().is_empty());
        fs::write(home.path().join(".new"), "three").unwrap();
        fs::rename(home.path().join(".new"), &file).unwrap();
        assert_eq!(watcher.wait(LONG), [file]);
    }

    #[test]
    fn a_touch_does_not_count_and_a_change_taken_back_is_none() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("a");
        fs::write(&file, "one").unwrap();
        let watcher = watching(&[&file]);
        fs::write(&file, "one").unwrap();
        fs::write(home.path().join("beside"), "it").unwrap();
        assert!(watcher.wait(SHORT).is_empty());
        fs::write(&file, "two").unwrap();
        assert_eq!(watcher.wait(LONG), std::slice::from_ref(&file));
        fs::write(&file, "one").unwrap();
        let end = Instant::now() + LONG;
        while !watcher.changed().is_empty() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(watcher.changed().is_empty());
    }

    #[test]
    fn what_changed_between_reading_and_watching_is_seen() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("a");
        fs::write(&file, "two").unwrap();
        let watcher = Watcher::new(|| {});
        watcher.watch([(file.clone(), Fingerprint::of(b"one"))]);
        assert_eq!(watcher.wait(LONG), [file]);
    }

    #[test]
    fn a_file_may_appear_in_a_folder_that_was_not_there_and_vanish() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("lib/deep/a");
        let watcher = watching(&[&file]);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "one").unwrap();
        assert_eq!(watcher.wait(LONG), std::slice::from_ref(&file));
        watcher.watch([known(&file)]);
        fs::remove_dir_all(home.path().join("lib")).unwrap();
        assert_eq!(watcher.wait(LONG), [file]);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_followed() {
        let (home, away) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (file, target) = (home.path().join("a"), away.path().join("target"));
        fs::write(&target, "one").unwrap();
        std::os::unix::fs::symlink(&target, &file).unwrap();
        let watcher = watching(&[&file]);
        fs::write(&target, "two").unwrap();
        assert_eq!(watcher.wait(LONG), [file]);
    }

    #[test]
    fn on_change_is_called_once_a_change() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("a");
        fs::write(&file, "one").unwrap();
        let calls = Arc::<AtomicUsize>::default();
        let own = calls.clone();
        let watcher = Watcher::new(move || {
            own.fetch_add(1, Ordering::SeqCst);
        });
        watcher.watch([known(&file)]);
        fs::write(&file, "two").unwrap();
        assert_eq!(watcher.wait(LONG), [file]);
        std::thread::sleep(SHORT);
        assert_eq!(calls.load(Ordering::SeqCst), 1);
    }
}
