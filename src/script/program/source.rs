//! The texts of all scripts read so far, for errors that point into them.
//!
//! In a session functions outlive the input that defined them, and all that Rhai reports of a place
//! is a line number. Each input is therefore compiled as a *piece* whose lines have numbers that no
//! other piece or script has: the text is preceded by that many empty lines.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use rhai::{AST, ASTNode, Expr, Position, Stmt};

use super::compile::is_closure;
use super::written_keys::Written;

/// The text of one script, and the names in it.
#[derive(Debug, Default, Clone)]
pub struct Source {
    text: String,
    /// Every `fn`: its name and its parameters' names.
    pub functions: Vec<(String, Vec<String>)>,
    /// Every variable declared in it, including loop variables and parameters.
    pub variables: BTreeSet<String>,
    /// The positions of the calls of each function, by name.
    pub calls: BTreeMap<String, Vec<Position>>,
    /// The keys of its map literals.
    pub written: Written,
}

impl Source {
    fn of(text: String, ast: &AST) -> Self {
        let functions: Vec<_> = ast
            .iter_functions()
            .filter(|f| !is_closure(f.name))
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

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// A line, counted from 1.
    pub fn line(&self, line: usize) -> Option<&str> {
        self.text.lines().nth(line.checked_sub(1)?)
    }
}

/// Line numbers from here on belong to pieces of a session; script files are shorter.
const FIRST: usize = 10_000;
/// Rhai counts at most 65,535 lines. After this line numbers start again from [`FIRST`], and the
/// oldest pieces are forgotten.
const LAST: usize = 65_000;

/// The scripts read so far. A clone is the same collection.
#[derive(Clone, Default)]
pub struct Sources(Rc<SourceTexts>);

#[derive(Default)]
struct SourceTexts {
    /// By the name that errors use.
    named: RefCell<BTreeMap<String, Rc<Source>>>,
    pieces: RefCell<Vec<Piece>>,
    /// The functions that a session has now.
    functions: RefCell<Vec<(String, Vec<String>)>>,
    /// The variables that a session had at its last error.
    variables: RefCell<BTreeSet<String>>,
}

/// One input of a session, or a file that was run in it.
#[derive(Clone)]
struct Piece {
    /// The number of lines before the first.
    above: usize,
    lines: usize,
    id: String,
    /// The number of earlier lines of `id`.
    before: usize,
    source: Rc<Source>,
}

/// A position resolved to a script.
pub struct At {
    /// The script's name.
    pub id: String,
    /// The script, if its text is known.
    pub source: Option<Rc<Source>>,
    /// The line in the source, from 1.
    pub line: usize,
    /// The number of lines of the script before the source.
    pub before: usize,
}

impl Sources {
    /// Adds the text of a script that is about to be compiled.
    pub fn add(&self, id: &str, text: &str) {
        let source = Source { text: text.into(), ..Source::default() };
        self.0.named.borrow_mut().insert(id.into(), source.into());
    }

    /// Removes a script.
    pub fn remove(&self, id: &str) {
        self.0.named.borrow_mut().remove(id);
    }

    /// Adds the names in a compiled script.
    pub fn describe(&self, id: &str, ast: &AST) {
        let Some(text) = self.get(id).map(|source| source.text.clone()) else { return };
        self.0.named.borrow_mut().insert(id.into(), Source::of(text, ast).into());
    }

    /// Adds a piece of a session, named `id`, which follows `before` earlier lines of that name.
    /// Returns the text to compile.
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

    /// Adds the names in the newest piece.
    pub fn describe_piece(&self, ast: &AST) {
        if let Some(piece) = self.0.pieces.borrow_mut().last_mut() {
            piece.source = Source::of(piece.source.text.clone(), ast).into();
        }
    }

    /// Sets the variables that a session has, after an error.
    pub fn set_variables(&self, variables: impl IntoIterator<Item = String>) {
        *self.0.variables.borrow_mut() = variables.into_iter().collect();
    }

    /// Sets the functions that a session has.
    pub fn set_functions(&self, functions: Vec<(String, Vec<String>)>) {
        *self.0.functions.borrow_mut() = functions;
    }

    /// The script of a name, or the newest piece of it.
    pub fn get(&self, id: &str) -> Option<Rc<Source>> {
        let named = self.0.named.borrow().get(id).cloned();
        named.or_else(|| {
            Some(self.0.pieces.borrow().iter().rfind(|piece| piece.id == id)?.source.clone())
        })
    }

    /// Resolves a position in the script `id`; `None` if Rhai does not know the position.
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

    /// Every script read so far: first the one that contains the position, then pieces from newest
    /// to oldest, then the others.
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

    /// The names of the scripts read so far, without pieces.
    pub fn ids(&self) -> Vec<String> {
        self.0.named.borrow().keys().cloned().collect()
    }

    /// Every `fn` of the session and of the scripts read so far.
    pub fn functions(&self) -> Vec<(String, Vec<String>)> {
        let mut functions = self.0.functions.borrow().clone();
        functions
            .extend(self.0.named.borrow().values().flat_map(|source| source.functions.clone()));
        functions
    }
}
