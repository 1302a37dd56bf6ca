//! Opens an adapter: what PEFT writes beside a model, its config and its tensors.

use serde_json::{Map, Value};

use super::files::Files;
use super::location::Location;
use super::open::OpenOptions;
use super::weights::{ADAPTER_CONFIG, ADAPTER_WEIGHTS, Weights};
use crate::{Result, bail, error};

/// An adapter's files.
pub struct Adapter {
    /// The id as it was given: a directory, or an id of the Hub.
    pub id: String,
    /// The commit, if it is from the Hub.
    pub revision: Option<String>,
    /// adapter_config.json
    pub config: Map<String, Value>,
    /// The tensors by name.
    pub weights: Weights,
}

impl Adapter {
    /// Opens the adapter `id`: a local directory or a Hub id.
    ///
    /// # Errors
    /// There is no such adapter, it can't be fetched, or one of its files is broken.
    pub fn open(id: &str, options: &OpenOptions) -> Result<Self> {
        let OpenOptions { hub, revision, offline, hub_id_only } = options;
        let (files, commit) = match Location::of(id, *hub_id_only)? {
            Location::Demo(_) => bail!("{id} is a model, and no adapter"),
            Location::Directory(directory) => {
                if revision.is_some() {
                    bail!("{id} is not on the Hub, so it has no revisions: leave out the revision");
                }
                let canonical = directory.canonicalize().unwrap_or_else(|_| directory.clone());
                (Files::of_named(&canonical, &directory)?, None)
            }
            Location::File(..) | Location::HubFile(..) => {
                bail!(
                    "{id} is a GGUF file, and no adapter: an adapter is a directory, or a repository of the Hub"
                )
            }
            Location::Hub => {
                let snapshot = hub.fetch_adapter(id, revision.as_deref(), *offline)?;
                (Files::of(&snapshot.directory)?, Some(snapshot.commit))
            }
        };
        let config = files.json(ADAPTER_CONFIG).map_err(|e| e.at(id))?.ok_or_else(|| {
            error!("{id} has no {ADAPTER_CONFIG}, so it is no adapter").help(
                "an adapter is what PEFT's save_pretrained writes; model(id) loads a whole model",
            )
        })?;
        let Some(name) = ADAPTER_WEIGHTS.into_iter().find(|name| files.contains(name)) else {
            return Err(error!("{id} has no tensors")
                .help(format!("an adapter has one of {}", ADAPTER_WEIGHTS.join(", "))));
        };
        let weights = Weights::of_file(&files, name).map_err(|e| e.at(id))?;
        Ok(Self { id: id.to_owned(), revision: commit, config, weights })
    }
}
