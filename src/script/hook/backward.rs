//! The way back: gradients of a number, and the hooks that are called on the way.
//!
//! candle walks back through the graph on the thread that asked for it, and calls the derivative of
//! each node. A hook on the way back is such a node. Nodes may be sent between threads, and what a
//! hook needs may not, so the node holds a number by which this thread finds the hook.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use candle_core::Tensor;
use candle_core::backprop::GradStore;
use rhai::{Dynamic, Engine, EvalAltResult};
use scoped_tls::scoped_thread_local;

use super::bound::Hook;
use super::context::Context;
use super::invoke::invoke;
use crate::hook::{Site, Slots, standing, through};
use crate::kernel::differentiable::watch::watching;
use crate::kernel::{differentiable, moved};
use crate::model::finite;
use crate::script::errors::error::ScriptResult;
use crate::script::value::options::describe;
use crate::script::value::{Handle, kept};
use crate::system::message::notice_once;
use crate::tensor::Value;
use crate::{Error, Result, bail, error};

scoped_thread_local!(static ENGINE: Engine);

thread_local! {
    static WAITING: RefCell<HashMap<u64, Rc<Waiting>>> = RefCell::default();
    static NEXT: Cell<u64> = const { Cell::new(0) };
    /// Hooks whose nodes are gone, and that were never called.
    static IN_VAIN: RefCell<Vec<Hook>> = const { RefCell::new(Vec::new()) };
    /// Whether hooks on the way back are not to be called.
    static PASSED_OVER: Cell<bool> = const { Cell::new(false) };
    /// The error of a hook on the way back in progress, with its position, which can't travel
    /// through candle.
    static FAILURE: RefCell<Option<Box<EvalAltResult>>> = const { RefCell::new(None) };
}

/// Takes the tensors that contexts keep out of their graphs, where nothing but hooks that wait can
/// see the context any more. Otherwise the graph would hold the hook, the hook its context, and the
/// context the graph, for ever.
fn let_go() {
    let unseen: Vec<Context> = WAITING.with_borrow(|all| {
        let mut here: HashMap<*const (), usize> = HashMap::new();
        for waiting in all.values() {
            *here.entry(waiting.context.holders().0).or_default() += 1;
        }
        let is_unseen = |of: &&Rc<Waiting>| {
            let (context, holders) = of.context.holders();
            here[&context] == holders
        };
        // Told before the first is cloned.
        let unseen: Vec<&Rc<Waiting>> = all.values().filter(is_unseen).collect();
        unseen.into_iter().map(|of| of.context.clone()).collect()
    });
    for context in unseen {
        context.set_own_entries(kept::out_of_graph(context.own_entries()));
    }
}

/// A hook that waits for the gradient at a site.
struct Waiting {
    hook: Hook,
    context: Context,
    site: Site,
    /// The tokens that it acts on; `None` for all.
    slots: Option<Slots>,
    /// The number of the pass, in which its calls count.
    pass: u64,
    reached: Rc<Reached>,
}

/// Whether a gradient came by a hook at any of its sites in a pass. Those that wait there hold it.
struct Reached {
    hook: Hook,
    is: Cell<bool>,
}

impl Drop for Reached {
    fn drop(&mut self) {
        if !self.is.get() {
            // At the thread's end nobody is told.
            let _ = IN_VAIN.try_with(|hooks| hooks.borrow_mut().push(self.hook.clone()));
        }
    }
}

/// Warns of hooks that waited for a gradient that can't come any more. To be called after each piece
/// of work that may have dropped a graph; `failed` says that it did not reach its end, so that no
/// gradient was to be expected.
pub fn warn_of_hooks_in_vain(failed: bool) {
    for hook in IN_VAIN.take() {
        if !failed {
            notice_once(format_args!(
                "warning: no gradient came by {}: what went back does not depend on what stands \
                 there",
                hook.describe()
            ));
        }
    }
}

/// Removes a hook from those that wait when its node is gone.
struct Number(u64);

impl Number {
    fn waiting(&self) -> Option<Rc<Waiting>> {
        WAITING.with_borrow(|all| all.get(&self.0).cloned())
    }
}

impl Drop for Number {
    fn drop(&mut self) {
        // On another thread, or at this one's end, there is nothing to remove.
        let _ = WAITING.try_with(|waiting| waiting.borrow_mut().remove(&self.0));
    }
}

/// The same numbers as `x`, a tensor of a graph. On the way back `hook` is called with the gradient
/// with regard to it, and may replace it.
///
/// # Errors
/// There is no memory for the copy.
pub fn wait(
    x: &Tensor,
    hook: &Hook,
    context: &Context,
    site: Site,
    slots: Option<Slots>,
    pass: u64,
) -> Result<Tensor> {
    let_go();
    let number = Number(NEXT.replace(NEXT.get() + 1));
    WAITING.with_borrow_mut(|all| {
        let before = all.values().find(|other| other.pass == pass && other.hook.same(hook));
        let reached = match before {
            Some(other) => other.reached.clone(),
            None => Rc::new(Reached { hook: hook.clone(), is: Cell::new(false) }),
        };
        let (hook, context) = (hook.clone(), context.clone());
        let waiting = Waiting { hook, context, site, slots, pass, reached };
        all.insert(number.0, Rc::new(waiting))
    });
    through(x, move |gradient| {
        if PASSED_OVER.get() {
            return Ok(gradient.clone());
        }
        match number.waiting().filter(|_| ENGINE.is_set()) {
            Some(waiting) => ENGINE.with(|engine| waiting.call(engine, gradient)),
            None => candle_core::bail!("a hook on the way back is called on its own thread alone"),
        }
    })
}

impl Waiting {
    fn call(&self, engine: &Engine, gradient: &Tensor) -> candle_core::Result<Tensor> {
        self.reached.is.set(true);
        let keys = ["point", "layer"];
        let before = keys.map(|key| self.context.reserved(key));
        self.context.set_reserved("point", self.site.point.name().into());
        match self.site.layer {
            Some(layer) => self.context.set_reserved("layer", (layer as i64).into()),
            None => self.context.clear_reserved("layer"),
        }
        let left = self.replaced(engine, gradient);
        for (key, value) in keys.into_iter().zip(before) {
            match value.is_unit() {
                true => self.context.clear_reserved(key),
                false => self.context.set_reserved(key, value),
            }
        }
        left.map_err(|failure| {
            let sentence = failure.to_string();
            FAILURE.with_borrow_mut(|slot| *slot = Some(failure));
            candle_core::Error::Msg(sentence)
        })
    }

    fn replaced(&self, engine: &Engine, gradient: &Tensor) -> ScriptResult<Tensor> {
        let part = match &self.slots {
            Some(slots) => slots.take(gradient)?,
            None => gradient.clone(),
        };
        let part = Value::Real(part);
        let left = invoke(&self.hook, engine, &self.context, self.site, &part, self.pass)?;
        let Some(left) = left else { return Ok(gradient.clone()) };
        let left = left.real("a hook on the way back")?.detach();
        Ok(match &self.slots {
            Some(slots) => slots.put(gradient, &left)?,
            None => left
                .to_device(gradient.device())
                .and_then(|left| left.to_dtype(gradient.dtype())?.contiguous())
                .map_err(Error::from)?,
        })
    }
}

/// Goes back from `loss`, a tensor of one number: the gradients of all variables that it depends
/// on. The hooks that wait on the way are called.
///
/// # Errors
/// A hook's own; a node without a derivative; out of memory.
pub fn backward(engine: &Engine, loss: &Tensor) -> ScriptResult<GradStore> {
    let gradients = ENGINE.set(engine, || differentiable::backward(loss));
    let_go();
    match FAILURE.take() {
        Some(failure) => Err(failure),
        None => Ok(gradients.map_err(Error::from)?),
    }
}

/// Where the first gradient that is not finite appears on the way back from `loss`, as in `, on its
/// way back first at post-mlp@2`; nothing if no point is known. The way is gone once more, and hooks
/// that wait there are not called again.
pub fn first_not_finite(loss: &Tensor) -> String {
    let first: Rc<Cell<Option<Site>>> = Rc::default();
    let found = first.clone();
    let see = move |tensor, gradient: &Tensor| {
        if found.get().is_none()
            && let Some(site) = standing::site_of(tensor)
            && matches!(finite::kind(gradient), Ok(Some(_)))
        {
            found.set(Some(site));
        }
    };
    /// Hooks are called again, also after a panic.
    struct Before;
    impl Drop for Before {
        fn drop(&mut self) {
            PASSED_OVER.set(false);
        }
    }
    PASSED_OVER.set(true);
    let before = Before;
    let gone = watching(see, || differentiable::backward(loss));
    drop(before);
    match first.get().filter(|_| gone.is_ok()) {
        Some(site) => format!(", on its way back first at {site}"),
        None => String::new(),
    }
}

/// The tensor that is to be differentiated; `what` names it in errors.
///
/// # Errors
/// It is no tensor of floats, or nothing that it depends on keeps its gradient.
pub fn differentiable(value: &Dynamic, what: &str) -> Result<Tensor> {
    let Some(handle) = value.read_lock::<Handle>() else {
        return Err(error!("{what} must be a tensor of one number, not {}", describe(value))
            .help("leave out .item(): a plain number has no gradient"));
    };
    let value = handle.value();
    let tensor = value.real(what)?;
    if !tensor.dtype().is_float() {
        bail!("{what} must be a tensor of floats, and it is {}", value.dtype_name());
    }
    if !tensor.track_op() {
        return Err(error!("{what} depends on nothing whose gradient is kept").help(
            "a variable, or a hook point that m.gradients is asked for, must take part in it \
             without being detached",
        ));
    }
    if let Some(shape) = moved::since(tensor) {
        return Err(error!(
            "{what} was computed before the variable {shape:?} moved: its gradients would mix old \
             numbers and new ones"
        )
        .help("compute it anew after a step; one optimiser can move the variables of several"));
    }
    Ok(tensor.clone())
}

#[cfg(test)]
mod tests {
    use super::WAITING;
    use crate::script::{Host, Settings};

    #[test]
    fn a_graph_goes_though_a_context_keeps_a_part_of_it() {
        let host = Host::new(Settings::default()).unwrap();
        let start = "let m = model(\"demo:opt\"); let ids = m.encode(\"Mary and John\"); \
            let t = m.trainable(\"*.0.fc2.*\"); let o = sgd(t.variables); \
            let back = hook(\"post-mlp@1\", |g, ctx| { ctx.seen = ctx.kept[0] * 2.0; g }, #{backward: true}); \
            let keep = hook(\"post-mlp@2\", |x, ctx| { ctx.kept = [x * 1.0]; });";
        for each in [
            // A context that nobody else ever held; that a function held; of which a part is held.
            "o.step(t.model.forward(ids, [back, keep], #{loss: true}).loss);",
            "gradient(t.model.forward(ids, [back, keep], #{loss: true}).loss, t.variables.values());",
            "let f = |n| { let c = context([back, keep]); let out = n.forward(ids, c, #{loss: true}); o.step(out.loss); }; \
             f.call(t.model);",
            "let c = context([back, keep]); let out = t.model.forward(ids, c, #{loss: true}); let part = c.kept[0]; c = (); \
             o.step(out.loss);",
        ] {
            let script = format!(
                "{start} for i in 0..3 {{ {each} }} \
                 t.model.forward(ids, [hook(\"post-mlp@1\", |g, ctx| g, #{{backward: true}})]); true"
            );
            assert!(host.eval(&script).unwrap().as_bool().unwrap(), "{each}");
            assert_eq!(WAITING.with_borrow(|all| all.len()), 0, "{each}");
        }
        // What others hold keeps its graph.
        let script = format!(
            "{start} let part = (); let own = hook(\"post-mlp@2\", |x, ctx| {{ part = x * 1.0; ctx.kept = [part]; }}); \
             let v = t.variables.values()[0]; \
             gradient(t.model.forward(ids, [back, own], #{{loss: true}}).loss, v); \
             gradient(part.sum(), v).abs().max().item() > 0.0"
        );
        assert!(host.eval(&script).unwrap().as_bool().unwrap());
    }
}
