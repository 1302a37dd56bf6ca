//! Uploads files to a repository on the Hub in one commit, with hf-hub's client over a connection
//! that follows no redirect.

use hf_hub::repository::{AddSource, CommitOperation, RepoTypeModel};
use hf_hub::{HFError, split_id};
use reqwest::StatusCode;

use super::client::{Client, Failure, Refusal, on_own_thread, root_cause};
use super::response::quoted;
use super::settings::{Hub, offline_from_env};
use super::validate::{check_path, is_commit, is_hub_id};
use crate::{Error, Result, bail, error};

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
            let size = files.iter().map(|(_, bytes)| bytes.len() as u64).sum();
            let add = |(path_in_repo, bytes): (String, Vec<u8>)| CommitOperation::Add {
                path_in_repo,
                source: AddSource::Bytes(bytes.into()),
            };
            let operations = files.into_iter().map(add).collect();
            let hf = client.hf_client(self)?;
            let sent = client.send(size, async {
                let made = hf.create_repository().repo_id(id).repo_type(RepoTypeModel);
                made.private(private).exist_ok(true).send().await?;
                let (owner, name) = split_id(id);
                let repository = hf.model(owner, name);
                repository
                    .create_commit()
                    .operations(operations)
                    .commit_message(message)
                    .send()
                    .await
            });
            let commit = sent
                .and_then(|sent| sent.map_err(Failure::from))
                .map_err(|failure| explain(failure, id))?;
            match commit.commit_oid.filter(|commit| is_commit(commit)) {
                Some(commit) => Ok(commit),
                None => Err(error!("{id}: the Hub gave no commit")),
            }
        })
    }
}

impl From<HFError> for Failure {
    fn from(e: HFError) -> Self {
        let refused =
            |status| Failure::Refused(Refusal { status, code: String::new(), elsewhere: false });
        match e {
            HFError::AuthRequired { .. } => refused(StatusCode::UNAUTHORIZED),
            HFError::Forbidden { .. } => refused(StatusCode::FORBIDDEN),
            HFError::Http { context } => refused(context.status),
            HFError::Request { source, .. } => Failure::Broken(root_cause(&source)),
            other => Failure::Final(error!("{}", quoted(other.to_string().as_bytes()))),
        }
    }
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
