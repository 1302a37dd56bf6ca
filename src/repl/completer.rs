//! Tab completion: the words that may stand at the cursor.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use rhai::Dynamic;

use super::commands::{self, COMMANDS, Takes};
use super::lexer::{Kind, Token, tokens};
use super::{candidates, documented, help};
use crate::script::Workspace;
use crate::script::hook::context::Context;
use crate::script::reference::vocabulary::{Function, is_name, members};
use crate::script::value::model::Model;
use crate::script::value::record;
use crate::tensor::WeightSource;

/// Completes inputs with the names that a session knows.
pub struct ScriptCompleter {
    workspace: Rc<RefCell<Workspace>>,
}

/// What is known of the expression before a dot.
enum Receiver {
    /// A variable or a property of one.
    Value(Dynamic),
    /// The context that a hook's function takes. It has no value outside a pass.
    Context,
    /// The result of a call: the types that it may have, and its fields if it is a map.
    Returned { types: BTreeSet<String>, fields: BTreeSet<String> },
    /// Anything else; completed as a tensor, which is the most likely.
    Unknown,
}

impl ScriptCompleter {
    /// A completer for a session.
    pub fn new(workspace: &Rc<RefCell<Workspace>>) -> Self {
        Self { workspace: workspace.clone() }
    }

    /// Where the word at the cursor begins in `line`, and the words that may replace it. `at` is
    /// the cursor's position in bytes.
    pub fn complete(&self, line: &str, at: usize) -> (usize, Vec<String>) {
        let head = &line[..at];
        let workspace = self.workspace.borrow();
        if commands::is_command(head) {
            let start = head.len() - head.trim_start().len();
            let Some(space) = head[start..].find(char::is_whitespace) else {
                let names = COMMANDS.iter().map(|command| command.name.to_owned());
                return (start, beginning(&head[start..], names));
            };
            let argument = head.len() - head[start + space..].trim_start().len();
            let Ok((command, _)) = commands::parse(&format!("{} x", &head[start..start + space]))
            else {
                return (at, Vec::new());
            };
            return match command.takes {
                Takes::Nothing => (at, Vec::new()),
                Takes::Name => {
                    let names = help::names(
                        &workspace.host().functions(),
                        &workspace.host().declarations(),
                    );
                    (argument, beginning(&head[argument..], names))
                }
                Takes::File => candidates::paths(&head[argument..], argument),
                Takes::Script => script(&workspace, &head[argument..], argument),
            };
        }
        script(&workspace, head, 0)
    }
}

/// The words in `all` that begin with `typed`, sorted and without duplicates.
fn beginning(typed: &str, all: impl IntoIterator<Item = String>) -> Vec<String> {
    let fitting: BTreeSet<String> =
        all.into_iter().filter(|word| word.starts_with(typed)).collect();
    fitting.into_iter().collect()
}

/// Completes a piece of script. `head` is the text up to the cursor, and `offset` is where it
/// begins in the line.
fn script(workspace: &Workspace, head: &str, offset: usize) -> (usize, Vec<String>) {
    let tokens = tokens(head);
    let Some(last) = tokens.last() else { return (offset + head.len(), Vec::new()) };
    let at_end = last.end == head.len();
    match last.kind {
        Kind::Text if !last.closed && head[last.start..].starts_with('"') => {
            let start = last.start + 1;
            let (at, words) = string(workspace, head, &tokens, &head[start..]);
            (offset + start + at, words)
        }
        Kind::Text | Kind::Comment if at_end => (offset + head.len(), Vec::new()),
        Kind::Word | Kind::Keyword if at_end => {
            let start = last.start;
            let before = &tokens[..tokens.len() - 1];
            (offset + start, word(workspace, head, before, &head[start..]))
        }
        Kind::Open if at_end && is(head, last, "{") && within_options(head, &tokens) => {
            (offset + head.len(), word(workspace, head, &tokens, ""))
        }
        _ if at_end && is(head, last, ".") => {
            (offset + head.len(), word(workspace, head, &tokens, ""))
        }
        _ => (offset + head.len(), Vec::new()),
    }
}

fn is(text: &str, token: &Token, word: &str) -> bool {
    &text[token.start..token.end] == word
}

/// Completes a word after the tokens `before`: a member after a dot, an option's key in `#{`, or
/// the name of a variable, a function or a keyword.
fn word(workspace: &Workspace, head: &str, before: &[Token], typed: &str) -> Vec<String> {
    let functions = workspace.host().functions();
    match before.split_last() {
        Some((dot, chain)) if is(head, dot, ".") => {
            beginning(typed, members_of(workspace, &functions, receiver(workspace, head, chain)))
        }
        _ if expects_option(head, before) => {
            let keys = call(head, before)
                .map(|(name, _)| documented::keys(&workspace.host().declarations(), name))
                .unwrap_or_default();
            beginning(typed, keys)
        }
        _ => {
            let variables = workspace.variables().map(|variable| variable.name);
            let functions =
                functions.into_iter().map(|function| function.name).filter(|name| is_name(name));
            beginning(typed, variables.chain(functions).chain(candidates::keywords()))
        }
    }
}

/// Whether the key of a map may follow that is an argument of a call.
fn expects_option(head: &str, before: &[Token]) -> bool {
    let opened = before.iter().rposition(|token| token.kind == Kind::Open);
    let at_key = match before.last() {
        Some(last) if is(head, last, "{") => true,
        Some(last) => is(head, last, ",") && opened.is_some_and(|at| is(head, &before[at], "{")),
        None => false,
    };
    at_key && opened.is_some_and(|at| within_options(head, &before[..=at]))
}

/// Whether the last token opens a map among the arguments of a call: `f(x, #{`.
fn within_options(head: &str, tokens: &[Token]) -> bool {
    let [before @ .., open] = tokens else { return false };
    head[..open.start].ends_with('#') && call(head, before).is_some()
}

/// The result of a call: the types that functions of its name return, and the fields that the
/// reference documents if that may be a map.
fn returned(workspace: &Workspace, name: &str) -> Receiver {
    let mut types = workspace.host().gives(name);
    let may_be_map = types.remove("map") | types.remove("value");
    let tensors = members(&workspace.host().functions(), "tensor");
    let known = |field: &String| tensors.0.contains(field) || tensors.1.contains(field);
    let fields: BTreeSet<String> = match may_be_map {
        true => {
            let fields = documented::fields(&workspace.host().declarations(), name);
            fields.into_iter().filter(|field| !known(field)).collect()
        }
        false => BTreeSet::new(),
    };
    match fields.is_empty() && types.is_empty() {
        true => Receiver::Unknown,
        false => Receiver::Returned { types, fields },
    }
}

/// The expression before a dot: a call, or a variable with any number of properties after it.
/// `chain` is the tokens before the dot.
fn receiver(workspace: &Workspace, head: &str, chain: &[Token]) -> Receiver {
    if let Some((close, before)) = chain.split_last()
        && is(head, close, ")")
    {
        return match call(head, before) {
            Some((name, _)) => returned(workspace, name),
            None => Receiver::Unknown,
        };
    }
    let mut words = Vec::new();
    let mut rest = chain;
    loop {
        let Some((name, before)) = rest.split_last() else { return Receiver::Unknown };
        if name.kind != Kind::Word {
            return Receiver::Unknown;
        }
        words.push(&head[name.start..name.end]);
        match before.split_last() {
            Some((dot, before)) if is(head, dot, ".") => rest = before,
            _ => break,
        }
    }
    let Some(root) = words.pop() else { return Receiver::Unknown };
    let mut value = match workspace.variable(root) {
        Some(value) => value,
        None if root == "ctx" => match words.pop() {
            None => return Receiver::Context,
            Some("config") => candidates::any_model(workspace)
                .map(|m| m.loaded().config.clone().into())
                .unwrap_or_default(),
            Some(_) => return Receiver::Unknown,
        },
        None => return Receiver::Unknown,
    };
    for name in words.into_iter().rev() {
        match workspace.host().property(&value, name) {
            Some(next) => value = next,
            None => return Receiver::Unknown,
        }
    }
    Receiver::Value(value)
}

fn members_of(
    workspace: &Workspace,
    functions: &BTreeSet<Function>,
    receiver: Receiver,
) -> Vec<String> {
    let named = |of: &str| {
        let (properties, methods) = members(functions, of);
        properties.into_iter().chain(methods).collect::<Vec<String>>()
    };
    match receiver {
        Receiver::Unknown => named("tensor"),
        Receiver::Returned { types, fields } => {
            types.iter().flat_map(|of| named(of)).chain(fields).collect()
        }
        Receiver::Context => {
            let mut words = candidates::keys_of_all_contexts(workspace);
            words.extend(Context::RESERVED.iter().map(|key| (*key).to_owned()));
            words.extend(named("context"));
            words
        }
        Receiver::Value(value) => {
            let mut words = named(workspace.host().type_of(&value));
            if let Some(map) = record::read(&value) {
                words.extend(map.keys().map(|key| key.to_string()));
            }
            if let Some(context) = value.read_lock::<Context>() {
                words.extend(context.keys());
            }
            words
        }
    }
}

/// Completes inside a string, by what stands before it: hook points in `hook("…")`, keys in
/// `x["…"]`, files elsewhere. Returns where the word begins in the string, and the words that may
/// replace it.
fn string(
    workspace: &Workspace,
    head: &str,
    tokens: &[Token],
    typed: &str,
) -> (usize, Vec<String>) {
    let before = &tokens[..tokens.len() - 1];
    let word = |token: &Token| &head[token.start..token.end];
    match before {
        [.., name, bracket] if is(head, bracket, "[") && name.kind == Kind::Word => {
            let chain = &before[..before.len() - 1];
            let keys = match receiver(workspace, head, chain) {
                Receiver::Value(value) => candidates::keys(&value),
                Receiver::Context => candidates::keys_of_all_contexts(workspace),
                Receiver::Returned { fields, .. } => fields.into_iter().collect(),
                Receiver::Unknown => Vec::new(),
            };
            return (0, beginning(typed, keys));
        }
        [.., stop, colon] if is(head, colon, ":") && word(stop) == "stop" => {
            return (0, beginning(typed, candidates::points(workspace, typed)));
        }
        [.., import] if word(import) == "import" => return candidates::modules(typed),
        _ => {}
    }
    match call(head, before) {
        Some(("hook" | "capture", _)) => {
            (0, beginning(typed, candidates::points(workspace, typed)))
        }
        Some(("weight" | "weights", chain)) => {
            let model = match receiver(workspace, head, chain) {
                Receiver::Value(value) => value.try_cast::<Model>(),
                _ => candidates::any_model(workspace),
            };
            let weights =
                model.map(|model| model.loaded().checkpoint.weights.names()).unwrap_or_default();
            (0, beginning(typed, weights))
        }
        Some(("get" | "remove" | "contains", chain)) => {
            let keys = match receiver(workspace, head, chain) {
                Receiver::Value(value) => candidates::keys(&value),
                _ => candidates::keys_of_all_contexts(workspace),
            };
            (0, beginning(typed, keys))
        }
        Some(("model", _)) => {
            let mut models = beginning(typed, candidates::models());
            let (at, paths) = candidates::paths(typed, 0);
            if at == 0 {
                models.extend(paths);
                return (0, models);
            }
            if models.is_empty() { (at, paths) } else { (0, models) }
        }
        _ => candidates::paths(typed, 0),
    }
}

/// The innermost call that is open after the tokens `before`: the function's name, and for a method
/// the tokens before the dot.
fn call<'t>(head: &'t str, before: &'t [Token]) -> Option<(&'t str, &'t [Token])> {
    let mut open = 0;
    for (i, token) in before.iter().enumerate().rev() {
        match token.kind {
            Kind::Close => open += 1,
            Kind::Open if open > 0 => open -= 1,
            // The open bracket of an array or a map among the arguments.
            Kind::Open if !is(head, token, "(") => {}
            Kind::Open => {
                let name = before[..i].last().filter(|name| name.kind == Kind::Word)?;
                let chain = match before[..i - 1].split_last() {
                    Some((dot, chain)) if is(head, dot, ".") => chain,
                    _ => &[],
                };
                return Some((&head[name.start..name.end], chain));
            }
            _ => {}
        }
    }
    None
}
