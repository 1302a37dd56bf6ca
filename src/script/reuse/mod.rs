//! Layers that need not run again. When a pass is asked for with the model and tokens of an earlier
//! one, and its hooks are the same up to some layer, what stood where that layer begins is put
//! back: the residual stream, and what the hooks had left in the context by then. Results are the
//! same to the last bit.
//!
//! A hook can be left out if its code, all that it may call and all that it captured are known and
//! the same, and calling it does nothing but give a tensor and write into the context. That it left
//! everything else alone is checked as it runs.

mod cache_key;
mod call_graph;
mod function_code;
mod purity;
mod resumed_pass;
mod saved_context;
mod store;

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;

pub use cache_key::plain;
pub use call_graph::{Code, Sight};
use purity::Natives;
pub use resumed_pass::run;
use rhai::{AST, ASTNode, Engine, Expr, Stmt};
use store::Store;

use super::program::modules::Modules;
use crate::tensor::budget;

/// What is held at most if nothing else is said, in bytes.
pub const MEMORY: u64 = 1 << 30;

/// What the passes of a session may reuse. A clone is the same one.
#[derive(Clone)]
pub struct Reuse(Rc<Inner>);

struct Inner {
    limit: u64,
    store: RefCell<Store>,
    natives: OnceCell<Rc<Natives>>,
    report: RefCell<Report>,
    /// Whether the next pass is the first of a report.
    anew: Cell<bool>,
}

/// What became of the passes since [`Reuse::begin`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    pub passes: usize,
    /// Blocks that all passes together would have run, and those of them that did not have to.
    pub layers: usize,
    pub reused: usize,
    pub last: Option<Last>,
    /// Of the last pass of which not every block's end could be kept: the first such block, and
    /// why.
    pub limit: Option<(usize, String)>,
}

/// What became of one pass.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Last {
    pub layers: usize,
    /// The first block that ran: those before it were not run again.
    pub from: usize,
    /// The first block after which nothing can be kept, and why: the hook there, and what it does.
    pub limit: Option<(usize, String)>,
}

impl Reuse {
    /// Holds `limit` bytes at most; with 0 nothing is reused.
    pub fn new(limit: u64) -> Self {
        let inner = Rc::new(Inner {
            limit,
            store: RefCell::default(),
            natives: OnceCell::new(),
            report: RefCell::default(),
            anew: Cell::new(false),
        });
        let spare = Rc::downgrade(&inner);
        budget::set_spare(move || {
            if let Some(inner) = spare.upgrade()
                && let Ok(mut store) = inner.store.try_borrow_mut()
            {
                store.clear();
            }
        });
        Self(inner)
    }

    /// Bytes held now.
    pub fn bytes(&self) -> u64 {
        self.0.store.borrow().bytes()
    }

    /// Has the next pass start the report anew. What is held stays.
    pub fn begin(&self) {
        self.0.anew.set(true);
    }

    pub fn report(&self) -> Report {
        self.0.report.borrow().clone()
    }

    /// What finds the functions that a hook may call.
    pub fn code(&self, engine: &Engine, modules: &Modules) -> Code {
        Code::new(modules, self.natives(engine))
    }

    fn natives(&self, engine: &Engine) -> Rc<Natives> {
        self.0.natives.get_or_init(|| Rc::new(Natives::of(engine))).clone()
    }

    /// Whether a text is one expression that gives a value, does nothing else and changes no
    /// variable.
    pub fn only_looks(&self, engine: &Engine, ast: &AST) -> bool {
        let [Stmt::Expr(_) | Stmt::FnCall(..)] = ast.statements() else { return false };
        let natives = self.natives(engine);
        let mut looks = ast.iter_functions().all(|function| function.name.starts_with("anon$"));
        ast.walk(&mut |path| {
            looks &= match path.last() {
                Some(
                    ASTNode::Expr(Expr::FnCall(call, _) | Expr::MethodCall(call, _))
                    | ASTNode::Stmt(Stmt::FnCall(call, _)),
                ) => natives.is_pure(&call.name) && !purity::CHANGING.contains(&call.name.as_str()),
                Some(ASTNode::Stmt(statement)) => matches!(statement, Stmt::Expr(_)),
                _ => true,
            };
            looks
        });
        looks
    }

    fn is_off(&self) -> bool {
        self.0.limit == 0
    }

    fn note(&self, last: Last) {
        let mut report = self.0.report.borrow_mut();
        if self.0.anew.take() {
            *report = Report::default();
        }
        report.passes += 1;
        report.layers += last.layers;
        report.reused += last.from;
        report.limit = last.limit.clone().or(report.limit.take());
        report.last = Some(last);
    }
}

impl std::fmt::Display for Report {
    /// `5 of 6 layers in 1 pass were not run again`, and why not more.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let passes = if self.passes == 1 { "pass" } else { "passes" };
        write!(
            f,
            "{} of {} layers in {} {passes} were not run again",
            self.reused, self.layers, self.passes
        )?;
        match &self.limit {
            Some((0, why)) => write!(f, "; every layer runs in every pass, as {why}"),
            Some((layer, why)) => {
                write!(f, "; layer {layer} and those after it run in every pass, as {why}")
            }
            None => Ok(()),
        }
    }
}
