//! The Hub of a build without the feature `hub`: models come from the cache, and nothing is fetched.

use std::path::{Path, PathBuf};

use super::cache::{self, Snapshot};
use super::settings::Hub;
use crate::{Error, Result};

impl Hub {
    /// The files of a model in the cache: config, tokenizer and weights. There is nothing to fetch that
    /// the judge of its config could spare.
    ///
    /// # Errors
    /// The cache does not have them all.
    pub fn fetch(
        &self,
        id: &str,
        revision: Option<&str>,
        _offline: bool,
        _judge: impl Fn(&Path) -> Result<()>,
    ) -> Result<Snapshot> {
        cached(self, id, revision, cache::is_complete)
    }

    /// The files of an adapter in the cache: its config and its tensors.
    ///
    /// # Errors
    /// The cache does not have them.
    pub fn fetch_adapter(
        &self,
        id: &str,
        revision: Option<&str>,
        _offline: bool,
    ) -> Result<Snapshot> {
        cached(self, id, revision, cache::is_adapter)
    }

    /// The directory in the cache of a snapshot that has at least config.json.
    ///
    /// # Errors
    /// The cache does not have it.
    pub fn fetch_config(
        &self,
        id: &str,
        revision: Option<&str>,
        _offline: bool,
    ) -> Result<PathBuf> {
        let has_config = |directory: &Path| directory.join("config.json").is_file();
        Ok(cached(self, id, revision, has_config)?.directory)
    }

    /// A snapshot in the cache that has the file `main`.
    ///
    /// # Errors
    /// The cache does not have it.
    pub fn fetch_named(
        &self,
        id: &str,
        revision: Option<&str>,
        _offline: bool,
        main: &str,
        _max_bytes: u64,
        _files: impl FnOnce(&dyn Fn(&str) -> Result<PathBuf>, &[String]) -> Result<()> + Send,
    ) -> Result<Snapshot> {
        cached(self, id, revision, |directory| directory.join(main).is_file())
    }

    /// The snapshot of a commit, if any of its files is in the cache.
    pub fn cached_snapshot(&self, id: &str, commit: &str) -> Option<Snapshot> {
        cache::find_snapshot(&self.cache_dir(), id, commit)
    }
}

fn cached(
    hub: &Hub,
    id: &str,
    revision: Option<&str>,
    serves: impl Fn(&Path) -> bool,
) -> Result<Snapshot> {
    let snapshot = cache::snapshot(hub, id, revision, serves, "this build fetches nothing");
    snapshot.map_err(|error: Error| error.help("build with the feature hub to fetch it"))
}
