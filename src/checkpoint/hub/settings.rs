//! Which Hub, which access token and which cache directory are used.

use std::path::PathBuf;

use super::environment::Environment;

/// Which Hub to use, with which token, and where its files are kept. A field that is `None` is read
/// from the [environment](super::environment), as Python's client does.
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
        self.cache.clone().unwrap_or_else(|| Environment::process().cache())
    }

    /// The Hub's URL, unchecked. It may contain a user name and a password.
    pub fn endpoint_url(&self) -> String {
        self.endpoint.clone().unwrap_or_else(|| Environment::process().endpoint())
    }

    /// The access token for that URL, if there is one.
    pub fn access_token(&self) -> Option<String> {
        let from_environment = || Environment::process().token();
        let token = self.token.clone().or_else(from_environment)?.trim().to_owned();
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

/// Whether the environment forbids requests.
pub fn offline_from_env() -> bool {
    Environment::process().offline()
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
