//! The names that completion chooses from: hook points, models, keys, modules and files.

use std::path::Path;

use rhai::Dynamic;

use super::lexer::KEYWORDS;
use crate::checkpoint::hub::cache;
use crate::checkpoint::{DEMOS, Hub};
use crate::hook::Point;
use crate::script::hook::context::Context;
use crate::script::value::model::Model;
use crate::script::value::record;
use crate::script::{Workspace, shipped_modules};

/// Rhai's keywords.
pub fn keywords() -> impl Iterator<Item = String> {
    KEYWORDS.iter().map(|word| (*word).to_owned())
}

/// The model in the variable `m`, or any that is loaded.
pub fn any_model(workspace: &Workspace) -> Option<Model> {
    let m = workspace.variable("m").and_then(Dynamic::try_cast::<Model>);
    m.or_else(|| workspace.host().session().models().loaded().into_iter().next())
}

/// The hook points by their own names and by TransformerLens's. Names with a layer are added once
/// `typed` has an `@` or begins with `blocks.`.
pub fn points(workspace: &Workspace, typed: &str) -> Vec<String> {
    let model = any_model(workspace);
    let spec = model.as_ref().map(|model| model.loaded().decoder.spec());
    let layers = spec.map_or(1, |spec| spec.layers);
    let has = |point: &Point| spec.is_none_or(|spec| spec.has(*point));
    let mut names = Vec::new();
    for point in Point::ALL.into_iter().filter(has) {
        names.push(point.name().to_owned());
        if point.in_block() && typed.contains('@') {
            names.extend((0..layers).map(|layer| format!("{point}@{layer}")));
        }
        let rotary = spec.map(|spec| spec.rotary().is_some());
        let aliases = point.alias().into_iter().flat_map(|alias| alias.names_in(rotary));
        for alias in aliases {
            match point.in_block() {
                true => names.extend((0..layers).map(|layer| format!("blocks.{layer}.{alias}"))),
                false => names.push(alias.to_owned()),
            }
        }
    }
    // Offer the layers first, and the points of a layer once it is typed.
    let chosen = typed.strip_prefix("blocks.").is_some_and(|rest| rest.contains('.'));
    if !chosen {
        names.retain(|name| !name.starts_with("blocks."));
        names.extend((0..layers).map(|layer| format!("blocks.{layer}.")));
    }
    names
}

/// The ids of the demo models and of the models in the Hub's cache.
pub fn models() -> Vec<String> {
    let demos = DEMOS.iter().map(|demo| format!("demo:{}", demo.name));
    demos.chain(cache::list_models(&Hub::default()).into_iter().map(|model| model.id)).collect()
}

/// The keys of a map or a context; none for other values.
pub fn keys(value: &Dynamic) -> Vec<String> {
    if let Some(map) = record::read(value) {
        return map.keys().map(|key| key.to_string()).collect();
    }
    value.read_lock::<Context>().map(|context| context.keys()).unwrap_or_default()
}

/// The keys of every context that a variable holds.
pub fn keys_of_all_contexts(workspace: &Workspace) -> Vec<String> {
    workspace
        .variables()
        .filter(|variable| variable.value.is::<Context>())
        .flat_map(|v| keys(&v.value))
        .collect()
}

/// The modules that can be imported: shipped ones, and scripts on disk without `.rhai`. Returns
/// where the word begins in `typed`, and the words that may replace it.
pub fn modules(typed: &str) -> (usize, Vec<String>) {
    let shipped: Vec<String> =
        shipped_modules().map(str::to_owned).filter(|name| name.starts_with(typed)).collect();
    let (at, paths) = paths(typed, 0);
    let own = paths.into_iter().filter_map(|path| match path.strip_suffix(".rhai") {
        Some(name) => Some(name.to_owned()),
        None => path.ends_with('/').then_some(path),
    });
    let own: Vec<String> = own.map(|name| format!("{}{name}", &typed[..at])).collect();
    (0, shipped.into_iter().chain(own).collect())
}

/// The files and directories that a typed path may continue with. Returns where the path's last
/// part begins, plus `offset`, and the names that may replace it; directories end with `/`.
pub fn paths(typed: &str, offset: usize) -> (usize, Vec<String>) {
    let split = typed.rfind('/').map_or(0, |slash| slash + 1);
    let (folder, part) = typed.split_at(split);
    let home = std::env::home_dir();
    let folder = match (folder.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => home.join(rest),
        _ if folder.is_empty() => ".".into(),
        _ => Path::new(folder).to_owned(),
    };
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let hidden = name.starts_with('.') && !part.starts_with('.');
            let folder = if entry.path().is_dir() { "/" } else { "" };
            let harmless = !name.chars().any(char::is_control);
            (name.starts_with(part) && !hidden && harmless).then(|| format!("{name}{folder}"))
        })
        .collect();
    names.sort();
    (offset + split, names)
}
