//! `ctx`: the map that one pass's hooks and the script share by reference.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use rhai::{Array, Dynamic};

use super::bound::Hook;
use crate::script::declare::{Gradient, OnGpu, Purity, Registry};
use crate::script::errors::error::ScriptResult;
use crate::script::value::kept;
use crate::script::value::options::describe;
use crate::script::value::same::is_same;
use crate::{Result, bail, did_you_mean, error};

/// The hooks of a pass, and the map that they share. A clone is the same context.
#[derive(Clone)]
pub struct Context(Rc<ContextState>);

struct ContextState {
    hooks: Vec<Hook>,
    entries: RefCell<BTreeMap<String, Dynamic>>,
    /// Set while a pass runs: a context serves one pass at a time.
    busy: Cell<bool>,
    /// Whether the context was converted to a string, which exposes the number of its hooks.
    described: Cell<bool>,
}

impl Context {
    /// The keys that the pass sets.
    pub const RESERVED: &[&str] = &[
        "all_ids",
        "config",
        "context",
        "ids",
        "layer",
        "mask",
        "point",
        "positions",
        "prompt_len",
        "step",
    ];

    /// A context with these hooks and no entries.
    pub fn new(hooks: Vec<Hook>) -> Self {
        Self(Rc::new(ContextState {
            hooks,
            entries: RefCell::default(),
            busy: Cell::new(false),
            described: Cell::new(false),
        }))
    }

    /// A context of the hooks in an array that the function `call` was given.
    ///
    /// # Errors
    /// An element is not a hook.
    pub fn of(call: &str, hooks: Array) -> Result<Self> {
        let hooks = hooks.into_iter().map(|hook| {
            let what = describe(&hook);
            hook.try_cast::<Hook>().ok_or_else(|| {
                error!("{call} takes an array of hooks, and one of its elements is {what}")
            })
        });
        Ok(Self::new(hooks.collect::<Result<_>>()?))
    }

    /// The hooks, in the order in which they are called.
    pub fn hooks(&self) -> &[Hook] {
        &self.0.hooks
    }

    /// The keys that the script set.
    pub fn keys(&self) -> Vec<String> {
        let entries = self.0.entries.borrow();
        entries.keys().filter(|key| !Self::RESERVED.contains(&key.as_str())).cloned().collect()
    }

    /// Whether both are the same context.
    pub fn same(&self, other: &Context) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }

    /// Marks the context as serving a pass until the returned guard is dropped.
    ///
    /// # Errors
    /// It serves one already: one of its hooks started a pass with it.
    pub fn enter(&self) -> Result<Serving> {
        if self.0.busy.replace(true) {
            return Err(error!(
                "this context is serving a pass already: a hook of it can't start another with it"
            )
            .help("give the inner pass a context of its own, or none"));
        }
        Ok(Serving(self.clone()))
    }

    /// Sets a key that the pass owns.
    pub fn set_reserved(&self, key: &'static str, value: Dynamic) {
        self.0.entries.borrow_mut().insert(key.into(), value);
    }

    /// Removes a key that the pass owns.
    pub fn clear_reserved(&self, key: &str) {
        self.0.entries.borrow_mut().remove(key);
    }

    /// The value of a key that the pass owns; `()` if it is not set.
    pub fn reserved(&self, key: &str) -> Dynamic {
        self.0.entries.borrow().get(key).cloned().unwrap_or_default()
    }

    /// The entries that the script set.
    pub fn own_entries(&self) -> BTreeMap<String, Dynamic> {
        let entries = self.0.entries.borrow();
        let own = entries.iter().filter(|(key, _)| !Self::RESERVED.contains(&key.as_str()));
        own.map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// Where it is, and how many hold it.
    pub(super) fn holders(&self) -> (*const (), usize) {
        (Rc::as_ptr(&self.0).cast(), Rc::strong_count(&self.0))
    }

    /// Replaces the entries that the script set.
    pub fn set_own_entries(&self, own: BTreeMap<String, Dynamic>) {
        let mut entries = self.0.entries.borrow_mut();
        entries.retain(|key, _| Self::RESERVED.contains(&key.as_str()));
        entries.extend(own);
    }

    /// Whether it was converted to a string since [`forget_description`](Self::forget_description).
    pub fn was_described(&self) -> bool {
        self.0.described.get()
    }

    /// Resets [`was_described`](Self::was_described).
    pub fn forget_description(&self) {
        self.0.described.set(false);
    }

    fn get(&self, key: &str) -> Result<Dynamic> {
        if key == "context" {
            return Ok(Dynamic::from(self.clone()));
        }
        // A pass outside generation counts as step 0.
        if key == "step" {
            return Ok(self.0.entries.borrow().get(key).cloned().unwrap_or(Dynamic::ZERO));
        }
        let entries = self.0.entries.borrow();
        if let Some(value) = entries.get(key) {
            return Ok(value.clone());
        }
        Err(match key {
            "layer" => error!("there is no layer here: the hook's point is not in a block")
                .help("ctx.get(\"layer\", ()) gives () there"),
            key if Self::RESERVED.contains(&key) => {
                error!("ctx.{key} is set while a pass runs, and none has run yet")
            }
            key => {
                let error = error!("the context has no key {key:?}");
                match did_you_mean(key, entries.keys().map(String::as_str)) {
                    Some(help) => error.help(help),
                    None => error.help("nothing has been put into it yet"),
                }
            }
        })
    }

    fn set(&self, key: &str, value: Dynamic) -> Result<()> {
        if Self::RESERVED.contains(&key) {
            // At the end of a chain such as `ctx.ids.sum()` Rhai assigns the receiver back to `ids`.
            let unchanged = match (value.read_lock::<Context>(), self.get(key)) {
                (Some(other), _) => key == "context" && other.same(self),
                (None, current) => current.is_ok_and(|current| is_same(&current, &value)),
            };
            if unchanged {
                return Ok(());
            }
            return Err(error!(
                "ctx.{key} belongs to the pass and can't be replaced by {}",
                describe(&value)
            )
            .help("keep your own values under a key of another name"));
        }
        let mut value = value;
        kept::by_value(&mut value);
        let holds_itself = value.read_lock::<Context>().is_some_and(|other| other.same(self));
        if holds_itself {
            bail!("a context can't hold itself");
        }
        self.0.entries.borrow_mut().insert(key.into(), value);
        Ok(())
    }

    fn remove(&self, key: &str) -> Result<Dynamic> {
        if Self::RESERVED.contains(&key) {
            bail!("ctx.{key} belongs to the pass and can't be removed");
        }
        Ok(self.0.entries.borrow_mut().remove(key).unwrap_or(Dynamic::UNIT))
    }
}

/// Marks a context as serving a pass. Dropping it removes the keys that describe one point of the
/// pass.
pub struct Serving(Context);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.0.busy.set(false);
        for key in ["layer", "point", "step"] {
            self.0.clear_reserved(key);
        }
    }
}

/// Registers contexts and their keys.
pub fn install(registry: &mut Registry) {
    registry.type_name::<Context>("context");
    registry
        .declare("context(hooks)", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .row(
            "the hooks of a pass, and the one map that they share with the script",
            "let ctx = context([hook(\"post-mlp\", |x, ctx| { ctx.last = x; })]); \
            m.forward(ids, ctx); ctx.last.rank",
            "3",
        )
        .function(|hooks: Array| -> ScriptResult<Context> { Ok(Context::of("context", hooks)?) })
        .function(|| Context::new(Vec::new()));
    registry
        .declare("ctx", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .row(
            "in a hook: .layer, .point, .config, .ids, .mask, .positions, .step (0 outside \
            generate), .all_ids (cached ones too, with their mask), .prompt_len, and what \
            you put there",
            "let ctx = context([hook(\"pre-block\", |x, ctx| { ctx.at = ctx.layer; })]); \
            m.forward(ids, ctx); ctx.at",
            "3",
        )
        .index_get(|ctx: &mut Context, key: &str| -> ScriptResult<Dynamic> { Ok(ctx.get(key)?) })
        .index_set(|ctx: &mut Context, key: &str, value: Dynamic| -> ScriptResult<()> {
            Ok(ctx.set(key, value)?)
        });
    registry
        .declare("contains(ctx, key)", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .row(r#"whether a context has a key: also "key" in ctx"#, r#""a" in context()"#, "false")
        .function(|ctx: &mut Context, key: &str| ctx.get(key).is_ok());
    registry
        .declare("get(ctx, key, otherwise)", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .row(
            "of a context: the value under a key, or a default",
            r#"context().get("seen", 0)"#,
            "0",
        )
        .function(|ctx: &mut Context, key: &str, default: Dynamic| ctx.get(key).unwrap_or(default))
        .function(|ctx: &mut Context, key: &str| -> ScriptResult<Dynamic> { Ok(ctx.get(key)?) });
    registry
        .declare("keys(ctx)", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .row(
            "of a context: the keys of your own",
            "let ctx = context(); ctx.a = 1; ctx.keys()",
            r#"["a"]"#,
        )
        .function(|ctx: &mut Context| -> Array {
            ctx.keys().into_iter().map(Into::into).collect()
        });
    registry
        .declare(
            "remove(ctx, key)",
            Purity::ChangesReceiver,
            OnGpu::NO_TENSORS,
            Gradient::NoTensors,
        )
        .row(
            "of a context: takes a key out, and gives its value",
            r#"let ctx = context(); ctx.a = 1; ctx.remove("a")"#,
            "1",
        )
        .function(|ctx: &mut Context, key: &str| -> ScriptResult<Dynamic> { Ok(ctx.remove(key)?) });
    registry
        .declare("to_string(x)", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .shown(show);
}

fn show(ctx: &mut Context) -> String {
    ctx.0.described.set(true);
    let count = ctx.0.hooks.len();
    let plural = if count == 1 { "" } else { "s" };
    format!("context of {count} hook{plural}, keys: [{}]", ctx.keys().join(", "))
}
