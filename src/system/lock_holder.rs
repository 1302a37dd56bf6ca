//! Finds the process that holds the lock on a file.

use std::fs::File;

/// The process that holds the lock on `file`, as `"python3" (process 4711)`. Nothing if the system
/// does not tell, or if it is this process.
#[cfg(target_os = "linux")]
pub fn describe(file: &File) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let wanted = file.metadata().ok()?;
    let is_wanted = |entry: std::io::Result<std::fs::DirEntry>| {
        let found = entry.and_then(|entry| std::fs::metadata(entry.path()));
        found.is_ok_and(|found| (found.ino(), found.dev()) == (wanted.ino(), wanted.dev()))
    };
    // /proc/locks names a file by its inode number alone (and a device number that some file
    // systems give differently), so a lock may be on a file of another disk. Such a process does
    // not have this file open. One whose descriptors can't be read may have it.
    let has_open = |process: &u32| {
        *process != std::process::id()
            && std::fs::read_dir(format!("/proc/{process}/fd"))
                .map_or(true, |mut open| open.any(is_wanted))
    };
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    let process = locks.lines().filter_map(|line| holds(line, wanted.ino())).find(has_open)?;
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

/// The process in a line of /proc/locks, such as `1: FLOCK  ADVISORY  WRITE 4711 fd:01:1234 0 EOF`,
/// if it holds a lock on the file with this inode number. Lines of waiting processes have `->`.
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
