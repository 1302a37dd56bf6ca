//! Uploads files that a repository keeps apart from git, by the protocol of Git LFS: the Hub is asked where
//! each may be put, each is sent there by one PUT, and the Hub is told where it asks for that. See
//! <https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md> and `basic-transfers.md` beside it.

use std::collections::BTreeMap;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use serde::Deserialize;

use super::client::{Client, Failure};
use super::response::{quoted, redirect_target};
use crate::{Result, error};

/// The content type of the protocol's requests and responses.
const KIND: &str = "application/vnd.git-lfs+json";

/// The most headers that a server may ask to be sent with a file.
const MAX_HEADERS: usize = 32;

/// A file to be stored apart.
pub struct LargeFile<'a> {
    /// SHA-256 of the contents, as hexadecimal digits.
    pub sha256: &'a str,
    /// The contents.
    pub bytes: &'a [u8],
}

/// What the Hub says about files to be uploaded.
#[derive(Deserialize)]
struct Batch {
    /// The protocol of the transfers; `basic` if absent.
    transfer: Option<String>,
    objects: Vec<Object>,
}

/// What it says about one.
#[derive(Deserialize)]
struct Object {
    oid: String,
    error: Option<ObjectError>,
    /// Nothing if it has the file already.
    #[serde(default)]
    actions: Actions,
}

#[derive(Deserialize)]
struct ObjectError {
    message: String,
}

#[derive(Deserialize, Default)]
struct Actions {
    upload: Option<Action>,
    verify: Option<Action>,
}

/// Where to send something, and with which headers.
#[derive(Deserialize)]
struct Action {
    href: String,
    #[serde(default)]
    header: BTreeMap<String, String>,
}

/// Puts files into the store of the repository whose batch API has the URL `batch`.
///
/// # Errors
/// The Hub or its store refuses, or answers otherwise than the protocol says.
pub fn upload(client: &Client, batch: Url, files: &[LargeFile]) -> Result<(), Failure> {
    let objects: Vec<_> = files
        .iter()
        .map(|file| serde_json::json!({"oid": file.sha256, "size": file.bytes.len()}))
        .collect();
    let asked = serde_json::json!({
        "operation": "upload",
        "transfers": ["basic"],
        "hash_algo": "sha256",
        "objects": objects,
    });
    let answer =
        client.send(Method::POST, batch.clone(), json_headers(), asked.to_string().into())?;
    let answer: Batch = serde_json::from_slice(&answer)
        .map_err(|_| error!("the Hub does not say where large files are sent to"))?;
    if let Some(other) = answer.transfer.filter(|transfer| transfer != "basic") {
        let other = quoted(other.as_bytes());
        return Err(error!("the Hub takes large files by {other} only, not by basic LFS").into());
    }
    for file in files {
        let object = answer.objects.iter().find(|object| object.oid == file.sha256);
        let object =
            object.ok_or_else(|| error!("the Hub does not say where a file is sent to"))?;
        if let Some(said) = &object.error {
            let said = quoted(said.message.as_bytes());
            return Err(error!("the Hub does not take a large file: {said}").into());
        }
        if let Some(put) = &object.actions.upload {
            let (url, mut headers) = put.target(&batch)?;
            let octets = HeaderValue::from_static("application/octet-stream");
            headers.entry(CONTENT_TYPE).or_insert(octets);
            client.send(Method::PUT, url, headers, file.bytes.to_vec())?;
        }
        if let Some(verify) = &object.actions.verify {
            let (url, mut headers) = verify.target(&batch)?;
            headers.extend(json_headers());
            let stored = serde_json::json!({"oid": file.sha256, "size": file.bytes.len()});
            client.send(Method::POST, url, headers, stored.to_string().into())?;
        }
    }
    Ok(())
}

fn json_headers() -> HeaderMap {
    let kind = HeaderValue::from_static(KIND);
    [(ACCEPT, kind.clone()), (CONTENT_TYPE, kind)].into_iter().collect()
}

impl Action {
    /// The URL and the headers, checked as those of a redirect from `batch`.
    fn target(&self, batch: &Url) -> Result<(Url, HeaderMap)> {
        let wrong = || error!("the Hub names no place where a large file can be sent to");
        let href = HeaderValue::from_str(&self.href).map_err(|_| wrong())?;
        let url = redirect_target(batch, &href)?;
        if self.header.len() > MAX_HEADERS {
            return Err(wrong());
        }
        let mut headers = HeaderMap::new();
        for (name, value) in &self.header {
            let name = HeaderName::try_from(name).map_err(|_| wrong())?;
            // What says where a message ends and whom it is for is the connection's own.
            if ["connection", "content-length", "host", "transfer-encoding"]
                .contains(&name.as_str())
            {
                continue;
            }
            let mut value = HeaderValue::from_str(value).map_err(|_| wrong())?;
            value.set_sensitive(name == AUTHORIZATION);
            headers.insert(name, value);
        }
        Ok((url, headers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(href: &str, header: &[(&str, &str)]) -> Result<(Url, HeaderMap)> {
        let header = header.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let batch =
            Url::parse("https://name:word@hub.example/a/b.git/info/lfs/objects/batch").unwrap();
        Action { href: href.to_owned(), header }.target(&batch)
    }

    #[test]
    fn a_file_is_sent_where_and_as_the_hub_says() {
        let header = [("Authorization", "Bearer x"), ("x-amz-acl", "private"), ("Host", "other")];
        let (url, headers) = target("https://store.example/o/1?signed=yes", &header).unwrap();
        assert_eq!(url.as_str(), "https://store.example/o/1?signed=yes");
        assert_eq!(headers.len(), 2);
        assert!(headers[AUTHORIZATION] == "Bearer x" && headers[AUTHORIZATION].is_sensitive());
        assert_eq!(headers["x-amz-acl"], "private");
    }

    #[test]
    fn a_file_is_sent_to_no_place_that_is_none() {
        for href in ["http://store.example/o", "file:///etc/passwd", "https://", "https://a\nb/"] {
            assert!(target(href, &[]).is_err(), "{href}");
        }
        for (name, value) in [("a b", "c"), ("a", "b\r\nc: d"), ("", "b")] {
            assert!(target("https://store.example/", &[(name, value)]).is_err(), "{name}");
        }
        let many: Vec<String> = (0..=MAX_HEADERS).map(|i| format!("x-{i}")).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|name| (name.as_str(), "1")).collect();
        assert!(target("https://store.example/", &many).is_err());
    }
}
