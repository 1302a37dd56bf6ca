//! Finds hooks without an effect when they are bound. A value that a hook assigns to its parameter
//! x is lost when the hook returns, unless the hook returns it; the script's author meant to change
//! the tensor.

mod kind;
mod liveness;
mod lost;

use std::collections::BTreeSet;

use kind::{Kinds, visit};
use liveness::Liveness;
use rhai::{AST, ASTFlags, ASTNode, Expr, Module, Position, ScriptFuncDef, Shared, Stmt};

use crate::{Error, error};

/// The error for a hook that has no effect at `point`, and its position; `None` if the hook may
/// have one. The first `curried` parameters of `function` are captured variables; `computes` are
/// the functions that return a new value and have no other effect.
pub fn missing(
    function: &Shared<ScriptFuncDef>,
    curried: usize,
    point: &str,
    computes: &BTreeSet<String>,
) -> Option<(Error, Position)> {
    let body = statements(function);
    let x = function.params.get(curried)?;
    let kinds = Kinds { computes, shared: shared(&body) };
    let env = kinds.of_parameters(&function.params, curried);
    let (acts, lost) = Liveness::through(&body, kinds, env, x);
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

/// The statements of a function. Rhai gives access to them only by walking an AST.
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

/// The variables that closures in `body` share with it.
fn shared(body: &[Stmt]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    visit(body, &mut |node| {
        if let ASTNode::Stmt(Stmt::Share(variables)) = node {
            names.extend(variables.iter().map(|(variable, _)| variable.name.to_string()));
        }
    });
    names
}

/// Whether a statement is empty or returns nothing.
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
