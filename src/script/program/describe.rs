//! What can be found out about a script without running it.

use std::collections::BTreeSet;

use rhai::{AST, ASTNode, Engine, Expr, OptimizationLevel, Position, Stmt};

use super::location::Location;
use super::model_names::NamedModel;
use super::params::Declared;

/// A script and the modules that it imports.
pub struct Description {
    /// Every `param(…)`.
    pub params: Vec<Declared>,
    /// Every `model(…)`.
    pub models: Vec<NamedModel>,
    /// The hook points that are written literally in `hook(…)` and `capture(…)`, with their places.
    pub points: Vec<(String, Location)>,
    /// Every string literal.
    pub texts: BTreeSet<String>,
    /// The texts of the script and its modules, with their names.
    pub sources: Vec<(String, String)>,
}

/// The string literals given to `hook` and `capture` as points, with their positions.
pub fn points(ast: &AST) -> Vec<(String, Position)> {
    let mut found = Vec::new();
    ast.walk(&mut |path| {
        let point = match path.last() {
            Some(ASTNode::Expr(Expr::FnCall(call, _)) | ASTNode::Stmt(Stmt::FnCall(call, _))) => {
                match &*call.name {
                    "hook" => call.args.first(),
                    "capture" => call.args.get(2),
                    _ => None,
                }
            }
            Some(ASTNode::Expr(Expr::MethodCall(call, _))) if call.name == "capture" => {
                call.args.get(1)
            }
            _ => None,
        };
        match point {
            Some(Expr::Array(points, _)) => found.extend(points.iter().filter_map(text)),
            Some(point) => found.extend(text(point)),
            None => {}
        }
        true
    });
    found
}

/// Every string literal.
pub fn texts(ast: &AST) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    ast.walk(&mut |path| {
        if let Some(ASTNode::Expr(expr)) = path.last() {
            found.extend(text(expr).map(|(text, _)| text));
        }
        true
    });
    found
}

fn text(expr: &Expr) -> Option<(String, Position)> {
    match expr {
        Expr::StringConstant(text, position) => Some((text.to_string(), *position)),
        _ => None,
    }
}

/// The names in the literal imports of a text. Empty if the text does not compile.
pub fn imports(text: &str) -> Vec<String> {
    let mut engine = Engine::new_raw();
    engine.set_optimization_level(OptimizationLevel::None);
    let Ok(ast) = engine.compile(text) else { return Vec::new() };
    super::imports::imports("", &ast).into_iter().map(|(_, name, _)| name).collect()
}
