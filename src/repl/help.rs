//! The text of `:help`: what a command, a hook point or a function is, with an example.

use std::collections::BTreeSet;

use super::commands::{COMMANDS, Command};
use crate::hook::{Point, PointName};
use crate::model::point_list;
use crate::output::picture::table::columns;
use crate::script::declare::{Declarations, Declared, Row};
use crate::script::reference::vocabulary::{Function, is_name};
use crate::script::run::console::terminal_width;
use crate::script::{Failure, Workspace};
use crate::{did_you_mean, error, nearest};

/// The most overloads of a Rhai function that are listed.
const MAX_OVERLOADS: usize = 12;

/// Every name that has a help text.
pub fn names(functions: &BTreeSet<Function>, declarations: &Declarations) -> BTreeSet<String> {
    let functions =
        functions.iter().map(|function| function.name.clone()).filter(|name| is_name(name));
    let documented = declarations.rows().map(|row| row.name().trim_start_matches('.').to_owned());
    let points = Point::ALL.iter().map(|point| point.name().to_owned());
    let commands = COMMANDS.iter().map(|command| command.name.to_owned());
    let lists = [FUNCTIONS.to_owned()];
    functions.chain(documented).chain(points).chain(commands).chain(lists).collect()
}

/// The lines of the list of commands. `:help` without a name shows it.
fn overview() -> Vec<String> {
    let mut lines = columns(
        COMMANDS.iter().map(|command| [usage(command), command.about.to_owned()]),
        terminal_width(),
    );
    lines.push(String::new());
    lines.push(
        "Anything else is a piece of script. Its value is shown, and what it defines stays.".into(),
    );
    lines.push("Tab completes, Ctrl-R searches what was typed before, Ctrl-C stops what runs, Ctrl-D leaves.".into());
    lines
}

/// What `:help` lists every function under.
const FUNCTIONS: &str = "functions";

/// The sections of the reference, with what each declares.
fn sections(declarations: &Declarations) -> Vec<(&'static str, Vec<&Declared>)> {
    let mut sections: Vec<(&str, Vec<&Declared>)> = Vec::new();
    for declared in declarations.iter().filter(|declared| !declared.rows.is_empty()) {
        match sections.iter_mut().find(|(title, _)| *title == declared.section) {
            Some((_, of_it)) => of_it.push(declared),
            None => sections.push((declared.section, vec![declared])),
        }
    }
    sections
}

/// The lines of the list of functions, by section.
fn functions(declarations: &Declarations) -> Vec<String> {
    let rows = sections(declarations).into_iter().map(|(title, declared)| {
        let mut names: Vec<&str> = declared.iter().map(|declared| declared.name).collect();
        names.dedup();
        [title.to_owned(), names.join("  ")]
    });
    let mut lines = columns(rows, terminal_width());
    lines.push(String::new());
    lines.push(":help NAME says what one of them does, as does the name of a section.".into());
    lines
}

/// The lines of the help on a section of the reference; none if there is no section of that name.
fn section(declarations: &Declarations, name: &str) -> Vec<String> {
    let sections = sections(declarations).into_iter();
    let rows = sections
        .filter(|(title, _)| title.eq_ignore_ascii_case(name))
        .flat_map(|(_, declared)| declared)
        .flat_map(|declared| &declared.rows)
        .map(|row| [row.plain_title(), row.gives.clone()]);
    columns(rows, terminal_width())
}

fn usage(command: &Command) -> String {
    format!("{} {}", command.name, command.argument).trim_end().to_owned()
}

/// The lines of the help on a name; without a name the list of commands.
///
/// # Errors
/// There is no function, hook point or command of that name.
pub fn about(workspace: &Workspace, name: &str) -> Result<Vec<String>, Failure> {
    if name.is_empty() {
        return Ok(overview());
    }
    let name = name.trim_matches(|c| c == '"' || c == '`').trim_end_matches("()");
    let declarations = workspace.host().declarations();
    if name == FUNCTIONS {
        return Ok(functions(&declarations));
    }
    let rows: Vec<Row> = declarations.rows().filter(|row| row.is(name)).collect();
    if let Some(command) =
        COMMANDS.iter().find(|command| command.name == name || &command.name[1..] == name)
        && (name.starts_with(':') || rows.is_empty())
    {
        return Ok(vec![usage(command), format!("  {}", command.about)]);
    }
    if let Ok(named) = PointName::parse(name) {
        return Ok(point(named.point));
    }
    let defined = workspace.host().session().namespace().functions();
    let functions = workspace.host().functions();
    let mut lines: Vec<String> = defined
        .iter()
        .filter(|(defined, _)| defined == name)
        .map(|(name, parameters)| format!("fn {name}({}), of this session", parameters.join(", ")))
        .collect();
    lines.extend(declarations.signatures(name));
    lines.extend(rows.iter().flat_map(described));
    if lines.is_empty() {
        let named = functions.iter().filter(|function| function.name == name && is_name(name));
        let mut shown: Vec<String> =
            named.map(|function| format!("  {}", function.show(false))).collect();
        shown.dedup();
        let more = shown.len().saturating_sub(MAX_OVERLOADS);
        shown.truncate(MAX_OVERLOADS);
        if more > 0 {
            shown.push(format!("  and {more} more"));
        }
        if !shown.is_empty() {
            lines.push(format!("{name}, a function of the language Rhai (https://rhai.rs/book):"));
            lines.extend(shown);
        }
    }
    if lines.is_empty() {
        lines = section(&declarations, name);
    }
    if lines.is_empty() {
        let names = names(&functions, &declarations);
        let known = names.iter().map(String::as_str);
        let error = error!("there is no help on {name}: it is no function, hook point or command");
        let near = did_you_mean(name, known.clone()).filter(|_| !nearest(name, known).is_empty());
        return Err(error
            .help(near.unwrap_or_else(|| {
                ":help lists the commands, :help functions the functions, :points the hook \
                     points"
                    .into()
            }))
            .into());
    }
    Ok(lines)
}

fn point(point: Point) -> Vec<String> {
    let [name, shape, holds, alias] = point_list::row(point, None);
    let mut lines = vec![format!("{name}, a hook point: {holds}"), format!("  shape {shape}")];
    if alias != "—" {
        lines.push(format!("  in TransformerLens {alias}"));
    }
    let layers = if point.in_block() { ", #{layers: -1}" } else { "" };
    lines.push(format!("  for example  let ctx = context([hook(\"{name}\", |x, ctx| {{ ctx.kept = x; }}{layers})]);"));
    lines
}

fn described(row: &Row) -> Vec<String> {
    let mut lines = vec![
        format!("{}: {}", row.plain_title(), row.gives),
        format!("  for example  {}", row.example),
    ];
    if !row.result.is_empty() {
        lines.push(format!("  gives        {}", row.result));
    }
    lines
}
