//! The keys of the maps that a script writes out, in the order in which it does. Rhai keeps a map
//! sorted by its keys, so the order is read from the syntax tree.

use std::collections::BTreeMap;

use rhai::{AST, ASTNode, Expr, Position, Stmt};

/// The keys that a script writes.
#[derive(Debug, Default, Clone)]
pub struct Written {
    literals: Vec<Literal>,
    /// Each key of a literal or of `map.key = x`, where it stands first.
    pub keys: BTreeMap<String, Position>,
}

#[derive(Debug, Clone)]
pub struct Literal {
    at: Position,
    pub keys: Vec<String>,
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
