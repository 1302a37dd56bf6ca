//! Hooks that do nothing, found from their code when they are bound: what a hook assigns to its own
//! name of x is gone when it returns, unless it returns it.

mod kind;
mod walk;

use std::collections::BTreeSet;

use kind::{Kinds, visit};
use rhai::{AST, ASTFlags, ASTNode, Expr, Module, Position, ScriptFuncDef, Shared, Stmt};
use walk::Walk;

use crate::{Error, error};

/// Why a hook of `function` does nothing at `point`, and where; nothing where it may do something.
/// The first `curried` parameters are what it captured; `computes` tells the functions that give a
/// new value and do nothing else.
pub fn none(
    function: &Shared<ScriptFuncDef>,
    curried: usize,
    point: &str,
    computes: &BTreeSet<String>,
) -> Option<(Error, Position)> {
    let body = statements(function);
    let x = function.params.get(curried)?;
    let kinds = Kinds { computes, shared: shared(&body) };
    let env = kinds.of_parameters(&function.params, curried);
    let (acts, lost) = Walk::through(&body, kinds, env, x);
    let first =
        lost.into_iter().min_by_key(|lost| (lost.position.line(), lost.position.position()));
    if let Some(lost) = first {
        return Some((lost.error(x, point), lost.position));
    }
    (!acts && !body.iter().all(is_empty)).then(|| {
        let error = error!(
            "the hook at {point} only computes: it returns nothing, writes into nothing and keeps nothing, so nothing comes of it"
        );
        let help = format!("end it with the tensor that is to stand there, or write into {x}, as in {x} *= 0.0");
        (error.help(help), body.last().map_or(Position::NONE, Stmt::position))
    })
}

/// The statements of a function: Rhai shows them in this way alone.
fn statements(function: &Shared<ScriptFuncDef>) -> Vec<Stmt> {
    let mut alone = Module::new();
    alone.set_script_fn(function.clone());
    let mut found = Vec::new();
    AST::new([], alone).walk(&mut |path| {
        if let [ASTNode::Stmt(statement)] = path {
            found.push((*statement).clone());
        }
        true
    });
    found
}

/// The variables that closures made within share.
fn shared(body: &[Stmt]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    visit(body, &mut |node| {
        if let ASTNode::Stmt(Stmt::Share(variables)) = node {
            names.extend(variables.iter().map(|(variable, _)| variable.name.to_string()));
        }
    });
    names
}

/// Whether a statement says by itself that it does nothing.
fn is_empty(statement: &Stmt) -> bool {
    match statement {
        Stmt::Noop(_) => true,
        Stmt::Block(block) => block.iter().all(is_empty),
        Stmt::Expr(expression) => match &**expression {
            Expr::Unit(_) => true,
            Expr::Stmt(block) => block.iter().all(is_empty),
            _ => false,
        },
        Stmt::Return(None, flags, _) => !flags.contains(ASTFlags::BREAK),
        _ => false,
    }
}

/// A value that was given the name x, and is gone when the hook returns.
struct Lost {
    how: How,
    /// What could be written instead.
    instead: Option<String>,
    position: Position,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    /// `let x = …`
    Let,
    /// `x = …`
    Assigned,
    /// `x += "…"`
    Text,
}

impl Lost {
    fn new(how: How, x: &str, value: &Expr, position: Position) -> Self {
        Self { how, instead: in_place(x, value), position }
    }

    fn error(&self, x: &str, point: &str) -> Error {
        let stays = format!("what stands at {point} stays as it was");
        let error = match self.how {
            How::Let => {
                error!("let {x} = … makes another variable, of which nothing comes: {stays}")
            }
            How::Assigned => error!(
                "{x} = … only gives another tensor the name {x}, and it is not returned: {stays}"
            ),
            How::Text => error!("{x} += makes a text of {x}, and it is not returned: {stays}"),
        };
        let instead = match (self.how, &self.instead) {
            (How::Text, _) => format!("add a number or a tensor, as in {x} += 1.0"),
            (_, Some(instead)) => format!("write {instead} to change it in place"),
            _ => format!("write into it, as in {x} *= 0.0 or {x}[..] = y"),
        };
        error.help(format!("{instead}, or end with {x}"))
    }
}

/// `x *= 0.0`, of `x * 0.0`.
fn in_place(x: &str, value: &Expr) -> Option<String> {
    let Expr::FnCall(call, _) = value else { return None };
    let (Expr::Variable(name, ..), by) = (call.args.first()?, call.args.get(1)?) else {
        return None;
    };
    let by = match by {
        Expr::FloatConstant(number, _) => format!("{:?}", **number),
        Expr::IntegerConstant(number, _) => number.to_string(),
        Expr::Variable(other, ..) => other.1.to_string(),
        _ => return None,
    };
    let operator = call.name.as_str();
    (name.1 == x && ["+", "-", "*", "/", "%", "**"].contains(&operator))
        .then(|| format!("{x} {operator}= {by}"))
}
