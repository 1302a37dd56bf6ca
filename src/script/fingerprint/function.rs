//! The digest of one function's code, without the positions in it, and the check that calling it
//! does nothing but compute.

use std::collections::BTreeSet;

use rhai::{
    AST, ASTFlags, ASTNode, Dynamic, Expr, FnCallExpr, FnPtr, Module, Position, RangeCase, Stmt,
    StmtBlock,
};

use super::hasher::{Digest, Hasher};
use super::value::{FunctionDigests, Met, value};
use super::visible::{Found, Visible};

/// Calls that Rhai handles itself: there is no function of that name.
const KEYWORDS: &[&str] = &["call", "curry", "type_of"];
/// How deep closures may nest.
const MAX_DEPTH: usize = 64;

/// A walk over the syntax tree of a function. Positions are left out of the digest, and so are the
/// names of closures, which Rhai makes from positions.
pub struct FunctionCode<'a> {
    visible: &'a Visible,
    functions: &'a dyn FunctionDigests,
    out: Hasher,
    /// Every name and string that may stand for a function.
    names: BTreeSet<String>,
    depth: usize,
    /// The node that is being visited.
    at: Position,
}

/// The error says why a hook can't be skipped, as a clause about the hook: `calls print`.
type Walked = Result<(), String>;

impl<'a> FunctionCode<'a> {
    /// The digest of a function's own code, and every name in it that may stand for a function.
    ///
    /// # Errors
    /// Why a call of the function can't be skipped, with the place in the script.
    pub fn digest(
        function: &Found,
        visible: &'a Visible,
        functions: &'a dyn FunctionDigests,
    ) -> Result<(Digest, BTreeSet<String>), String> {
        let mut walk = Self {
            visible,
            functions,
            out: Hasher::default(),
            names: BTreeSet::new(),
            depth: 0,
            at: Position::NONE,
        };
        match walk.function(function) {
            Ok(()) => Ok((walk.out.finish(), walk.names)),
            Err(why) => Err(match visible.place(&function.source, walk.at) {
                Some(place) => format!("{why} ({place})"),
                None => why,
            }),
        }
    }

    fn function(&mut self, function: &Found) -> Walked {
        let function = &function.function;
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err("has closures nested too deeply".into());
        }
        self.out.text(function.this_type.as_deref().unwrap_or_default());
        self.out.number(function.params.len() as u64);
        function.params.iter().for_each(|name| self.out.text(name));
        // Rhai gives access to a function's statements only by walking an AST.
        let mut alone = Module::new();
        alone.set_script_fn(function.clone());
        let mut walked = Ok(());
        AST::new([], alone).walk(&mut |path| {
            if let [ASTNode::Stmt(statement)] = path {
                self.out.text("statement");
                walked = self.statement(statement);
            }
            walked.is_ok()
        });
        self.out.text("end");
        self.depth -= 1;
        walked
    }

    fn block(&mut self, block: &StmtBlock) -> Walked {
        self.out.number(block.len() as u64);
        block.iter().try_for_each(|statement| self.statement(statement))
    }

    fn visit_at(&mut self, position: Position) {
        if !position.is_none() {
            self.at = position;
        }
    }

    fn statement(&mut self, statement: &Stmt) -> Walked {
        self.visit_at(statement.position());
        match statement {
            Stmt::Noop(_) => self.out.text("noop"),
            Stmt::If(parts, _) => {
                self.out.text("if");
                self.expression(&parts.expr)?;
                self.block(&parts.body)?;
                self.block(&parts.branch)?;
            }
            Stmt::Switch(parts, _) => {
                let (subject, cases) = &**parts;
                self.out.text("switch");
                self.expression(subject)?;
                self.out.number(cases.expressions.len() as u64);
                for case in &cases.expressions {
                    self.expression(&case.lhs)?;
                    self.expression(&case.rhs)?;
                }
                let mut values: Vec<(u64, Vec<usize>)> = cases
                    .cases
                    .iter()
                    .map(|(value, list)| (*value, list.blocks.to_vec()))
                    .collect();
                values.sort_unstable();
                self.out.text(&format!("{values:?} {:?}", cases.def_case));
                for range in &cases.ranges {
                    self.out.text(&match range {
                        RangeCase::ExclusiveInt(range, at) => format!("{range:?} {at}"),
                        RangeCase::InclusiveInt(range, at) => format!("{range:?} {at}"),
                    });
                }
            }
            Stmt::While(parts, _) => {
                self.out.text("while");
                self.expression(&parts.expr)?;
                self.block(&parts.body)?;
            }
            Stmt::Do(parts, flags, _) => {
                self.out.text(if flags.contains(ASTFlags::NEGATED) {
                    "do until"
                } else {
                    "do while"
                });
                self.expression(&parts.expr)?;
                self.block(&parts.body)?;
            }
            Stmt::For(parts, _) => {
                let (variable, counter, rest) = &**parts;
                self.out.text("for");
                self.out.text(&variable.name);
                self.out.text(counter.as_ref().map_or("", |counter| &counter.name));
                self.expression(&rest.expr)?;
                self.block(&rest.body)?;
            }
            Stmt::Var(parts, flags, _) => {
                self.out.text(if flags.contains(ASTFlags::CONSTANT) { "const" } else { "let" });
                self.out.text(&parts.0.name);
                self.expression(&parts.1)?;
            }
            Stmt::Assignment(parts) => {
                let (operator, sides) = &**parts;
                self.out.text("assign");
                if let Some((.., assigning, _, plain)) = operator.get_op_assignment_info() {
                    self.out.text(assigning);
                    self.calls(assigning)?;
                    self.calls(plain)?;
                }
                self.expression(&sides.lhs)?;
                self.expression(&sides.rhs)?;
            }
            Stmt::FnCall(call, _) => self.call(call)?,
            Stmt::Block(block) => {
                self.out.text("block");
                self.block(block)?;
            }
            Stmt::Expr(expression) => self.expression(expression)?,
            Stmt::BreakLoop(value, flags, _) | Stmt::Return(value, flags, _) => {
                self.out.text(if matches!(statement, Stmt::Return(..)) {
                    "return"
                } else {
                    "break"
                });
                self.out.number(u64::from(flags.contains(ASTFlags::BREAK)));
                self.out.number(u64::from(value.is_some()));
                value.iter().try_for_each(|value| self.expression(value))?;
            }
            Stmt::Share(variables) => {
                self.out.text("share");
                variables.iter().for_each(|(variable, _)| self.out.text(&variable.name));
            }
            Stmt::Import(..) => return Err("imports a script".into()),
            _ => return Err("has a statement of which nothing is known".into()),
        }
        Ok(())
    }

    fn expressions<'e>(
        &mut self,
        what: &str,
        all: impl ExactSizeIterator<Item = &'e Expr>,
    ) -> Walked {
        self.out.text(what);
        self.out.number(all.len() as u64);
        all.into_iter().try_for_each(|expression| self.expression(expression))
    }

    fn expression(&mut self, expression: &Expr) -> Walked {
        self.visit_at(expression.position());
        match expression {
            Expr::DynamicConstant(constant, _) => self.constant(constant)?,
            Expr::BoolConstant(value, _) => self.out.text(&format!("{value}")),
            Expr::IntegerConstant(value, _) => self.out.text(&format!("{value}i")),
            Expr::FloatConstant(value, _) => self.out.text(&format!("{:x}f", (**value).to_bits())),
            Expr::CharConstant(value, _) => self.out.text(&format!("{value:?}")),
            Expr::StringConstant(value, _) => {
                self.out.text("string");
                self.out.text(value);
                self.names.insert(value.to_string());
            }
            Expr::InterpolatedString(parts, _) => self.expressions("text", parts.iter())?,
            Expr::Array(items, _) => self.expressions("array", items.iter())?,
            Expr::Map(parts, _) => {
                self.out.text("map");
                self.out.number(parts.0.len() as u64);
                for (key, item) in &parts.0 {
                    self.out.text(&key.name);
                    self.expression(item)?;
                }
            }
            Expr::Unit(_) => self.out.text("()"),
            Expr::Variable(parts, ..) => {
                if !parts.2.is_empty() {
                    return Err(format!("reads {}::{}, a constant of a module", parts.2, parts.1));
                }
                self.out.text("variable");
                self.out.text(&parts.1);
                self.names.insert(parts.1.to_string());
            }
            Expr::ThisPtr(_) => self.out.text("this"),
            Expr::Property(parts, _) => {
                self.out.text("property");
                self.out.text(&parts.2);
                self.property(&parts.2)?;
            }
            Expr::MethodCall(call, _) => {
                self.out.text("method");
                self.call(call)?;
            }
            Expr::FnCall(call, _) => self.call(call)?,
            Expr::Stmt(block) => {
                self.out.text("block");
                self.block(block)?;
            }
            Expr::Dot(sides, flags, _) | Expr::Index(sides, flags, _) => {
                self.out.text(if matches!(expression, Expr::Dot(..)) { "." } else { "[" });
                self.out.number(u64::from(flags.bits()));
                if matches!(expression, Expr::Index(..)) {
                    self.indexing()?;
                }
                self.expression(&sides.lhs)?;
                self.expression(&sides.rhs)?;
            }
            Expr::And(parts, _) => self.expressions("&&", parts.iter())?,
            Expr::Or(parts, _) => self.expressions("||", parts.iter())?,
            Expr::Coalesce(parts, _) => self.expressions("??", parts.iter())?,
            // `try`, which is custom syntax here.
            Expr::Custom(parts, _) => {
                parts.tokens.iter().for_each(|token| self.out.text(token));
                self.out.text(&parts.state.to_string());
                self.expressions("custom", parts.inputs.iter())?;
            }
            _ => return Err("has an expression of which nothing is known".into()),
        }
        Ok(())
    }

    /// A constant, which may be a closure.
    fn constant(&mut self, constant: &Dynamic) -> Walked {
        let Some(function) = constant.read_lock::<FnPtr>() else {
            self.out.text("constant");
            return value(&mut self.out, constant, &mut Met::default(), self.functions);
        };
        self.out.text("function");
        if !function.is_anonymous() {
            self.out.text(function.fn_name());
            self.names.insert(function.fn_name().to_owned());
            return self.calls(function.fn_name());
        }
        let bodies = self.visible.functions.get(function.fn_name()).cloned().unwrap_or_default();
        match bodies.as_slice() {
            [] => Err("has a closure whose code can't be found".into()),
            // Closures of one name were compiled from the same text at the same place.
            [body, ..] => self.function(body),
        }
    }

    fn call(&mut self, call: &FnCallExpr) -> Walked {
        self.out.text("call");
        let namespace = call.namespace.to_string();
        self.out.text(&namespace);
        let root = namespace.split("::").next().unwrap_or_default();
        self.out.text(self.visible.imports.get(root).map_or("", String::as_str));
        self.out.text(&call.name);
        self.out.number(u64::from(call.capture_parent_scope));
        match call.name.as_str() {
            "Fn" => match call.args.first() {
                Some(Expr::StringConstant(name, _)) if call.args.len() == 1 => {
                    self.calls(name)?;
                    self.names.insert(name.to_string());
                }
                _ => return Err("calls a function by a name that is worked out".into()),
            },
            name if KEYWORDS.contains(&name) => {}
            name => {
                self.calls(name)?;
                self.names.insert(name.to_owned());
            }
        }
        self.out.number(call.args.len() as u64);
        call.args.iter().try_for_each(|argument| self.expression(argument))
    }

    fn calls(&self, name: &str) -> Walked {
        let natives = &self.visible.natives;
        if natives.is_pure(name)
            || (self.visible.functions.contains_key(name) && !natives.has(name))
        {
            return Ok(());
        }
        Err(natives.why_not(name))
    }

    /// Reading or writing a property calls a function unless the value is a map.
    fn property(&self, name: &str) -> Walked {
        match ["get$", "set$"]
            .iter()
            .find_map(|kind| self.visible.natives.impure(&format!("{kind}{name}")))
        {
            Some(does) => Err(format!(
                "uses .{name}, which {}",
                if does.is_empty() { "may do more" } else { does }
            )),
            None => Ok(()),
        }
    }

    fn indexing(&self) -> Walked {
        match ["index$get$", "index$set$"].iter().find_map(|name| self.visible.natives.impure(name))
        {
            Some(_) => Err("indexes a value, which may do more than read it".into()),
            None => Ok(()),
        }
    }
}
