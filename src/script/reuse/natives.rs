//! Which of the engine's own functions give a value and do nothing else.

use std::collections::BTreeSet;
use std::rc::Rc;

use rhai::Engine;

use crate::script::model::{self, Models};
use crate::script::random::Random;
use crate::script::session::Settings;
use crate::script::{context, tensor, tokens};

/// Among those, the ones that print, draw random numbers, read the clock, load a model, or tell what is declared.
const NOT: &[&str] = &[
    "context",
    "debug",
    "eval",
    "exit",
    "get$elapsed",
    "get$tag",
    "get_fn_metadata_list",
    "is_def_fn",
    "is_def_var",
    "is_shared",
    "model",
    "print",
    "rand",
    "rand_like",
    "randn",
    "randn_like",
    "seed",
    "set$tag",
    "set_tag",
    "sleep",
    "tag",
    "timestamp",
];

/// The names of all functions, and of those that can be left out where their value is known.
pub struct Natives {
    pure: BTreeSet<String>,
    all: BTreeSet<String>,
}

impl Natives {
    /// Of the functions of `engine`, those of Rhai's own, of tensors, contexts, tokens and weights are looked at; every other is
    /// taken to do something.
    pub fn of(engine: &Engine) -> Self {
        let mut known = Engine::new();
        tensor::install(&mut known, &Random::new(Some(0)));
        context::install(&mut known);
        tokens::install(&mut known);
        model::install(&mut known, &Rc::new(Models::new(Settings::default())));
        let pure = names(&known).into_iter().filter(|name| !NOT.contains(&name.as_str())).collect();
        Self { pure, all: names(engine) }
    }

    pub fn is_pure(&self, name: &str) -> bool {
        self.pure.contains(name)
    }

    /// Whether reading a property gives something that is no part of the value: every other one only looks.
    pub fn tells_more(property: &str) -> bool {
        NOT.contains(&format!("get${property}").as_str())
    }

    pub fn has(&self, name: &str) -> bool {
        self.all.contains(name)
    }
}

fn names(engine: &Engine) -> BTreeSet<String> {
    engine.collect_fn_metadata(None, |function| Some(function.metadata.name.to_string()), true).into_iter().collect()
}
