//! Small files to a repository of the user's on the Hub, in one commit.

use std::sync::Arc;

use hf_hub::repository::{AddSource, CommitOperation, RepoTypeModel};
use hf_hub::{HFError, split_id};

use super::download::{Pulse, innermost};
use super::hub::{Failure, Hub, in_background, offline_by_environment};
use crate::{Error, Result, bail, error};

impl Hub {
    /// The text of a file as it stands on `main`; nothing where there is no such file or repository.
    ///
    /// # Errors
    /// The Hub can't be reached, or refuses.
    pub fn text(&self, id: &str, path: &str) -> Result<Option<String>> {
        let (client, pulse) = (self.client(&self.cache())?, Arc::new(Pulse::new()));
        let (owned, path) = (id.to_owned(), path.to_owned());
        ended(
            id,
            in_background(&pulse, move || {
                let (owner, name) = split_id(&owned);
                match client.model(owner, name).download_file_to_bytes().filename(path).send() {
                    Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
                    Err(
                        HFError::EntryNotFound { .. } | HFError::RepoNotFound { .. } | HFError::RevisionNotFound { .. },
                    ) => Ok(None),
                    // So the Hub answers for what is not there, to whom may not see it.
                    Err(HFError::AuthRequired { .. }) => Ok(None),
                    Err(e) => Err(explain(e, &owned)),
                }
            }),
        )
    }

    /// Puts `files`, by path, into the repository `id`, which is made if it is not there. Gives the commit.
    ///
    /// # Errors
    /// No token, one that may not write there, or the Hub can't be reached.
    pub fn commit(&self, id: &str, files: Vec<(String, Vec<u8>)>, message: &str, private: bool) -> Result<String> {
        if offline_by_environment() {
            bail!("{id} can't be written to: HF_HUB_OFFLINE says that this run is offline");
        }
        let (client, pulse) = (self.client(&self.cache())?, Arc::new(Pulse::new()));
        let (owned, message) = (id.to_owned(), message.to_owned());
        ended(
            id,
            in_background(&pulse, move || {
                let made = client.create_repository().repo_id(&owned).repo_type(RepoTypeModel);
                made.private(private).exist_ok(true).send().map_err(|e| explain(e, &owned))?;
                let add = |(path_in_repo, bytes): (String, Vec<u8>)| CommitOperation::Add {
                    path_in_repo,
                    source: AddSource::Bytes(bytes.into()),
                };
                let (owner, name) = split_id(&owned);
                let operations = files.into_iter().map(add).collect();
                let repository = client.model(owner, name);
                let commit = repository.create_commit().operations(operations).commit_message(message);
                let info = commit.send().map_err(|e| explain(e, &owned))?;
                info.commit_oid.ok_or_else(|| error!("{owned}: the Hub gave no commit").into())
            }),
        )
    }
}

fn ended<T>(id: &str, result: Result<T, Failure>) -> Result<T> {
    result.map_err(|failure| match failure {
        Failure::Final(error) => error,
        Failure::Unreachable(why) => {
            Error::new(format!("{id} can't be written to: {why}")).help("check the network and HF_ENDPOINT")
        }
    })
}

fn explain(e: HFError, id: &str) -> Failure {
    match e {
        HFError::AuthRequired { .. } => error!("{id} can't be written to without a token")
            .help("set HF_TOKEN to a token that may write, from huggingface.co/settings/tokens")
            .into(),
        HFError::Forbidden { .. } => error!("{id} can't be written to with this token")
            .help("the token must have the right to write, and belong to the owner of the repository")
            .into(),
        HFError::Request { source, .. } => {
            Failure::Unreachable(format!("the Hub can't be reached ({})", innermost(&source)))
        }
        HFError::Http { context } if context.status.is_server_error() => {
            Failure::Unreachable(format!("the Hub answers {}", context.status))
        }
        other => error!("{id}: {other}").into(),
    }
}
