//! `m.forward(ids)`: one pass through a model, and its output.

use std::rc::Rc;

use candle_core::Tensor;
use rhai::{Array, Dynamic, Map, NativeCallContext};

use super::capture::capture;
use super::pass::{Depth, Pass};
use super::pass_options::{NAMES, PassOptions};
use super::tokens::to_read;
use crate::error;
use crate::hook::Unobserved;
use crate::model;
use crate::script::declare::{Gradient, OnGpu, Purity, Registry};
use crate::script::errors::error::ScriptResult;
use crate::script::hook::context::Context;
use crate::script::reuse::Reuse;
use crate::script::value::Handle;
use crate::script::value::handed_out;
use crate::script::value::model::Model;
use crate::script::value::options::Options;

/// The output of `m.forward`.
#[derive(Clone)]
pub(super) struct Output(Rc<model::Output>);

impl From<model::Output> for Output {
    fn from(output: model::Output) -> Self {
        Self(Rc::new(output))
    }
}

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
        Ok(self.run(ids, context, &pass, &mut Unobserved, reuse)?.into())
    }
}

/// Registers `forward`, what it gives, and `capture`; the context and the options may be left out.
pub fn install(registry: &mut Registry, depth: &Depth, reuse: &Reuse) {
    install_forward(registry, depth, reuse);
    install_output(registry);
    install_capture(registry, depth, reuse);
}

/// A function of a model, ids or texts and more arguments, which are read into a pass over the ids.
macro_rules! pass {
    (
        $own:expr, $name:literal,
        |$pass:ident, $reuse:ident, $ids:ident $(, $arg:ident: $typ:ty)*| $body:expr
    ) => {{
        let (depth, reuse) = $own.clone();
        move |call: NativeCallContext, m: Model, $ids: Dynamic $(, $arg: $typ)*| {
            let $ids = to_read(&m, $name, &$ids)?;
            let ($pass, $reuse) = (Pass { call: &call, depth: &depth, model: &m }, &reuse);
            $body
        }
    }};
}

fn install_forward(registry: &mut Registry, depth: &Depth, reuse: &Reuse) {
    let own = (depth.clone(), reuse.clone());
    registry
        .declare(
            "forward(model, ids, ctx, options)",
            Purity::Impure("runs a pass"),
            OnGpu::NO_TENSORS,
            Gradient::Yes,
        )
        .row(
            "one pass: (ids or texts, context, #{loss, logits: \"all\" or \"last\" or \
            \"none\", stop: \"post-mlp@3\", start: \"pre-block@2\", from: x, mask, beyond, \
            check_finite})",
            r#"m.forward(ids, #{logits: "last"}).logits.shape[1]"#,
            "1",
        )
        .row_for(
            "of a text",
            "encoded as `encode` does",
            "m.forward(\"When Mary and John went to the store\").logits.shape == \
            m.forward(ids).logits.shape",
            "true",
        )
        .row_for(
            "with a mask",
            "the mask [b, n] of real tokens instead of the one that the ids carry; or [n, \
            n], [b, n, n], [b, 1, n, n]: 1 where a query may look at a key, beside the \
            causal mask",
            "let n = ids.shape[1]; let mask = ones([n, n]); mask[[n - 1, 2]] = 0; \
            m.capture(ids, \"attn-probs\", #{mask: mask, layers: 0})[[0, 0, -1, 2]].item()",
            "0.0",
        )
        .row_for(
            "with hooks",
            "an array of them serves in the place of a context, in `capture` and `generate` too",
            r#"m.forward(ids, [hook("logits", |x, ctx| x * 0.0)]).logits.abs().max().item()"#,
            "0.0",
        )
        .function(pass!(own, "forward", |pass, reuse, ids| {
            pass.forward(reuse, &ids, None, Map::new())
        }))
        .function(pass!(own, "forward", |pass, reuse, ids, options: Map| {
            pass.forward(reuse, &ids, None, options)
        }))
        .function(pass!(own, "forward", |pass, reuse, ids, ctx: Context| {
            pass.forward(reuse, &ids, Some(&ctx), Map::new())
        }))
        .function(pass!(own, "forward", |pass, reuse, ids, ctx: Context, options: Map| {
            pass.forward(reuse, &ids, Some(&ctx), options)
        }))
        .function(pass!(own, "forward", |pass, reuse, ids, hooks: Array| {
            pass.forward(reuse, &ids, Some(&Context::of("forward", hooks)?), Map::new())
        }))
        .function(pass!(own, "forward", |pass, reuse, ids, hooks: Array, options: Map| {
            pass.forward(reuse, &ids, Some(&Context::of("forward", hooks)?), options)
        }));
}

fn install_capture(registry: &mut Registry, depth: &Depth, reuse: &Reuse) {
    let own = (depth.clone(), reuse.clone());
    registry
        .declare(
            "capture(model, ids, points, ctx, options)",
            Purity::Impure("runs a pass"),
            OnGpu::NO_TENSORS,
            Gradient::Yes,
        )
        .row(
            "what stands at points, with no function to call: (ids or texts, points, \
            context, #{layers, mask, stop, logits, into, from}); a tensor for one, a map for several; \
            [l, …] over the layers",
            r#"m.capture(ids, "post-mlp").shape[0]"#,
            "4",
        )
        .row_for(
            "into a store, and from it",
            "#{into: s} also keeps what a pass without hooks gives in a store, a row for each token; \
            #{from: s} answers from one what it has, bit for bit, and computes the rest",
            "let s = store(\"kept\"); let a = m.capture(ids, \"post-mlp\", #{into: s}); let b = \
            m.capture(ids, \"post-mlp\", #{from: load_store(s)}); (a - b).abs().max().item()",
            "0.0",
        )
        .row_for(
            "by a pattern",
            "a map of the points that it fits, of those that the pass comes to",
            r#"m.capture(ids, "*-mask-attn-weights").keys()"#,
            r#"["post-mask-attn-weights", "pre-mask-attn-weights"]"#,
        )
        .row_for(
            "without points",
            "a map of all that a pass makes anyway: no scores, patterns, single heads, \
            scales of norms or losses",
            "let kept = m.capture(ids, #{layers: 0}); [\"post-mlp\" in kept, \"logits\" in \
            kept, \"attn-probs\" in kept]",
            "[true, true, false]",
        )
        .function(pass!(own, "capture", |pass, reuse, ids| {
            pass.capture(reuse, &ids, None, None, Map::new())
        }))
        .function(pass!(own, "capture", |pass, reuse, ids, points: Dynamic| {
            capture(&pass, reuse, &ids, points, Map::new())
        }))
        .function(pass!(own, "capture", |pass, reuse, ids, points: Dynamic, options: Map| {
            capture(&pass, reuse, &ids, points, options)
        }))
        .function(pass!(own, "capture", |pass, reuse, ids, points: Dynamic, ctx: Context| {
            pass.capture(reuse, &ids, Some(points), Some(&ctx), Map::new())
        }))
        .function(pass!(own, "capture", |pass,
                                         reuse,
                                         ids,
                                         points: Dynamic,
                                         ctx: Context,
                                         options: Map| {
            pass.capture(reuse, &ids, Some(points), Some(&ctx), options)
        }))
        .function(pass!(own, "capture", |pass, reuse, ids, points: Dynamic, hooks: Array| {
            pass.capture(
                reuse,
                &ids,
                Some(points),
                Some(&Context::of("capture", hooks)?),
                Map::new(),
            )
        }))
        .function(pass!(own, "capture", |pass,
                                         reuse,
                                         ids,
                                         points: Dynamic,
                                         hooks: Array,
                                         options: Map| {
            pass.capture(reuse, &ids, Some(points), Some(&Context::of("capture", hooks)?), options)
        }));
}

/// Registers what a pass gives.
fn install_output(registry: &mut Registry) {
    registry.type_name::<Output>("output");
    const OWN: &str = "give it a name first: let y = out.logits; y[0] = 0.0;";
    let logits = registry.declare(".logits", Purity::Pure, OnGpu::NO_TENSORS, Gradient::Yes).row(
        "of a pass: [b, n, v]",
        "m.forward(ids).logits.rank",
        "3",
    );
    handed_out::property(logits, OWN, |o: &mut Output| {
        o.part(&o.0.logits, "logits", "it was asked not to, or stopped")
    });
    let loss = registry.declare(".loss", Purity::Pure, OnGpu::NO_TENSORS, Gradient::Yes).row(
        "of a pass asked for it: the mean over real targets",
        "m.forward(ids, #{loss: true}).loss.item() > 0.0",
        "true",
    );
    handed_out::property(loss, OWN, |o: &mut Output| {
        o.part(&o.0.loss, "loss", "pass #{loss: true} to forward")
    });
    let unreduced =
        registry.declare(".unreduced_loss", Purity::Pure, OnGpu::NO_TENSORS, Gradient::Yes).row(
            "of a pass asked for the loss: each token's, [b, n-1], 0 where the target is \
        padding",
            "m.forward(ids, #{loss: true}).unreduced_loss.shape[1] == ids.shape[1] - 1",
            "true",
        );
    handed_out::property(unreduced, OWN, |o: &mut Output| {
        o.part(&o.0.unreduced_loss, "loss", "pass #{loss: true} to forward")
    });
    registry
        .declare(".targets", Purity::Pure, OnGpu::NO_TENSORS, Gradient::Outside)
        .row(
            "of a pass asked for the loss: how many targets are real; the sum of the \
            unreduced loss over them is the loss",
            "m.forward(ids, #{loss: true}).targets == ids.shape[1] - 1",
            "true",
        )
        .get(|o: &mut Output| -> ScriptResult<i64> {
            let none = || error!("this pass made no loss").help("pass #{loss: true} to forward");
            Ok(o.0.targets.map(|targets| targets as i64).ok_or_else(none)?)
        });
    let stopped = registry.declare(".stopped", Purity::Pure, OnGpu::NO_TENSORS, Gradient::Yes).row(
        "of a pass that was to stop: what stood there",
        "m.forward(ids, #{stop: \"post-mlp@0\"}).stopped.shape == [1, ids.shape[1], \
        m.config.hidden_size]",
        "true",
    );
    handed_out::property(stopped, OWN, |o: &mut Output| {
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
    registry
        .declare("to_string(x)", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .shown(show);
}
