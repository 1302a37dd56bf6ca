//! Which functions of the engine are pure: they compute a value and have no other effect. Pure are
//! the functions that an installer of pure functions registers, and those of Rhai's packages except
//! a few that [`IMPURE`] names. Every other registered function is assumed to be impure.

use std::any::TypeId;
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use rhai::packages::{
    ArithmeticPackage, BasicArrayPackage, BasicBlobPackage, BasicFnPackage, BasicIteratorPackage,
    BasicMapPackage, BasicMathPackage, BasicStringPackage, BasicTimePackage, BitFieldPackage,
    LanguageCorePackage, LogicPackage, MoreStringPackage, Package,
};
use rhai::{AST, ASTNode, Engine, Expr, FuncInfo, Stmt};

/// The impure functions by their effect, which completes a sentence about a hook: "calls print,
/// which *prints*". Every function of the engine is pure or listed here.
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
    // Digests of values leave tags out.
    ("uses the tag of a value", &["tag", "get$tag", "set_tag", "set$tag"]),
];

/// Functions that are pure but for changing the value before the dot.
const CHANGING: &[&str] = &[
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

/// Operators that Rhai implements itself, outside its packages.
pub const OPERATORS: &[&str] = &[
    "+", "-", "*", "/", "%", "**", "<<", ">>", "&", "|", "^", "!", "==", "!=", "<", "<=", ">",
    ">=", "..", "..=", "+=", "-=", "*=", "/=", "%=", "**=", "<<=", ">>=", "&=", "|=", "^=",
    "contains",
];

/// A function's name and its parameters' types: of one name some overloads may be pure and others
/// not.
type Signature = (String, Vec<TypeId>);

/// The purity of an engine's functions, found when it is first needed. A clone is the same one.
#[derive(Clone)]
pub struct Purity {
    found: Rc<OnceCell<Rc<Natives>>>,
    install_pure: fn(&mut Engine),
}

impl Purity {
    /// For engines in which exactly the functions that `install_pure` registers are pure, besides
    /// Rhai's own.
    pub fn new(install_pure: fn(&mut Engine)) -> Self {
        Self { found: Rc::default(), install_pure }
    }

    /// The functions of `engine`, which must be the same engine at every call.
    pub fn of(&self, engine: &Engine) -> Rc<Natives> {
        self.found.get_or_init(|| Rc::new(Natives::of(engine, self.install_pure))).clone()
    }
}

/// The functions of an engine, and which of them are pure.
pub struct Natives {
    all: BTreeSet<Signature>,
    pure: BTreeSet<Signature>,
    /// The effect of each name that has impure overloads; empty where it is not listed.
    not: BTreeMap<String, &'static str>,
    /// The names of all.
    names: BTreeSet<String>,
}

impl Natives {
    /// The functions of `engine`, of which those that `install_pure` registers are pure.
    pub fn of(engine: &Engine, install_pure: fn(&mut Engine)) -> Self {
        let mut only_pure = with_rhais_packages();
        install_pure(&mut only_pure);
        let (all, pure) = (signatures(engine), signatures(&only_pure));
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

    /// Whether the engine has a function of that name.
    pub fn has(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// Whether every function of that name is pure.
    pub fn is_pure(&self, name: &str) -> bool {
        !self.not.contains_key(name) && (self.names.contains(name) || OPERATORS.contains(&name))
    }

    /// The effect of the functions called `name`, if any is impure; empty where the effect is
    /// unknown.
    pub fn impure(&self, name: &str) -> Option<&'static str> {
        self.not.get(name).copied()
    }

    /// Why a call of the impure `name` can't be skipped, as a clause about a hook.
    pub fn why_not(&self, name: &str) -> String {
        match self.impure(name) {
            Some("") => format!("calls {name}, which may do more than give a value"),
            Some(does) => format!("calls {name}, which {does}"),
            None => format!("calls {name}, which is no function of the script"),
        }
    }

    /// Whether a text is a single expression that computes a value and changes no variable.
    pub fn only_looks(&self, ast: &AST) -> bool {
        let [Stmt::Expr(_) | Stmt::FnCall(..)] = ast.statements() else { return false };
        let mut looks = ast.iter_functions().all(|function| function.name.starts_with("anon$"));
        ast.walk(&mut |path| {
            looks &= match path.last() {
                Some(
                    ASTNode::Expr(Expr::FnCall(call, _) | Expr::MethodCall(call, _))
                    | ASTNode::Stmt(Stmt::FnCall(call, _)),
                ) => self.is_pure(&call.name) && !CHANGING.contains(&call.name.as_str()),
                Some(ASTNode::Stmt(statement)) => matches!(statement, Stmt::Expr(_)),
                _ => true,
            };
            looks
        });
        looks
    }

    /// The functions that are neither pure nor named in [`IMPURE`].
    pub fn undeclared(&self) -> BTreeSet<&str> {
        let listed = |name: &str| IMPURE.iter().any(|(_, names)| names.contains(&name));
        self.all
            .difference(&self.pure)
            .map(|(name, _)| name.as_str())
            .filter(|name| !listed(name))
            .collect()
    }
}

/// An engine with the functions of Rhai's packages, including the few that [`IMPURE`] names.
fn with_rhais_packages() -> Engine {
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
    engine
}

fn signatures(engine: &Engine) -> BTreeSet<Signature> {
    let signature = |function: FuncInfo| {
        let data = function.metadata;
        Some((data.name.to_string(), data.param_types.to_vec()))
    };
    engine.collect_fn_metadata(None, signature, true).into_iter().collect()
}
