//! References to files of the Hub: `hf:owner/repo/path[@revision]`, and of data sets
//! `hf:datasets/owner/repo[/path][@revision]`.

use std::fmt;
use std::str::FromStr;

use crate::checkpoint::{DATASETS, check_path, is_hub_id, is_revision};
use crate::{Error, Result, bail, error};

/// What a reference to the Hub begins with.
pub const HUB: &str = "hf:";

/// Examples of references, for messages.
const FORM: &str = "as in hf:owner/repo/path, hf:datasets/owner/repo/path or hf:datasets/owner/repo, with @revision after it";

/// A file of a repository of the Hub, or a whole data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubReference {
    /// `owner/repo` of a model, `datasets/owner/repo` of a data set.
    pub repository: String,
    /// The file's path in the repository; none if the data set is meant.
    pub path: Option<String>,
    /// A branch, a tag or a commit; `main` if absent.
    pub revision: Option<String>,
}

impl HubReference {
    /// Reads `hf:…`, also if it names a repository alone.
    ///
    /// # Errors
    /// The text is something else; the message says why, without the text.
    pub fn read(text: &str) -> Result<Self> {
        let rest = text.strip_prefix(HUB).ok_or_else(|| error!("it does not begin with hf:"))?;
        let (place, revision) = match rest.split_once('@') {
            Some((place, revision)) => (place, Some(revision)),
            None => (rest, None),
        };
        if revision.is_some_and(|revision| !is_revision(revision)) {
            bail!("what follows @ is no branch, tag or commit");
        }
        let (prefix, place) = match place.strip_prefix(DATASETS) {
            Some(place) => (DATASETS, place),
            None => ("", place),
        };
        let mut parts = place.splitn(3, '/');
        let (owner, name, path) = (parts.next(), parts.next(), parts.next());
        let id = match (owner, name) {
            (Some(owner), Some(name)) => format!("{owner}/{name}"),
            _ if prefix.is_empty() => bail!("owner, repository and file are needed"),
            // The Hub's oldest data sets have no owner.
            _ => place.to_owned(),
        };
        if !is_hub_id(&id) {
            bail!("owner/repository is none that the Hub has");
        }
        path.map_or(Ok(()), check_path)?;
        Ok(Self {
            repository: format!("{prefix}{id}"),
            path: path.map(str::to_owned),
            revision: revision.map(str::to_owned),
        })
    }

    /// Whether this reference, as the author of a script names it, allows `asked`: the same
    /// repository, the same file or one in a folder of that name, and any revision if none is named.
    pub fn allows(&self, asked: &HubReference) -> bool {
        let below = |path: &str| {
            asked.path.as_deref().is_some_and(|asked| {
                asked
                    .strip_prefix(path)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
        };
        self.repository == asked.repository
            && self.path.as_deref().is_none_or(below)
            && (self.revision.is_none() || self.revision == asked.revision)
    }
}

impl FromStr for HubReference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = |why: &str| error!("{text:?} is no file of the Hub: {why}").help(FORM);
        let reference = Self::read(text).map_err(|why| wrong(why.message()))?;
        if reference.path.is_none() && !reference.repository.starts_with(DATASETS) {
            return Err(wrong("it names no file of the repository"));
        }
        Ok(reference)
    }
}

impl fmt::Display for HubReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{HUB}{}", self.repository)?;
        if let Some(path) = &self.path {
            write!(f, "/{path}")?;
        }
        match &self.revision {
            Some(revision) => write!(f, "@{revision}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_reads_as_it_is_written() {
        for (text, repository, path) in [
            ("hf:me/probes/data/train.jsonl", "me/probes", Some("data/train.jsonl")),
            ("hf:datasets/me/texts/a.csv@v1", "datasets/me/texts", Some("a.csv")),
            ("hf:datasets/me/texts@refs/convert/parquet", "datasets/me/texts", None),
            ("hf:datasets/squad", "datasets/squad", None),
        ] {
            let read: HubReference = text.parse().unwrap();
            assert_eq!((read.repository.as_str(), read.path.as_deref()), (repository, path));
            assert_eq!(read.to_string(), text);
        }
        for text in [
            "me/probes/a.csv",
            "hf:me/probes",
            "hf:me",
            "hf:me/probes/../x",
            "hf:me/pro bes/x",
            "hf:me/probes/x@..",
            "hf:datasets/",
            "hf:datasets/me/texts//x",
            "hf:/me/x/y",
        ] {
            assert!(text.parse::<HubReference>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_named_allows_what_is_in_it() {
        let allows = |named: &str, asked: &str| {
            named.parse::<HubReference>().unwrap().allows(&asked.parse().unwrap())
        };
        assert!(allows("hf:datasets/me/texts", "hf:datasets/me/texts/a/b.csv@v1"));
        assert!(allows("hf:me/x/a", "hf:me/x/a/b.csv") && allows("hf:me/x/a.csv", "hf:me/x/a.csv"));
        assert!(!allows("hf:me/x/a", "hf:me/x/ab.csv"));
        assert!(!allows("hf:datasets/me/texts/a.csv", "hf:datasets/me/texts"));
        assert!(!allows("hf:me/texts/a.csv", "hf:datasets/me/texts/a.csv"));
        assert!(!allows("hf:datasets/me/texts@v1", "hf:datasets/me/texts@v2"));
        assert!(!allows("hf:datasets/me/texts@v1", "hf:datasets/me/texts"));
    }
}
