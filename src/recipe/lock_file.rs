//! The lock file `precompute.lock`: the recipes from the Hub that a directory uses, each with its
//! commit and the SHA-256 of its files.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::header::check_name;
use super::reference::Remote;
use crate::checkpoint::{check_path, is_commit};
use crate::script::{Failure, Location};
use crate::system::digest::sha256_hex;
use crate::system::directory::{HeldDirectory, escapes_directory};
use crate::system::file;
use crate::system::file::{FileKind, describe_io_error};
use crate::{Result, bail, error, without_rust_types};

/// The lock file's name.
pub const LOCK: &str = "precompute.lock";

const ABOVE: &str =
    "# Which recipes this work uses. Written by precompute; keep it with the work.\n";

/// The version of the file's layout.
const LAYOUT: u32 = 1;

/// The contents of a lock file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockFile {
    layout: u32,
    /// The recipes, by name.
    #[serde(default, rename = "recipe")]
    pub recipes: Vec<LockedRecipe>,
}

/// A recipe from the Hub, as it is locked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedRecipe {
    /// The name by which `run` finds it in this directory.
    pub name: String,
    /// The reference that it was added by: `hf:owner/repo/path.rhai`, perhaps with `@revision`.
    pub reference: String,
    /// The commit that the revision stood for: 40 hexadecimal digits.
    pub commit: String,
    /// The SHA-256 of the script and of each file that it imports, by path in the repository.
    pub files: BTreeMap<String, String>,
}

impl Default for LockFile {
    fn default() -> Self {
        Self { layout: LAYOUT, recipes: Vec::new() }
    }
}

impl LockFile {
    /// Reads the lock file of `directory`. If there is none, it is empty.
    ///
    /// # Errors
    /// The file can't be read or is invalid.
    pub fn read(directory: &Path) -> Result<Self, Failure> {
        let read = || -> std::io::Result<Vec<u8>> {
            let file = HeldDirectory::open(directory)?.file(Path::new(LOCK), FileKind::Lock)?;
            file::read_open(&file, FileKind::Lock)
        };
        let text = match read() {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(e) => {
                // What is no regular file is said to be none, wherever it lies.
                let e = match file::open(&directory.join(LOCK), FileKind::Lock) {
                    Ok(_) if escapes_directory(&e) => {
                        return Err(Failure::usage(error!(
                            "{LOCK} is a link that leads out of its directory"
                        )));
                    }
                    Err(other) if escapes_directory(&e) => other,
                    _ => e,
                };
                return Err(Failure::usage(error!(
                    "{LOCK} can't be read: {}",
                    describe_io_error(&e)
                )));
            }
        };
        Self::parse(&text)
    }

    /// Parses a lock file.
    ///
    /// # Errors
    /// Not a valid lock file; the failure points at the line.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let lock: LockFile = toml::from_str(text).map_err(|e| {
            let message = without_rust_types(e.message().trim().lines().next().unwrap_or_default());
            let error = error!("{LOCK} is broken: {message}").help(
                "take the last version of it that worked, or delete it and add the recipes again",
            );
            Failure::usage_at(error, place(text, e.span().unwrap_or_default().start))
        })?;
        lock.verify().map_err(|error| Failure::usage(error.at(LOCK)))?;
        Ok(lock)
    }

    fn verify(&self) -> Result<()> {
        if self.layout != LAYOUT {
            return Err(error!(
                "its layout is {}, and this precompute knows {LAYOUT}",
                self.layout
            )
            .help("a newer precompute wrote it: update"));
        }
        for (i, recipe) in self.recipes.iter().enumerate() {
            check_name(&recipe.name)?;
            let remote: Remote = recipe.reference.parse()?;
            if !is_commit(&recipe.commit) {
                bail!("{}: {:?} is no commit", recipe.name, recipe.commit);
            }
            if !recipe.files.contains_key(&remote.path) {
                bail!("{}: {} is not among its files", recipe.name, remote.path);
            }
            for (path, sha) in &recipe.files {
                check_path(path).map_err(|e| e.at(&recipe.name))?;
                if sha.len() != 64 || !sha.chars().all(|c| c.is_ascii_hexdigit()) {
                    bail!("{}: {sha:?} is no SHA-256", recipe.name);
                }
            }
            if self.recipes[..i].iter().any(|other| other.name == recipe.name) {
                bail!("two recipes are called {}", recipe.name);
            }
        }
        Ok(())
    }

    /// The lock file's text.
    pub fn text(&self) -> String {
        format!("{ABOVE}{}", toml::to_string(self).unwrap_or_default())
    }

    /// Writes the lock file of `directory` atomically.
    ///
    /// # Errors
    /// The directory can't be written to.
    pub fn write(&self, directory: &Path) -> Result<()> {
        let written = || -> std::io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(directory)?;
            file.write_all(self.text().as_bytes())?;
            #[cfg(unix)]
            {
                use std::os::unix::fs::PermissionsExt;
                file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
            }
            file.persist(directory.join(LOCK)).map_err(|e| e.error)?;
            Ok(())
        };
        written().map_err(|e| error!("{LOCK} can't be written: {}", describe_io_error(&e)))
    }

    /// The recipe called `name`.
    pub fn named(&self, name: &str) -> Option<&LockedRecipe> {
        self.recipes.iter().find(|recipe| recipe.name == name)
    }

    /// The recipe that was added by this reference.
    pub fn referred(&self, remote: &Remote) -> Option<&LockedRecipe> {
        self.recipes.iter().find(|recipe| recipe.reference == remote.to_string())
    }

    /// Adds a recipe, or replaces the one of the same name.
    pub fn put(&mut self, recipe: LockedRecipe) {
        match self.recipes.iter_mut().find(|known| known.name == recipe.name) {
            Some(known) => *known = recipe,
            None => self.recipes.push(recipe),
        }
        self.recipes.sort_by(|a, b| a.name.cmp(&b.name));
    }
}

impl LockedRecipe {
    /// The reference, parsed.
    ///
    /// # Errors
    /// The reference is invalid, which [`LockFile::parse`] rules out.
    pub fn remote(&self) -> Result<Remote> {
        self.reference.parse()
    }

    /// Checks that the files are those that were locked.
    ///
    /// # Errors
    /// A file differs, is missing, or is not in the lock file.
    pub fn check(&self, texts: &BTreeMap<String, String>) -> Result<()> {
        let help = || {
            format!(
                "nothing of it was run; if the change is right, `precompute recipe update {}` takes it in",
                self.name
            )
        };
        for (path, sha) in &self.files {
            match texts.get(path) {
                None => {
                    return Err(error!(
                        "{}: {path} is in {LOCK}, and not in the recipe",
                        self.name
                    )
                    .help(help()));
                }
                Some(text) if sha256_hex(text.as_bytes()) != *sha => {
                    return Err(error!(
                        "{}: {path} is not the file that {LOCK} recorded",
                        self.name
                    )
                    .help(help()));
                }
                Some(_) => {}
            }
        }
        match texts.keys().find(|path| !self.files.contains_key(*path)) {
            Some(path) => {
                Err(error!("{}: {path} is in the recipe, and not in {LOCK}", self.name)
                    .help(help()))
            }
            None => Ok(()),
        }
    }
}

/// The directory whose lock file is used: the working directory.
pub fn here() -> PathBuf {
    PathBuf::from(".")
}

fn place(text: &str, start: usize) -> Location {
    let start =
        (0..=start.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    let before = &text[..start];
    let line = before.matches('\n').count();
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let shown = text.lines().nth(line).unwrap_or_default().to_owned();
    Location { file: LOCK.into(), line: line + 1, column: Some(column), text: shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locked(name: &str) -> LockedRecipe {
        LockedRecipe {
            name: name.into(),
            reference: "hf:ann/lenses/lens.rhai@v1".into(),
            commit: "a".repeat(40),
            files: [("lens.rhai".into(), sha256_hex(b"1"))].into(),
        }
    }

    #[test]
    fn a_lock_file_is_read_back() {
        let mut lock = LockFile::default();
        lock.put(locked("lens"));
        lock.put(locked("eye"));
        lock.put(locked("lens"));
        assert_eq!(LockFile::parse(&lock.text()).unwrap(), lock);
        assert_eq!(lock.recipes.len(), 2);
    }

    #[test]
    fn a_file_that_changed_came_or_went_is_refused() {
        let locked = locked("lens");
        let texts = |texts: &[(&str, &str)]| {
            texts.iter().map(|(p, t)| ((*p).into(), (*t).into())).collect()
        };
        assert!(locked.check(&texts(&[("lens.rhai", "1")])).is_ok());
        assert!(locked.check(&texts(&[("lens.rhai", "2")])).is_err());
        assert!(locked.check(&texts(&[])).is_err());
        assert!(locked.check(&texts(&[("lens.rhai", "1"), ("x.rhai", "")])).is_err());
    }

    #[test]
    fn what_is_broken_is_a_sentence() {
        let mut lock = LockFile::default();
        lock.put(locked("lens"));
        let text = lock.text();
        for (from, to) in [
            ("layout = 1", "layout = 2"),
            ("layout = 1", "layout = one"),
            ("name", "nam"),
            ("hf:ann", "ann"),
            ("aaaa", "xxxx"),
            ("lens.rhai\" =", "../lens.rhai\" ="),
            ("lens.rhai\" =", "other.rhai\" ="),
        ] {
            assert!(LockFile::parse(&text.replacen(from, to, 1)).is_err(), "{from} {to}");
        }
        let shown = LockFile::parse("layout = 1\nrecipes = 3\n").unwrap_err().to_string();
        assert!(shown.contains("--> precompute.lock:2:1"), "{shown}");
    }
}
