//! Checks of ids, revisions and paths. Each is checked before it becomes part of a path or a URL,
//! whether it comes from the user, a file or a server.

use crate::{Result, bail};

/// The longest file name in bytes that every common file system allows.
const MAX_PART_BYTES: usize = 255;
/// The longest path in bytes.
const MAX_BYTES: usize = 1024;

/// What the id of a repository of a data set begins with, here and in the Hub's URLs:
/// `datasets/owner/name`.
pub const DATASETS: &str = "datasets/";

/// The owner and the name in the id of a repository of a data set; nothing of any other.
pub fn dataset_name(id: &str) -> Option<&str> {
    id.strip_prefix(DATASETS).filter(|name| is_hub_id(name))
}

/// The parts of the path of a repository in the Hub's API.
pub fn api_path(id: &str) -> impl Iterator<Item = &str> {
    let kind = if dataset_name(id).is_some() { None } else { Some("models") };
    ["api"].into_iter().chain(kind).chain(id.split('/'))
}

/// Whether `id` may be a repository of a model on the Hub: `name` or `owner/name`, of the characters and
/// lengths that the Hub allows.
pub fn is_hub_id(id: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && part.len() <= 96
            && !part.starts_with(['.', '-'])
            && !part.contains("..")
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    id.split('/').count() <= 2 && id.split('/').all(part)
}

/// Whether `revision` is a commit: 40 hexadecimal digits.
pub fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|c| c.is_ascii_hexdigit())
}

/// Whether `revision` may be a branch, a tag or a commit, and is a path inside `refs/`.
pub fn is_revision(revision: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && part.len() <= MAX_PART_BYTES
            && !part.starts_with('.')
            && !part.contains("..")
    };
    revision.len() <= MAX_BYTES
        && !revision.chars().any(|c| c.is_control() || "\\: ".contains(c))
        && revision.split('/').all(part)
}

/// A revision that may become part of a path: `main` where none is given.
///
/// # Errors
/// It can't be a revision.
pub fn checked_revision(revision: Option<&str>) -> Result<&str> {
    let revision = revision.unwrap_or("main");
    if !is_revision(revision) {
        bail!("{revision:?} is no revision: it is a branch, a tag or a commit");
    }
    Ok(revision)
}

/// Checks that a path in a repository is also a path below a directory on every file system.
///
/// # Errors
/// It is absolute, has `..`, a hidden or an empty part, or characters that a file system or a URL
/// does not allow.
pub fn check_path(path: &str) -> Result<()> {
    let part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && !part.ends_with(['.', ' '])
            && part.len() <= MAX_PART_BYTES
            && !part.chars().any(|c| c.is_control() || "\\:*?\"<>|@#%".contains(c))
    };
    if path.len() > MAX_BYTES || !path.split('/').all(part) {
        bail!("the file's path is none that every disk can hold");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leads_elsewhere_is_no_name() {
        for id in ["gpt2", "facebook/opt-125m", "meta-llama/Llama-3.2-1B"] {
            assert!(is_hub_id(id), "{id}");
        }
        for id in [
            "./model", "../model", "a/b/c", "/model", "a b", "", "models/", "~/m", "a\0b", "a/..",
            "-x",
        ] {
            assert!(!is_hub_id(id), "{id}");
        }
        for revision in ["main", "v1.0", "refs/pr/1", "feature+x", &"a".repeat(40)] {
            assert!(is_revision(revision), "{revision}");
        }
        for revision in [
            "",
            "/etc",
            "../x",
            "a/../b",
            "a//b",
            ".git",
            "a\\b",
            "C:x",
            "a\n",
            "a\u{1b}[2J",
            &"a".repeat(256),
        ] {
            assert!(!is_revision(revision), "{revision:?}");
        }
        for path in ["config.json", "onnx/model.onnx", "model-00001-of-00002.safetensors"] {
            assert!(check_path(path).is_ok(), "{path}");
        }
        for path in [
            "",
            "/x",
            "../x",
            "a/../x",
            "./x",
            "a//x",
            "a\\x",
            "C:x",
            ".git/x",
            "x\0",
            "x\n",
            &"x".repeat(256),
        ] {
            assert!(check_path(path).is_err(), "{path:?}");
        }
        assert!(is_commit(&"aB3".repeat(14)[..40]));
        for commit in
            ["", "main", &"a".repeat(39), &"a".repeat(41), &"g".repeat(40), &"../".repeat(14)[..40]]
        {
            assert!(!is_commit(commit), "{commit:?}");
        }
    }
}
