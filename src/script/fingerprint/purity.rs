//! Which functions of the engine are pure, by what was declared of them.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use rhai::{AST, ASTNode, Engine, Expr, FuncInfo, Stmt};

use crate::script::declare::{Declarations, Purity};
use crate::script::program::compile::is_closure;

/// Operators that Rhai implements itself, outside its packages.
pub const OPERATORS: &[&str] = &[
    "+", "-", "*", "/", "%", "**", "<<", ">>", "&", "|", "^", "!", "==", "!=", "<", "<=", ">",
    ">=", "..", "..=", "+=", "-=", "*=", "/=", "%=", "**=", "<<=", ">>=", "&=", "|=", "^=",
    "contains",
];

/// The functions of an engine, found when they are first needed. A clone is the same one.
#[derive(Clone, Default)]
pub struct LazyNatives(Rc<OnceCell<Rc<Natives>>>);

impl LazyNatives {
    /// The functions of `engine`, which must be the same engine at every call.
    pub fn of(&self, engine: &Engine) -> Rc<Natives> {
        self.0.get_or_init(|| Rc::new(Natives::of(engine))).clone()
    }
}

/// The functions of an engine, and which of them are pure.
pub struct Natives {
    names: BTreeSet<String>,
    declarations: Rc<Declarations>,
}

impl Natives {
    /// The functions of an engine that a [`Registry`](crate::script::declare::Registry) filled.
    pub fn of(engine: &Engine) -> Self {
        let name = |function: FuncInfo| Some(function.metadata.name.to_string());
        let names = engine.collect_fn_metadata(None, name, true).into_iter().collect();
        Self { names, declarations: Declarations::of(engine) }
    }

    /// Whether there is a function of that name.
    pub fn has(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// Whether calls of `name` compute a value and change nothing but their arguments. A registered
    /// function without a declaration is one of Rhai's own, of which the impure ones are listed.
    pub fn is_pure(&self, name: &str) -> bool {
        match self.declarations.purity(name) {
            Some(Purity::Impure(_)) => false,
            Some(_) => true,
            None => self.has(name) || OPERATORS.contains(&name),
        }
    }

    /// Whether a call of `name` may change the value before the dot.
    fn changes_receiver(&self, name: &str) -> bool {
        self.declarations.purity(name) == Some(Purity::ChangesReceiver)
    }

    /// The effect of an impure function, which completes a sentence about a hook: "calls print,
    /// which *prints*".
    pub fn impure(&self, name: &str) -> Option<&'static str> {
        match self.declarations.purity(name) {
            Some(Purity::Impure(does)) => Some(does),
            _ => None,
        }
    }

    /// Why a call of `name`, which is not pure, can't be left out; completes a sentence about a
    /// hook.
    pub fn why_not(&self, name: &str) -> String {
        match self.impure(name) {
            Some(does) => format!("calls {name}, which {does}"),
            None => format!("calls {name}, which is no function of the script"),
        }
    }

    /// Whether a text is a single expression that computes a value and changes no variable.
    pub fn only_looks(&self, ast: &AST) -> bool {
        let [Stmt::Expr(_) | Stmt::FnCall(..)] = ast.statements() else { return false };
        let mut looks = ast.iter_functions().all(|function| is_closure(function.name));
        ast.walk(&mut |path| {
            looks &= match path.last() {
                Some(
                    ASTNode::Expr(Expr::FnCall(call, _) | Expr::MethodCall(call, _))
                    | ASTNode::Stmt(Stmt::FnCall(call, _)),
                ) => self.is_pure(&call.name) && !self.changes_receiver(&call.name),
                Some(ASTNode::Stmt(statement)) => matches!(statement, Stmt::Expr(_)),
                _ => true,
            };
            looks
        });
        looks
    }
}
