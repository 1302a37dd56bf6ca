//! The file names that a script may save under: they stay below the output directory, and mean the
//! same file on every common file system.

use crate::{Result, error};

/// The longest name of a file or a folder that common file systems allow, in bytes.
const LONGEST_PART: usize = 255;

/// The longest name with its folders, in bytes. It leaves room for the directory's own path within
/// the limits of common operating systems.
const LONGEST: usize = 1024;

/// The largest number of parts that a name may have between slashes.
const DEEPEST: usize = 16;

/// The name of the run's record, which a script can't save under.
pub const RECORD: &str = "run.json";

/// The name of the run's page, likewise.
pub const REPORT: &str = "report.html";

/// The start of the names of temporary files and folders, which a script can't save under either.
pub const TEMPORARY_PREFIX: &str = ".precompute-";

/// Checks that a name is not one that this program uses in an output directory.
///
/// # Errors
/// The record's name, or a name reserved for temporary files.
pub fn check_own(name: &str) -> Result<()> {
    let first = name.split('/').next().unwrap_or(name);
    for (own, what) in [(RECORD, "record"), (REPORT, "page")] {
        if is_named(first, own) {
            return Err(error!("{own} is the run's own {what}: save under another name"));
        }
    }
    if is_reserved(first) {
        return Err(error!(
            "{:?} is what precompute calls its own folders: save under another name",
            shortened(first)
        ));
    }
    Ok(())
}

/// Whether a name in an output directory is reserved for temporary files.
pub fn is_reserved(name: &str) -> bool {
    folded(name).take(TEMPORARY_PREFIX.len()).eq(TEMPORARY_PREFIX.chars())
}

/// Whether some file system would treat `part` as the name `own`.
fn is_named(part: &str, own: &str) -> bool {
    // No file system has a longer one, and a script's text can be as long as the memory allowed.
    if part.len() > LONGEST_PART {
        return false;
    }
    let part: String = folded(part).collect();
    if part == own {
        return true;
    }
    // Windows gives every long name a short one (8.3), such as `RUN~1.JSO`.
    let Some((stem, ending)) = own.rsplit_once('.') else { return false };
    let ending = part.strip_suffix(&ending[..ending.len().min(3)]);
    let short =
        ending.and_then(|rest| rest.strip_suffix('.')).and_then(|rest| rest.split_once('~'));
    short.is_some_and(|(begin, number)| {
        let digits = !number.is_empty() && number.chars().all(|c| c.is_ascii_digit());
        digits && begin == &stem[..stem.len().min(7 - number.len().min(5))]
    })
}

/// A name's characters with case folded as case-insensitive file systems compare it. Lowering the
/// upper case also maps `ſ` (long s) to `s`, as those file systems do.
fn folded(name: &str) -> impl Iterator<Item = char> {
    name.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase)
}

/// Checks that a name is portable and stays below the output directory.
///
/// # Errors
/// A name that leads out of the directory, that some file system would refuse or map to another
/// name, or that looks like another name.
pub fn check(name: &str) -> Result<()> {
    let wrong = |why: &str| {
        Err(error!("{:?} is no name to save under: {why}", shortened(name))
            .help("files are saved in the run's output directory and nowhere else"))
    };
    if name.is_empty() {
        return wrong("it is empty");
    }
    if name.len() > LONGEST {
        return wrong("it is too long");
    }
    if name.chars().any(|c| c.is_control() || "\\:*?\"<>|".contains(c)) {
        return wrong("it has a character that file names can't have");
    }
    if name.chars().any(is_invisible) {
        return wrong("it has an invisible character, which makes it look like another");
    }
    if name.split('/').count() > DEEPEST {
        return wrong("its folders are nested too deeply");
    }
    for part in name.split('/') {
        if part.is_empty() {
            return wrong("it is an absolute path, or a folder in it has no name");
        }
        if part.chars().all(|c| c == '.') || part.ends_with([' ', '.']) {
            return wrong("a part of it leads elsewhere");
        }
        if part.len() > LONGEST_PART {
            return wrong("it is too long");
        }
        if is_device(part) {
            return wrong("Windows takes it for a device");
        }
    }
    Ok(())
}

/// A name for a message, cut if it is long.
fn shortened(name: &str) -> String {
    const SHOWN: usize = 80;
    match name.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    }
}

/// Whether a character has no width or changes the direction of writing.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Whether Windows takes a name for a device, such as `NUL` or `com1.txt`: the extension does not
/// matter.
fn is_device(part: &str) -> bool {
    let stem = part.split('.').next().unwrap_or(part).trim_end().to_ascii_lowercase();
    let one = |n: &str| {
        n.chars().count() == 1 && n.chars().all(|c| c.is_ascii_digit() || "¹²³".contains(c))
    };
    let numbered = |kind: &str| stem.strip_prefix(kind).is_some_and(one);
    matches!(stem.as_str(), "con" | "prn" | "aux" | "nul" | "conin$" | "conout$")
        || numbered("com")
        || numbered("lpt")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        let long = "x".repeat(256);
        let longer = ["x"; 600].join("/");
        let wrong = [
            "",
            "/etc/x",
            "../x",
            "a/../../x",
            "a//b",
            ".",
            "..",
            "a/.",
            "a\\b",
            "c:x",
            "a\0b",
            "a\nb",
            "...",
            "x.",
            "x ",
            "con",
            "Con.csv",
            "a/NUL.tar.gz",
            "com1",
            "lpt¹.txt",
            "a\u{202e}gpj.exe",
            "a\u{200b}",
            "~/..",
            &long,
            &longer,
        ];
        for name in wrong {
            assert!(check(name).is_err(), "{name:?}");
        }
        for name in [
            "run.json",
            "RUN.JSON",
            "run.j\u{17f}on",
            "Run.Json/x/y",
            "run~1.jso/x",
            ".precompute-7/x",
            ".PreCompute-x",
        ] {
            assert!(check_own(name).is_err(), "{name:?}");
        }
        for name in
            ["a/run.json", "run.json.csv", "runs", "run", ".precompute", "run~x.jso", "xrun.json"]
        {
            assert!(check_own(name).is_ok(), "{name:?}");
        }
        for name in
            ["a", "a/b.c", "~", "-rf", "console", "com", "com10", ".hidden", "日本語/é", "nullable"]
        {
            assert!(check(name).is_ok(), "{name:?}");
        }
    }
}
