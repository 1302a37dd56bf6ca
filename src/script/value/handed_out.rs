//! Properties that return a copy. After `m.config.key = x` Rhai assigns the changed copy back to
//! the property, and would ignore it silently if there were no setter; here the assignment is an
//! error.

use rhai::{Dynamic, Variant};

use super::same::is_same;
use crate::error;
use crate::script::declare::Declaration;
use crate::script::errors::error::ScriptResult;
use crate::script::value::Handle;

/// The help for a script that writes into a model's weights.
pub const WEIGHTS: &str = "a hook changes what they do in a pass, as in hook(\"attn-residual\", |x, ctx| { x *= 0.0; }); \
     m.with_weights gives a model with other weights";

/// Registers a declared property of `T`; `help` says what to do instead of writing into it.
pub fn property<T: Variant + Clone, V: Variant + Clone>(
    declaration: Declaration,
    help: &'static str,
    get: impl Fn(&mut T) -> ScriptResult<V> + Clone + 'static,
) {
    let name = declaration.name();
    declaration.get(get.clone()).set(move |of: &mut T, value: Dynamic| -> ScriptResult<()> {
        // Rhai writes back after a mere look, too.
        if is_untouched(&Dynamic::from(get(of)?), &value) {
            return Ok(());
        }
        Err(error!("{name} gives a copy: what is written into it is lost").help(help).into())
    });
}

/// Whether a copy came back unchanged.
fn is_untouched(handed: &Dynamic, back: &Dynamic) -> bool {
    match (handed.read_lock::<Handle>(), back.read_lock::<Handle>()) {
        (Some(handed), Some(back)) => {
            back.version() == 0 && handed.value().addresses() == back.value().addresses()
        }
        _ => is_same(handed, back),
    }
}
