//! The warning about a pass in which a NaN or an infinity appeared.

use crate::hook::{Site, SiteSet};
use crate::model::finite::{NotFinite, Origin};
use crate::script::hook::Hook;
use crate::system::message::notice;

/// Warns once for each pass where the first non-finite value appeared and, if hooks had changed
/// tensors there, where they were bound. `every` tells whether every point was checked.
pub fn warn(found: &NotFinite, hooks: &[(Hook, SiteSet)], every: bool) {
    let NotFinite { kind, place } = found;
    let said = match place {
        Origin::Made(site) => {
            format!("this pass made {kind} of finite numbers, first at {}", named(site))
        }
        Origin::Left(site) => {
            let there = lines(hooks, |sites| sites.contains(*site));
            format!("this pass has {kind}, first at {}{there}", named(site))
        }
        Origin::Within { layer, hooked } => {
            let there = lines(hooks, |sites| {
                *hooked && sites.iter().any(|site| site.layer == Some(*layer))
            });
            let more = if every { "" } else { "; --check-finite tells at which point" };
            format!("this pass has {kind}, first in layer {layer}{there}{more}")
        }
    };
    notice(format_args!("warning: {said}"));
}

fn named(site: &Site) -> String {
    match site.layer {
        Some(layer) => format!("{} of layer {layer}", site.point),
        None => site.point.to_string(),
    }
}

/// `, after the hook at line 12`.
fn lines(hooks: &[(Hook, SiteSet)], here: impl Fn(&SiteSet) -> bool) -> String {
    let hooks = hooks.iter().filter(|(_, sites)| here(sites));
    let lines: Vec<String> = hooks
        .map(|(hook, _)| hook.bound_at().1.line().map_or("?".into(), |line| line.to_string()))
        .collect();
    match lines.as_slice() {
        [] => String::new(),
        [one] => format!(", after the hook at line {one}"),
        [several @ .., last] => {
            format!(", after the hooks at lines {} and {last}", several.join(", "))
        }
    }
}
