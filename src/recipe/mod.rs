//! Recipes: scripts that a header describes, found by a reference. Those from the Hub are pinned in
//! a lock file; a recipe can be checked against its header and published.

pub mod card;
pub mod check;
pub mod group;
pub mod header;
pub mod lock_file;
pub mod reference;
pub mod remote;
pub mod shipped;
pub mod trust;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

pub use group::Group;
pub use header::Header;
pub use lock_file::{LockFile, LockedRecipe};
pub use reference::{Reference, Remote};

use crate::checkpoint::Hub;
use crate::output::record::HubRecipe;
use crate::script::{Bundle, Failure, Policy, Program, read_text};
use crate::system::digest::sha256_hex;
use crate::system::directory::HeldDirectory;
use crate::system::file::{FileKind, describe_io_error};
use crate::{Error, Result, did_you_mean, error};

/// The prefix of the ids of recipes in this binary.
const SHIPPED: &str = "precompute:";

/// A script that was found by a reference.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// What messages call it: its path, `precompute:NAME` or `hf:owner/repo/path.rhai`.
    pub id: String,
    /// The script's text.
    pub text: String,
    /// Its header, if it has one.
    pub header: Option<Header>,
    /// Where it came from.
    pub origin: Origin,
}

/// Where a recipe came from.
#[derive(Debug, Clone)]
pub enum Origin {
    /// A file of the user's.
    File(PathBuf),
    /// This binary, under this name.
    Shipped(&'static str),
    /// The Hub.
    Hub {
        /// The commit and the hashes of its files.
        locked: LockedRecipe,
        /// Whether precompute.lock had it before this run.
        known: bool,
        /// Its files, by their paths in the repository.
        texts: BTreeMap<String, String>,
    },
}

impl Recipe {
    /// Finds a recipe: a file, one of those in this binary, one of the lock file, or one on the
    /// Hub. It runs nothing and does not change the lock file.
    ///
    /// # Errors
    /// There is no such recipe, it is not what was locked, or its header is invalid.
    pub fn open(reference: &str, offline: bool) -> Result<Self, Failure> {
        match Reference::parse(reference).map_err(Failure::usage)? {
            Reference::Path(path) => Self::file(&path),
            Reference::Name(name) => {
                match shipped::SHIPPED.iter().find(|(known, _)| *known == name) {
                    Some((name, text)) => {
                        Self::new(format!("{SHIPPED}{name}"), (*text).into(), Origin::Shipped(name))
                    }
                    None => {
                        let lock = LockFile::read(&lock_file::here())?;
                        let locked = lock
                            .named(&name)
                            .ok_or_else(|| Failure::usage(unknown(&name, &lock)))?;
                        Self::locked(locked, offline)
                    }
                }
            }
            Reference::Hub(remote) => match LockFile::read(&lock_file::here())?.referred(&remote) {
                Some(locked) => Self::locked(locked, offline),
                None => Self::fetch(&remote, offline),
            },
        }
    }

    /// The recipe in a file, or the only one in a directory.
    fn file(path: &Path) -> Result<Self, Failure> {
        let path = if path.is_dir() {
            in_directory(path).map_err(Failure::usage)?
        } else {
            path.to_owned()
        };
        let id = path.display().to_string();
        let text = read_text(&path, &id).map_err(Failure::usage)?;
        Self::new(id, text, Origin::File(path))
    }

    /// A recipe of the lock file, at the commit that is locked.
    ///
    /// # Errors
    /// It can't be fetched, or is not what was locked.
    pub fn locked(locked: &LockedRecipe, offline: bool) -> Result<Self, Failure> {
        let files =
            remote::fetch_locked(&Hub::default(), locked, offline).map_err(Failure::usage)?;
        Self::of_hub(locked.clone(), true, files.texts)
    }

    /// A recipe of the Hub at the commit that its revision stands for now, whatever the lock file
    /// says.
    ///
    /// # Errors
    /// It can't be fetched, or its header is invalid.
    pub fn fetch(remote: &Remote, offline: bool) -> Result<Self, Failure> {
        let files = remote::fetch(&Hub::default(), remote, offline).map_err(Failure::usage)?;
        let stem = Path::new(&remote.path)
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or_default()
            .to_owned();
        let (commit, hashes) = (files.commit.clone(), files.hashes());
        let locked =
            LockedRecipe { name: stem, reference: remote.to_string(), commit, files: hashes };
        let mut recipe = Self::of_hub(locked, false, files.texts)?;
        let own = recipe
            .header
            .as_ref()
            .and_then(|header| header.name.as_ref())
            .map(|name| name.get_ref().clone());
        if let (Some(name), Origin::Hub { locked, .. }) = (own, &mut recipe.origin) {
            locked.name = name;
        }
        Ok(recipe)
    }

    fn of_hub(
        locked: LockedRecipe,
        known: bool,
        texts: BTreeMap<String, String>,
    ) -> Result<Self, Failure> {
        let remote = locked.remote().map_err(Failure::usage)?;
        let text = texts.get(&remote.path).cloned().unwrap_or_default();
        Self::new(hub_id(&remote, &remote.path), text, Origin::Hub { locked, known, texts })
    }

    fn new(id: String, text: String, origin: Origin) -> Result<Self, Failure> {
        let header = Header::read(&id, &text)?;
        Ok(Self { id, text, header, origin })
    }

    /// The program that a [`Host`](crate::script::Host) runs.
    pub fn program(&self) -> Program {
        let (name, texts, recipe) = match &self.origin {
            Origin::File(path) => return Program::File(path.clone()),
            Origin::Shipped(name) => {
                ((*name).to_owned(), [(self.id.clone(), self.text.clone())].into(), None)
            }
            Origin::Hub { locked, texts, .. } => {
                let id = |path: &String| {
                    locked.remote().map_or_else(|_| path.clone(), |remote| hub_id(&remote, path))
                };
                let recipe = HubRecipe {
                    reference: locked.reference.clone(),
                    commit: locked.commit.clone(),
                    sha256: sha256_hex(self.text.as_bytes()),
                };
                (
                    locked.name.clone(),
                    texts.iter().map(|(path, text)| (id(path), text.clone())).collect(),
                    Some(recipe),
                )
            }
        };
        Program::Bundle(Bundle { name, main: self.id.clone(), texts, recipe, beside: None })
    }

    /// What it may do: a recipe from the Hub is a stranger's, any other one is the user's own.
    pub fn policy(&self) -> Policy {
        match &self.origin {
            Origin::Hub { .. } => Header::policy(self.header.as_ref()),
            _ => Policy::Own,
        }
    }

    /// Its name: that of the lock file or its header, else its file's.
    pub fn name(&self) -> String {
        match (&self.origin, self.header.as_ref().and_then(|header| header.name.as_ref())) {
            (Origin::Hub { locked, .. }, _) => locked.name.clone(),
            (Origin::Shipped(name), _) => (*name).into(),
            (_, Some(name)) => name.get_ref().clone(),
            (Origin::File(path), None) => {
                path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
            }
        }
    }

    /// Checks that the recipe runs with this version of the program.
    ///
    /// # Errors
    /// It requires another one; the failure points at the header.
    pub fn check_requires(&self) -> Result<(), Failure> {
        let Some(header) = &self.header else { return Ok(()) };
        header.check_requires().map_err(|error| {
            let span = header.requires.as_ref().map(toml::Spanned::span).unwrap_or_default();
            Failure::usage_at(error, Header::place(&self.id, &self.text, span))
        })
    }
}

/// What messages call a file of a repository of the Hub.
fn hub_id(remote: &Remote, path: &str) -> String {
    Remote { path: path.into(), revision: None, ..remote.clone() }.to_string()
}

fn unknown(name: &str, lock: &LockFile) -> Error {
    let error = error!(
        "there is no recipe {name}: it does not ship, and {} does not have it",
        lock_file::LOCK
    );
    let known = shipped::SHIPPED
        .iter()
        .map(|(name, _)| *name)
        .chain(lock.recipes.iter().map(|r| r.name.as_str()));
    match did_you_mean(name, known) {
        Some(near) if near.starts_with("did") => error.help(near),
        _ => error.help(
            "`precompute recipe list` lists them; a file is named with its ending, as in ./x.rhai",
        ),
    }
}

/// The only script in a directory that has a header.
fn in_directory(directory: &Path) -> Result<PathBuf> {
    let cannot = |e: std::io::Error| {
        error!("{} can't be read: {}", directory.display(), describe_io_error(&e))
    };
    let folder = HeldDirectory::open(directory).map_err(cannot)?;
    let begins = |name: &PathBuf| {
        let mut start = Vec::new();
        let read = folder
            .file(name, FileKind::Script)
            .and_then(|file| file.take(3).read_to_end(&mut start));
        read.is_ok() && start == b"//!"
    };
    let names = folder.names().map_err(cannot)?.into_iter();
    let mut found: Vec<PathBuf> = names
        .filter(|name| name.extension().is_some_and(|ending| ending == "rhai") && begins(name))
        .map(|name| directory.join(name))
        .collect();
    found.sort();
    match found.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(error!("{} is a directory without a recipe", directory.display())
            .help("a recipe is a .rhai file that begins with a header; name a script by its file")),
        [first, ..] => Err(error!("{} has {} recipes", directory.display(), found.len())
            .help(format!("name one, as in {}", first.display()))),
    }
}
