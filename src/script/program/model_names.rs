//! The models that a script names, found without running it, and the models that the command line
//! loads in their place.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use rhai::{AST, ASTNode, Expr, FnCallExpr, Stmt};

use crate::{Error, Result, bail, did_you_mean, error};

/// One `model(…)` in a script.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum NamedModel {
    /// `model("demo:opt")`
    Id(String),
    /// `model(param("model", "demo:opt"))`: the parameter's name, and its default if that is a
    /// literal.
    Param(String, Option<String>),
    /// An id that the script computes.
    Computed,
}

impl fmt::Display for NamedModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NamedModel::Id(id) => f.write_str(id),
            NamedModel::Param(name, Some(default)) => write!(f, "{name} (by default {default})"),
            NamedModel::Param(name, None) => f.write_str(name),
            NamedModel::Computed => f.write_str("what the script works out"),
        }
    }
}

impl NamedModel {
    /// The model that it loads unless the command line names another; `None` if it is not a literal.
    pub fn id(&self) -> Option<&str> {
        match self {
            NamedModel::Id(id) => Some(id),
            NamedModel::Param(_, default) => default.as_deref(),
            NamedModel::Computed => None,
        }
    }

    /// The NAME by which `--model NAME=ID` refers to it.
    fn name(&self) -> Option<&str> {
        match self {
            NamedModel::Id(name) | NamedModel::Param(name, _) => Some(name),
            NamedModel::Computed => None,
        }
    }
}

/// Every `model(…)` of a script, in order.
pub fn named(ast: &AST) -> Vec<NamedModel> {
    let variables = variables(ast);
    let mut found = Vec::new();
    ast.walk(&mut |path| {
        let (call, first) = match path.last() {
            Some(ASTNode::Expr(Expr::FnCall(call, _)) | ASTNode::Stmt(Stmt::FnCall(call, _))) => {
                (call, call.args.first())
            }
            Some(ASTNode::Expr(Expr::MethodCall(call, _))) => (call, None),
            _ => return true,
        };
        if call.name == "model" && !call.is_qualified() {
            found.push(first.map_or(NamedModel::Computed, |id| read(id, &variables)));
        }
        true
    });
    found
}

/// The values of the variables that are declared exactly once.
fn variables(ast: &AST) -> BTreeMap<String, Option<Expr>> {
    let mut variables: BTreeMap<String, Option<Expr>> = BTreeMap::new();
    ast.walk(&mut |path| {
        if let Some(ASTNode::Stmt(Stmt::Var(declared, ..))) = path.last() {
            let value = &declared.1;
            variables
                .entry(declared.0.name.to_string())
                .and_modify(|known| *known = None)
                .or_insert(Some(value.clone()));
        }
        true
    });
    variables
}

fn read(id: &Expr, variables: &BTreeMap<String, Option<Expr>>) -> NamedModel {
    let text = |expr: &Expr| match expr {
        Expr::StringConstant(text, _) => Some(text.to_string()),
        _ => None,
    };
    let param = |call: &FnCallExpr| match (call.name.as_str(), call.args.first().and_then(text)) {
        ("param", Some(name)) => Some(NamedModel::Param(name, call.args.get(1).and_then(text))),
        _ => None,
    };
    let written = |expr: &Expr| match expr {
        Expr::FnCall(call, _) => param(call),
        expr => text(expr).map(NamedModel::Id),
    };
    let named = match id {
        Expr::Variable(variable, ..) => {
            variables.get(variable.1.as_str()).and_then(Option::as_ref).and_then(written)
        }
        expr => written(expr),
    };
    named.unwrap_or(NamedModel::Computed)
}

/// The tag of a parameter value that `--model NAME=ID` gave, which is loaded as it is.
pub const GIVEN: i32 = 0x6d6f_646c;

/// The models to load in place of those that scripts name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Substitutes {
    /// `--model ID`: replaces the only model that a script names.
    pub one: Option<String>,
    /// `--model NAME=ID`: replaces the model of that name.
    pub named: BTreeMap<String, String>,
}

/// One line for each `--model`.
impl fmt::Display for Substitutes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = self.named.iter().map(|(name, id)| format!("{name}={id}"));
        let all: Vec<String> = self.one.clone().into_iter().chain(named).collect();
        f.write_str(&all.join("\n"))
    }
}

impl Substitutes {
    /// Parses the values of `--model`: an ID, or NAME=ID.
    ///
    /// # Errors
    /// A NAME or an ID is empty, or a model is given twice.
    pub fn read<'a>(given: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let mut substitutes = Self::default();
        for given in given {
            // A directory's name may contain `=`.
            let (name, before) = match given.split_once('=').filter(|_| !Path::new(given).is_dir())
            {
                Some((name, id)) if name.is_empty() || id.is_empty() => {
                    bail!("--model {given}: a model is given as ID or as NAME=ID")
                }
                Some((name, id)) => {
                    (format!("{name}="), substitutes.named.insert(name.into(), id.into()))
                }
                None => (String::new(), substitutes.one.replace(given.into())),
            };
            if let Some(before) = before {
                return Err(error!("--model says both {name}{before} and {given}").help(
                    "for a script that names several models, --model NAME=ID says which it is for",
                ));
            }
        }
        Ok(substitutes)
    }

    /// Whether nothing is replaced.
    pub fn is_empty(&self) -> bool {
        self.one.is_none() && self.named.is_empty()
    }

    /// The IDs.
    pub fn ids(&self) -> impl Iterator<Item = &String> {
        self.one.iter().chain(self.named.values())
    }

    /// Checks the substitutes against the models that a script names, before it runs. `set` has the
    /// values of parameters.
    ///
    /// # Errors
    /// The script has no such NAME (unless it computes some); `--set` gives a value for a NAME too;
    /// one ID would replace several models.
    pub fn check(&self, script: &[NamedModel], set: &BTreeMap<String, String>) -> Result<()> {
        let names: BTreeSet<&str> = script.iter().filter_map(NamedModel::name).collect();
        for (name, id) in &self.named {
            if let Some(other) = set.get(name) {
                return Err(error!(
                    "--model {name}={id} and --set {name}={other} say two things of the parameter {name}"
                ));
            }
            if !names.contains(name.as_str()) && !script.contains(&NamedModel::Computed) {
                let error = error!("--model {name}={id}: the script names no model {name}");
                let all: Vec<&str> = names.iter().copied().collect();
                return Err(match all.as_slice() {
                    [] => error
                        .help("it names none: model(\"NAME\") or model(param(\"NAME\", …)) does"),
                    all => error.help(match did_you_mean(name, names.iter().copied()) {
                        Some(near) if near.starts_with("did") => {
                            format!("{near} it names {}", all.join(", "))
                        }
                        _ => format!("it names {}", all.join(", ")),
                    }),
                });
            }
        }
        let Some(id) = &self.one else { return Ok(()) };
        let mut asked: BTreeMap<&str, &NamedModel> = BTreeMap::new();
        for model in script
            .iter()
            .filter(|model| !model.name().is_some_and(|name| self.named.contains_key(name)))
        {
            let means = match model {
                NamedModel::Id(id) => Some(id),
                NamedModel::Param(name, default) => set.get(name).or(default.as_ref()),
                NamedModel::Computed => None,
            };
            if let Some(means) = means {
                asked.entry(means.as_str()).or_insert(model);
            }
        }
        match asked.into_values().collect::<Vec<_>>().as_slice() {
            [] | [_] => Ok(()),
            several => {
                let first = several[0].name().unwrap_or_default();
                let all: Vec<String> = several.iter().map(ToString::to_string).collect();
                Err(compares_one_with_itself(id, &all.join(" and "), first))
            }
        }
    }

    /// The model to load in place of `id`, if any. `before` is the first model that the one
    /// `--model ID` replaced, which is set on its first use.
    ///
    /// # Errors
    /// One ID would replace several models. The script can't catch the error.
    pub fn of(&self, id: &str, before: &mut Option<String>) -> Result<Option<String>> {
        if let Some(given) = self.named.get(id) {
            return Ok(Some(given.clone()));
        }
        let Some(one) = &self.one else { return Ok(None) };
        match before.get_or_insert_with(|| id.to_owned()) {
            known if known == id => Ok(Some(one.clone())),
            other => {
                let error = compares_one_with_itself(one, &format!("{other} and {id}"), other);
                Err(Error::ended(error.message()).help(error.help_text().unwrap_or_default()))
            }
        }
    }
}

fn compares_one_with_itself(id: &str, all: &str, first: &str) -> Error {
    error!("--model {id} would take the place of every model that the script names: {all}")
        .help(format!("say of which, as in --model {first}={id}; --model may be given for each"))
}

#[cfg(test)]
mod tests {
    use rhai::{Engine, OptimizationLevel};

    use super::*;

    fn of(script: &str) -> Vec<NamedModel> {
        let mut engine = Engine::new();
        engine.set_optimization_level(OptimizationLevel::None);
        named(&engine.compile(script).unwrap())
    }

    #[test]
    fn models_are_found_wherever_they_stand() {
        let id = |id: &str| NamedModel::Id(id.into());
        let param =
            |name: &str, default: &str| NamedModel::Param(name.into(), Some(default.into()));
        assert_eq!(of("let m = model(\"a\"); fn f() { model(\"b\", #{dtype: \"f16\"}) }").len(), 2);
        assert_eq!(of("for i in 0..2 { [model(\"a\")]; }"), [id("a")]);
        assert_eq!(of("model(param(\"model\", \"a\", \"help\"))"), [param("model", "a")]);
        assert_eq!(of("let id = param(\"m\", \"a\"); let m = model(id);"), [param("m", "a")]);
        assert_eq!(
            of("let id = \"a\"; if true { let id = \"b\"; } model(id)"),
            [NamedModel::Computed]
        );
        assert_eq!(of("for id in [\"a\", \"b\"] { model(id) }"), [NamedModel::Computed]);
        assert_eq!(
            of("model(`a${1}`); \"a\".model()"),
            [NamedModel::Computed, NamedModel::Computed]
        );
        assert_eq!(of("let c = || model(\"a\"); c.call().model_of(1)"), [id("a")]);
    }

    fn said(
        script: &str,
        one: Option<&str>,
        named_so: &[(&str, &str)],
        set: &[(&str, &str)],
    ) -> String {
        let pairs = |all: &[(&str, &str)]| {
            all.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
        };
        let substitutes = Substitutes { one: one.map(str::to_owned), named: pairs(named_so) };
        substitutes
            .check(&of(script), &pairs(set))
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default()
    }

    #[test]
    fn one_model_does_not_take_the_place_of_two() {
        let two = "model(\"a\"); model(param(\"other\", \"b\"))";
        assert!(
            said(two, Some("x"), &[], &[])
                .contains("every model that the script names: a and other (by default b)")
        );
        assert_eq!(said(two, Some("x"), &[("other", "y")], &[]), "");
        assert_eq!(said(two, None, &[("a", "x"), ("other", "y")], &[]), "");
        // Both mean one.
        assert_eq!(said(two, Some("x"), &[], &[("other", "a")]), "");
        assert_eq!(said("model(\"a\"); model(\"a\", #{revision: \"b\"})", Some("x"), &[], &[]), "");
        assert!(
            said(two, None, &[("othr", "y")], &[])
                .contains("did you mean other? it names a, other")
        );
        assert!(said("1", None, &[("a", "y")], &[]).contains("it names none"));
        assert!(said(two, None, &[("other", "y")], &[("other", "z")]).contains("say two things"));
        assert_eq!(
            said("model(`a`); for id in [1] { model(id) }", Some("x"), &[("z", "y")], &[]),
            ""
        );
    }
}
