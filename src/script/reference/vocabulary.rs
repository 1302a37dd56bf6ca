//! What scripts may call, in a person's words: for errors that name what exists.

use std::any::TypeId;
use std::collections::BTreeSet;

use rhai::{Array, Dynamic, Engine, FnPtr, ImmutableString, Map};

use crate::script::program::source::Sources;
use crate::script::value::Handle;
use crate::script::value::model::Model;
use crate::script::value::record::Record;

/// The names of a type in errors: `int`, not `i64`; `a tensor`, not `Handle`.
pub fn word(type_name: &str) -> &str {
    match type_name.trim() {
        "i64" | "INT" => "int",
        "f64" | "FLOAT" => "float",
        "()" => "nothing",
        "Fn" | "FnPtr" => "function",
        "range=" | "Range<i64>" | "RangeInclusive<i64>" => "range",
        "&str | ImmutableString | String" | "String" | "&str" | "ImmutableString" => "string",
        "Array" => "array",
        "Map" => "map",
        "Dynamic" | "?" | "_" | "" => "value",
        other => other,
    }
}

/// `a tensor`, `an int`, `nothing`.
pub fn a(word: &str) -> String {
    match word {
        "nothing" => word.into(),
        _ if word.starts_with(['a', 'e', 'i', 'o', 'u']) => format!("an {word}"),
        _ => format!("a {word}"),
    }
}

/// A function that a script can call, or a property: then its name starts with `get$`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Function {
    pub name: String,
    pub parameters: Vec<String>,
}

impl Function {
    /// Whether a value of the type may stand before the dot.
    pub fn takes_first(&self, of: &str) -> bool {
        self.parameters.first().is_some_and(|first| first == of)
    }

    /// `mean(tensor, int)`, or `tensor.mean(int)` for a call written after a dot.
    pub fn show(&self, after_dot: bool) -> String {
        match self.parameters.split_first() {
            Some((first, rest)) if after_dot => {
                format!("{first}.{}({})", self.name, rest.join(", "))
            }
            _ => format!("{}({})", self.name, self.parameters.join(", ")),
        }
    }
}

const GETTER: &str = "get$";

/// The types that functions are registered for most, and what errors call them.
const TYPES: [(TypeId, &str); 11] = [
    (TypeId::of::<Handle>(), "tensor"),
    (TypeId::of::<Model>(), "model"),
    (TypeId::of::<i64>(), "int"),
    (TypeId::of::<f64>(), "float"),
    (TypeId::of::<bool>(), "bool"),
    (TypeId::of::<ImmutableString>(), "string"),
    (TypeId::of::<Array>(), "array"),
    (TypeId::of::<Map>(), "map"),
    (TypeId::of::<Record>(), "map"),
    (TypeId::of::<FnPtr>(), "function"),
    (TypeId::of::<Dynamic>(), "value"),
];

/// Types of Rhai's that no script gets hold of.
const NOT_IN_SCRIPTS: &[&str] = &[
    "i8",
    "u8",
    "i16",
    "u16",
    "i32",
    "u32",
    "u64",
    "i128",
    "u128",
    "f32",
    "blob",
    "Blob",
    "NativeCallContext",
];

/// A function that is registered in an engine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Native {
    pub function: Function,
    /// What it gives, as errors call it.
    pub gives: String,
    /// The parameters' types.
    pub types: Vec<TypeId>,
}

/// Every function and property there is: the engine's, and those of the scripts read so far.
pub fn functions(engine: &Engine, sources: &Sources) -> BTreeSet<Function> {
    let registered = registered(engine, true).into_iter().map(|native| native.function);
    let scripts =
        sources.functions().into_iter().map(|(name, parameters)| Function { name, parameters });
    registered.chain(scripts).collect()
}

/// What this program adds to Rhai's own functions.
pub fn of_this_program(engine: &Engine) -> BTreeSet<Native> {
    registered(engine, false).into_iter().collect()
}

fn registered(engine: &Engine, with_rhais_own: bool) -> Vec<Native> {
    engine.collect_fn_metadata(
        None,
        |function| {
            let data = function.metadata;
            // What a record has of a map is Rhai's own.
            if !with_rhais_own && data.param_types.contains(&TypeId::of::<Record>()) {
                return None;
            }
            let types = (0..data.num_params).map(|i| {
                let id = data.param_types.get(i);
                if let Some((_, word)) = TYPES.iter().find(|(known, _)| id == Some(known)) {
                    return (*word).to_owned();
                }
                let info = data.params_info.get(i).and_then(|info| info.split_once(':'));
                let name = info.map_or("", |(_, name)| name).trim();
                word(engine.map_type_name(name.strip_prefix("&mut ").unwrap_or(name))).to_owned()
            });
            let parameters: Vec<String> = types.collect();
            // Rhai's packages are made for numbers of every size; scripts have two.
            if parameters.iter().any(|of| NOT_IN_SCRIPTS.contains(&of.as_str())) {
                return None;
            }
            let gives = data.return_type.as_str();
            let gives = gives
                .rsplit_once("Result<")
                .map_or(gives, |(_, rest)| rest.rsplit_once(", ").map_or(rest, |(value, _)| value));
            Some(Native {
                function: Function { name: data.name.to_string(), parameters },
                gives: word(engine.map_type_name(gives.trim())).to_owned(),
                types: data.param_types.to_vec(),
            })
        },
        with_rhais_own,
    )
}

/// What may follow `.` on a value of a type: its properties, and the functions that take it first.
pub fn members(functions: &BTreeSet<Function>, of: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut properties, mut methods) = (BTreeSet::new(), BTreeSet::new());
    for function in functions.iter().filter(|f| f.takes_first(of)) {
        match function.name.strip_prefix(GETTER) {
            Some(property) => properties.insert(property.to_owned()),
            None if is_name(&function.name) => methods.insert(function.name.clone()),
            None => false,
        };
    }
    (properties, methods)
}

/// Whether a function is called by name: it is no operator, getter, setter or indexer.
pub fn is_name(function: &str) -> bool {
    function.chars().all(|c| c.is_alphanumeric() || c == '_')
}
