//! The lists of a session: hook points, variables, hooks and models.

use std::time::Duration;

use candle_core::{DType, Device};
use rhai::{Array, Dynamic, FnPtr};

use crate::hook::Layers;
use crate::model::{Spec, point_list as point_rows};
use crate::output::picture::table::columns;
use crate::output::picture::{self};
use crate::script::Workspace;
use crate::script::hook::Hook;
use crate::script::hook::context::Context;
use crate::script::run::console::terminal_width;
use crate::script::value::Handle;
use crate::script::value::model::Model;

/// The most characters of a value that are shown beside its name.
const MAX_VALUE_CHARS: usize = 100;
/// The most elements of an array that are shown, and the most bars of a sparkline.
const MAX_ITEMS: usize = 60;

/// The hook points, with the shapes of the model `m` if there is one.
pub fn points(workspace: &Workspace) -> Vec<String> {
    let model = workspace.variable("m").and_then(Dynamic::try_cast::<Model>);
    let spec: Option<&Spec> = model.as_ref().map(|model| model.loaded().decoder.spec());
    let mut lines = columns(point_rows::rows(spec), terminal_width());
    lines.push(String::new());
    lines.extend(point_rows::legend());
    lines
}

/// The variables, functions and imports.
pub fn variables(workspace: &Workspace) -> Vec<String> {
    let rows: Vec<[String; 2]> = workspace
        .variables()
        .map(|variable| {
            let name =
                if variable.constant { format!("const {}", variable.name) } else { variable.name };
            [name, summary(workspace, &variable.value)]
        })
        .collect();
    let mut lines = columns(rows, terminal_width());
    let functions = workspace.host().session().namespace().functions();
    lines.extend(
        functions
            .iter()
            .map(|(name, parameters)| format!("  fn {name}({})", parameters.join(", "))),
    );
    lines.extend(
        workspace
            .host()
            .session()
            .namespace()
            .imports()
            .iter()
            .map(|name| format!("  import … as {name}")),
    );
    if lines.is_empty() {
        lines.push("there are no variables and no functions yet".into());
    }
    lines
}

/// A value on one line, shortened.
pub fn summary(workspace: &Workspace, value: &Dynamic) -> String {
    if let Some(array) = value.read_lock::<Array>().filter(|array| array.len() > MAX_ITEMS) {
        return format!("an array of {}", array.len());
    }
    let is_closure = value.read_lock::<FnPtr>().is_some_and(|function| function.is_anonymous());
    let shown = match value.is_string() {
        // Rhai's own text is the name that it gives the closure, `Fn(anon$…)`.
        _ if is_closure => "a closure".into(),
        true => format!("{:?}", value.clone().into_string().unwrap_or_default()),
        false => workspace.host().text_of(value),
    };
    let line = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MAX_VALUE_CHARS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// The hooks that variables hold: where each is bound, how often it was called in the last pass
/// that it took part in, and how long that took.
pub fn hooks(workspace: &Workspace) -> Vec<String> {
    let mut found: Vec<(String, Hook)> = Vec::new();
    for variable in workspace.variables() {
        let mut hooks = Vec::new();
        collect_hooks(&variable.value, &mut hooks);
        for hook in hooks {
            match found.iter_mut().find(|(_, known)| known.same(&hook)) {
                // A hook in an array and in a context is listed once, under the context: passes are
                // run with that.
                Some((name, _)) if variable.value.read_lock::<Context>().is_some() => {
                    name.clone_from(&variable.name)
                }
                Some(_) => {}
                None => found.push((variable.name.clone(), hook)),
            }
        }
    }
    if found.is_empty() {
        return vec![
            "no variable holds a hook: let ctx = context([hook(\"post-mlp\", |x, ctx| { … })]);"
                .into(),
        ];
    }
    let head = ["in", "point", "layers", "function", "fired", "took"].map(str::to_owned);
    let rows = found.into_iter().map(|(name, hook)| {
        let (point, layers) = hook.place();
        let function = match hook.function() {
            Some(function) => function.to_owned(),
            None => workspace
                .host()
                .place_of(&hook)
                .map_or_else(|| "a closure".into(), |at| format!("closure at {at}")),
        };
        let (fired, spent) = hook.tally().last_pass();
        let layers = if hook.in_block() { layers_text(layers) } else { "—".into() };
        let took = if fired == 0 { "—".into() } else { duration(spent) };
        [name, point, layers, function, fired.to_string(), took]
    });
    let mut lines = columns(std::iter::once(head).chain(rows), terminal_width());
    lines.push("fired and took are those of the last pass that each was in".into());
    let reused = workspace.host().session().reuse().report();
    if reused.passes > 0 {
        lines.push(format!("of what was run last, {reused}"));
    }
    lines
}

/// Collects the hooks of a value: a hook, a context, or an array of them.
fn collect_hooks(value: &Dynamic, into: &mut Vec<Hook>) {
    if let Some(hook) = value.read_lock::<Hook>() {
        into.push(hook.clone());
    } else if let Some(context) = value.read_lock::<Context>() {
        into.extend(context.hooks().iter().cloned());
    } else if let Some(array) = value.read_lock::<Array>() {
        array.iter().for_each(|value| collect_hooks(value, into));
    }
}

fn layers_text(layers: &Layers) -> String {
    match layers {
        Layers::All => "all".into(),
        Layers::Some(list) => list.iter().map(i64::to_string).collect::<Vec<_>>().join(", "),
        Layers::Range(start, i64::MAX) => format!("{start}..=-1"),
        Layers::Range(start, end) => format!("{start}..{end}"),
    }
}

/// The loaded models and the variables that hold them.
pub fn models(workspace: &Workspace) -> Vec<String> {
    let models = workspace.host().session().models().loaded();
    if models.is_empty() {
        return vec!["no model is loaded: let m = model(\"demo:opt\");".into()];
    }
    let mut lines = Vec::new();
    for model in models {
        let holds =
            |value: &Dynamic| value.read_lock::<Model>().is_some_and(|held| held.same(&model));
        let names: Vec<String> = workspace
            .variables()
            .filter(|variable| holds(&variable.value))
            .map(|variable| variable.name)
            .collect();
        let (record, spec) = (model.record(), model.loaded().decoder.spec());
        let names =
            if names.is_empty() { String::new() } else { format!("{}: ", names.join(", ")) };
        let revision = record.revision.map(|commit| format!(" at {commit}")).unwrap_or_default();
        lines.push(format!("{names}{}{revision}", record.id));
        let Spec {
            family,
            layers,
            hidden,
            heads,
            kv_heads,
            head_dim,
            feed_forward,
            vocabulary,
            ..
        } = spec;
        let shared = if heads == kv_heads {
            String::new()
        } else {
            format!(" ({kv_heads} of keys and values)")
        };
        lines.push(format!(
            "  {family}, {layers} layers of {hidden}, {heads} heads of {head_dim}{shared}"
        ));
        let most = spec.max_positions;
        lines.push(format!(
            "  feed-forward {feed_forward}, vocabulary {vocabulary}, made for {most} positions"
        ));
        lines.push(format!("  {} on {}", record.dtype, record.device));
    }
    lines
}

/// A sparkline of a real tensor [n] with at least three elements; nothing for other values.
pub fn sparkline(value: &Dynamic) -> Option<String> {
    let handle = value.read_lock::<Handle>()?;
    let value = handle.value();
    if value.rank() != 1 || value.numel() < 3 {
        return None;
    }
    let tensor = value.real("a sparkline").ok()?;
    let numbers =
        tensor.to_device(&Device::Cpu).and_then(|t| t.to_dtype(DType::F64)?.to_vec1()).ok()?;
    Some(picture::sparkline(&numbers, MAX_ITEMS))
}

/// A duration with three significant digits, as `12.3 ms`.
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let (number, unit) = match seconds {
        1.0.. => (seconds, "s"),
        1e-3.. => (seconds * 1e3, "ms"),
        _ => (seconds * 1e6, "µs"),
    };
    match number {
        100.0.. => format!("{number:.0} {unit}"),
        10.0.. => format!("{number:.1} {unit}"),
        _ => format!("{number:.2} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits() {
        let shown =
            [0.000_001_5, 0.0123, 0.9, 1.5, 1234.0].map(|s| duration(Duration::from_secs_f64(s)));
        assert_eq!(shown, ["1.50 µs", "12.3 ms", "900 ms", "1.50 s", "1234 s"]);
    }
}
