//! Which Hub, whose token, and where files are kept.

use std::path::PathBuf;
use std::time::Duration;

use crate::system::file;
use crate::system::file::FileKind;

/// The Hub, where `HF_ENDPOINT` names no other.
const ADDRESS: &str = "https://huggingface.co";

/// How long a server may be silent, in seconds, where `HF_HUB_DOWNLOAD_TIMEOUT` does not say.
const SILENCE: u64 = 60;

/// Which Hub, whose token, and where files are kept. What is absent is read from the environment,
/// as Python's client does: `HF_ENDPOINT`, `HF_TOKEN` (or the token file), `HF_HUB_CACHE` or
/// `HF_HOME`.
#[derive(Debug, Clone, Default)]
pub struct Hub {
    pub endpoint: Option<String>,
    pub token: Option<String>,
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

    /// The Hub's address.
    pub fn endpoint_url(&self) -> String {
        self.endpoint.clone().or_else(|| variable("HF_ENDPOINT")).unwrap_or_else(|| ADDRESS.into())
    }

    /// The token that goes to that address, where there is one.
    pub fn access_token(&self) -> Option<String> {
        let token = self.token.clone().or_else(token_from_env)?.trim().to_owned();
        (!token.is_empty()).then_some(token)
    }
}

/// Whether the environment forbids to fetch anything.
pub fn offline_from_env() -> bool {
    variable("HF_HUB_OFFLINE")
        .is_some_and(|value| matches!(value.to_lowercase().as_str(), "1" | "true" | "yes" | "on"))
}

/// How long a server may be silent.
pub(crate) fn patience() -> Duration {
    let said = variable("HF_HUB_DOWNLOAD_TIMEOUT").and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(said.filter(|seconds| (1..=86_400).contains(seconds)).unwrap_or(SILENCE))
}

fn token_from_env() -> Option<String> {
    if variable("HF_HUB_DISABLE_IMPLICIT_TOKEN").is_some() {
        return None;
    }
    let file = || path("HF_TOKEN_PATH").unwrap_or_else(|| hf_home().join("token"));
    variable("HF_TOKEN").or_else(|| file::read_text(&file(), FileKind::Config).ok())
}

/// Where Python's client and this one keep what they keep.
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
