//! The parameters that a script declares, found without running it.

use rhai::{AST, ASTNode, Dynamic, Expr, FnCallExpr, Position, Stmt};

/// One `param(…)` in a script.
#[derive(Debug, Clone)]
pub struct Declared {
    /// `None` if the script computes the name.
    pub name: Option<String>,
    /// The default, if it is a literal.
    pub default: Option<Dynamic>,
    /// The help text.
    pub help: Option<String>,
    /// The script's name.
    pub file: String,
    /// The position of the call.
    pub position: Position,
}

/// Every `param(…)` of a script, in order.
pub fn declared(ast: &AST) -> Vec<Declared> {
    let mut found = Vec::new();
    ast.walk(&mut |path| {
        let call: Option<(&FnCallExpr, Position)> = match path.last() {
            Some(ASTNode::Expr(Expr::FnCall(call, position))) => Some((call, *position)),
            Some(ASTNode::Stmt(Stmt::FnCall(call, position))) => Some((call, *position)),
            _ => None,
        };
        if let Some((call, position)) = call.filter(|(call, _)| {
            call.name == "param" && !call.is_qualified() && !call.args.is_empty()
        }) {
            let literal =
                |index: usize| call.args.get(index).and_then(|expr| expr.get_literal_value(None));
            let text = |index| literal(index).and_then(|value| value.into_string().ok());
            let file = ast.source().unwrap_or_default().to_owned();
            found.push(Declared {
                name: text(0),
                default: literal(1),
                help: text(2),
                file,
                position,
            });
        }
        true
    });
    found
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rhai::{Engine, OptimizationLevel};

    use super::*;

    #[test]
    fn parameters_are_found_wherever_they_stand() {
        let mut engine = Engine::new();
        engine.set_optimization_level(OptimizationLevel::None);
        let script = r#"
            fn f() { param("in_fn", 1, "how many") }
            let a = [param("in_array", #{b: 2})];
            let g = || param("in_closure", -1.5);
            param("stmt", "x");
            if false { print(`${param("in_text", true)}`); }
        "#;
        let names: BTreeSet<String> =
            declared(&engine.compile(script).unwrap()).into_iter().filter_map(|p| p.name).collect();
        assert_eq!(
            names.into_iter().collect::<Vec<_>>(),
            ["in_array", "in_closure", "in_fn", "in_text", "stmt"]
        );
        let computed = declared(&engine.compile("let n = 1; param(`x${n}`, 1)").unwrap());
        assert!(computed.iter().any(|p| p.name.is_none()));
    }
}
