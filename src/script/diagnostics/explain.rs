//! Rephrases Rhai's errors: what was expected, what was found, and what to try.

use std::collections::BTreeSet;

use rhai::{Dynamic, Engine, EvalAltResult, ParseErrorType};

use super::syntax;
use crate::script::errors::error::from_text;
use crate::script::errors::foreign::{self, On};
use crate::script::program::compile::is_closure;
use crate::script::program::location::Location;
use crate::script::program::own_names::in_words;
use crate::script::program::source::{Source, Sources};
use crate::script::reference::vocabulary::{Function, a, functions, is_name, members, word};
use crate::{Error, error, nearest};

/// The number of overloads of a function that a help line lists.
const OVERLOADS: usize = 4;

/// The sentence for `error` at `place` of `source`, in the function called `function` (`None` in a
/// closure).
pub fn explain(
    engine: &Engine,
    sources: &Sources,
    source: Option<&Source>,
    place: Option<&Location>,
    function: Option<&str>,
    error: &EvalAltResult,
) -> Error {
    use EvalAltResult::*;
    let type_word = |name: &str| a(word(engine.map_type_name(name)));
    match error {
        ErrorRuntime(value, _) => thrown(value),
        ErrorParsing(kind, _) => parsing(kind, source, place),
        ErrorFunctionNotFound(signature, _) => call(engine, sources, source, place, &in_words(signature)),
        ErrorVariableNotFound(name, _) if place.is_some_and(Location::is_assigned) => {
            error!("there is no variable {name} to assign to").help(format!("let {name} = … declares it"))
        }
        ErrorVariableNotFound(name, _) => variable(engine, sources, source, function, &in_words(name)),
        ErrorDotExpr(message, _) => property(engine, sources, message),
        ErrorIndexingType(types, _) => indexing(types),
        ErrorModuleNotFound(name, _) => {
            let name = in_words(name);
            error!("no module is imported as {name}").help(format!("import \"file\" as {name}; imports file.rhai"))
        }
        ErrorMismatchDataType(_, found, _) if found.contains("range") => {
            error!("an array has no range of places").help("array.extract(1..3) cuts it; a tensor takes [1..3]")
        }
        ErrorMismatchDataType(expected, found, _) if expected == "bool" && type_word(found) == "a tensor" => {
            error!("a bool was expected here, and a tensor came")
                .help("a tensor of one element gives it by .item(): (x > 0).all().item(), (x > 0).any().item()")
        }
        ErrorMismatchDataType(expected, found, _) | ErrorMismatchOutputType(expected, found, _) => {
            match (expected.as_str(), found.as_str()) {
                ("", found) => error!("{} is not expected here", type_word(found)),
                (expected, "") => error!("{} was expected here", type_word(expected)),
                (expected, found) => error!("{} was expected here, and {} came", type_word(expected), type_word(found)),
            }
        }
        ErrorArrayBounds(0, index, _) => error!("index {index} is outside the array: it is empty"),
        ErrorArrayBounds(length, index, _) => {
            error!("index {index} is outside the array: it has {length} elements").help(range_of(*length))
        }
        ErrorStringBounds(length, index, _) => {
            error!("index {index} is outside the string: it has {length} characters").help(range_of(*length))
        }
        ErrorFor(_) => {
            error!("for can't go through this value").help("an array, a range, a string or a tensor will do")
        }
        ErrorDataRace(name, _) => {
            let name = in_words(name);
            let (message, own) = match name.split('\'').nth(1) {
                Some(function) => {
                    let message = "is called on a value that the closure given to it captured";
                    (format!("{function}(…) {message}"), "log")
                }
                None => (format!("{name} is used by a closure while a call on it is running"), &*name),
            };
            Error::new(message).help(format!(
                "a closure captures the variable, not its value: give it a copy of its own, as in let own = {own};"
            ))
        }
        ErrorAssignmentToConstant(name, _) => {
            error!("{name} is a constant").help(format!("declare it with let {name} = … to change it"))
        }
        ErrorNonPureMethodCallOnConstant(name, _) => {
            error!("{} would change a constant", call_name(name)).help("declare it with let to change it")
        }
        ErrorUnboundThis(_) => error!("this has a value only in a function called after a dot"),
        ErrorStackOverflow(_) => error!("functions call each other more than {} deep", engine.max_call_levels())
            .help("does one call itself without end? A fn that reads this comes before a method of its name"),
        ErrorTooManyOperations(_) => {
            error!("the script takes more than {} steps", engine.max_operations()).help("--max-steps allows more")
        }
        ErrorTerminated(token, _) => from_text(&token.to_string()),
        other => error!("{}", in_words(&sentence(other))),
    }
}

/// The error of a text that does not compile. Syntax of other languages is recognised first.
fn parsing(kind: &ParseErrorType, source: Option<&Source>, place: Option<&Location>) -> Error {
    let Some(place) = place else { return syntax::explain(kind, None) };
    if let Some(error) = foreign::writing(&place.text, place.column) {
        return error;
    }
    // The text before the place; on the previous line, if the place follows a complete statement.
    let before = source.and_then(|source| {
        let above =
            place.line.checked_sub(1).filter(|_| source.line(place.line) == Some(&place.text));
        above.and_then(|line| source.line(line))
    });
    if [Some(place.text.as_str()), before].into_iter().flatten().any(foreign::divides) {
        return error!("// begins a comment here, and what follows it is not read").help(
            "integers divide as integers with /, so that 7 / 2 is 3; (7.0 / 2.0).floor() is 3.0",
        );
    }
    syntax::explain(kind, Some(place))
}

/// Rhai's own message, as a clause.
fn sentence(error: &EvalAltResult) -> String {
    let mut text = error.to_string();
    let position = format!(" ({})", error.position());
    if let Some(stripped) = text.strip_suffix(&position) {
        text = stripped.into();
    }
    syntax::uncapitalised(&text)
}

fn range_of(length: usize) -> String {
    match length {
        0 => "it is empty".into(),
        1 => "0 and -1 are the indices it has".into(),
        _ => format!("0 to {} count from the front, -1 to -{length} from the back", length - 1),
    }
}

/// The error for a thrown value: an error of this program passed on, a text, or any other value.
fn thrown(value: &Dynamic) -> Error {
    if value.is_unit() {
        return error!("the script threw an error without a message")
            .help("throw \"what went wrong\";");
    }
    if let Some(text) = value.read_lock::<rhai::ImmutableString>() {
        return from_text(&text);
    }
    error!("the script threw {value}")
}

fn call_name(name: &str) -> &str {
    name.strip_prefix("get$").or(name.strip_prefix("set$")).unwrap_or(name)
}

/// The error for a call that no overload takes.
fn call(
    engine: &Engine,
    sources: &Sources,
    source: Option<&Source>,
    place: Option<&Location>,
    signature: &str,
) -> Error {
    let (name, arguments) = signature.split_once(" (").unwrap_or((signature, ")"));
    let arguments = arguments.strip_suffix(')').unwrap_or(arguments);
    let arguments: Vec<&str> = arguments.split(", ").filter(|t| !t.is_empty()).map(word).collect();
    if is_closure(name) {
        return error!(
            "the closure takes another number of arguments than the {} it is called with",
            arguments.len()
        );
    }
    if !is_name(name) && !name.contains("::") {
        return operator(name, &arguments);
    }
    let known = functions(engine, sources);
    let after_dot = place.is_some_and(Location::after_dot);
    let (module, bare) =
        name.rsplit_once("::").map_or((None, name), |(module, bare)| (Some(module), bare));
    let overloads: Vec<&Function> = known.iter().filter(|f| f.name == bare).collect();
    let message = match (module, after_dot, arguments.split_first()) {
        (Some(module), ..) => {
            format!("module {module} has no function {bare}({})", arguments.join(", "))
        }
        (None, true, Some((&"nothing", _))) => {
            format!("{bare}() is called on nothing: what stands before it is ()")
        }
        (None, true, Some((on, rest))) if overloads.iter().any(|f| f.takes_first(on)) => {
            format!("{bare} of {} does not take ({})", a(on), rest.join(", "))
        }
        (None, true, Some((on, rest))) => {
            format!("{} has no method {bare}({})", a(on), rest.join(", "))
        }
        _ if overloads.is_empty() => format!("there is no function {bare}"),
        _ => format!("{bare} does not take ({})", arguments.join(", ")),
    };
    let error = Error::new(message);
    if source.is_some_and(|source| source.variables.contains(bare))
        && overloads.is_empty()
        && !after_dot
    {
        return error.help(format!(
            "{bare} is a variable: a closure in it is called with {bare}.call(…), a model with {bare}.forward(ids)"
        ));
    }
    if let Some(here) = elsewhere(bare, &arguments, after_dot, &overloads) {
        return error.help(here);
    }
    if arguments.first() == Some(&"nothing") && after_dot {
        return error.help("a map gives () for a key that it does not have, and a function without a value gives ()");
    }
    let first = arguments.first().copied().unwrap_or_default();
    if overloads.iter().any(|f| f.takes_first(first)) || (!overloads.is_empty() && !after_dot) {
        let mut fitting: Vec<&&Function> =
            overloads.iter().filter(|f| f.takes_first(first)).collect();
        if fitting.is_empty() {
            fitting = overloads.iter().collect();
        }
        let mut shown: Vec<String> = fitting.iter().map(|f| f.show(after_dot)).collect();
        shown.dedup();
        let more = shown.len().saturating_sub(OVERLOADS);
        shown.truncate(OVERLOADS);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        return error.help(format!("there is {}{more}", shown.join(", ")));
    }
    let (properties, methods) = members(&known, first);
    if after_dot && properties.contains(bare) {
        return error.help(format!("{bare} is a property: it is read without ()"));
    }
    let names: BTreeSet<&str> = match after_dot {
        true => properties.iter().chain(&methods).map(String::as_str).collect(),
        false => known.iter().map(|f| f.name.as_str()).filter(|name| is_name(name)).collect(),
    };
    with_nearest(error, bare, names)
}

/// How to write a call that comes from another library, or that takes other arguments here.
fn elsewhere(
    name: &str,
    arguments: &[&str],
    after_dot: bool,
    overloads: &[&Function],
) -> Option<String> {
    let first = arguments.first().copied().unwrap_or_default();
    match (name, arguments) {
        ("print", [_, _, ..]) => {
            return Some("print takes one value: print(`${x} ${y}`) prints two".into());
        }
        ("forward" | "generate" | "capture", ["model", "string", ..]) => {
            return Some(format!("ids come first: m.{name}(m.encode(\"When Mary\"))"));
        }
        ("append", ["array", _]) => {
            return Some("list.push(x) adds one, list += other all of another".into());
        }
        ("to_string", ["model", _, ..]) => {}
        _ if overloads.iter().any(|f| f.takes_first(first)) => return None,
        _ => {}
    }
    let on = if after_dot { On::of(first)? } else { On::Nothing };
    let here = foreign::name(on, name).or_else(|| foreign::name(On::of(first)?, name));
    here.map(str::to_owned)
}

fn operator(name: &str, arguments: &[&str]) -> Error {
    match arguments {
        [one] => error!("there is no {name} of {}", a(one)),
        [left, right] => {
            let error = error!("there is no {name} between {} and {}", a(left), a(right));
            match (*left, *right) {
                ("nothing", _) | (_, "nothing") => {
                    error.help("one side is (): a map gives it for a key that it does not have")
                }
                ("array", "int" | "float") | ("int" | "float", "array") => {
                    error.help("an array is a list of values: tensor(array) can be calculated with")
                }
                _ => error,
            }
        }
        _ => error!("there is no {name} of these values"),
    }
}

fn variable(
    engine: &Engine,
    sources: &Sources,
    source: Option<&Source>,
    function: Option<&str>,
    name: &str,
) -> Error {
    let error = error!("there is no variable {name} here");
    let variables = source.map(|source| &source.variables);
    if let Some(function) = function.filter(|_| variables.is_some_and(|known| known.contains(name)))
    {
        return error.help(format!(
            "a fn sees only its arguments: pass {name} to {function}, or make it a closure |…| {{ … }}"
        ));
    }
    if variables.is_some_and(|known| known.contains(name)) {
        return error.help(format!(
            "{name} is declared elsewhere in this script, after this line or within a block"
        ));
    }
    let known = functions(engine, sources);
    if known.iter().any(|f| f.name == name) {
        return error.help(format!("{name} is a function: call it as {name}(…)"));
    }
    if let Some(here) = foreign::name(On::Nothing, name) {
        return error.help(here);
    }
    let names = known.iter().map(|f| f.name.as_str()).filter(|name| is_name(name));
    let own = variables.into_iter().flatten().map(String::as_str);
    with_nearest(error, name, own.chain(names).collect())
}

/// The error for an unknown property. Rhai's message names the property and the type.
fn property(engine: &Engine, sources: &Sources, message: &str) -> Error {
    let mut quoted = message.split('\'').skip(1).step_by(2);
    let (Some(name), Some(type_name)) = (quoted.next(), quoted.next()) else {
        return error!("{}", syntax::uncapitalised(message));
    };
    let on = word(type_name);
    if on == "nothing" {
        return error!("{name} is looked up on nothing: what stands before it is ()")
            .help("a map gives () for a key that it does not have, and a function without a value gives ()");
    }
    let writes = message.contains("a setter");
    let (properties, methods) = members(&functions(engine, sources), on);
    if writes && properties.contains(name) {
        return error!("{name} of {} can't be set", a(on));
    }
    let error = error!("{} has no property {name}", a(on));
    if methods.contains(name) {
        return error.help(format!("{name} is a method: it is called as .{name}()"));
    }
    if let Some(here) = On::of(on).and_then(|on| foreign::name(on, name)) {
        return error.help(here);
    }
    with_nearest(error, name, properties.iter().chain(&methods).map(String::as_str).collect())
}

/// The error for an indexing that the type does not support. Rhai's message is `type [index]` or
/// `type [index] = value`.
fn indexing(types: &str) -> Error {
    let Some((of, index)) = types.split_once(" [") else {
        return error!("{types} can't be indexed");
    };
    let (index, value) = index.split_once(']').unwrap_or((index, ""));
    let of = a(word(of));
    match value.strip_prefix(" = ") {
        Some(value) => error!("{of} has no place [{}] to put {} into", word(index), a(word(value))),
        None => error!("{of} can't be indexed with {}", a(word(index))),
    }
}

fn with_nearest(error: Error, name: &str, known: BTreeSet<&str>) -> Error {
    match nearest(name, known).as_slice() {
        [] => error,
        [one] => error.help(format!("did you mean {one}?")),
        [rest @ .., last] => error.help(format!("did you mean {} or {last}?", rest.join(", "))),
    }
}
