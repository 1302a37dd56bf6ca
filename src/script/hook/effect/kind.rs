//! What the variables of a hook hold: a value of the hook's own, the tensor that it was given, or
//! what others hold too.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use rhai::{ASTNode, BinaryExpr, Expr, FnCallExpr, ImmutableString, Stmt};

/// Functions besides the tensors' that give a value and do nothing else.
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

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A value that was made in this call, and that nothing else holds.
    New,
    /// The tensor that the hook was given.
    Given,
    /// What may be held elsewhere too.
    Alias,
    /// It is a variable of someone else's, which lives on.
    Outside,
}

impl Kind {
    /// What a variable holds that is one or the other.
    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Kind::Outside, _) | (_, Kind::Outside) => Kind::Outside,
            (Kind::Alias, _) | (_, Kind::Alias) => Kind::Alias,
            (Kind::Given, _) | (_, Kind::Given) => Kind::Given,
            _ => Kind::New,
        }
    }
}

#[derive(Clone, Copy)]
pub struct Binding {
    /// Of each declaration another.
    pub id: usize,
    pub kind: Kind,
}

/// The variables in sight, by name.
pub type Env = BTreeMap<String, Binding>;

pub fn with(env: &Env, name: &str, binding: Binding) -> Rc<Env> {
    let mut env = env.clone();
    env.insert(name.to_owned(), binding);
    Rc::new(env)
}

/// Calls `on` with every statement and expression.
pub fn visit(body: &[Stmt], on: &mut dyn FnMut(&ASTNode)) {
    for statement in body {
        statement.walk(&mut Vec::new(), &mut |path| {
            path.iter().last().into_iter().for_each(&mut *on);
            true
        });
    }
}

/// What tells the kinds of values.
pub struct Kinds<'a> {
    /// The functions that give a new value and do nothing else.
    pub computes: &'a BTreeSet<String>,
    /// The variables that closures made in the hook share.
    pub shared: BTreeSet<String>,
}

impl Kinds<'_> {
    /// The variables of a function when it is called: what it captured, x, and ctx.
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

    pub fn binding(&self, name: &str, id: usize, kind: Kind) -> Binding {
        Binding { id, kind: if self.shared.contains(name) { Kind::Outside } else { kind } }
    }

    /// The variables in sight after a statement, and what they hold then.
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

    /// What variables may hold where it is not known how often, if at all, `statements` have run.
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

    /// What the value of an expression is.
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
            // `+x` is x.
            Expr::FnCall(call, _) if call.name == "+" && call.args.len() == 1 => {
                self.kind(&call.args[0], env)
            }
            Expr::FnCall(call, _) if self.makes(call) => Kind::New,
            // A part of a tensor is a tensor of its own.
            Expr::Dot(sides, ..) | Expr::Index(sides, ..) => {
                let whole = matches!(self.kind(&sides.lhs, env), Kind::New | Kind::Given);
                if whole && self.only_looks(&sides.rhs) { Kind::New } else { Kind::Alias }
            }
            _ => Kind::Alias,
        }
    }

    /// Whether a call gives a new value, and does nothing else.
    fn makes(&self, call: &FnCallExpr) -> bool {
        !call.is_qualified()
            && (call.is_operator_call() || self.computes.contains(call.name.as_str()))
    }

    /// Whether a call gives a value, and does nothing else.
    pub fn computes(&self, call: &FnCallExpr) -> bool {
        self.makes(call) || (!call.is_qualified() && COMPUTES.contains(&call.name.as_str()))
    }

    /// Whether the rest of a chain calls nothing that may do more than give a value.
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

/// The variable that a statement gives another value.
fn assigned(statement: &Stmt) -> Option<(&str, &Expr)> {
    let Stmt::Assignment(parts) = statement else { return None };
    let (operator, BinaryExpr { lhs, rhs }) = &**parts;
    match lhs {
        Expr::Variable(name, ..) if !operator.is_op_assignment() => Some((&name.1, rhs)),
        _ => None,
    }
}
