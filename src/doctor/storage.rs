//! Examines the directories that files are kept in, and the settings of the Hub.

use std::path::{Path, PathBuf};

use super::{Finding, size};
use crate::checkpoint::hub::cache;
use crate::checkpoint::hub::settings::without_credentials;
use crate::checkpoint::{Hub, offline_from_env};
use crate::system::data_dir;
use crate::system::disk::available_bytes;

const SECTION: &str = "files";

/// Examines the Hub's cache, the data directory and the Hub's settings.
pub fn findings() -> Vec<Finding> {
    let hub = Hub::default();
    vec![
        models(&hub),
        directory("recipes and history", data_dir::user_data_dir(), "PRECOMPUTE_HOME"),
        endpoint(&hub),
    ]
}

fn models(hub: &Hub) -> Finding {
    let finding = directory("models", Ok(hub.cache_dir()), "HF_HOME");
    let kept = cache::list_models(hub);
    let bytes = kept.iter().map(|model| model.bytes).sum();
    let finding = Finding {
        found: format!("{}, {} of {}", finding.found, count(kept.len()), size(bytes)),
        ..finding
    };
    match available_bytes(&hub.cache_dir()) {
        Some(free) if free < 1 << 30 && finding.remedy.is_none() => {
            Finding { found: format!("{}, {} free on its disk", finding.found, size(free)), ..finding }.advise(
                "there is room for the smallest models only: free some, or set HF_HOME to a directory on another disk",
            )
        }
        Some(free) => Finding { found: format!("{}, {} free on its disk", finding.found, size(free)), ..finding },
        None => finding,
    }
}

fn count(models: usize) -> String {
    format!("{models} model{}", if models == 1 { "" } else { "s" })
}

/// Examines a directory: it must be writable, or be possible to create. `variable` is the
/// environment variable that sets it.
fn directory(what: &str, path: crate::Result<PathBuf>, variable: &str) -> Finding {
    let path = match path {
        Ok(path) => path,
        Err(error) => {
            return Finding::new(SECTION, what, error.message())
                .fault(format!("set {variable} to a directory"));
        }
    };
    let finding = |found: &str| Finding::new(SECTION, what, format!("{}{found}", path.display()));
    match writable(&path) {
        Ok(true) => finding(""),
        Ok(false) => finding(", not made yet"),
        Err(cause) => finding(&format!(" can't be written to: {cause}"))
            .fault(format!("make it writable, or set {variable} to a directory that is")),
    }
}

/// Whether the directory exists.
///
/// # Errors
/// It, or the nearest existing directory above it, is not writable.
fn writable(path: &Path) -> std::io::Result<bool> {
    let Some(nearest) = path.ancestors().find(|path| path.exists()) else { return Ok(false) };
    // A file is created for it: permissions do not tell whether the file system is read-only.
    tempfile::tempfile_in(nearest)?;
    Ok(nearest == path)
}

fn endpoint(hub: &Hub) -> Finding {
    let (address, offline) = (hub.endpoint_url(), offline_from_env());
    let token = if hub.access_token().is_some() { ", with a token" } else { "" };
    let finding = Finding::new(SECTION, "Hub", format!("{}{token}", without_credentials(&address)));
    match (offline, address.starts_with("https://") || address.starts_with("http://")) {
        (true, _) => {
            finding.advise("HF_HUB_OFFLINE is set: nothing will be fetched until it is unset")
        }
        (false, true) => finding,
        (false, false) => finding.fault(
            "HF_ENDPOINT must be an address that begins with https://: correct it or unset it",
        ),
    }
}
