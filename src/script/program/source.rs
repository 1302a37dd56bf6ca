//! The text of every script that a run has read, for errors that point into it.
//!
//! A session's functions outlive the input that made them, so that a line number alone must say
//! which input or file a place is in: each is compiled as a *piece*, below as many empty lines as
//! no other piece or script reaches.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use rhai::{AST, ASTNode, Expr, Position, Stmt};

use super::written_keys::Written;

/// One script: its text, and the names that it defines.
#[derive(Debug, Default, Clone)]
pub struct Source {
    text: String,
    /// Of each `fn`: its name and its parameters' names.
    pub functions: Vec<(String, Vec<String>)>,
    /// Every variable that is declared anywhere in it, loop variables and parameters included.
    pub variables: BTreeSet<String>,
    /// Where each function is called, by its name.
    pub calls: BTreeMap<String, Vec<Position>>,
    /// The keys of its maps.
    pub written: Written,
}

impl Source {
    fn of(text: String, ast: &AST) -> Self {
        let functions: Vec<_> = ast
            .iter_functions()
            .filter(|f| !f.name.starts_with("anon$"))
            .map(|f| (f.name.to_owned(), f.params.iter().map(|&p| p.to_owned()).collect()))
            .collect();
        let mut variables: BTreeSet<String> = ast
            .iter_functions()
            .flat_map(|f| f.params)
            .filter(|p| !p.contains('$'))
            .map(str::to_owned)
            .collect();
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
        Self { text, functions, variables, calls, written: Written::of(ast) }
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// The line numbered `line`, from 1.
    pub fn line(&self, line: usize) -> Option<&str> {
        self.text.lines().nth(line.checked_sub(1)?)
    }
}

/// A script file has fewer lines than this: what is beyond them is a piece of a session.
const FIRST: usize = 10_000;
/// Rhai counts no further than 65 535 lines: a session that comes so far starts again, and forgets
/// its oldest pieces.
const LAST: usize = 65_000;

/// The scripts read so far.
#[derive(Clone, Default)]
pub struct Sources(Rc<Inner>);

#[derive(Default)]
struct Inner {
    /// By the name that errors call them by.
    named: RefCell<BTreeMap<String, Rc<Source>>>,
    pieces: RefCell<Vec<Piece>>,
    /// The functions that a session has now.
    functions: RefCell<Vec<(String, Vec<String>)>>,
    /// The variables that it had where something went wrong last.
    variables: RefCell<BTreeSet<String>>,
}

/// One input of a session, or a file that was run in it.
#[derive(Clone)]
struct Piece {
    /// The line before its first.
    above: usize,
    lines: usize,
    id: String,
    /// Lines of `id` that came before it.
    before: usize,
    source: Rc<Source>,
}

/// A position, and the script that it is in.
pub struct At {
    pub id: String,
    pub source: Option<Rc<Source>>,
    /// The line of the source, from 1.
    pub line: usize,
    /// Lines of the script that came before the source.
    pub before: usize,
}

impl Sources {
    /// Keeps the text of a script that is about to be compiled.
    pub fn add(&self, id: &str, text: &str) {
        let source = Source { text: text.into(), ..Source::default() };
        self.0.named.borrow_mut().insert(id.into(), source.into());
    }

    /// Forgets a script.
    pub fn remove(&self, id: &str) {
        self.0.named.borrow_mut().remove(id);
    }

    /// Keeps the names that a compiled script defines.
    pub fn describe(&self, id: &str, ast: &AST) {
        let Some(text) = self.get(id).map(|source| source.text.clone()) else { return };
        self.0.named.borrow_mut().insert(id.into(), Source::of(text, ast).into());
    }

    /// Keeps a piece of a session, which is called `id` and stands in it below `before` lines. What
    /// comes back is the text to compile.
    pub fn add_piece(&self, id: &str, text: &str, before: usize) -> String {
        let pieces = &mut *self.0.pieces.borrow_mut();
        let lines = text.lines().count() + 1;
        let mut above = pieces.last().map_or(FIRST, |last| last.above + last.lines);
        if above + lines > LAST {
            above = FIRST;
        }
        pieces.retain(|piece| piece.above + piece.lines <= above || piece.above >= above + lines);
        let source = Source { text: text.into(), ..Source::default() }.into();
        pieces.push(Piece { above, lines, id: id.into(), before, source });
        format!("{}{text}", "\n".repeat(above))
    }

    /// Keeps the names that the newest piece defines.
    pub fn describe_piece(&self, ast: &AST) {
        if let Some(piece) = self.0.pieces.borrow_mut().last_mut() {
            piece.source = Source::of(piece.source.text.clone(), ast).into();
        }
    }

    /// The variables that a session has where something went wrong in it.
    pub fn set_variables(&self, variables: impl IntoIterator<Item = String>) {
        *self.0.variables.borrow_mut() = variables.into_iter().collect();
    }

    /// The functions that a session has from now on.
    pub fn set_functions(&self, functions: Vec<(String, Vec<String>)>) {
        *self.0.functions.borrow_mut() = functions;
    }

    pub fn get(&self, id: &str) -> Option<Rc<Source>> {
        let named = self.0.named.borrow().get(id).cloned();
        named.or_else(|| {
            Some(self.0.pieces.borrow().iter().rfind(|piece| piece.id == id)?.source.clone())
        })
    }

    /// Where a position of the script `id` is. Nothing where Rhai does not know.
    pub fn at(&self, id: &str, position: Position) -> Option<At> {
        let line = position.line()?;
        let pieces = self.0.pieces.borrow();
        match pieces
            .iter()
            .find(|piece| (piece.above..piece.above + piece.lines).contains(&(line - 1)))
        {
            Some(Piece { above, id, before, source, .. }) => {
                let mut source = Source::clone(source);
                source.variables.extend(self.0.variables.borrow().iter().cloned());
                Some(At {
                    id: id.clone(),
                    source: Some(source.into()),
                    line: line - above,
                    before: *before,
                })
            }
            None => Some(At { id: id.into(), source: self.get(id), line, before: 0 }),
        }
    }

    /// Every script read so far, the one that a position is in first, and of a session's pieces the
    /// newest.
    pub fn from(&self, id: Option<&str>, position: Position) -> Vec<Rc<Source>> {
        let first = id.and_then(|id| self.at(id, position)?.source);
        let (named, pieces) = (self.0.named.borrow(), self.0.pieces.borrow());
        let others = pieces.iter().rev().map(|piece| &piece.source).chain(named.values());
        let others =
            others.filter(|other| first.as_ref().is_none_or(|first| !Rc::ptr_eq(first, other)));
        let mut all: Vec<Rc<Source>> = others.cloned().collect();
        all.splice(0..0, first);
        all
    }

    /// The names of the scripts read so far.
    pub fn ids(&self) -> Vec<String> {
        self.0.named.borrow().keys().cloned().collect()
    }

    /// Every `fn` of every script read so far.
    pub fn functions(&self) -> Vec<(String, Vec<String>)> {
        let mut functions = self.0.functions.borrow().clone();
        functions
            .extend(self.0.named.borrow().values().flat_map(|source| source.functions.clone()));
        functions
    }
}
