//! In which order a script wrote the keys of its maps. Rhai keeps a map sorted by its keys, so that
//! the order is looked up in the syntax tree: in the literal of the same keys that stands nearest.

use std::collections::BTreeMap;
use std::rc::Rc;

use rhai::{AST, ASTNode, Expr, NativeCallContext, Position, Stmt};
use serde_json::{Map, Value as Json};

use crate::script::program::source::{Source, Sources};

/// The keys that a script writes.
#[derive(Debug, Default, Clone)]
pub struct Written {
    literals: Vec<Literal>,
    /// Each key of a literal or of `map.key = x`, where it stands first.
    keys: BTreeMap<String, Position>,
}

#[derive(Debug, Clone)]
struct Literal {
    at: Position,
    keys: Vec<String>,
    /// The calls in whose arguments it stands.
    within: Vec<Position>,
}

impl Written {
    pub fn of(ast: &AST) -> Self {
        let mut written = Self::default();
        ast.walk(&mut |path| {
            match path.last() {
                Some(ASTNode::Expr(Expr::Map(parts, at))) => {
                    parts.0.iter().for_each(|(key, _)| written.note(&key.name, key.pos));
                    let keys = parts.0.iter().map(|(key, _)| key.name.to_string()).collect();
                    written.literals.push(Literal { at: *at, keys, within: calls(path) });
                }
                Some(ASTNode::Stmt(Stmt::Assignment(parts))) => {
                    if let Some(key) = assigned(&parts.1.lhs) {
                        written.note(key, parts.1.lhs.start_position());
                    }
                }
                _ => {}
            }
            true
        });
        written
    }

    fn note(&mut self, key: &str, at: Position) {
        let first = self.keys.entry(key.to_owned()).or_insert(at);
        *first = (*first).min(at);
    }

    /// The literal that `fits` with the most keys, and among those the one nearest to a call at
    /// `at`.
    fn nearest(&self, at: Position, fits: impl Fn(&[String]) -> bool) -> Option<&Literal> {
        let line = |position: Position| position.line().unwrap_or(0);
        let distance = |literal: &Literal| {
            let apart = line(literal.at).abs_diff(line(at));
            (
                std::cmp::Reverse(literal.keys.len()),
                !literal.within.contains(&at),
                apart,
                literal.at > at,
            )
        };
        self.literals
            .iter()
            .filter(|literal| fits(&literal.keys))
            .min_by_key(|literal| distance(literal))
    }
}

/// Where the calls that a node stands in are.
fn calls(path: &[ASTNode]) -> Vec<Position> {
    let call = |node: &ASTNode| match node {
        ASTNode::Stmt(Stmt::FnCall(_, at))
        | ASTNode::Expr(Expr::FnCall(_, at) | Expr::MethodCall(_, at)) => Some(*at),
        _ => None,
    };
    path.iter().filter_map(call).collect()
}

/// The last key of `map.key`, `map["key"]` and chains of them.
fn assigned(target: &Expr) -> Option<&str> {
    match target {
        Expr::Dot(sides, ..) | Expr::Index(sides, ..) => match &sides.rhs {
            Expr::Property(property, _) => Some(&property.2),
            Expr::StringConstant(key, _) => Some(key),
            chain => assigned(chain),
        },
        _ => None,
    }
}

/// The order of keys as it is seen from one call.
pub struct Order {
    at: Position,
    /// The script that calls first, then all others.
    sources: Vec<Rc<Source>>,
    known: BTreeMap<Vec<String>, Vec<String>>,
}

impl Order {
    pub fn of(call: &NativeCallContext, sources: &Sources) -> Self {
        Self {
            at: call.call_position(),
            sources: sources.from(call.call_source(), call.call_position()),
            known: BTreeMap::new(),
        }
    }

    /// Every map in the order in which the script wrote its keys.
    pub fn apply(&mut self, json: &mut Json) {
        match json {
            Json::Array(items) => items.iter_mut().for_each(|item| self.apply(item)),
            Json::Object(map) => self.map(map),
            _ => {}
        }
    }

    pub fn map(&mut self, map: &mut Map<String, Json>) {
        map.values_mut().for_each(|value| self.apply(value));
        for key in self.keys(map.keys().cloned().collect()) {
            if let Some((key, value)) = map.shift_remove_entry(&key) {
                map.insert(key, value);
            }
        }
    }

    /// Sorted keys as they were written: as in a literal of just these; else those of the largest
    /// literal that has no others, and what is assigned to it after it.
    pub fn keys(&mut self, keys: Vec<String>) -> Vec<String> {
        if keys.len() < 2 {
            return keys;
        }
        if let Some(known) = self.known.get(&keys) {
            return known.clone();
        }
        let fits = |literal: &[String]| {
            !literal.is_empty() && literal.iter().all(|key| keys.contains(key))
        };
        let found = self.sources.iter().filter_map(|source| source.written.nearest(self.at, fits));
        let found = found
            .reduce(|first, other| if other.keys.len() > first.keys.len() { other } else { first });
        let mut ordered = found.map_or_else(Vec::new, |literal| literal.keys.clone());
        let place = |key: &String| {
            let places = self.sources.iter().enumerate();
            places.filter_map(|(i, source)| Some((i, *source.written.keys.get(key)?))).next()
        };
        let mut others: Vec<String> =
            keys.iter().filter(|key| !ordered.contains(key)).cloned().collect();
        others.sort_by_key(|key| place(key).map_or((usize::MAX, Position::NONE), |place| place));
        ordered.extend(others);
        self.known.insert(keys, ordered.clone());
        ordered
    }
}
