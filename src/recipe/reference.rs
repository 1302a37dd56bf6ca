//! References to recipes: a path, a name, or a file of a repository on the Hub.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::header::check_name;
use crate::checkpoint::DATASETS;
pub use crate::checkpoint::check_path;
use crate::data::hub_reference::{HUB, HubReference};
use crate::{Error, Result, error};

/// Examples of references to the Hub, for messages.
const FORM: &str = "as in hf:owner/repo/recipe.rhai, or hf:owner/repo/recipe.rhai@v1";

/// What a recipe is named by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// The path of a script, or of a directory with one recipe.
    Path(PathBuf),
    /// The name of a recipe in this binary, or of the lock file.
    Name(String),
    /// A file of a repository on the Hub.
    Hub(Remote),
}

/// A script in a repository of the Hub, written `hf:owner/repo/path.rhai` and, to name a revision,
/// with `@revision` at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// `owner/repo`.
    pub repository: String,
    /// The script's path in the repository.
    pub path: String,
    /// A branch, a tag or a commit; `main` if absent.
    pub revision: Option<String>,
}

impl Reference {
    /// Parses a reference. What is neither `hf:…` nor a valid name is a path, and so is the name of
    /// something that exists here.
    ///
    /// # Errors
    /// Empty, or an invalid reference to the Hub.
    pub fn parse(text: &str) -> Result<Self> {
        if text.starts_with(HUB) {
            return text.parse().map(Reference::Hub);
        }
        if text.is_empty() {
            return Err(error!("a recipe is named by a path, a name, or hf:owner/repo/path.rhai"));
        }
        let named = check_name(text).is_ok() && !Path::new(text).exists();
        Ok(if named { Reference::Name(text.into()) } else { Reference::Path(text.into()) })
    }
}

impl FromStr for Remote {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = |why: &str| error!("{text:?} is no reference to a recipe: {why}").help(FORM);
        let HubReference { repository, path, revision } =
            HubReference::read(text).map_err(|why| wrong(why.message()))?;
        let path = path.ok_or_else(|| wrong("owner, repository and file are needed"))?;
        if repository.starts_with(DATASETS) {
            return Err(wrong("it is a file of a data set"));
        }
        if !path.ends_with(".rhai") {
            return Err(wrong("the file is no script: its name must end in .rhai"));
        }
        Ok(Self { repository, path, revision })
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{HUB}{}/{}", self.repository, self.path)?;
        match &self.revision {
            Some(revision) => write!(f, "@{revision}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reference::Path(path) => write!(f, "{}", path.display()),
            Reference::Name(name) => f.write_str(name),
            Reference::Hub(remote) => remote.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_reference_means() {
        assert_eq!(Reference::parse("logit_lens").unwrap(), Reference::Name("logit_lens".into()));
        assert_eq!(Reference::parse("x.rhai").unwrap(), Reference::Path("x.rhai".into()));
        assert_eq!(Reference::parse("a/b").unwrap(), Reference::Path("a/b".into()));
        let remote = Remote {
            repository: "ann/lenses".into(),
            path: "deep/lens.rhai".into(),
            revision: Some("refs/pr/1".into()),
        };
        assert_eq!(
            Reference::parse("hf:ann/lenses/deep/lens.rhai@refs/pr/1").unwrap(),
            Reference::Hub(remote)
        );
    }

    #[test]
    fn what_leads_elsewhere_is_no_reference() {
        for text in [
            "hf:",
            "hf:ann",
            "hf:ann/lenses",
            "hf:ann/lenses/",
            "hf:ann/lenses/x",
            "hf:ann/lenses/../x.rhai",
            "hf:ann/lenses//x.rhai",
            "hf:ann/lenses/.git/x.rhai",
            "hf:../lenses/x.rhai",
            "hf:ann/lenses/a\\b.rhai",
            "hf:ann/lenses/x.rhai@",
            "hf:ann/lenses/x.rhai@../../x",
            "hf:ann/lenses/x.rhai@a b",
            "hf:ann/lenses/\u{1b}[2J.rhai",
        ] {
            assert!(Reference::parse(text).is_err(), "{text:?}");
        }
    }
}
