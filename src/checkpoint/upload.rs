//! Small files to a repository of the user's on the Hub, in one commit.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::StatusCode;
use serde_json::json;

use super::answers;
use super::client::{Client, Failure, Refusal, apart};
use super::hub::{Hub, offline_by_environment};
use super::names::{check_path, is_hub_id};
use crate::{Error, Result, bail, error};

/// The largest text that is read back from a repository.
const LARGEST_TEXT: usize = 1 << 20;

/// How much of a file the Hub wants to see, to tell what kind it is.
const SAMPLE: usize = 512;

const JSON: &str = "application/json";

impl Hub {
    /// The text of a file as it stands on `main`; nothing where there is no such file or repository.
    ///
    /// # Errors
    /// The Hub can't be reached, or refuses.
    pub fn text(&self, id: &str, path: &str) -> Result<Option<String>> {
        check(id, path)?;
        apart(|| {
            let client = Client::new(self)?;
            let url = client.url(id.split('/').chain(["resolve", "main"]).chain(path.split('/')));
            match client.get(url, None).and_then(|response| client.whole(response, LARGEST_TEXT)) {
                Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
                // 401 is what the Hub answers for what is not there, to whom may not see it.
                Err(Failure::Refused(Refusal {
                    status: StatusCode::NOT_FOUND | StatusCode::UNAUTHORIZED,
                    elsewhere: false,
                    ..
                })) => Ok(None),
                Err(failure) => Err(explain(failure, id)),
            }
        })
    }

    /// Puts `files`, by path, into the repository `id`, which is made if it is not there. Gives the commit.
    ///
    /// # Errors
    /// No token, one that may not write there, or the Hub can't be reached.
    pub fn commit(&self, id: &str, files: &[(String, Vec<u8>)], message: &str, private: bool) -> Result<String> {
        if offline_by_environment() {
            bail!("{id} can't be written to: HF_HUB_OFFLINE says that this run is offline");
        }
        for (path, _) in files {
            check(id, path)?;
        }
        apart(|| {
            let client = Client::new(self)?;
            let refused = |failure| explain(failure, id);
            create(&client, id, private).map_err(refused)?;
            let apart = client.post(place(&client, id, "preupload"), JSON, asked(files)).map_err(refused)?;
            if let [path, ..] = answers::apart(&apart).map_err(|e| e.at(id))?.as_slice() {
                return Err(error!(
                    "{id} keeps {} apart from its commits, as a large file",
                    answers::shown(path.as_bytes())
                )
                .help("take it out of the repository's .gitattributes"));
            }
            let body = commit(files, message);
            let answer = client.post(place(&client, id, "commit"), "application/x-ndjson", body).map_err(refused)?;
            answers::committed(&answer).map_err(|e| e.at(id))
        })
    }
}

fn check(id: &str, path: &str) -> Result<()> {
    if !is_hub_id(id) {
        bail!("{id:?} is no Hub id");
    }
    check_path(path).map_err(|e| e.at(format_args!("{path:?}")))
}

fn place(client: &Client, id: &str, what: &'static str) -> reqwest::Url {
    client.url(["api", "models"].into_iter().chain(id.split('/')).chain([what, "main"]))
}

/// Makes the repository, if it is not there.
fn create(client: &Client, id: &str, private: bool) -> Result<(), Failure> {
    let mut body = json!({"name": id, "type": "model", "private": private});
    if let Some((owner, name)) = id.split_once('/') {
        (body["name"], body["organization"]) = (name.into(), owner.into());
    }
    match client.post(client.url(["api", "repos", "create"]), JSON, body.to_string().into_bytes()) {
        Ok(_) | Err(Failure::Refused(Refusal { status: StatusCode::CONFLICT, .. })) => Ok(()),
        Err(failure) => Err(failure),
    }
}

/// What the Hub is asked about the files: whether each may go into a commit as it is.
fn asked(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let file = |(path, bytes): &(String, Vec<u8>)| json!({"path": path, "size": bytes.len(), "sample": STANDARD.encode(&bytes[..bytes.len().min(SAMPLE)])});
    json!({"files": files.iter().map(file).collect::<Vec<_>>()}).to_string().into_bytes()
}

/// A commit as the Hub takes it: a line of JSON for what it says, and one for each file.
fn commit(files: &[(String, Vec<u8>)], message: &str) -> Vec<u8> {
    let file = |(path, bytes): &(String, Vec<u8>)| json!({"key": "file", "value": {"path": path, "content": STANDARD.encode(bytes), "encoding": "base64"}});
    let header = json!({"key": "header", "value": {"summary": message, "description": ""}});
    std::iter::once(header)
        .chain(files.iter().map(file))
        .map(|line| format!("{line}\n"))
        .collect::<String>()
        .into_bytes()
}

fn explain(failure: Failure, id: &str) -> Error {
    let unreachable = |why: String| error!("{id} can't be written to: {why}").help("check the network and HF_ENDPOINT");
    let status = match failure {
        Failure::Broken(why) => return unreachable(format!("the Hub can't be reached ({why})")),
        Failure::Stalled(why) => return unreachable(why),
        Failure::Final(error) if error.ends_the_run() => return error,
        Failure::Final(error) => return error.at(id),
        Failure::Refused(refusal) => refusal.status,
    };
    match status {
        StatusCode::UNAUTHORIZED => error!("{id} can't be written to without a token")
            .help("set HF_TOKEN to a token that may write, from huggingface.co/settings/tokens"),
        StatusCode::FORBIDDEN => error!("{id} can't be written to with this token")
            .help("the token must have the right to write, and belong to the owner of the repository"),
        _ if status.is_server_error() => unreachable(format!("the Hub answers {status}")),
        _ => error!("{id}: the Hub answers {status}"),
    }
}
