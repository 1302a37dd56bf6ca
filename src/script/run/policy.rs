//! Which models a script may load: every model if the script is the user's own, and only named ones
//! if it comes from somebody else.

use std::collections::BTreeSet;
use std::path::Path;

use crate::checkpoint::is_hub_id;
use crate::data::hub_reference::HubReference;
use crate::{Result, error};

/// Who wrote the script.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Policy {
    /// The user: the script may load every model.
    #[default]
    Own,
    /// Somebody else: the script may load the demo models, the models of the Hub that its author
    /// names in advance, and the models that the user names.
    Stranger {
        /// The ids that the author names.
        named: BTreeSet<String>,
        /// The files and data sets of the Hub that the author names.
        files: Vec<HubReference>,
        /// The ids that the user names.
        by_user: BTreeSet<String>,
    },
}

impl Policy {
    /// The policy for a stranger's script that names these models in advance.
    pub fn stranger(named: impl IntoIterator<Item = String>) -> Self {
        Policy::Stranger {
            named: named.into_iter().collect(),
            files: Vec::new(),
            by_user: BTreeSet::new(),
        }
    }

    /// Also allows these files and data sets of the Hub.
    pub fn and_files(mut self, given: impl IntoIterator<Item = HubReference>) -> Self {
        if let Policy::Stranger { files, .. } = &mut self {
            files.extend(given);
        }
        self
    }

    /// Also allows what the user names on the command line, including directories.
    pub fn and_user(mut self, given: impl IntoIterator<Item = String>) -> Self {
        if let Policy::Stranger { by_user, .. } = &mut self {
            by_user.extend(given);
        }
        self
    }

    /// Whether only the script's author names the id. It then means a model of the Hub, never a
    /// local directory.
    pub fn names_for_the_hub(&self, id: &str) -> bool {
        matches!(self, Policy::Stranger { named, by_user, .. } if named.contains(id) && !by_user.contains(id))
    }

    /// Checks that a script may load a model.
    ///
    /// # Errors
    /// It may not.
    pub fn check_model(&self, id: &str) -> Result<()> {
        let Policy::Stranger { named, by_user, .. } = self else { return Ok(()) };
        if id.starts_with("demo:") || by_user.contains(id) {
            return Ok(());
        }
        // All refusals have the same message, so that the script can't find out which files exist
        // on this machine.
        if named.contains(id) && is_hub_id(id) && !Path::new(id).exists() {
            return Ok(());
        }
        Err(error!("this script is not yours: it may load the demos and the models that its header names, not {id:?}")
            .help(format!("to allow it, name it on the command line: --model {id}")))
    }
}

impl Policy {
    /// Checks that a script may read a file or a data set of the Hub, which it writes as `text`.
    ///
    /// # Errors
    /// It may not.
    pub fn check_data(&self, text: &str, reference: &HubReference) -> Result<()> {
        let Policy::Stranger { files, by_user, .. } = self else { return Ok(()) };
        let by_user = by_user.iter().filter_map(|given| given.parse::<HubReference>().ok());
        if files.iter().cloned().chain(by_user).any(|named| named.allows(reference)) {
            return Ok(());
        }
        Err(error!("this script is not yours: it may read the files of the Hub that its header names, not {text:?}")
            .help("a recipe's header names them under files; a parameter of yours may name one too, as in --set data=hf:…"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stranger_loads_what_is_named() {
        let policy = Policy::stranger(["gpt2".into(), "src".into(), "../x".into()])
            .and_user(["./mine".into()]);
        for id in ["demo:opt", "gpt2", "./mine"] {
            assert!(policy.check_model(id).is_ok(), "{id}");
        }
        // A local directory called `src` hides the model of that name.
        for id in ["facebook/opt-125m", "src", "../x", "/etc"] {
            assert!(policy.check_model(id).is_err(), "{id}");
        }
        assert!(Policy::Own.check_model("/etc").is_ok());
        assert!(policy.names_for_the_hub("gpt2") && !policy.names_for_the_hub("./mine"));
        assert!(!Policy::Own.names_for_the_hub("gpt2"));
    }
}
