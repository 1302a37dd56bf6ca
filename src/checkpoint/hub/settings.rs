//! The Hub's endpoint, the access token and the cache directory, from the environment variables of
//! Python's client.

use std::path::PathBuf;
use std::time::Duration;

use crate::system::file;
use crate::system::file::FileKind;

/// The Hub's URL if `HF_ENDPOINT` is not set.
const DEFAULT_ENDPOINT: &str = "https://huggingface.co";

/// How many seconds a server may be silent if `HF_HUB_DOWNLOAD_TIMEOUT` is not set.
const DEFAULT_TIMEOUT: u64 = 60;

/// Which Hub to use, with which token, and where its files are kept. A field that is `None` is read
/// from the environment, as Python's client does: `HF_ENDPOINT`, `HF_TOKEN` (or the token file),
/// and `HF_HUB_CACHE` or `HF_HOME`.
#[derive(Debug, Clone, Default)]
pub struct Hub {
    /// The URL of the Hub.
    pub endpoint: Option<String>,
    /// The access token.
    pub token: Option<String>,
    /// The cache directory.
    pub cache: Option<PathBuf>,
}

impl Hub {
    /// The cache directory.
    pub fn cache_dir(&self) -> PathBuf {
        self.cache
            .clone()
            .or_else(|| path("HF_HUB_CACHE"))
            .or_else(|| path("HUGGINGFACE_HUB_CACHE"))
            .unwrap_or_else(|| hf_home().join("hub"))
    }

    /// The Hub's URL, unchecked. It may contain a user name and a password.
    pub fn endpoint_url(&self) -> String {
        self.endpoint
            .clone()
            .or_else(|| variable("HF_ENDPOINT"))
            .unwrap_or_else(|| DEFAULT_ENDPOINT.into())
    }

    /// The access token for that URL, if there is one.
    pub fn access_token(&self) -> Option<String> {
        let token = self.token.clone().or_else(token_from_env)?.trim().to_owned();
        (!token.is_empty()).then_some(token)
    }
}

/// A URL for messages: the user name and password in it, if any, are replaced by `***`. The text
/// need not be a valid URL.
pub fn without_credentials(url: &str) -> String {
    let start = url.find("://").map_or(0, |at| at + "://".len());
    let authority = url[start..].split(['/', '\\', '?', '#']).next().unwrap_or_default();
    match authority.rfind('@') {
        Some(at) => format!("{}***{}", &url[..start], &url[start + at..]),
        None => url.to_owned(),
    }
}

/// Whether `HF_HUB_OFFLINE` forbids requests.
pub fn offline_from_env() -> bool {
    variable("HF_HUB_OFFLINE")
        .is_some_and(|value| matches!(value.to_lowercase().as_str(), "1" | "true" | "yes" | "on"))
}

/// How long a server may be silent before a request fails: `HF_HUB_DOWNLOAD_TIMEOUT` in seconds, if
/// it is between 1 and 86,400.
pub(crate) fn timeout() -> Duration {
    let seconds = variable("HF_HUB_DOWNLOAD_TIMEOUT").and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(
        seconds.filter(|seconds| (1..=86_400).contains(seconds)).unwrap_or(DEFAULT_TIMEOUT),
    )
}

fn token_from_env() -> Option<String> {
    if variable("HF_HUB_DISABLE_IMPLICIT_TOKEN").is_some() {
        return None;
    }
    let file = || path("HF_TOKEN_PATH").unwrap_or_else(|| hf_home().join("token"));
    variable("HF_TOKEN").or_else(|| file::read_text(&file(), FileKind::Config).ok())
}

/// The directory that Python's client shares with this program: `HF_HOME`, else
/// `$XDG_CACHE_HOME/huggingface`, else `~/.cache/huggingface`.
fn hf_home() -> PathBuf {
    path("HF_HOME")
        .or_else(|| path("XDG_CACHE_HOME").map(|cache| cache.join("huggingface")))
        .unwrap_or_else(|| {
            path("HOME").unwrap_or_else(|| PathBuf::from(".")).join(".cache").join("huggingface")
        })
}

fn path(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_password() {
        for (url, shown) in [
            ("https://huggingface.co", "https://huggingface.co"),
            ("https://me:secret@hub.example:8443/x", "https://***@hub.example:8443/x"),
            ("https://me:se@cret@hub.example", "https://***@hub.example"),
            ("https://secret@hub.example?x=@", "https://***@hub.example?x=@"),
            ("me:secret@hub.example", "***@hub.example"),
            ("https://hub.example/@x", "https://hub.example/@x"),
            ("", ""),
        ] {
            assert_eq!(without_credentials(url), shown, "{url}");
        }
    }
}
