//! Which models a script may load: any, where it is the user's own; those that are named, where it
//! is a stranger's.

use std::collections::BTreeSet;
use std::path::Path;

use crate::checkpoint::is_hub_id;
use crate::{Result, error};

/// Whose script it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Policy {
    /// The user's own: every model.
    #[default]
    Own,
    /// A stranger's: the demos, the models of the Hub that the stranger names, and any that the
    /// user names.
    Stranger { named: BTreeSet<String>, by_user: BTreeSet<String> },
}

impl Policy {
    /// That of a stranger who names these models beforehand.
    pub fn stranger(named: impl IntoIterator<Item = String>) -> Self {
        Policy::Stranger { named: named.into_iter().collect(), by_user: BTreeSet::new() }
    }

    /// Allows what the user names on the command line, directories too.
    pub fn and_user(mut self, given: impl IntoIterator<Item = String>) -> Self {
        if let Policy::Stranger { by_user, .. } = &mut self {
            by_user.extend(given);
        }
        self
    }

    /// Whether a model's id is a stranger's word, which may mean a model of the Hub and nothing
    /// that stands here.
    pub fn names_for_the_hub(&self, id: &str) -> bool {
        matches!(self, Policy::Stranger { named, by_user } if named.contains(id) && !by_user.contains(id))
    }

    /// Whether a script may load a model.
    ///
    /// # Errors
    /// It may not.
    pub fn check_model(&self, id: &str) -> Result<()> {
        let Policy::Stranger { named, by_user } = self else { return Ok(()) };
        if id.starts_with("demo:") || by_user.contains(id) {
            return Ok(());
        }
        // One sentence for all that is refused: it does not tell the script what there is on this
        // disk.
        if named.contains(id) && is_hub_id(id) && !Path::new(id).exists() {
            return Ok(());
        }
        Err(error!("this script is not yours: it may load the demos and the models that its header names, not {id:?}")
            .help(format!("to allow it, name it on the command line: --model {id}")))
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
        // A directory of that name stands in the way of the model of that name.
        for id in ["facebook/opt-125m", "src", "../x", "/etc"] {
            assert!(policy.check_model(id).is_err(), "{id}");
        }
        assert!(Policy::Own.check_model("/etc").is_ok());
        assert!(policy.names_for_the_hub("gpt2") && !policy.names_for_the_hub("./mine"));
        assert!(!Policy::Own.names_for_the_hub("gpt2"));
    }
}
