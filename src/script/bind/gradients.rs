//! `m.gradients(ids, points, metric)`: one pass, and the gradients of a number that is computed from
//! it with regard to what stands at hook points.

use candle_core::Tensor;
use rhai::{Array, Dynamic, FnPtr, Map, NativeCallContext};

use super::capture_points::CapturePoints;
use super::forward::Output;
use super::pass::{Depth, Pass};
use super::pass_options::{NAMES, PassOptions};
use super::tokens::to_read;
use crate::hook::{GradientCapture, Site, not_reached};
use crate::kernel::differentiable::is_without_graph;
use crate::model;
use crate::model::finite;
use crate::script::declare::{Gradient, OnGpu, Purity, Registry};
use crate::script::errors::error::{ScriptResult, of_call};
use crate::script::hook::backward::{backward, differentiable, warn_of_hooks_in_vain};
use crate::script::hook::context::Context;
use crate::script::reuse::Reuse;
use crate::script::value::model::Model;
use crate::script::value::options::Options;
use crate::script::value::record::Record;
use crate::script::value::{Handle, kept};
use crate::system::message::notice;
use crate::{Error, Result, error};

/// What a call of `m.gradients` is given besides the model and the ids.
struct Asked<'a> {
    points: Dynamic,
    metric: FnPtr,
    context: Option<&'a Context>,
    options: Map,
}

impl Pass<'_> {
    fn gradients(&self, reuse: &Reuse, ids: &Handle, asked: Asked) -> ScriptResult<Dynamic> {
        let result = self.gone_back(reuse, ids, asked);
        warn_of_hooks_in_vain(result.is_err());
        result
    }

    fn gone_back(&self, reuse: &Reuse, ids: &Handle, asked: Asked) -> ScriptResult<Dynamic> {
        let Asked { points, metric, context, options } = asked;
        if is_without_graph() {
            return Err(error!("gradients within no_grad: there is no graph to go back through")
                .help("call it outside")
                .into());
        }
        let decoder = &self.model.loaded().decoder;
        let options = Options::new("gradients", options, &[NAMES, &["layers"]].concat())?;
        let mut pass = PassOptions::read(&options, self.model.loaded())?;
        pass.options.gradients = true;
        let layers = options.get("layers");
        let points =
            CapturePoints::read("gradients", &points, layers.as_ref(), decoder, &mut pass.options)?;
        let mut watch = GradientCapture::new(points.places());
        let output = self.run(ids, context, &pass, &mut watch, reuse)?;

        let given = Dynamic::from(Output::from(output.clone()));
        let value = metric
            .call_raw(self.call, None, [given])
            .map_err(|error| of_call(error, &metric, of_one_parameter))?;
        let value = differentiable(&value, "the metric")?;
        let rows = rows(&value)?;
        let mut gradients = Vec::new();
        for row in &rows {
            let variables = backward(self.call.engine(), row)?;
            let found = watch.take(&variables);
            warn(&found)?;
            gradients.push(watch.by_site(found));
        }

        let activations = points.shaped(|point| point.tensor(watch.activations(), not_reached))?;
        let gradients = points.shaped(|point| {
            let each = gradients.iter().map(|found| point.tensor(found, not_connected));
            let each = each.collect::<Result<Vec<_>>>()?;
            match each.as_slice() {
                [one] if value.elem_count() == 1 => Ok(one.clone()),
                several => Ok(Tensor::stack(several, 0)?),
            }
        })?;
        // What hooks and the metric kept would hold the whole graph in memory.
        let own = context.map(Context::own_entries).unwrap_or_default();
        let hooks = context.map(Context::hooks).unwrap_or_default();
        let captured = hooks.iter().map(|hook| hook.pointer()).chain([&metric]);
        kept::leave_graph(
            own.into_values().chain(captured.flat_map(|of| of.curry().iter().cloned())).collect(),
        );
        let of_pass = Output::from(detached(output));
        let result = [
            ("value", Dynamic::from(Handle::lent(value.detach()))),
            ("gradients", gradients),
            ("activations", activations),
            ("out", Dynamic::from(of_pass)),
        ];
        Ok(Dynamic::from(result.into_iter().collect::<Record>()))
    }
}

/// The numbers to be differentiated, each a tensor of one number: a metric of \[k\] has k.
fn rows(value: &Tensor) -> Result<Vec<Tensor>> {
    match value.dims() {
        _ if value.elem_count() == 1 => Ok(vec![value.clone()]),
        &[k] if k > 0 => {
            Ok((0..k).map(|row| value.get(row)).collect::<candle_core::Result<_>>()?)
        }
        dims => Err(error!("the metric must be one number, or [k] for k gradients, not {dims:?}")
            .help("take its sum or its mean, or one element, as in out.logits[[0, -1, 5]]")),
    }
}

/// Says where the first gradient that is not finite appeared.
fn warn(found: &[(Site, Tensor)]) -> Result<()> {
    for (site, gradient) in found {
        if let Some(kind) = finite::kind(gradient)? {
            notice(format_args!(
                "warning: the gradient has {kind}, on its way back first at {site}"
            ));
            break;
        }
    }
    Ok(())
}

fn not_connected(site: Site) -> Error {
    error!("the metric does not depend on what stands at {site}: nothing connects the two")
        .help("is there a detach() between them, or does the metric read other tokens or points?")
}

fn of_one_parameter() -> Error {
    error!("the metric of gradients takes one parameter, what the pass gives")
        .help("as in |out| out.logits[[0, -1, 5]]")
}

fn detached(output: model::Output) -> model::Output {
    let detached = |x: Option<Tensor>| x.map(|x| x.detach());
    model::Output {
        logits: detached(output.logits),
        loss: detached(output.loss),
        unreduced_loss: detached(output.unreduced_loss),
        stopped: detached(output.stopped),
        ..output
    }
}

/// Registers `gradients`.
pub fn install(registry: &mut Registry, depth: &Depth, reuse: &Reuse) {
    let own = (depth.clone(), reuse.clone());
    /// The function with these arguments after the metric.
    macro_rules! gradients {
        ([$($arg:ident: $typ:ty),*] $context:expr, $options:expr) => {{
            let (depth, reuse) = own.clone();
            move |call: NativeCallContext,
                  m: Model,
                  ids: Dynamic,
                  points: Dynamic,
                  metric: FnPtr
                  $(, $arg: $typ)*|
                  -> ScriptResult<Dynamic> {
                let ids = to_read(&m, "gradients", &ids)?;
                let pass = Pass { call: &call, depth: &depth, model: &m };
                let context: Option<Context> = $context;
                let context = context.as_ref();
                pass.gradients(&reuse, &ids, Asked { points, metric, context, options: $options })
            }
        }};
    }
    registry
        .declare(
            "gradients(model, ids, points, metric, ctx, options)",
            Purity::Impure("runs a pass"),
            OnGpu::NO_TENSORS,
            Gradient::Outside,
        )
        .row(
            "one pass and one way back: (ids or texts, points, |out| a number computed from what \
            forward gives, context, #{layers, loss, mask}); a map of .value, .gradients (how it \
            changes with what stands at the points after their hooks, shaped as capture gives \
            them), .activations (what stands there) and .out. A model of a half type computes in \
            float32 here. In a post-norm model pre-attn and pre-mlp are the stream itself",
            "let g = m.gradients(ids, \"post-mlp\", |out| out.logits[[0, -1, 5]] - \
            out.logits[[0, -1, 9]]); g.gradients.shape == g.activations.shape",
            "true",
        )
        .row_for(
            "of the loss",
            "of a pass that is asked for it",
            "m.gradients(ids, \"attn-probs\", |out| out.loss, #{loss: true, layers: \
            -1}).gradients.rank",
            "4",
        )
        .row_for(
            "of several numbers",
            "a metric of [k] gives k gradients of one pass, with a leading axis",
            "m.gradients(ids, \"post-mlp\", |out| out.logits[[0, -1, 5..8]], #{layers: \
            0}).gradients.shape[0]",
            "3",
        )
        .row_for(
            "with hooks",
            "what they do with tensors is part of the graph: a gradient is that of the changed pass",
            "let g = m.gradients(ids, \"pre-block\", |out| out.logits[[0, -1, 5]], \
            [hook(\"attn-probs\", |x, ctx| x.detach())], #{layers: 0}); \
            g.gradients.abs().max().item() > 0.0",
            "true",
        )
        .function(gradients!([] None, Map::new()))
        .function(gradients!([options: Map] None, options))
        .function(gradients!([ctx: Context] Some(ctx), Map::new()))
        .function(gradients!([ctx: Context, options: Map] Some(ctx), options))
        .function(gradients!([hooks: Array] Some(Context::of("gradients", hooks)?), Map::new()))
        .function(gradients!([hooks: Array, options: Map] Some(Context::of(
            "gradients",
            hooks
        )?), options));
}
