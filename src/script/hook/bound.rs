//! A bound hook: a script's function, the points it is bound to, and how often it ran.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use rhai::{Dynamic, Engine, FnPtr, Position};

use super::target::{HookOptions, Target};
use crate::hook::{Layers, Tokens};
use crate::script::errors::error::ScriptResult;
use crate::script::fingerprint::reachable::{BoundCode, Reachable};
use crate::script::program::late_binding::Surroundings;
use crate::script::program::own_names::written;
use crate::script::value::handle::Keeper;
use crate::script::value::{Handle, kept};

/// A function bound to hook points. It holds the code of its script, and so works after the script
/// has ended. A clone is the same hook.
#[derive(Clone)]
pub struct Hook(pub(super) Rc<Bound>);

/// What [`Hook`] points to.
pub(super) struct Bound {
    /// The points, as the script wrote them.
    pub names: Vec<String>,
    /// The points that these names stand for.
    pub targets: Vec<Target>,
    /// The layers and tokens at which it fires.
    pub options: HookOptions,
    /// The bound function, with the variables that it captured.
    pub function: FnPtr,
    /// How the function is shown: its name, or `|x, ctx| …`.
    pub shown: String,
    /// The position of the call of `hook()`.
    pub position: Position,
    /// The scope in which the function's names are looked up.
    pub surroundings: Surroundings,
    /// The functions that it may call.
    pub code: BoundCode,
    /// How often it ran in its last pass.
    pub tally: Tally,
}

/// How often a hook ran in the last pass that it took part in, and for how long.
#[derive(Default)]
pub struct Tally {
    /// The number of that pass.
    pass: Cell<u64>,
    fired: Cell<usize>,
    spent: Cell<Duration>,
}

impl Tally {
    /// Starts counting anew unless `pass` is the pass being counted.
    pub(super) fn begin(&self, pass: u64) {
        if self.pass.replace(pass) != pass {
            self.fired.set(0);
            self.spent.set(Duration::ZERO);
        }
    }

    /// Counts one call that took `spent`.
    pub(super) fn count(&self, pass: u64, spent: Duration) {
        self.begin(pass);
        self.fired.set(self.fired.get() + 1);
        self.spent.set(self.spent.get() + spent);
    }

    /// The number of calls in the last pass, and the time that they took together.
    pub fn last_pass(&self) -> (usize, Duration) {
        (self.fired.get(), self.spent.get())
    }
}

impl Hook {
    /// The points, as the script wrote them.
    pub fn name(&self) -> String {
        self.0.names.join(", ")
    }

    /// Whether any of its points is inside a block.
    pub fn in_block(&self) -> bool {
        self.0.targets.iter().any(|target| target.named.point.in_block())
    }

    /// The tokens that it acts on.
    pub fn tokens(&self) -> &Tokens {
        &self.0.options.tokens
    }

    /// Whether it is called on the way back.
    pub fn is_backward(&self) -> bool {
        self.0.options.backward
    }

    /// The bound function, with the variables that it captured.
    pub fn pointer(&self) -> &FnPtr {
        &self.0.function
    }

    /// The functions that it can reach, by what their names mean now.
    pub fn reachable(&self) -> Rc<Reachable> {
        self.0.code.reachable(&self.0.surroundings)
    }

    /// `the hook at post-mlp (a.rhai:12:5)`.
    pub fn describe(&self) -> String {
        let (source, position) = self.bound_at();
        match self.reachable().place(source, position) {
            Some(place) => format!("the hook at {} ({place})", self.name()),
            None => format!("the hook at {}", self.name()),
        }
    }

    /// The points as the script wrote them, and the layers.
    pub fn place(&self) -> (String, &Layers) {
        match self.0.targets.as_slice() {
            [only] => (self.name(), &only.layers),
            _ => (self.name(), &self.0.options.layers),
        }
    }

    /// The function's name; `None` for a closure.
    pub fn function(&self) -> Option<&str> {
        (!self.0.function.is_anonymous()).then(|| written(self.0.function.fn_name()))
    }

    /// The name of the script that called `hook()`, and the position of the call in it.
    pub fn bound_at(&self) -> (&str, Position) {
        (self.0.surroundings.source(), self.0.position)
    }

    /// How often it ran in its last pass.
    pub fn tally(&self) -> &Tally {
        &self.0.tally
    }

    /// Whether both are the same binding.
    pub fn same(&self, other: &Hook) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }

    /// Calls the function with the tensor at a point and the pass's context.
    pub(super) fn call(&self, engine: &Engine, x: &Handle, ctx: Dynamic) -> ScriptResult<Dynamic> {
        let surroundings = self.0.surroundings.now();
        #[allow(deprecated)] // Rhai marks what may change in a later version as deprecated.
        let context = surroundings.create_context(engine);
        self.0.function.call_raw(&context, None, [Dynamic::from(x.clone()), ctx])
    }
}

impl Keeper for Bound {
    fn part(&self, given: &Handle) {
        kept::part(&self.function, given);
    }
}
