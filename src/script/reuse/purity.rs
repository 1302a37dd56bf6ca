//! Which of the engine's functions give a value and do nothing else. What [`engine::install_pure`]
//! registers does, and what Rhai's packages hold, but for a few; whatever else is registered is
//! taken to do something.

use std::any::TypeId;
use std::collections::{BTreeMap, BTreeSet};

use rhai::packages::{
    ArithmeticPackage, BasicArrayPackage, BasicBlobPackage, BasicFnPackage, BasicIteratorPackage,
    BasicMapPackage, BasicMathPackage, BasicStringPackage, BasicTimePackage, BitFieldPackage,
    LanguageCorePackage, LogicPackage, MoreStringPackage, Package,
};
use rhai::{Engine, FuncInfo};

use crate::script::engine;
use crate::script::session::limits::Limits;

/// Functions that do more than give a value, by what they do, as it is said of a hook that calls
/// one. Every function of the engine is among these or pure.
pub const IMPURE: &[(&str, &[&str])] = &[
    ("prints", &["print", "debug", "table", "progress", "tick"]),
    ("draws", &["plot", "heatmap", "attention"]),
    ("writes a file", &["save"]),
    ("reads a file", &["load_tensors"]),
    ("loads a model", &["model"]),
    ("runs a pass", &["forward", "capture", "generate"]),
    ("binds a hook", &["hook"]),
    (
        "draws random numbers",
        &["multinomial", "rand", "rand_like", "randn", "randn_like", "randperm"],
    ),
    ("seeds the random numbers", &["seed"]),
    ("reads the clock", &["timestamp", "elapsed", "get$elapsed", "sleep"]),
    ("reads a parameter of the script", &["param"]),
    ("ends the script", &["exit"]),
    ("tells what is declared", &["get_fn_metadata_list", "is_def_fn", "is_def_var", "is_shared"]),
    ("runs a text as a script", &["eval"]),
    // A tag is no part of what a value is compared by.
    ("uses the tag of a value", &["tag", "get$tag", "set_tag", "set$tag"]),
];

/// Pure functions that change what stands before the dot.
pub const CHANGING: &[&str] = &[
    "append",
    "chop",
    "clear",
    "crop",
    "dedup",
    "drain",
    "fill_with",
    "insert",
    "make_lower",
    "make_upper",
    "mixin",
    "pad",
    "pop",
    "push",
    "remove",
    "replace",
    "retain",
    "reverse",
    "set",
    "shift",
    "sort",
    "sort_by",
    "sort_desc",
    "splice",
    "take",
    "trim",
    "truncate",
];

/// Operators of Rhai's own that are in none of its packages, whatever they stand between.
const OPERATORS: &[&str] = &[
    "+", "-", "*", "/", "%", "**", "<<", ">>", "&", "|", "^", "!", "==", "!=", "<", "<=", ">",
    ">=", "..", "..=", "+=", "-=", "*=", "/=", "%=", "**=", "<<=", ">>=", "&=", "|=", "^=",
    "contains",
];

/// A function's name and its parameters' types: of one name some overloads may compute, and others
/// do more.
type Signature = (String, Vec<TypeId>);

/// The functions of an engine, and which of them are pure.
pub struct Natives {
    all: BTreeSet<Signature>,
    pure: BTreeSet<Signature>,
    /// Of each name that has overloads that are not pure.
    not: BTreeMap<String, &'static str>,
    /// Every name.
    names: BTreeSet<String>,
}

impl Natives {
    pub fn of(engine: &Engine) -> Self {
        let (all, pure) = (signatures(engine), signatures(&pure()));
        let known = |name: &str| {
            IMPURE.iter().find(|(_, names)| names.contains(&name)).map(|(does, _)| *does)
        };
        let undeclared =
            all.difference(&pure).map(|(name, _)| (name.clone(), known(name).unwrap_or_default()));
        let listed = IMPURE
            .iter()
            .flat_map(|(does, names)| names.iter().map(|name| ((*name).to_owned(), *does)));
        let not = undeclared.chain(listed).collect();
        let names = all.iter().map(|(name, _)| name.clone()).collect();
        Self { all, pure, not, names }
    }

    pub fn has(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    pub fn is_pure(&self, name: &str) -> bool {
        !self.not.contains_key(name) && (self.names.contains(name) || OPERATORS.contains(&name))
    }

    /// What is said of a hook that uses `name`, if it does more than give a value: what it does,
    /// where that is known.
    pub fn impure(&self, name: &str) -> Option<&'static str> {
        self.not.get(name).copied()
    }

    /// Why a call of `name`, which is not pure, can't be left out, as it is said of a hook.
    pub fn why_not(&self, name: &str) -> String {
        match self.impure(name) {
            Some("") => format!("calls {name}, which may do more than give a value"),
            Some(does) => format!("calls {name}, which {does}"),
            None => format!("calls {name}, which is no function of the script"),
        }
    }

    /// The functions of which nothing is said: neither are they pure, nor does [`IMPURE`] name
    /// them.
    pub fn undeclared(&self) -> BTreeSet<&str> {
        let listed = |name: &str| IMPURE.iter().any(|(_, names)| names.contains(&name));
        self.all
            .difference(&self.pure)
            .map(|(name, _)| name.as_str())
            .filter(|name| !listed(name))
            .collect()
    }
}

/// An engine that has nothing but what is pure, and the few of Rhai's own that [`IMPURE`] names.
fn pure() -> Engine {
    let mut engine = Engine::new_raw();
    ArithmeticPackage::new().register_into_engine(&mut engine);
    BasicArrayPackage::new().register_into_engine(&mut engine);
    BasicBlobPackage::new().register_into_engine(&mut engine);
    BasicFnPackage::new().register_into_engine(&mut engine);
    BasicIteratorPackage::new().register_into_engine(&mut engine);
    BasicMapPackage::new().register_into_engine(&mut engine);
    BasicMathPackage::new().register_into_engine(&mut engine);
    BasicStringPackage::new().register_into_engine(&mut engine);
    BasicTimePackage::new().register_into_engine(&mut engine);
    BitFieldPackage::new().register_into_engine(&mut engine);
    LanguageCorePackage::new().register_into_engine(&mut engine);
    LogicPackage::new().register_into_engine(&mut engine);
    MoreStringPackage::new().register_into_engine(&mut engine);
    engine::install_pure(&mut engine, Limits::default());
    engine
}

fn signatures(engine: &Engine) -> BTreeSet<Signature> {
    let signature = |function: FuncInfo| {
        let data = function.metadata;
        Some((data.name.to_string(), data.param_types.to_vec()))
    };
    engine.collect_fn_metadata(None, signature, true).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::{Host, Settings};

    #[test]
    fn every_function_is_pure_or_known_not_to_be() {
        let host = Host::new(Settings::default()).unwrap();
        let natives = Natives::of(&host.engine);
        let undeclared = natives.undeclared();
        assert!(
            undeclared.is_empty(),
            "{undeclared:?}: register what only computes in an installer that engine::install_pure calls, and name what \
             touches the world in IMPURE"
        );
        let gone: Vec<&str> = IMPURE
            .iter()
            .flat_map(|(_, names)| *names)
            .copied()
            .filter(|name| !natives.has(name))
            .collect();
        assert_eq!(
            gone,
            ["is_def_fn", "is_def_var", "is_shared", "eval"],
            "but for words of the language"
        );
    }

    #[test]
    fn what_computes_is_pure_and_what_touches_the_world_is_not() {
        let host = Host::new(Settings::default()).unwrap();
        let natives = Natives::of(&host.engine);
        for name in OPERATORS.iter().chain(&[
            "map",
            "filter",
            "sort",
            "matmul",
            "split",
            "get$shape",
            "index$get$",
            "to_json",
        ]) {
            assert!(natives.is_pure(name), "{name}");
        }
        for name in IMPURE.iter().flat_map(|(_, names)| *names) {
            assert!(
                !natives.is_pure(name) && natives.impure(name).is_some_and(|does| !does.is_empty()),
                "{name}"
            );
        }
        assert!(!natives.is_pure("no_such_function"));
    }
}
