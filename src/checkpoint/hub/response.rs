//! Parses and checks the headers and the JSON of a server's responses. Pure functions: any bytes
//! yield either a checked value or an error that can be shown.

use reqwest::Url;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;

use super::hash::Hash;
use super::settings::without_credentials;
use super::validate::{check_path, is_commit};
use crate::{Result, bail, error};

/// The hash and the size of a large file, sent with the redirect to the host that serves it.
const LINKED_ETAG: HeaderName = HeaderName::from_static("x-linked-etag");
const LINKED_SIZE: HeaderName = HeaderName::from_static("x-linked-size");
const COMMIT: HeaderName = HeaderName::from_static("x-repo-commit");

/// The most characters of a server's text that a message quotes.
const MAX_QUOTED_CHARS: usize = 80;

/// A revision's commit and files.
#[derive(Debug, PartialEq)]
pub struct Listing {
    /// The commit that the revision stands for.
    pub commit: String,
    /// The paths of its files. Those that fail [`check_path`] are left out, and so never requested.
    pub files: Vec<String>,
}

/// Parses the response of `/api/models/ID/revision/REVISION`.
///
/// # Errors
/// It is not such a response, has no commit, or another commit than was asked for.
pub fn parse_listing(json: &[u8], revision: &str) -> Result<Listing> {
    #[derive(Deserialize)]
    struct Info {
        sha: Option<String>,
        siblings: Option<Vec<Sibling>>,
    }
    #[derive(Deserialize)]
    struct Sibling {
        rfilename: String,
    }
    let info: Info = serde_json::from_slice(json).map_err(|_| {
        error!("what answers is not the Hub")
            .help("check HF_ENDPOINT, and that the network is open")
    })?;
    let commit = match info.sha {
        Some(sha) if is_commit(&sha) => sha,
        Some(sha) => {
            bail!("the Hub gave no commit for {revision:?}: {} is none", quoted(sha.as_bytes()))
        }
        None => bail!("the Hub gave no commit for {revision:?}"),
    };
    if is_commit(revision) && !commit.eq_ignore_ascii_case(revision) {
        bail!("the Hub gave the commit {commit}, and {revision} was asked for");
    }
    let files = info.siblings.unwrap_or_default().into_iter().map(|file| file.rfilename);
    Ok(Listing { commit, files: files.filter(|name| check_path(name).is_ok()).collect() })
}

/// What a server announces about a file before its contents.
#[derive(Debug, PartialEq)]
pub struct FileMetadata {
    /// The hash in the ETag; none if the ETag is something else.
    pub hash: Option<Hash>,
    /// The size in bytes.
    pub size: Option<u64>,
}

/// Whether these headers announce a file's hash, so that a redirect need not be followed for it.
pub fn has_file_metadata(headers: &HeaderMap) -> bool {
    headers.contains_key(LINKED_ETAG) || headers.contains_key(ETAG)
}

/// Parses the headers about a file of `commit`. The Content-Length of a redirect is that of the
/// redirect itself, and is ignored.
///
/// # Errors
/// The headers are about another commit, or the size is no number.
pub fn parse_file_metadata(
    headers: &HeaderMap,
    redirects: bool,
    commit: &str,
) -> Result<FileMetadata> {
    if let Some(said) = headers.get(COMMIT) {
        let Some(said) = header_text(said).filter(|said| is_commit(said)) else {
            bail!("the Hub names its commit {}, which is none", quoted(said.as_bytes()));
        };
        if !said.eq_ignore_ascii_case(commit) {
            bail!("it comes of the commit {said}, and {commit} was asked for");
        }
    }
    let tag = headers.get(LINKED_ETAG).or_else(|| headers.get(ETAG));
    let size = match headers.get(LINKED_SIZE) {
        Some(said) => Some(
            header_number(said)
                .ok_or_else(|| error!("its size is no number: {}", quoted(said.as_bytes())))?,
        ),
        None if redirects => None,
        None => headers.get(CONTENT_LENGTH).and_then(header_number),
    };
    Ok(FileMetadata { hash: tag.and_then(parse_etag), size })
}

/// The hash in an ETag, if it is one.
fn parse_etag(value: &HeaderValue) -> Option<Hash> {
    let tag = header_text(value)?.trim();
    Hash::parse(tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"'))
}

/// The total size in the Content-Range of a partial response, if the part is from byte `first` to
/// the end of the file.
pub fn resumed_size(headers: &HeaderMap, first: u64) -> Option<u64> {
    let (part, total) =
        header_text(headers.get(CONTENT_RANGE)?)?.strip_prefix("bytes ")?.split_once('/')?;
    let (from, last) = part.split_once('-')?;
    let (from, last, total): (u64, u64, u64) =
        (from.parse().ok()?, last.parse().ok()?, total.parse().ok()?);
    (from == first && last.checked_add(1) == Some(total)).then_some(total)
}

/// The URL that a redirect leads to, parsed as the HTTP client parses it.
///
/// # Errors
/// It is no http(s) URL, or leads from https to http.
pub fn redirect_target(from: &Url, location: &HeaderValue) -> Result<Url> {
    let no_address =
        || error!("the Hub sends on to {}, which is no address", quoted(location.as_bytes()));
    let said = std::str::from_utf8(location.as_bytes()).map_err(|_| no_address())?;
    let mut to = from.join(said).map_err(|_| no_address())?;
    if !is_web(&to) {
        return Err(no_address());
    }
    if from.scheme() == "https" && to.scheme() == "http" {
        bail!(
            "the Hub sends on from an encrypted address to {}, which is not",
            quoted(location.as_bytes())
        );
    }
    // Credentials stay those of the user, at the same origin; a redirect can't set any.
    let (name, password) =
        if to.origin() == from.origin() { (from.username(), from.password()) } else { ("", None) };
    to.set_username(name).and_then(|()| to.set_password(password)).map_err(|()| no_address())?;
    Ok(to)
}

/// Parses the URL of a Hub, without query and fragment.
///
/// # Errors
/// It is no http(s) URL.
pub fn parse_endpoint(address: &str) -> Result<Url> {
    let cannot = |why: &str| {
        error!("the Hub's address or settings can't be used: {why}").help("check HF_ENDPOINT")
    };
    let shown = without_credentials(address);
    let mut url =
        Url::parse(address).map_err(|e| cannot(&format!("{shown:?} is no address: {e}")))?;
    if !is_web(&url) {
        return Err(cannot(&format!(
            "{shown:?} is no address that begins with https:// or http://"
        )));
    }
    url.set_query(None);
    url.set_fragment(None);
    Ok(url)
}

fn is_web(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https") && url.has_host()
}

/// Git's hash of the file `name` in the response of `/api/models/ID/paths-info/COMMIT`; nothing if
/// the response has none.
///
/// # Errors
/// It is no list of files.
pub fn parse_git_hash(json: &[u8], name: &str) -> Result<Option<Hash>> {
    #[derive(Deserialize)]
    struct Entry {
        path: String,
        oid: Option<String>,
    }
    let entries: Vec<Entry> =
        serde_json::from_slice(json).map_err(|_| error!("no list of files came"))?;
    let oid = entries.into_iter().find(|entry| entry.path == name).and_then(|entry| entry.oid);
    Ok(oid.and_then(|oid| Hash::parse(&oid)).filter(|hash| matches!(hash, Hash::Git(_))))
}

/// A server's text for a message: in quotes, escaped and shortened.
pub fn quoted(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    match said.char_indices().nth(MAX_QUOTED_CHARS) {
        Some((end, _)) => format!("{:?}…", &said[..end]),
        None => format!("{said:?}"),
    }
}

fn header_text(value: &HeaderValue) -> Option<&str> {
    std::str::from_utf8(value.as_bytes()).ok()
}

fn header_number(value: &HeaderValue) -> Option<u64> {
    header_text(value)?.trim().parse().ok()
}

#[cfg(test)]
mod tests;
