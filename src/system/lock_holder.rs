//! Which process holds a lock that is wanted.

use std::fs::File;

/// The process that holds the lock on `file`, as `python3 (process 4711)`; nothing where the system
/// does not tell, and where it is this process itself.
#[cfg(target_os = "linux")]
pub fn describe(file: &File) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let wanted = file.metadata().ok()?;
    let is_wanted = |entry: std::io::Result<std::fs::DirEntry>| {
        let found = entry.and_then(|entry| std::fs::metadata(entry.path()));
        found.is_ok_and(|found| (found.ino(), found.dev()) == (wanted.ino(), wanted.dev()))
    };
    // A file of the same number on another disk is held by a process that does not have this one
    // open, if it may be looked at.
    let has = |process: &u32| {
        *process != std::process::id()
            && std::fs::read_dir(format!("/proc/{process}/fd"))
                .map_or(true, |mut open| open.any(is_wanted))
    };
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    let process = locks.lines().filter_map(|line| holds(line, wanted.ino())).find(has)?;
    let name = std::fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
    match name.trim() {
        "" => Some(format!("process {process}")),
        name => Some(format!("{name:?} (process {process})")),
    }
}

#[cfg(not(target_os = "linux"))]
pub fn describe(_file: &File) -> Option<String> {
    None
}

/// The process of a line of /proc/locks, `1: FLOCK  ADVISORY  WRITE 4711 fd:01:1234 0 EOF`, if it
/// is about this file and holds the lock rather than waits for it.
#[cfg(target_os = "linux")]
fn holds(line: &str, inode: u64) -> Option<u32> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [_, "FLOCK" | "POSIX" | "OFDLCK", _, _, process, place, ..] = words[..] else {
        return None;
    };
    (place.rsplit(':').next()?.parse() == Ok(inode)).then(|| process.parse().ok())?
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_who_holds_which_file() {
        assert_eq!(holds("1: FLOCK  ADVISORY  WRITE 4711 fd:01:1234 0 EOF", 1234), Some(4711));
        assert_eq!(holds("1: FLOCK  ADVISORY  WRITE 4711 fd:01:1234 0 EOF", 123), None);
        assert_eq!(holds("1: -> FLOCK  ADVISORY  WRITE 4711 fd:01:1234 0 EOF", 1234), None);
        assert_eq!(holds("nonsense", 0), None);
    }
}
