//! The keys of a script's map literals, in source order. Rhai sorts a map by its keys, so the order
//! is read from the syntax tree.

use std::collections::BTreeMap;

use rhai::{AST, ASTNode, Expr, Position, Stmt};

/// The keys that a script writes.
#[derive(Debug, Default, Clone)]
pub struct Written {
    literals: Vec<Literal>,
    /// Each key of a literal or of `map.key = x`, with its first position.
    pub keys: BTreeMap<String, Position>,
}

/// A map literal.
#[derive(Debug, Clone)]
pub struct Literal {
    at: Position,
    /// Its keys, in source order.
    pub keys: Vec<String>,
    /// The calls that contain it in their arguments.
    within: Vec<Position>,
}

impl Written {
    /// The keys in a compiled script.
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

    /// The literal with the most keys among those for which `fits` is true; of several, the one
    /// nearest to a call at `at`.
    pub fn nearest(&self, at: Position, fits: impl Fn(&[String]) -> bool) -> Option<&Literal> {
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

/// The positions of the calls that contain a node.
fn calls(path: &[ASTNode]) -> Vec<Position> {
    let call = |node: &ASTNode| match node {
        ASTNode::Stmt(Stmt::FnCall(_, at))
        | ASTNode::Expr(Expr::FnCall(_, at) | Expr::MethodCall(_, at)) => Some(*at),
        _ => None,
    };
    path.iter().filter_map(call).collect()
}

/// The last key of an assignment to `map.key` or `map["key"]`.
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
