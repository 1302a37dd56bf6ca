//! The text of every script that a run has read, for errors that point into it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use rhai::{AST, ASTNode, Expr, Position, Stmt};

/// One script: its text, and the names that it defines.
#[derive(Debug, Default)]
pub struct Source {
    text: String,
    /// Of each `fn`: its name and its parameters' names.
    pub functions: Vec<(String, Vec<String>)>,
    /// Every variable that is declared anywhere in it, loop variables and parameters included.
    pub variables: BTreeSet<String>,
    /// Where each function is called, by its name.
    pub calls: BTreeMap<String, Vec<Position>>,
}

impl Source {
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The line numbered `line`, from 1.
    pub fn line(&self, line: usize) -> Option<&str> {
        self.text.lines().nth(line.checked_sub(1)?)
    }
}

/// The scripts read so far, by the name that errors call them by.
#[derive(Clone, Default)]
pub struct Sources(Rc<RefCell<BTreeMap<String, Rc<Source>>>>);

impl Sources {
    /// Keeps the text of a script that is about to be compiled.
    pub fn add(&self, id: &str, text: &str) {
        let source = Source { text: text.into(), ..Source::default() };
        self.0.borrow_mut().insert(id.into(), source.into());
    }

    /// Forgets a script.
    pub fn remove(&self, id: &str) {
        self.0.borrow_mut().remove(id);
    }

    /// Keeps the names that a compiled script defines.
    pub fn describe(&self, id: &str, ast: &AST) {
        let Some(text) = self.get(id).map(|source| source.text.clone()) else { return };
        let functions: Vec<_> = ast
            .iter_functions()
            .filter(|f| !f.name.starts_with("anon$"))
            .map(|f| (f.name.to_owned(), f.params.iter().map(|&p| p.to_owned()).collect()))
            .collect();
        let mut variables: BTreeSet<String> =
            ast.iter_functions().flat_map(|f| f.params).filter(|p| !p.contains('$')).map(str::to_owned).collect();
        let mut calls: BTreeMap<String, Vec<Position>> = BTreeMap::new();
        ast.walk(&mut |path| {
            match path.last() {
                Some(ASTNode::Stmt(Stmt::Var(declared, ..))) => {
                    variables.insert(declared.0.name.to_string());
                }
                Some(ASTNode::Stmt(Stmt::For(parts, _))) => {
                    variables.insert(parts.0.name.to_string());
                    variables.extend(parts.1.as_ref().map(|counter| counter.name.to_string()));
                }
                Some(
                    ASTNode::Stmt(Stmt::FnCall(call, position))
                    | ASTNode::Expr(Expr::FnCall(call, position) | Expr::MethodCall(call, position)),
                ) => calls.entry(call.name.to_string()).or_default().push(*position),
                _ => {}
            }
            true
        });
        self.0.borrow_mut().insert(id.into(), Source { text, functions, variables, calls }.into());
    }

    pub fn get(&self, id: &str) -> Option<Rc<Source>> {
        self.0.borrow().get(id).cloned()
    }

    /// The names of the scripts read so far.
    pub fn ids(&self) -> Vec<String> {
        self.0.borrow().keys().cloned().collect()
    }

    /// Every `fn` of every script read so far.
    pub fn functions(&self) -> Vec<(String, Vec<String>)> {
        self.0.borrow().values().flat_map(|source| source.functions.clone()).collect()
    }
}
