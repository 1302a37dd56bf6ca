//! Alias analysis for a hook's variables: whether a variable holds a value that the hook made
//! itself, the tensor that it was given, or something that others hold too.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use rhai::{ASTNode, BinaryExpr, Expr, FnCallExpr, ImmutableString, Stmt};

/// Functions, besides those of tensors, that compute a value and have no other effect.
const COMPUTES: &[&str] = &[
    "contains",
    "decode",
    "encode",
    "final_norm",
    "get",
    "heads",
    "keys",
    "len",
    "to_float",
    "to_int",
    "token_id",
    "tokens",
    "type_of",
    "unembed",
    "values",
    "weight",
];

/// Who may hold a value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The value was made in this call, and nothing else holds it.
    New,
    /// The tensor that the hook was given.
    Given,
    /// Something outside may hold the value too.
    Alias,
    /// The variable itself is shared with code outside the call.
    Outside,
}

impl Kind {
    /// The kind of a variable that holds one or the other.
    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Kind::Outside, _) | (_, Kind::Outside) => Kind::Outside,
            (Kind::Alias, _) | (_, Kind::Alias) => Kind::Alias,
            (Kind::Given, _) | (_, Kind::Given) => Kind::Given,
            _ => Kind::New,
        }
    }
}

/// A variable at one point of the code.
#[derive(Clone, Copy)]
pub struct Binding {
    /// Unique for each declaration.
    pub id: usize,
    /// What it holds there.
    pub kind: Kind,
}

/// The variables in scope, by name.
pub type Env = BTreeMap<String, Binding>;

/// `env` with one variable declared or replaced.
pub fn with(env: &Env, name: &str, binding: Binding) -> Rc<Env> {
    let mut env = env.clone();
    env.insert(name.to_owned(), binding);
    Rc::new(env)
}

/// Calls `on` for every statement and expression.
pub fn visit(body: &[Stmt], on: &mut dyn FnMut(&ASTNode)) {
    for statement in body {
        statement.walk(&mut Vec::new(), &mut |path| {
            path.iter().last().into_iter().for_each(&mut *on);
            true
        });
    }
}

/// Determines the kinds of values.
pub struct Kinds<'a> {
    /// The functions that return a new value and have no other effect.
    pub computes: &'a BTreeSet<String>,
    /// The variables that closures made in the hook share.
    pub shared: BTreeSet<String>,
}

impl Kinds<'_> {
    /// The environment in which a hook's body starts: the captured variables, x, and ctx.
    pub fn of_parameters(&self, names: &[ImmutableString], curried: usize) -> Rc<Env> {
        let kind = |at: usize| match at {
            at if at < curried => Kind::Outside,
            at if at == curried => Kind::Given,
            _ => Kind::Alias,
        };
        let own = |(at, name): (usize, &ImmutableString)| {
            (name.to_string(), self.binding(name, at, kind(at)))
        };
        Rc::new(names.iter().enumerate().map(own).collect())
    }

    /// A variable; one that a closure shares is [`Kind::Outside`] whatever it holds.
    pub fn binding(&self, name: &str, id: usize, kind: Kind) -> Binding {
        Binding { id, kind: if self.shared.contains(name) { Kind::Outside } else { kind } }
    }

    /// The environment after a statement.
    pub fn after(&self, statement: &Stmt, env: &Rc<Env>) -> Rc<Env> {
        if let Stmt::Var(parts, ..) = statement {
            let binding =
                self.binding(&parts.0.name, (&raw const **parts).addr(), self.kind(&parts.1, env));
            return with(env, &parts.0.name, binding);
        }
        if let Some((name, value)) = assigned(statement) {
            return match env.get(name).filter(|old| old.kind != Kind::Outside) {
                Some(old) => with(env, name, Binding { kind: self.kind(value, env), ..*old }),
                None => env.clone(),
            };
        }
        self.joined(std::slice::from_ref(statement), env)
    }

    /// The environment if `statements` may have run any number of times, including none.
    pub fn joined(&self, statements: &[Stmt], env: &Rc<Env>) -> Rc<Env> {
        let mut joined = env.clone();
        visit(statements, &mut |node| {
            if let ASTNode::Stmt(statement) = node
                && let Some((name, value)) = assigned(statement)
                && let Some(old) = joined.get(name)
            {
                let kind = old.kind.or(self.kind(value, &joined));
                joined = with(&joined, name, Binding { kind, ..*old });
            }
        });
        joined
    }

    /// The kind of an expression's value.
    pub fn kind(&self, expression: &Expr, env: &Env) -> Kind {
        let is_new = |item: &Expr| self.kind(item, env) == Kind::New;
        match expression {
            Expr::BoolConstant(..)
            | Expr::IntegerConstant(..)
            | Expr::FloatConstant(..)
            | Expr::CharConstant(..) => Kind::New,
            Expr::StringConstant(..) | Expr::InterpolatedString(..) | Expr::Unit(_) => Kind::New,
            Expr::And(..) | Expr::Or(..) => Kind::New,
            Expr::Array(items, _) if items.iter().all(is_new) => Kind::New,
            Expr::Map(parts, _) if parts.0.iter().all(|(_, item)| is_new(item)) => Kind::New,
            Expr::Variable(parts, ..) => match env.get(parts.1.as_str()) {
                Some(Binding { kind: kind @ (Kind::New | Kind::Given), .. }) => *kind,
                _ => Kind::Alias,
            },
            // `+x` returns x itself.
            Expr::FnCall(call, _) if call.name == "+" && call.args.len() == 1 => {
                self.kind(&call.args[0], env)
            }
            Expr::FnCall(call, _) if self.makes(call) => Kind::New,
            // A part of a tensor is a new handle.
            Expr::Dot(sides, ..) | Expr::Index(sides, ..) => {
                let whole = matches!(self.kind(&sides.lhs, env), Kind::New | Kind::Given);
                if whole && self.only_looks(&sides.rhs) { Kind::New } else { Kind::Alias }
            }
            _ => Kind::Alias,
        }
    }

    /// Whether a call returns a new value and has no other effect.
    fn makes(&self, call: &FnCallExpr) -> bool {
        !call.is_qualified()
            && (call.is_operator_call() || self.computes.contains(call.name.as_str()))
    }

    /// Whether a call returns a value and has no other effect.
    pub fn computes(&self, call: &FnCallExpr) -> bool {
        self.makes(call) || (!call.is_qualified() && COMPUTES.contains(&call.name.as_str()))
    }

    /// Whether the rest of a method chain calls only functions that compute.
    fn only_looks(&self, link: &Expr) -> bool {
        match link {
            Expr::MethodCall(call, _) | Expr::FnCall(call, _) => {
                self.computes(call) && call.args.iter().all(|argument| self.only_looks(argument))
            }
            Expr::Dot(sides, ..) | Expr::Index(sides, ..) => {
                self.only_looks(&sides.lhs) && self.only_looks(&sides.rhs)
            }
            Expr::Array(items, _) => items.iter().all(|item| self.only_looks(item)),
            Expr::Stmt(_) | Expr::DynamicConstant(..) | Expr::ThisPtr(_) => false,
            _ => true,
        }
    }
}

/// The variable that a statement assigns to, and the new value.
fn assigned(statement: &Stmt) -> Option<(&str, &Expr)> {
    let Stmt::Assignment(parts) = statement else { return None };
    let (operator, BinaryExpr { lhs, rhs }) = &**parts;
    match lhs {
        Expr::Variable(name, ..) if !operator.is_op_assignment() => Some((&name.1, rhs)),
        _ => None,
    }
}
