//! `m.forward(ids)`: one pass through a model, and its output.

use std::rc::Rc;

use candle_core::Tensor;
use rhai::{Array, Dynamic, Engine, Map, NativeCallContext};

use super::capture::capture;
use super::pass::{Depth, Pass};
use super::pass_options::{NAMES, PassOptions};
use super::tokens::to_read;
use crate::error;
use crate::hook::Unobserved;
use crate::model;
use crate::script::errors::error::ScriptResult;
use crate::script::hook::context::Context;
use crate::script::reuse::Reuse;
use crate::script::value::Handle;
use crate::script::value::handed_out;
use crate::script::value::model::Model;
use crate::script::value::options::Options;

/// The output of `m.forward`.
#[derive(Clone)]
struct Output(Rc<model::Output>);

impl Output {
    /// One tensor of the output.
    ///
    /// # Errors
    /// The pass did not compute it; `how` tells what to do.
    fn part(&self, part: &Option<Tensor>, name: &str, how: &str) -> ScriptResult<Handle> {
        match part {
            Some(tensor) => Ok(Handle::lent(tensor.clone())),
            None => Err(error!("this pass made no {name}").help(how).into()),
        }
    }
}

impl Pass<'_> {
    fn forward(
        &self,
        reuse: &Reuse,
        ids: &Handle,
        context: Option<&Context>,
        options: Map,
    ) -> ScriptResult<Output> {
        let options = Options::new("forward", options, NAMES)?;
        let pass = PassOptions::read(&options, self.model.loaded())?;
        Ok(Output(Rc::new(self.run(ids, context, &pass, &mut Unobserved, reuse)?)))
    }
}

/// Registers `forward` and `capture`, each with the context and the options optional.
pub fn install(engine: &mut Engine, depth: &Depth, reuse: &Reuse) {
    macro_rules! pass {
        ($name:literal, |$pass:ident, $reuse:ident, $ids:ident $(, $arg:ident: $typ:ty)*| -> $out:ty $body:block) => {{
            let (depth, own) = (depth.clone(), reuse.clone());
            engine.register_fn(
                $name,
                move |call: NativeCallContext, m: &mut Model, $ids: Dynamic $(, $arg: $typ)*| -> ScriptResult<$out> {
                    let $ids = to_read(m, $name, &$ids)?;
                    let ($pass, $reuse) = (Pass { call: &call, depth: &depth, model: m }, &own);
                    $body
                },
            );
        }};
    }
    pass!("forward", |pass, reuse, ids| -> Output { pass.forward(reuse, &ids, None, Map::new()) });
    pass!("forward", |pass, reuse, ids, options: Map| -> Output {
        pass.forward(reuse, &ids, None, options)
    });
    pass!("forward", |pass, reuse, ids, ctx: Context| -> Output {
        pass.forward(reuse, &ids, Some(&ctx), Map::new())
    });
    pass!("forward", |pass, reuse, ids, ctx: Context, options: Map| -> Output {
        pass.forward(reuse, &ids, Some(&ctx), options)
    });
    pass!("forward", |pass, reuse, ids, hooks: Array| -> Output {
        pass.forward(reuse, &ids, Some(&Context::of("forward", hooks)?), Map::new())
    });
    pass!("forward", |pass, reuse, ids, hooks: Array, options: Map| -> Output {
        pass.forward(reuse, &ids, Some(&Context::of("forward", hooks)?), options)
    });
    pass!("capture", |pass, reuse, ids| -> Dynamic {
        pass.capture(reuse, &ids, None, None, Map::new())
    });
    pass!("capture", |pass, reuse, ids, points: Dynamic| -> Dynamic {
        capture(&pass, reuse, &ids, points, Map::new())
    });
    pass!("capture", |pass, reuse, ids, points: Dynamic, options: Map| -> Dynamic {
        capture(&pass, reuse, &ids, points, options)
    });
    pass!("capture", |pass, reuse, ids, points: Dynamic, ctx: Context| -> Dynamic {
        pass.capture(reuse, &ids, Some(points), Some(&ctx), Map::new())
    });
    pass!("capture", |pass, reuse, ids, points: Dynamic, ctx: Context, options: Map| -> Dynamic {
        pass.capture(reuse, &ids, Some(points), Some(&ctx), options)
    });
    pass!("capture", |pass, reuse, ids, points: Dynamic, hooks: Array| -> Dynamic {
        pass.capture(reuse, &ids, Some(points), Some(&Context::of("capture", hooks)?), Map::new())
    });
    pass!("capture", |pass, reuse, ids, points: Dynamic, hooks: Array, options: Map| -> Dynamic {
        pass.capture(reuse, &ids, Some(points), Some(&Context::of("capture", hooks)?), options)
    });
}

/// Registers the type of the output.
pub fn install_output(engine: &mut Engine) {
    engine.register_type_with_name::<Output>("output");
    const OWN: &str = "give it a name first: let y = out.logits; y[0] = 0.0;";
    handed_out::property(engine, "logits", OWN, |o: &mut Output| {
        o.part(&o.0.logits, "logits", "it was asked not to, or stopped")
    });
    handed_out::property(engine, "loss", OWN, |o: &mut Output| {
        o.part(&o.0.loss, "loss", "pass #{loss: true} to forward")
    });
    handed_out::property(engine, "unreduced_loss", OWN, |o: &mut Output| {
        o.part(&o.0.unreduced_loss, "loss", "pass #{loss: true} to forward")
    });
    engine.register_get("targets", |o: &mut Output| -> ScriptResult<i64> {
        let none = || error!("this pass made no loss").help("pass #{loss: true} to forward");
        Ok(o.0.targets.map(|targets| targets as i64).ok_or_else(none)?)
    });
    handed_out::property(engine, "stopped", OWN, |o: &mut Output| {
        o.part(&o.0.stopped, "early stop", "pass #{stop: \"post-mlp@0\"} to forward")
    });
    let show = |o: &mut Output| {
        let shape = |name: &str, part: &Option<Tensor>| {
            part.as_ref().map(|t| format!("{name} {:?}", t.dims()))
        };
        let parts = [
            shape("logits", &o.0.logits),
            shape("loss", &o.0.loss),
            shape("unreduced_loss", &o.0.unreduced_loss),
            shape("stopped", &o.0.stopped),
        ];
        format!("output of a pass: {}", parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
    };
    engine.register_fn("to_string", show);
    engine.register_fn("to_debug", show);
}
