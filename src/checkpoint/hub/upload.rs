//! Uploads files to a repository on the Hub in one commit.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::client::{Client, Failure, Refusal, on_own_thread};
use super::large_file::{self, LargeFile};
use super::settings::{Hub, offline_from_env};
use super::validate::{check_path, is_commit, is_hub_id};
use crate::system::digest::hex;
use crate::{Error, Result, bail, error};

/// How much of a file's beginning the Hub sees before it says whether it stores the file apart.
const SAMPLE_BYTES: usize = 512;

/// The largest text in bytes that is read back from a repository.
const MAX_TEXT_BYTES: usize = 1 << 20;

impl Hub {
    /// The text of a file on the branch `main`; nothing if there is no such file or repository.
    ///
    /// # Errors
    /// The Hub can't be reached, or answers with an error.
    pub fn read_text(&self, id: &str, path: &str) -> Result<Option<String>> {
        check(id, path)?;
        on_own_thread(|| {
            let client = Client::new(self)?;
            let url = client.url(id.split('/').chain(["resolve", "main"]).chain(path.split('/')));
            match client
                .get(url, None)
                .and_then(|response| client.read_body(response, MAX_TEXT_BYTES))
            {
                Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
                // The Hub also answers 401 for a missing repository, if the token may not see it.
                Err(Failure::Refused(Refusal {
                    status: StatusCode::NOT_FOUND | StatusCode::UNAUTHORIZED,
                    elsewhere: false,
                    ..
                })) => Ok(None),
                Err(failure) => Err(explain(failure, id)),
            }
        })
    }

    /// Commits `files`, pairs of a path and contents, to the repository `id`, which is created if
    /// it is missing. Returns the commit.
    ///
    /// # Errors
    /// There is no token, it may not write there, or the Hub can't be reached.
    pub fn commit(
        &self,
        id: &str,
        files: Vec<(String, Vec<u8>)>,
        message: &str,
        private: bool,
    ) -> Result<String> {
        if offline_from_env() {
            bail!("{id} can't be written to: HF_HUB_OFFLINE says that this run is offline");
        }
        for (path, _) in &files {
            check(id, path)?;
        }
        on_own_thread(|| {
            let client = Client::new(self)?;
            let change = |(path, bytes): (String, Vec<u8>)| Change {
                sha256: hex(&Sha256::digest(&bytes)),
                path,
                bytes,
                large: false,
            };
            let changes = files.into_iter().map(change).collect();
            let oid = create(&client, id, private)
                .and_then(|()| commit(&client, id, changes, message))
                .map_err(|failure| explain(failure, id))?;
            match oid.filter(|commit| is_commit(commit)) {
                Some(commit) => Ok(commit),
                None => Err(error!("{id}: the Hub gave no commit")),
            }
        })
    }
}

/// What a commit does with one file.
struct Change {
    path: String,
    bytes: Vec<u8>,
    sha256: String,
    /// Stored apart from git.
    large: bool,
}

/// Which files the Hub stores apart from git.
fn ask_for_modes(client: &Client, api: &[&str], changes: &mut [Change]) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Modes {
        files: Vec<Mode>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Mode {
        path: String,
        upload_mode: String,
    }
    let files: Vec<_> = changes
        .iter()
        .map(|change| {
            let sample = STANDARD.encode(&change.bytes[..change.bytes.len().min(SAMPLE_BYTES)]);
            json!({"path": change.path, "size": change.bytes.len(), "sample": sample})
        })
        .collect();
    let asked = json!({"files": files}).to_string();
    let url = client.url(api.iter().copied().chain(["preupload", "main"]));
    let answer = client.post(url, "application/json", asked.into())?;
    let modes: Modes = serde_json::from_slice(&answer)
        .map_err(|_| error!("the Hub does not say which files it stores apart"))?;
    for change in changes {
        let mode = modes.files.iter().find(|mode| mode.path == change.path);
        // An empty file is never stored apart.
        change.large = !change.bytes.is_empty() && mode.is_some_and(|m| m.upload_mode == "lfs");
    }
    Ok(())
}

/// Makes the repository unless it is there.
fn create(client: &Client, id: &str, private: bool) -> Result<(), Failure> {
    let (owner, name) = id.split_once('/').map_or((None, id), |(owner, name)| (Some(owner), name));
    let mut asked = json!({"name": name, "private": private, "type": "model"});
    if let Some(owner) = owner {
        asked["organization"] = owner.into();
    }
    let url = client.url(["api", "repos", "create"]);
    match client.post(url, "application/json", asked.to_string().into()) {
        Ok(_) => Ok(()),
        Err(Failure::Refused(refusal)) if refusal.status == StatusCode::CONFLICT => Ok(()),
        Err(failure) => Err(failure),
    }
}

/// Uploads what is stored apart, then commits all. Returns the commit, if the Hub names one.
fn commit(
    client: &Client,
    id: &str,
    mut changes: Vec<Change>,
    message: &str,
) -> Result<Option<String>, Failure> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Committed {
        commit_oid: Option<String>,
    }
    let api: Vec<&str> = ["api", "models"].into_iter().chain(id.split('/')).collect();
    ask_for_modes(client, &api, &mut changes)?;
    let large: Vec<LargeFile> = changes
        .iter()
        .filter(|change| change.large)
        .map(|change| LargeFile { sha256: &change.sha256, bytes: &change.bytes })
        .collect();
    if !large.is_empty() {
        let mut path: Vec<String> = id.split('/').map(str::to_owned).collect();
        path.last_mut().into_iter().for_each(|name| name.push_str(".git"));
        let path = path.iter().map(String::as_str);
        let batch = client.url(path.chain(["info", "lfs", "objects", "batch"]));
        large_file::upload(client, batch, &large)?;
    }
    let header = json!({"summary": message, "description": ""});
    let mut lines = json!({"key": "header", "value": header}).to_string();
    for Change { path, bytes, sha256, large } in &changes {
        let line = if *large {
            let value = json!({"path": path, "algo": "sha256", "oid": sha256, "size": bytes.len()});
            json!({"key": "lfsFile", "value": value})
        } else {
            let value =
                json!({"path": path, "content": STANDARD.encode(bytes), "encoding": "base64"});
            json!({"key": "file", "value": value})
        };
        lines.push('\n');
        lines.push_str(&line.to_string());
    }
    let url = client.url(api.into_iter().chain(["commit", "main"]));
    let answer = client.post(url, "application/x-ndjson", lines.into())?;
    let committed: Committed =
        serde_json::from_slice(&answer).map_err(|_| error!("the Hub gave no commit"))?;
    Ok(committed.commit_oid)
}

fn check(id: &str, path: &str) -> Result<()> {
    if !is_hub_id(id) {
        bail!("{id:?} is no Hub id");
    }
    check_path(path).map_err(|e| e.at(format_args!("{path:?}")))
}

fn explain(failure: Failure, id: &str) -> Error {
    let unreachable = |why: String| {
        error!("{id} can't be written to: {why}").help("check the network and HF_ENDPOINT")
    };
    let status = match failure {
        Failure::Broken(why) => return unreachable(format!("the Hub can't be reached ({why})")),
        Failure::Stalled(why) => return unreachable(why),
        Failure::Final(error) if error.ends_the_run() => return error,
        Failure::Final(error) => return error.at(id),
        Failure::Refused(Refusal { status, elsewhere: true, .. }) => {
            return unreachable(format!("the Hub's store of large files answers {status}"));
        }
        Failure::Refused(refusal) => refusal.status,
    };
    match status {
        StatusCode::UNAUTHORIZED => error!("{id} can't be written to without a token")
            .help("set HF_TOKEN to a token that may write, from huggingface.co/settings/tokens"),
        StatusCode::FORBIDDEN => error!("{id} can't be written to with this token").help(
            "the token must have the right to write, and belong to the owner of the repository",
        ),
        _ if status.is_server_error() => unreachable(format!("the Hub answers {status}")),
        _ => error!("{id}: the Hub answers {status}"),
    }
}
